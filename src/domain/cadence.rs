//! Which instants of a window a check is measured at: a fixed grid, counted from the window's start.
//!
//! All checks of an environment share one grid: the jitter comes from the environment's name, not from the
//! check's key, so that one scan in one snapshot serves every check that is due.

use serde::{Deserialize, Serialize};

use super::check::{CheckPolicy, Stage};
use super::clock::{SignedDuration, Timestamp};

/// When a window is watched. Pinned with the deploy, so that changed settings do not move its slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// `finish`: slots count from here.
    pub opened_at: Timestamp,
    pub smoke_seconds: u32,
    pub window_seconds: u32,
    /// Seconds between two slots in smoke, unless a check asks for denser ones.
    pub smoke_every: u32,
    /// Seconds between two slots in soak for a check that names no cadence of its own (`every` 0).
    pub soak_every: u32,
    /// Seconds from a first fail to its confirm sample.
    pub confirm_after: u32,
    /// Spreads the environments of one fleet over the first seconds of a slot.
    pub jitter_ms: u32,
    /// The window goes on once, by at most a quarter, when slots were missed only because we were down.
    #[serde(default)]
    pub extension: Option<Extension>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    pub from: Timestamp,
    pub seconds: u32,
}

/// One planned instant of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot {
    pub at: Timestamp,
    pub stage: Stage,
}

/// What is to be done for one check now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueSlots {
    /// Slots that went by unanswered.
    pub elapsed: Vec<Slot>,
    /// The slot that a scan made now answers.
    pub current: Option<Slot>,
}

/// No window is held open for its last slot longer than this, however sparse a check is.
const LONGEST_GRACE: u32 = 3_600;

/// The most that jitter moves a slot: a person waiting in CI must not notice.
const LONGEST_JITTER_MS: u32 = 3_000;

impl Plan {
    pub fn ends_at(&self) -> Timestamp {
        match self.extension {
            Some(extension) => extension.from + seconds(extension.seconds),
            None => self.opened_at + seconds(self.window_seconds),
        }
    }

    pub fn smoke_ends_at(&self) -> Timestamp {
        self.opened_at + seconds(self.smoke_seconds)
    }

    /// The first slot of a check.
    pub fn first_slot(&self, check: &CheckPolicy) -> Option<Slot> {
        self.slot_after(check, self.base() - SignedDuration::from_millis(1))
    }

    /// The first slot of a check strictly after an instant.
    pub fn slot_after(&self, check: &CheckPolicy, after: Timestamp) -> Option<Slot> {
        let past = after.duration_since(self.base()).as_millis();
        let offset = self.smoke_after(check, past).or_else(|| self.soak_after(check, past));
        match offset {
            Some(offset) => Some(Slot { at: self.base() + millis(offset), stage: self.stage_at(offset) }),
            None => self.extended_after(check, after),
        }
    }

    /// Every slot of a check, in order.
    pub fn slots<'a>(&'a self, check: &'a CheckPolicy) -> impl Iterator<Item = Slot> + 'a {
        std::iter::successors(self.first_slot(check), |slot| self.slot_after(check, slot.at))
    }

    /// The slots from `next` on that are due: those gone by, and the one a scan made now still answers.
    pub fn due(&self, check: &CheckPolicy, next: Option<Slot>, now: Timestamp) -> DueSlots {
        let mut elapsed = Vec::new();
        let mut slot = next;
        while let Some(at) = slot.filter(|s| s.at <= now) {
            elapsed.push(at);
            slot = self.slot_after(check, at.at);
        }
        let current = elapsed.pop_if(|newest| self.is_answerable(check, *newest, now));
        DueSlots { elapsed, current }
    }

    /// Whether a scan made now still answers the newest slot gone by. After downtime exactly one scan catches
    /// up, however long ago that slot was: a failing check must not wait until soak's first slot for its
    /// decision. Once the window is over, only a grace is left.
    fn is_answerable(&self, check: &CheckPolicy, newest: Slot, now: Timestamp) -> bool {
        now < self.ends_at() || now < newest.at + self.grace(check, newest)
    }

    /// How long a slot may be answered after the window's end: one interval, at most an hour.
    fn grace(&self, check: &CheckPolicy, slot: Slot) -> SignedDuration {
        self.interval(check, slot).min(seconds(LONGEST_GRACE))
    }

    /// The length of time that a slot speaks for.
    pub fn interval(&self, check: &CheckPolicy, slot: Slot) -> SignedDuration {
        seconds(match slot.stage {
            Stage::Smoke if check.stages.contains(&Stage::Smoke) => self.smoke_step(check),
            _ => self.soak_step(check),
        })
    }

