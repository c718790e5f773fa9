//! Sends what the outbox holds: claims a message under a lease, hands it over, records the attempt.
//!
//! A message whose sender died is claimed again when its lease ends and goes out with the same Message-ID:
//! at least once, twice only if the death fell between the server's answer and our commit.

pub mod admin;
mod lateness;
pub mod path;
pub mod second;
mod storm;
pub mod trial;
pub mod view;

use std::time::{Duration, Instant};

use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::uuid_v7;
use crate::domain::incident::Signal;
use crate::domain::notification::{NotificationState, Retry, Stage, retry};
use crate::email::{Burst, Mail, SendError, Taken, mask};
use crate::services::alerting::announce::EMAIL;
use crate::services::{Context, alerting};
use crate::store::notifications::{self, Attempt, Claim, MaybeTaken};
use crate::store::{StoreError, Tx, outbox};

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

/// The provider's cap counts over this long.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Sends everything that is due. The numbers that operators watch are taken at the end.
pub async fn send_due(ctx: &Context) -> Result<Sending, StoreError> {
    let report = send_mails(ctx).await?;
    path::measure(ctx).await?;
    Ok(report)
}

/// One mail after the other over one connection. A failure of the path ends the activation, so that a silent
/// server costs one attempt and not one for each message.
async fn send_mails(ctx: &Context) -> Result<Sending, StoreError> {
    let mut report = Sending::default();
    let mut burst: Option<Burst> = None;
    let mut held = 0;
    while report.sent + report.failed + held < BURST {
        if is_at_the_cap(ctx).await? {
            break;
        }
        let Some(claim) = claim(ctx, EMAIL).await? else { break };
        if !storm::lets_through(ctx, &claim).await? {
            held += 1;
            continue;
        }
        let started = Instant::now();
        let outcome = hand_over(ctx, &mut burst, &claim).await?;
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
                    report.problem = Some(path::in_a_log(&error));
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

/// Whether the provider takes no more mails for now. Counted in the store, so that several processes share it.
async fn is_at_the_cap(ctx: &Context) -> Result<bool, StoreError> {
    let cap = u64::from(ctx.settings.email.max_per_minute);
    if cap == 0 {
        return Ok(false);
    }
    let since = ctx.now() - MINUTE;
    Ok(outbox::count_sent_since(&mut *ctx.db.reader().await?, EMAIL, since).await? >= cap)
}

async fn claim(ctx: &Context, channel: &str) -> Result<Option<Claim>, StoreError> {
    let now = ctx.now();
    let lease = uuid_v7(now, ctx.entropy.as_ref()).simple().to_string();
    let smtp = &ctx.settings.email.smtp;
    let attempt = SignedDuration::from_secs(i64::try_from(smtp.attempt_seconds).unwrap_or(60));
    let until = now + attempt + LEASE_MARGIN;
    let mut tx = ctx.db.begin().await?;
    let claim = notifications::claim(&mut tx, ctx.db.engine(), channel, now, &lease, until).await?;
    tx.commit().await?;
    Ok(claim)
}

/// One attempt. Whatever happens inside, it ends at the attempt's deadline.
async fn hand_over(
    ctx: &Context,
    burst: &mut Option<Burst>,
    claim: &Claim,
) -> Result<Result<Taken, SendError>, StoreError> {
    let notification = &claim.stored.notification;
    let mail = Mail {
        to: notification.recipient.clone(),
        content: lateness::content(ctx, claim).await?,
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
    Ok(match tokio::time::timeout(limit, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => {
            *burst = None;
            // Where it stood is unknown, so it may have been taken.
            Err(SendError::new(Stage::Content, None, "the attempt ran into its deadline"))
        }
    })
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
        let of_recipient = path::recipient_key(&claim.stored.notification);
        alerting::record(ctx, &mut tx, &[over(path::key()), over(of_recipient)]).await?;
    }
    tx.commit().await?;
    ctx.metrics.mail("sent");
    let mail = &claim.stored.notification;
    if mail.notice.announces() {
        ctx.metrics.alerted(now.duration_since(mail.created_at).as_secs_f64());
    }
    tracing::info!(notification = %id, code = taken.code, "mail handed over");
    Ok(())
}

async fn failed(ctx: &Context, claim: &Claim, error: &SendError, took: Duration) -> Result<(), StoreError> {
    let now = ctx.now();
    let stored = &claim.stored;
    let next = retry(error.class, stored.attempts, stored.tried_from, now, jitter(ctx));
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
    if held && path::is_broken(stored, error, now) {
        let facts = path::facts(stored.attempts, error, now);
        alerting::record(ctx, &mut tx, &[Signal::Firing { key: path::key(), at: now, facts }]).await?;
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
    let key = path::recipient_key(dead);
    let facts = path::recipient_facts(&mask(&dead.recipient), &dead.environment, error, now);
    alerting::record(ctx, tx, &[Signal::Firing { key, at: now, facts }]).await?;
    Ok(true)
}

async fn add_attempt(ctx: &Context, tx: &mut Tx, claim: &Claim, attempt: &Attempt) -> Result<(), StoreError> {
    let id = uuid_v7(ctx.now(), ctx.entropy.as_ref()).simple().to_string();
    notifications::add_attempt(tx, &id, &claim.stored.notification.id, attempt).await
}

fn jitter(ctx: &Context) -> f64 {
    let mut byte = [0_u8; 1];
    ctx.entropy.fill(&mut byte);
    f64::from(byte[0]) / 256.0
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
