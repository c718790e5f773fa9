//! Sends what the outbox holds: claims a message under a lease, hands it over, records the attempt.
//!
//! A message whose sender died is claimed again when its lease ends and goes out with the same Message-ID:
//! at least once, twice only if the death fell between the server's answer and our commit.

pub mod trial;

use std::time::{Duration, Instant};

use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::uuid_v7;
use crate::domain::incident::{DedupKey, Facts, IncidentKind, Member, Signal};
use crate::domain::notification::{FailureClass, NotificationState, Retry, Stage, retry};
use crate::email::{Burst, Mail, SendError, Taken, mask};
use crate::services::alerting::announce::EMAIL;
use crate::services::{Context, alerting};
use crate::store::notifications::{self, Attempt, Claim, MaybeTaken, Notification};
use crate::store::{StoreError, Tx};

/// Messages of one activation; the next one continues.
const BURST: u64 = 200;

/// Added to the attempt's deadline, so that a lease outlives its attempt.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// What one activation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sending {
    pub sent: u64,
    pub failed: u64,
    /// What was wrong with the path, in words that may be logged.
    pub problem: Option<String>,
}

/// Sends everything that is due, one message after the other over one connection. A failure of the path ends the
/// activation, so that a silent server costs one attempt and not one for each message.
pub async fn send_due(ctx: &Context) -> Result<Sending, StoreError> {
    let mut report = Sending::default();
    let mut burst: Option<Burst> = None;
    while report.sent + report.failed < BURST {
        let Some(claim) = claim(ctx).await? else { break };
        let started = Instant::now();
        let outcome = hand_over(ctx, &mut burst, &claim).await;
        let took = started.elapsed();
        match outcome {
            Ok(taken) => {
                delivered(ctx, &claim, &taken, took).await?;
                report.sent += 1;
            }
            Err(error) => {
                failed(ctx, &claim, &error, took).await?;
                report.failed += 1;
                if error.is_of_the_path() {
                    report.problem = Some(in_a_log(&error));
                    break;
                }
            }
        }
    }
    if let Some(burst) = burst {
        burst.close().await;
    }
    Ok(report)
}

async fn claim(ctx: &Context) -> Result<Option<Claim>, StoreError> {
    let now = ctx.now();
    let lease = uuid_v7(now, ctx.entropy.as_ref()).simple().to_string();
    let smtp = &ctx.settings.email.smtp;
    let attempt = SignedDuration::from_secs(i64::try_from(smtp.attempt_seconds).unwrap_or(60));
    let mut tx = ctx.db.begin().await?;
    let claim =
        notifications::claim(&mut tx, ctx.db.engine(), now, &lease, now + attempt + LEASE_MARGIN).await?;
    tx.commit().await?;
    Ok(claim)
}

/// One attempt. Whatever happens inside, it ends at the attempt's deadline.
async fn hand_over(ctx: &Context, burst: &mut Option<Burst>, claim: &Claim) -> Result<Taken, SendError> {
    let notification = &claim.stored.notification;
    let mail = Mail {
        to: notification.recipient.clone(),
        content: notification.content.clone(),
        date: notification.created_at,
    };
    if burst.as_ref().is_some_and(|open| !open.is_usable()) {
        *burst = None;
    }
    // The steps have deadlines of their own; this one holds even if a step forgets it.
    let limit = Duration::from_secs(ctx.settings.email.smtp.attempt_seconds.saturating_add(2));
    let attempt = async {
        let open = match burst {
            Some(open) => open,
            None => burst.insert(ctx.mailer.open().await?),
        };
        open.send(&mail).await
    };
    match tokio::time::timeout(limit, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => {
            *burst = None;
            // Where it stood is unknown, so it may have been taken.
            Err(SendError::new(Stage::Content, None, "the attempt ran into its deadline"))
        }
    }
}

async fn delivered(ctx: &Context, claim: &Claim, taken: &Taken, took: Duration) -> Result<(), StoreError> {
    let now = ctx.now();
    let id = &claim.stored.notification.id;
    let mut tx = ctx.db.begin().await?;
    if notifications::finish(&mut tx, claim, NotificationState::Sent, now, None).await? {
        let attempt = Attempt {
            at: now,
            duration_ms: millis(took),
            sent: true,
            stage: None,
            class: None,
            code: taken.code,
            answer: taken.answer.clone(),
        };
        add_attempt(ctx, &mut tx, claim, &attempt).await?;
        // The path works: whoever waits out its failure need not wait longer, and its incident is over.
        notifications::wake(&mut tx, EMAIL, now).await?;
        let over = |key| Signal::Cleared { key, at: now, note: "a mail was handed over".into() };
        let of_recipient = recipient_key(&claim.stored.notification);
        alerting::record(ctx, &mut tx, &[over(path_key()), over(of_recipient)]).await?;
    }
    tx.commit().await?;
    ctx.metrics.mail("sent");
    tracing::info!(notification = %id, code = taken.code, "mail handed over");
    Ok(())
}

