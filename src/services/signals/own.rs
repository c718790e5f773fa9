//! What we know ourselves: whether webhooks verify, and whether their secrets are in order. Every environment
//! with a webhook source has these two checks, declared or not.

use crate::domain::check::{Check, CheckPolicy, Measure};
use crate::domain::clock::{SignedDuration, rfc3339};
use crate::domain::measure::What;
use crate::domain::measurement::{MeasureError, Measured};
use crate::domain::rotation::Phase;
use crate::domain::secret::{SecretVersion, Slot, StateName};
use crate::domain::signal::{Signal, secrets_wording, webhooks_wording};
use crate::domain::source_health::Level;
use crate::domain::threshold::{Bound, Threshold};
use crate::services::Context;
use crate::services::secrets::environment_of;
use crate::settings::Settings;
use crate::store::{StoreError, deliveries, rotations, secrets as stored};

use super::{Facts, signal_error};

/// A stale secret that was used this recently is a problem now; an older use is one to look at.
const RECENT: SignedDuration = SignedDuration::from_mins(15);

/// The checks of an environment's webhook sources that its suites do not declare themselves.
pub fn built_in(settings: &Settings, environment: &str, declared: &[Check]) -> Vec<Check> {
    let mut checks = Vec::new();
    for source in settings.webhooks.sources.keys() {
        if environment_of(settings, source) != environment {
            continue;
        }
        for (kind, signal, wording) in [
            ("webhooks", Signal::Webhooks { source: source.clone() }, webhooks_wording(source)),
            ("secrets", Signal::Secrets { source: source.clone() }, secrets_wording(source)),
        ] {
            let is_declared = declared.iter().any(|check| check.measure.signal() == Some(&signal));
            let key = format!("{source}.{kind}");
            if is_declared || declared.iter().any(|check| check.key().as_str() == key) {
                continue;
            }
            let policy = CheckPolicy {
                suite: "webhooks".into(),
                subject: source.clone(),
                fail: Some(Threshold { above: Some(Bound::Number(0.0)), ..Threshold::default() }),
                fail_after: 1,
                // Recovered, it ends as a warning: the deliveries in between may be worth a look.
                latch: false,
                definition_hash: format!("{kind} {source}"),
                wording,
                ..CheckPolicy::new(&key, kind)
            };
            checks.push(Check { policy, measure: Measure::of(What::Signal(signal)) });
        }
    }
    checks
}

/// Distinct deliveries that do not verify. A single one is worth a warning; several, or a lasting failure, fail
/// if any of it came after the deploy.
pub(super) async fn webhooks(ctx: &Context, source: &str, facts: Facts) -> Result<Measured, MeasureError> {
    known(ctx, source)?;
    let health = async { deliveries::get_health(&mut *ctx.db.reader().await?, source).await };
    let health = health.await.map_err(unreadable)?;
    let Some(failing) = health.failing else {
        return Ok(Measured { value: Some(0.0), ..Measured::default() });
    };
    let said = format!("deliveries fail since {}", rfc3339(failing.since));
    let level = if facts.falls_in(failing.last_bad_at) { failing.level(facts.now) } else { Level::Warn };
    Ok(match level {
        Level::Page => {
            Measured { value: Some(failing.distinct.into()), detail: Some(said), ..Measured::default() }
        }
        Level::Warn => Measured { value: Some(0.0), notes: vec![said], ..Measured::default() },
    })
}

/// Problems of a source's secrets. What is under way, not yet proved, or was there before the deploy is worth a
/// warning: a release that mends a stuck rotation must not be stopped by it.
pub(super) async fn secrets(ctx: &Context, source: &str, facts: Facts) -> Result<Measured, MeasureError> {
    known(ctx, source)?;
    let found = look(ctx, source, facts).await.map_err(unreadable)?;
    let mut measured = Measured::of_problems(found.problems);
    measured.notes = found.notes;
    Ok(measured)
}

#[derive(Default)]
struct Found {
    problems: Vec<String>,
    notes: Vec<String>,
}

async fn look(ctx: &Context, source: &str, facts: Facts) -> Result<Found, StoreError> {
    let mut reader = ctx.db.reader().await?;
    let all: Vec<SecretVersion> =
        stored::list(&mut reader).await?.into_iter().filter(|v| v.slot.source == source).collect();
    let mut slots: Vec<Slot> = all.iter().map(|version| version.slot.clone()).collect();
    slots.dedup();
    let mut found = Found::default();
    for version in all.iter().filter(|v| v.stale_since.is_some() && v.state.name() != StateName::Compromised)
    {
        let last = version.usage.last_match_at;
        let said = format!("the old secret {} signed a delivery", version.label());
        match last.filter(|at| facts.now.duration_since(*at) <= RECENT) {
            Some(at) if facts.falls_in(at) => found.problems.push(format!("{said} at {}", rfc3339(at))),
            Some(at) => found.notes.push(format!("{said} at {}, before the deploy", rfc3339(at))),
            None => found.notes.push(format!("{said} and nothing has ended that")),
        }
    }
    for slot in slots {
        let Some(open) = rotations::get_open(&mut reader, &slot).await? else { continue };
        let from = open.rotation.from.as_ref().and_then(|id| all.iter().find(|version| version.id == *id));
        let phase = open.rotation.phase(from.map(|version| &version.state), facts.now);
        let said =
            format!("the rotation of {slot} is {}: {}", phase.as_str().replace('_', " "), phase.explain());
        match phase {
            Phase::Stuck { .. } if facts.falls_in(open.rotation.deadline_at) => found.problems.push(said),
            Phase::Overdue
                if from.and_then(|v| v.usage.last_match_at).is_some_and(|at| facts.falls_in(at)) =>
            {
                found.problems.push(said);
            }
            phase if phase.is_over() => {}
            _ => found.notes.push(said),
        }
    }
    Ok(found)
}

fn known(ctx: &Context, source: &str) -> Result<(), MeasureError> {
    let sources = &ctx.settings.webhooks.sources;
    if sources.contains_key(source) {
        return Ok(());
    }
    let names: Vec<&str> = sources.keys().map(String::as_str).collect();
    Err(super::outside::which("webhook source", "webhooks.sources", Some(source), &names))
}

fn unreadable(error: StoreError) -> MeasureError {
    signal_error(format!("our own store could not be read: {error}"), None)
}