    /// Where an instant of the grid belongs.
    pub fn stage_of(&self, slot_at: Timestamp) -> Stage {
        self.stage_at(slot_at.duration_since(self.base()).as_millis())
    }

    /// The first slot's nominal instant.
    fn base(&self) -> Timestamp {
        self.opened_at + SignedDuration::from_millis(self.jitter_ms.into())
    }

    fn stage_at(&self, offset_ms: i128) -> Stage {
        if offset_ms < i128::from(self.smoke_seconds) * 1_000 { Stage::Smoke } else { Stage::Soak }
    }

    fn soak_step(&self, check: &CheckPolicy) -> u32 {
        if check.every == 0 { self.soak_every.max(1) } else { check.every }
    }

    fn smoke_step(&self, check: &CheckPolicy) -> u32 {
        self.soak_step(check).min(self.smoke_every.max(1))
    }

    fn smoke_after(&self, check: &CheckPolicy, past_ms: i128) -> Option<i128> {
        if !check.stages.contains(&Stage::Smoke) {
            return None;
        }
        let step = i128::from(self.smoke_step(check)) * 1_000;
        let first = round_up(i128::from(check.initial_delay) * 1_000, step);
        let next = next_multiple(past_ms, step).max(first);
        (next < i128::from(self.smoke_seconds) * 1_000).then_some(next)
    }

    fn soak_after(&self, check: &CheckPolicy, past_ms: i128) -> Option<i128> {
        if !check.stages.contains(&Stage::Soak) {
            return None;
        }
        let step = i128::from(self.soak_step(check)) * 1_000;
        let end = i128::from(self.window_seconds) * 1_000;
        let smoke = if check.stages.contains(&Stage::Smoke) { self.smoke_seconds } else { 0 };
        let first = round_up(i128::from(smoke.max(check.initial_delay)) * 1_000, step);
        let next = next_multiple(past_ms, step).max(first);
        // The end of the window is a slot of every soak check, so that the close speaks of the end.
        if next <= end { Some(next) } else { (past_ms < end).then_some(end) }
    }

    fn extended_after(&self, check: &CheckPolicy, after: Timestamp) -> Option<Slot> {
        let extension = self.extension.filter(|_| check.stages.contains(&Stage::Soak))?;
        let past = after.duration_since(extension.from).as_millis();
        let step = i128::from(self.soak_step(check)) * 1_000;
        let end = i128::from(extension.seconds) * 1_000;
        let next = next_multiple(past, step).max(0);
        let offset = if next <= end { next } else { (past < end).then_some(end)? };
        Some(Slot { at: extension.from + millis(offset), stage: Stage::Soak })
    }
}

/// The jitter of an environment's grid in milliseconds: stable, and far below a slot's length.
pub fn jitter_ms(environment: &str, smoke_every: u32) -> u32 {
    let span = (smoke_every.saturating_mul(1_000) / 10).clamp(1, LONGEST_JITTER_MS);
    stable_hash(environment.as_bytes()) % span
}

/// How much later than `delay` an attempt at a slot is made, in milliseconds: up to a tenth of it, another one
/// for each environment and attempt, so that a fleet does not fall upon a database in the second in which it
/// comes back. It comes from what is stored, so that a replay plans the same.
pub fn retry_jitter_ms(plan: &Plan, slot: Slot, attempt: u32, delay_seconds: u32) -> u32 {
    if plan.jitter_ms == 0 {
        return 0;
    }
    let mut seed = slot.at.as_microsecond().to_le_bytes().to_vec();
    seed.extend(plan.jitter_ms.to_le_bytes());
    seed.extend(attempt.to_le_bytes());
    stable_hash(&seed) % (delay_seconds.saturating_mul(100)).max(1)
}

/// FNV-1a: stable across versions and machines, which the standard library's hasher does not promise.
fn stable_hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// How far a window is extended: by the time that went unwatched, at most a quarter of the window, once.
pub fn extension(plan: &Plan, missed_seconds: u32, now: Timestamp) -> Option<Extension> {
    let seconds = missed_seconds.min(plan.window_seconds / 4);
    (plan.extension.is_none() && seconds > 0).then(|| Extension { from: now.max(plan.ends_at()), seconds })
}

fn seconds(n: u32) -> SignedDuration {
    SignedDuration::from_secs(n.into())
}

fn millis(n: i128) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(n).unwrap_or(i64::MAX))
}

fn round_up(value: i128, step: i128) -> i128 {
    (value + step - 1).div_euclid(step) * step
}

/// The smallest multiple of `step` above `value`.
fn next_multiple(value: i128, step: i128) -> i128 {
    (value.div_euclid(step) + 1) * step
}

#[cfg(test)]
#[path = "cadence_tests.rs"]
mod tests;