async fn failed(ctx: &Context, claim: &Claim, error: &SendError, took: Duration) -> Result<(), StoreError> {
    let now = ctx.now();
    let stored = &claim.stored;
    let next = retry(error.class, stored.attempts, stored.notification.created_at, now, jitter(ctx));
    let mut tx = ctx.db.begin().await?;
    let attempt = Attempt {
        at: now,
        duration_ms: millis(took),
        sent: false,
        stage: Some(error.stage),
        class: Some(error.class),
        code: error.code,
        answer: error.text.clone(),
    };
    add_attempt(ctx, &mut tx, claim, &attempt).await?;
    let held = match next {
        Retry::At(at) => {
            let unsure = error.stage == Stage::Content && error.code.is_none();
            let maybe_taken = if unsure { MaybeTaken::Yes } else { MaybeTaken::No };
            notifications::postpone(&mut tx, claim, at, error.class, maybe_taken).await?
        }
        Retry::Never => give_up(ctx, &mut tx, claim, error, now).await?,
    };
    if held && error.class == FailureClass::Configuration {
        let facts = path_facts(stored.attempts, error, now);
        alerting::record(ctx, &mut tx, &[Signal::Firing { key: path_key(), at: now, facts }]).await?;
    }
    tx.commit().await?;
    ctx.metrics.mail(if next == Retry::Never { "dead" } else { "retry" });
    tracing::warn!(
        notification = %stored.notification.id,
        stage = error.stage.as_str(),
        class = error.class.as_str(),
        code = error.code,
        retry = next != Retry::Never,
        "mail not handed over"
    );
    Ok(())
}

/// The end of a message is never silent: it has an incident of its own, told to the others.
async fn give_up(
    ctx: &Context,
    tx: &mut Tx,
    claim: &Claim,
    error: &SendError,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let dead = &claim.stored.notification;
    if !notifications::finish(tx, claim, NotificationState::Dead, now, Some(error.class)).await? {
        return Ok(false);
    }
    if let Some(incident) = &dead.incident
        && dead.notice.announces()
    {
        notifications::cancel_unsent(tx, incident, EMAIL, &dead.recipient, now).await?;
    }
    let key = recipient_key(dead);
    let facts = recipient_facts(&mask(&dead.recipient), &dead.environment, error, now);
    alerting::record(ctx, tx, &[Signal::Firing { key, at: now, facts }]).await?;
    Ok(true)
}

async fn add_attempt(ctx: &Context, tx: &mut Tx, claim: &Claim, attempt: &Attempt) -> Result<(), StoreError> {
    let id = uuid_v7(ctx.now(), ctx.entropy.as_ref()).simple().to_string();
    notifications::add_attempt(tx, &id, &claim.stored.notification.id, attempt).await
}

/// The incident of the path as a whole; it belongs to no environment.
fn path_key() -> DedupKey {
    DedupKey { environment: String::new(), scope: String::new(), kind: IncidentKind::MailBroken }
}

/// The incident of one recipient, by an address that is not readable.
fn recipient_key(notification: &Notification) -> DedupKey {
    DedupKey {
        environment: notification.environment.clone(),
        scope: mask(&notification.recipient),
        kind: IncidentKind::MailBroken,
    }
}

fn path_facts(attempts: u32, error: &SendError, now: Timestamp) -> Facts {
    Facts {
        severity: Severity::Critical,
        label: "MAIL BROKEN".into(),
        subject: "deploywatch mail path".into(),
        headline: "No mail can be sent until its settings are changed".into(),
        since: now,
        next_steps: vec![
            "Read what the mail server said below and correct email.smtp in the settings".into(),
            "Run `deploywatch notify test` to see whether mails go out again".into(),
        ],
        context: Vec::new(),
        members: vec![member("smtp", "the mail server takes a message", error, attempts, now)],
    }
}

fn recipient_facts(masked: &str, environment: &str, error: &SendError, now: Timestamp) -> Facts {
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
fn in_a_log(error: &SendError) -> String {
    match error.code {
        Some(code) => format!("refused with {code} at the step `{}`", error.stage.as_str()),
        None => format!("failed at the step `{}` ({})", error.stage.as_str(), error.class.as_str()),
    }
}

fn jitter(ctx: &Context) -> f64 {
    let mut byte = [0_u8; 1];
    ctx.entropy.fill(&mut byte);
    f64::from(byte[0]) / 256.0
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
