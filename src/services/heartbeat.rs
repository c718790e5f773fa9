//! The monitor is monitored: every minute somebody outside hears that scheduler, store and sender all made
//! progress, and hears nothing when one of them did not. Who was away for long says so by mail.

mod gap;
mod others;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use secrecy::ExposeSecret;

use crate::channels::{self, Allow, Call};
use crate::domain::clock::{SignedDuration, Timestamp, from_micros, to_micros};
use crate::domain::ids::Entropy;
use crate::services::{Context, alerting};
use crate::settings::HeartbeatMethod;
use crate::store::{StoreError, meta};

pub use others::leave;

/// The job.
pub const JOB: &str = "heartbeat";
/// Jobs that stand for a part of the program.
const SCHEDULER: &str = "verification";
/// When this installation was last alive, in the store.
const MARK: &str = "alive at";

/// What one activation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beat {
    Sent,
    /// No address is set.
    Off,
    /// The first minute of a process, in which nothing can have made progress yet.
    Starting,
    /// Something stands still, or nobody took the beat.
    Withheld(String),
}

/// What the parts of this process did, in memory: it is about this process alone.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    scheduler: AtomicU64,
    sender: AtomicU64,
    /// The last attempt to send failed by the path's fault.
    path_broken: AtomicBool,
    last: Mutex<Option<Seen>>,
    /// What this process is called among those that share the store.
    name: OnceLock<String>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    scheduler: u64,
    sender: u64,
    at: Instant,
}

impl Progress {
    /// Notes that a job came to its end.
    pub fn ended(&self, job: &str, done: u64, problem: bool) {
        if job == SCHEDULER {
            self.0.scheduler.fetch_add(1, Ordering::Relaxed);
        } else if job == alerting::OUTBOX_JOB {
            self.0.sender.fetch_add(1, Ordering::Relaxed);
            // An activation that had nothing to send says nothing of the path.
            if problem || done > 0 {
                self.0.path_broken.store(problem, Ordering::Relaxed);
            }
        }
    }

    /// Made at the first call, so that each process has its own.
    fn name(&self, entropy: &dyn Entropy) -> &str {
        self.0.name.get_or_init(|| {
            let mut bytes = [0_u8; 8];
            entropy.fill(&mut bytes);
            hex::encode(bytes)
        })
    }

    /// What stood still since the last call; `None` at the first one.
    fn standing(&self) -> Option<Vec<&'static str>> {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Seen {
            scheduler: self.0.scheduler.load(Ordering::Relaxed),
            sender: self.0.sender.load(Ordering::Relaxed),
            at: Instant::now(),
        };
        let before = last.replace(now)?;
        let mut still = Vec::new();
        if now.scheduler == before.scheduler {
            still.push("the scheduler made no progress");
        }
        if now.sender == before.sender {
            still.push("the sender made no progress");
        } else if self.0.path_broken.load(Ordering::Relaxed) {
            still.push("mails cannot be handed over");
        }
        Some(still)
    }

    /// How long this process was really away since its last beat, by a clock that nobody sets; `None` at the
    /// first one, when only the store knows.
    fn away(&self) -> Option<SignedDuration> {
        let last = *self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = last?.at.elapsed().as_secs();
        Some(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
    }
}

/// Notes that this installation is alive, tells a gap, and tells the outside that all is well if it is.
pub async fn beat(ctx: &Context) -> Result<Beat, StoreError> {
    let now = ctx.now();
    let limit = SignedDuration::from_secs(ctx.settings.heartbeat.gap_seconds.into());
    let away = ctx.progress.away();
    let mut tx = ctx.db.begin().await?;
    let before = alive_at(&meta::get(&mut tx, MARK).await?.unwrap_or_default());
    meta::set(&mut tx, MARK, &to_micros(now).to_string(), now).await?;
    if let Some(before) = before
        && limit > SignedDuration::ZERO
        && now.duration_since(before) > limit
        // A clock that was set forward is no absence.
        && away.is_none_or(|away| away > limit)
    {
        gap::tell(ctx, &mut tx, before, now).await?;
    }
    let still = ctx.progress.standing();
    // Whoever works must not hide another process on the same store that does not.
    others::say(ctx, &mut tx, still.as_deref().unwrap_or_default(), now).await?;
    let beside = others::standing_still(ctx, &mut tx, now).await?;
    tx.commit().await?;
    let Some(still) = still else { return Ok(Beat::Starting) };
    if ctx.settings.heartbeat.url.is_none() {
        return Ok(Beat::Off);
    }
    let still: Vec<String> = still.into_iter().map(str::to_owned).chain(beside).collect();
    if !still.is_empty() {
        return Ok(Beat::Withheld(format!("no heartbeat was sent: {}", still.join(", "))));
    }
    Ok(match ping(ctx).await {
        Ok(()) => Beat::Sent,
        Err(why) => Beat::Withheld(format!("nobody took the heartbeat: {why}")),
    })
}

async fn ping(ctx: &Context) -> Result<(), String> {
    let settings = &ctx.settings.heartbeat;
    let text = settings.url.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    let url = url::Url::parse(text).map_err(|_| "heartbeat.url is not a web address".to_owned())?;
    let body = match settings.method {
        HeartbeatMethod::Get => None,
        HeartbeatMethod::Post => Some(String::new()),
    };
    // Many a watcher stands in the same network; the address is the operator's own.
    let call = Call { url, headers: Vec::new(), body, allow: Allow::Private };
    let answer = tokio::time::timeout(channels::ATTEMPT, channels::call(call)).await;
    match answer.map_err(|_| "no answer came within 10 s".to_owned())? {
        Ok(taken) if (200..300).contains(&taken.status) => Ok(()),
        Ok(taken) => Err(format!("it answered {}", taken.status)),
        Err(failure) => Err(failure.text),
    }
}

fn alive_at(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Progress {
        let progress = Progress::default();
        assert_eq!(progress.standing(), None, "the first beat knows nothing");
        progress
    }

    #[test]
    fn each_part_is_missed_alone() {
        let progress = healthy();
        progress.ended("verification", 0, false);
        progress.ended("outbox", 0, false);
        assert_eq!(progress.standing(), Some(Vec::new()));
        progress.ended("outbox", 0, false);
        assert_eq!(progress.standing(), Some(vec!["the scheduler made no progress"]));
        progress.ended("verification", 0, false);
        assert_eq!(progress.standing(), Some(vec!["the sender made no progress"]));
    }

    #[test]
    fn a_broken_path_is_remembered_until_a_mail_goes_out() {
        let progress = healthy();
        let minute = |done, problem| {
            progress.ended("verification", 1, false);
            progress.ended("outbox", done, problem);
            progress.standing().unwrap()
        };
        assert_eq!(minute(0, true), ["mails cannot be handed over"]);
        assert_eq!(minute(0, false), ["mails cannot be handed over"], "nothing was due");
        assert!(minute(1, false).is_empty());
    }
}
