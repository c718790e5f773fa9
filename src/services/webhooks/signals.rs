//! What on-call reads when deliveries do not verify: since when, how many distinct ones, the last good one,
//! and what to do.

use crate::domain::check::Severity;
use crate::domain::clock::{Timestamp, humane, rfc3339};
use crate::domain::diagnosis::Class;
use crate::domain::incident::{Facts, IncidentKind, Signal};
use crate::domain::source_health::{Change, Failing, Level, SourceHealth};
use crate::services::secrets::{key, nearby, subject};
use crate::services::{Context, alerting};
use crate::store::{StoreError, Tx, deliveries, quarantine};

/// Reviews the health of a source and says what on-call hears.
pub(super) async fn health_signals(
    ctx: &Context,
    tx: &mut Tx,
    source: &str,
    health: &mut SourceHealth,
    now: Timestamp,
) -> Result<Option<Signal>, StoreError> {
    let before = health.failing.clone();
    let key = key(ctx, source, IncidentKind::SignatureFailures);
    match health.review(now) {
        Change::Nothing => Ok(None),
        Change::Recovered => {
            let note = before.map_or_else(String::new, |failing| recovered(&failing, now));
            Ok(Some(Signal::Cleared { key, at: now, note }))
        }
        Change::Tell(level) => {
            let Some(failing) = &health.failing else { return Ok(None) };
            let facts = failing_facts(ctx, tx, source, failing, level).await?;
            Ok(Some(Signal::Firing { key, at: now, facts }))
        }
    }
}

/// The same incident with what was found out since; nothing where on-call was not told yet.
pub(super) async fn told_again(
    ctx: &Context,
    tx: &mut Tx,
    source: &str,
    failing: &Failing,
    now: Timestamp,
) -> Result<Option<Signal>, StoreError> {
    let Some(level) = failing.told else { return Ok(None) };
    let facts = failing_facts(ctx, tx, source, failing, level).await?;
    let key = key(ctx, source, IncidentKind::SignatureFailures);
    Ok(Some(Signal::Firing { key, at: now, facts }))
}

fn recovered(failing: &Failing, now: Timestamp) -> String {
    format!(
        "deliveries verify again after {}; {} distinct bodies had failed, see the quarantine for what is still missing",
        humane(now.duration_since(failing.since)),
        failing.distinct
    )
}

async fn failing_facts(
    ctx: &Context,
    tx: &mut Tx,
    source: &str,
    failing: &Failing,
    level: Level,
) -> Result<Facts, StoreError> {
    let class = Class::parse(&failing.last_class).unwrap_or(Class::UnknownSecret);
    let since = rfc3339(failing.since);
    let headline = if failing.is_mixed() {
        let all = f64::from(failing.total + failing.good_meanwhile);
        let share = (f64::from(failing.total) * 100.0 / all).round();
        format!(
            "Some {source} deliveries fail since {since} ({share} %, {} distinct) while {} verified: two webhooks with different secrets point here, or somebody forges",
            failing.distinct, failing.good_meanwhile
        )
    } else if failing.total == 1 {
        format!("A {source} delivery failed at {since}: {}", class.explain())
    } else {
        format!(
            "Every {source} delivery since {since} fails ({} distinct, {} attempts): {}",
            failing.distinct,
            failing.total,
            class.explain()
        )
    };
    let mut context = vec![
        ("first failure".into(), since),
        ("last failure".into(), rfc3339(failing.last_bad_at)),
        ("last good delivery".into(), failing.last_good_before.map_or("none ever".to_owned(), rfc3339)),
        (
            "how sure".into(),
            if class.is_certain() { "proved by computing the signature again" } else { "likely, not proved" }
                .into(),
        ),
    ];
    let waiting = quarantine::count_source(tx, source).await?;
    context.push((
        "in quarantine".into(),
        match waiting {
            0 => "nothing: without a readable signature no body is kept".to_owned(),
            1 => "1 refused body, kept for 7 days".to_owned(),
            n => format!("{n} refused bodies, kept for 7 days"),
        },
    ));
    for (label, value) in nearby(ctx, tx, source, failing.since).await? {
        if context.iter().all(|(known, _)| *known != label) {
            context.push((label, value));
        }
    }
    Ok(Facts {
        severity: match level {
            Level::Warn => Severity::Warning,
            Level::Page => Severity::Critical,
        },
        label: "SIGNATURE FAILURES".into(),
        subject: subject(ctx, source),
        headline,
        since: failing.since,
        next_steps: class.next_steps(source, &ctx.settings.webhooks.scheme(source)),
        context,
        members: Vec::new(),
    })
}

/// Reviews every failing source as time passes: failing for long pages, quiet for long recovers.
pub(super) async fn review_failing(ctx: &Context) -> Result<u64, StoreError> {
    let failing = deliveries::list_failing(&mut *ctx.db.reader().await?).await?;
    let mut done = 0;
    for source in failing {
        let now = ctx.now();
        let mut tx = ctx.db.begin().await?;
        let mut health = deliveries::get_health(&mut tx, &source).await?;
        let signal = health_signals(ctx, &mut tx, &source, &mut health, now).await?;
        if let Some(signal) = signal {
            deliveries::put_health(&mut tx, &source, &health, now).await?;
            alerting::record(ctx, &mut tx, &[signal]).await?;
            tx.commit().await?;
            ctx.nudge.job(alerting::OUTBOX_JOB);
            done += 1;
        }
    }
    Ok(done)
}
