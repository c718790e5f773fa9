//! Lines of log drains: which ones are asked for, and how many there were.

use sha2::{Digest, Sha256};

use super::outside::{named, which};
use super::{Facts, signal_error};
use crate::domain::clock::{SignedDuration, Timestamp, from_micros, humane, to_micros};
use crate::domain::logs::{BUCKET, LogFilter, bucket_of};
use crate::domain::measurement::{MeasureError, Measured, Unit};
use crate::domain::signal::{LogCount, Signal};
use crate::services::Context;
use crate::settings::{LogSource, Settings};
use crate::store::logs::{self, StoredFilter};
use crate::store::{StoreError, logs::Heard};

/// Without any line for this long a drain is broken, unless its settings say otherwise.
const SILENT_SECONDS: u32 = 900;
/// The longest that a check looks back, with room for the slot itself.
const COUNTS_FOR: SignedDuration = SignedDuration::from_hours(26);
/// Providers repeat a request within minutes.
const BATCHES_FOR: SignedDuration = SignedDuration::from_hours(6);
/// A filter that no check has asked for in so long is not counted any more.
const ASKED_FOR: SignedDuration = SignedDuration::from_hours(48);

/// The lines of the last `over` seconds, but none from before the deploy.
pub(super) async fn measure(ctx: &Context, count: &LogCount, facts: Facts) -> Result<Measured, MeasureError> {
    let (source, settings) = drain(&ctx.settings, count.source.as_deref())?;
    let asked = stored(&count.filter);
    let read = async {
        let mut tx = ctx.db.begin().await?;
        let since = logs::ask(&mut tx, source, &asked, facts.now).await?;
        tx.commit().await?;
        let mut reader = ctx.db.reader().await?;
        let heard = logs::get_heard(&mut reader, source).await?;
        let from = from(count.over, since, facts);
        let until = bucket_of(facts.now) + BUCKET;
        let lines = logs::count(&mut reader, source, &asked.id, from, until).await?;
        Ok::<_, StoreError>((since, heard, from, lines))
    };
    let (since, heard, from, lines) = read
        .await
        .map_err(|error| signal_error(format!("our own store could not be read: {error}"), None))?;
    let silent = SignedDuration::from_secs(settings.silent_seconds.unwrap_or(SILENT_SECONDS).into());
    if let Some(why) = no_data(source, heard, silent, since, facts) {
        return Ok(Measured { value: None, unit: Unit::Number, detail: Some(why), ..Measured::default() });
    }
    #[expect(clippy::cast_precision_loss, reason = "nobody logs 2^52 lines a day")]
    let (lines, seconds) = (lines as f64, (facts.now.as_second() - from).max(60) as f64);
    let value = if count.per_minute { lines / (seconds / 60.0) } else { lines };
    Ok(Measured { value: Some(value), unit: Unit::Number, ..Measured::default() })
}

/// The first bucket that counts. The one in which the deploy was finished holds lines of both sides, so the
/// one after it is the first.
fn from(over: u32, since: Timestamp, facts: Facts) -> i64 {
    let back = bucket_of(facts.now - SignedDuration::from_secs(over.into()));
    let deployed =
        facts.deployed_at.map_or(i64::MIN, |at| bucket_of(from_micros(to_micros(at) - 1)) + BUCKET);
    back.max(deployed).max(bucket_of(since))
}

/// A drain that says nothing is no proof that all is well.
fn no_data(
    source: &str,
    heard: Option<Heard>,
    silent: SignedDuration,
    since: Timestamp,
    facts: Facts,
) -> Option<String> {
    let Some(heard) = heard else { return Some(format!("the log drain {source} has never sent anything")) };
    let quiet = facts.now.duration_since(heard.last_at);
    if quiet > silent {
        return Some(format!("the log drain {source} has sent nothing for {}", humane(quiet)));
    }
    let counting = facts.now.duration_since(since);
    (counting < SignedDuration::from_secs(BUCKET)).then(|| "counting has just begun".to_owned())
}

/// The drain that a check means.
fn drain<'s>(
    settings: &'s Settings,
    name: Option<&'s str>,
) -> Result<(&'s str, &'s LogSource), MeasureError> {
    let known = &settings.signals.logs;
    let name_of = || name.or_else(|| known.keys().next().map(String::as_str));
    named(known, name).and_then(|found| Some((name_of()?, found))).ok_or_else(|| {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        which("log drain", "signals.logs", name, &names)
    })
}

fn stored(filter: &LogFilter) -> StoredFilter {
    let text = serde_json::to_string(filter).expect("a filter has text keys");
    StoredFilter { id: hex::encode(&Sha256::digest(text.as_bytes())[..16]), filter: text }
}

/// Asks for what the suites ask for, so that lines are counted before the first deploy looks for them, and
/// forgets what is old.
pub async fn upkeep(ctx: &Context) -> Result<u64, StoreError> {
    if ctx.settings.signals.logs.is_empty() {
        return Ok(0);
    }
    let now = ctx.now();
    let mut asked = Vec::new();
    // Without suites of its own an environment has the embedded ones, which count no lines.
    for (name, _) in ctx.settings.environments.iter().filter(|(_, found)| !found.suites.is_empty()) {
        let checks = match ctx.prober.checks(name).await {
            Ok(checks) => checks,
            Err(error) => {
                tracing::warn!(environment = %name, %error, "the suites cannot be read");
                continue;
            }
        };
        for check in checks {
            if let Some(Signal::LogCount(count)) = check.measure.signal()
                && let Ok((source, _)) = drain(&ctx.settings, count.source.as_deref())
            {
                asked.push((source.to_owned(), stored(&count.filter)));
            }
        }
    }
    let mut tx = ctx.db.begin().await?;
    for (source, filter) in &asked {
        logs::ask(&mut tx, source, filter, now).await?;
    }
    let gone = logs::forget(&mut tx, now - COUNTS_FOR, now - BATCHES_FOR, now - ASKED_FOR).await?;
    tx.commit().await?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn lines_from_before_the_deploy_never_count() {
        let now = at("2026-05-01T12:10:05Z");
        let long_ago = at("2026-04-01T00:00:00Z");
        for (deployed, since, over, expected) in [
            (None, long_ago, 600, "2026-05-01T12:00:00Z"),
            (Some("2026-05-01T11:00:00Z"), long_ago, 600, "2026-05-01T12:00:00Z"),
            (Some("2026-05-01T12:05:00Z"), long_ago, 600, "2026-05-01T12:05:00Z"),
            (Some("2026-05-01T12:05:01Z"), long_ago, 600, "2026-05-01T12:05:10Z"),
            (None, at("2026-05-01T12:09:31Z"), 600, "2026-05-01T12:09:30Z"),
        ] {
            let facts = Facts { now, deployed_at: deployed.map(at) };
            assert_eq!(from(over, since, facts), at(expected).as_second(), "{deployed:?}");
        }
    }
}
