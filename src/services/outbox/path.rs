//! What is known of the way out: whether mails can be handed over, and the incidents that say so.

use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp, rfc3339};
use crate::domain::incident::{DedupKey, Facts, IncidentKind, Member};
use crate::domain::notification::FailureClass;
use crate::email::{SendError, mask};
use crate::services::Context;
use crate::services::alerting::announce::EMAIL;
use crate::store::notifications::{Notification, Stored};
use crate::store::{StoreError, incidents, outbox};

/// A path that fails by itself is a person's business after this long; one that needs other settings at once.
const BROKEN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// Whether this failure means that no mail can be sent, so that it is told where people look.
pub fn is_broken(stored: &Stored, error: &SendError, now: Timestamp) -> bool {
    let lasting = now.duration_since(stored.tried_from) >= BROKEN_AFTER;
    error.class == FailureClass::Configuration || (error.is_of_the_path() && lasting)
}

/// The incident of the path as a whole; it belongs to no environment.
pub fn key() -> DedupKey {
    DedupKey { environment: String::new(), scope: String::new(), kind: IncidentKind::MailBroken }
}

/// The incident of one recipient, by an address that is not readable.
pub fn recipient_key(notification: &Notification) -> DedupKey {
    DedupKey {
        environment: notification.environment.clone(),
        scope: mask(&notification.recipient),
        kind: IncidentKind::MailBroken,
    }
}

pub fn facts(attempts: u32, error: &SendError, now: Timestamp) -> Facts {
    let (headline, step) = match error.class {
        FailureClass::Configuration => (
            "No mail can be sent until its settings are changed",
            "Read what the mail server said below and correct email.smtp in the settings",
        ),
        _ => (
            "No mail could be sent for more than 5 minutes",
            "See whether the mail server is up and can be reached from here: `deploywatch doctor`",
        ),
    };
    Facts {
        severity: Severity::Critical,
        label: "MAIL BROKEN".into(),
        subject: "deploywatch mail path".into(),
        headline: headline.into(),
        since: now,
        next_steps: vec![
            step.into(),
            "Run `deploywatch notify test` to see whether mails go out again; what waits is sent then".into(),
        ],
        context: Vec::new(),
        members: vec![member("smtp", "the mail server takes a message", error, attempts, now)],
    }
}

pub fn recipient_facts(masked: &str, environment: &str, error: &SendError, now: Timestamp) -> Facts {
    let about = if environment.is_empty() { "deploywatch" } else { environment };
    Facts {
        severity: Severity::Critical,
        label: "MAIL BROKEN".into(),
        subject: format!("{about} mail to {masked}"),
        headline: format!("A mail about {about} to {masked} was given up"),
        since: now,
        next_steps: vec![
            format!("Check whether {masked} still exists and correct the recipients of {about}"),
            "Tell that person what this mail is about; they were not told".into(),
            "Once it is mended, send again what was given up: `deploywatch outbox retry --dead`".into(),
        ],
        context: Vec::new(),
        members: vec![member(masked, "the mail server takes this recipient", error, 1, now)],
    }
}

fn member(key: &str, expected: &str, error: &SendError, count: u32, now: Timestamp) -> Member {
    Member {
        key: key.into(),
        title: key.into(),
        severity: Severity::Critical,
        expected: expected.into(),
        // The server's own text may repeat addresses, so only its code is told.
        observed: in_a_log(error),
        baseline: None,
        change: None,
        first_seen_at: now,
        count,
        runs: 0,
        message: String::new(),
        runbook: None,
    }
}

/// A failure in words without addresses.
pub fn in_a_log(error: &SendError) -> String {
    match error.code {
        Some(code) => format!("refused with {code} at the step `{}`", error.stage.as_str()),
        None => format!("failed at the step `{}` ({})", error.stage.as_str(), error.class.as_str()),
    }
}

/// The mail path in one line: `ok`, what waits, or since when it is broken. No address is in it.
pub async fn standing(ctx: &Context) -> Result<String, StoreError> {
    let mut reader = ctx.db.reader().await?;
    let waiting = outbox::waiting(&mut reader, EMAIL).await?;
    let open = incidents::find_latest(&mut reader, &key()).await?;
    let broken = open.map(|stored| stored.incident).filter(|incident| !incident.state.is_resolved());
    if let Some(incident) = broken {
        let observed = incident.facts.members.first().map_or("", |member| member.observed.as_str());
        let since = rfc3339(incident.facts.since);
        return Ok(format!("broken since {since}: {observed}; {} messages wait", waiting.messages));
    }
    let late = waiting.oldest.filter(|at| ctx.now().duration_since(*at) >= SignedDuration::from_mins(1));
    Ok(match late {
        Some(oldest) => format!("{} messages wait, the oldest since {}", waiting.messages, rfc3339(oldest)),
        None => "ok".into(),
    })
}

/// Sets the gauges: how much waits, for how long, and whether the path is broken.
pub async fn measure(ctx: &Context) -> Result<(), StoreError> {
    let mut reader = ctx.db.reader().await?;
    let waiting = outbox::waiting(&mut reader, EMAIL).await?;
    let open = incidents::find_latest(&mut reader, &key()).await?;
    let broken = open.is_some_and(|stored| !stored.incident.state.is_resolved());
    let age = waiting.oldest.map_or(SignedDuration::ZERO, |oldest| ctx.now().duration_since(oldest));
    ctx.metrics.outbox(waiting.messages, age.as_secs_f64().max(0.0), broken);
    Ok(())
}
