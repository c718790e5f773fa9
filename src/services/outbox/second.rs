//! Sends what the outbox holds for second channels. Each channel has its own turn, so that a slow one holds up
//! neither the others nor the mails.

use std::time::Instant;

use super::{Sending, add_attempt, claim, jitter, millis, storm};
use crate::channels::{self, Failure, Taken};
use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::incident::{DedupKey, Facts, IncidentKind, Member, Signal};
use crate::domain::notification::{FailureClass, NotificationState, Retry, Stage, retry};
use crate::services::Context;
use crate::services::alerting::announce::EMAIL;
use crate::services::alerting::{self, broadcast};
use crate::settings::{Channel, ChannelKind};
use crate::store::notifications::{self, Attempt, Claim, MaybeTaken};
use crate::store::{StoreError, Tx};

/// Messages of one activation for one channel.
const BURST: u64 = 50;
/// A channel that fails by itself is a person's business after this long.
const BROKEN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// Sends everything that is due, all channels beside each other.
pub async fn send_due(ctx: &Context) -> Result<Sending, StoreError> {
    if ctx.settings.channels.is_empty() {
        return Ok(Sending::default());
    }
    let lanes = ctx.settings.channels.iter().map(|(name, channel)| send_to(ctx, name, channel));
    let mut all = Sending::default();
    for lane in futures_util::future::join_all(lanes).await {
        let lane = lane?;
        all.sent += lane.sent;
        all.failed += lane.failed;
        all.problem = all.problem.or(lane.problem);
    }
    Ok(all)
}

/// Cancels what waits for channels that the settings no longer have.
pub async fn cancel_orphans(ctx: &Context, tx: &mut Tx) -> Result<u64, StoreError> {
    let mut gone = 0;
    for channel in notifications::list_waiting_channels(tx).await? {
        if channel != EMAIL && !ctx.settings.channels.contains_key(&channel) {
            gone += notifications::cancel_channel(tx, &channel, ctx.now()).await?;
        }
    }
    Ok(gone)
}

/// Sends what is due to one channel, in order, until it is done or a message is not taken.
pub async fn send_to(ctx: &Context, name: &str, channel: &Channel) -> Result<Sending, StoreError> {
    let mut report = Sending::default();
    let mut held = 0;
    while report.sent + report.failed + held < BURST {
        let Some(claim) = claim(ctx, name).await? else { break };
        // A chat is read by people, whom a storm buries. Programs take all, and a pager keeps one alarm for each
        // incident, whose end it must hear.
        if channel.kind == ChannelKind::Slack && !storm::lets_through(ctx, &claim).await? {
            held += 1;
            continue;
        }
        let content = &claim.stored.notification.content;
        let began = Instant::now();
        let outcome = channels::send(channel, &content.message_id, &content.text, ctx.now()).await;
        let took = millis(began.elapsed());
        match outcome {
            Ok(taken) => {
                delivered(ctx, name, &claim, taken, took).await?;
                report.sent += 1;
            }
            Err(failure) => {
                failed(ctx, name, &claim, &failure, took).await?;
                report.failed += 1;
                if failure.class != FailureClass::Message {
                    report.problem = Some(format!("channel {name}: {}", failure.text));
                    break;
                }
            }
        }
    }
    Ok(report)
}

async fn delivered(
    ctx: &Context,
    channel: &str,
    claim: &Claim,
    taken: Taken,
    duration_ms: u64,
) -> Result<(), StoreError> {
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    if notifications::finish(&mut tx, claim, NotificationState::Sent, now, None).await? {
        let answer = format!("{} {}", taken.status, taken.answer).trim().to_owned();
        let code = Some(taken.status);
        let attempt = Attempt { at: now, duration_ms, sent: true, stage: None, class: None, code, answer };
        add_attempt(ctx, &mut tx, claim, &attempt).await?;
        notifications::wake(&mut tx, channel, now).await?;
        let note = "a message was handed over".into();
        alerting::record(ctx, &mut tx, &[Signal::Cleared { key: key(channel), at: now, note }]).await?;
    }
    tx.commit().await?;
    ctx.metrics.mail("sent");
    tracing::info!(notification = %claim.stored.notification.id, channel, code = taken.status, "message handed over");
    Ok(())
}

async fn failed(
    ctx: &Context,
    channel: &str,
    claim: &Claim,
    failure: &Failure,
    duration_ms: u64,
) -> Result<(), StoreError> {
    let (now, stored) = (ctx.now(), &claim.stored);
    let next = retry(failure.class, stored.attempts, stored.tried_from, now, jitter(ctx));
    let mut tx = ctx.db.begin().await?;
    let attempt = Attempt {
        at: now,
        duration_ms,
        sent: false,
        stage: Some(failure.stage),
        class: Some(failure.class),
        code: failure.code,
        answer: failure.text.clone(),
    };
    add_attempt(ctx, &mut tx, claim, &attempt).await?;
    let held = match next {
        Retry::At(at) => {
            let unsure = failure.stage == Stage::Content && failure.code.is_none();
            let maybe = if unsure { MaybeTaken::Yes } else { MaybeTaken::No };
            notifications::postpone(&mut tx, claim, at, failure.class, maybe).await?
        }
        Retry::Never => {
            notifications::finish(&mut tx, claim, NotificationState::Dead, now, Some(failure.class)).await?
        }
    };
    let lasting = now.duration_since(stored.tried_from) >= BROKEN_AFTER;
    if held && (lasting || next == Retry::Never || failure.class == FailureClass::Configuration) {
        broken(ctx, &mut tx, channel, failure, stored.attempts, now).await?;
    }
    tx.commit().await?;
    ctx.metrics.mail(if next == Retry::Never { "dead" } else { "retry" });
    tracing::warn!(
        notification = %stored.notification.id,
        channel,
        stage = failure.stage.as_str(),
        class = failure.class.as_str(),
        code = failure.code,
        retry = next != Retry::Never,
        "message not handed over"
    );
    Ok(())
}

/// A channel that takes nothing is told by mail and by the other channels.
async fn broken(
    ctx: &Context,
    tx: &mut Tx,
    channel: &str,
    failure: &Failure,
    count: u32,
    now: Timestamp,
) -> Result<(), StoreError> {
    let member = Member {
        key: channel.into(),
        title: format!("channel {channel}"),
        severity: Severity::Critical,
        expected: "it takes a message".into(),
        // The receiver's own words stay in the log of attempts.
        observed: match failure.code {
            Some(code) => format!("refused with {code}"),
            None => format!("failed at the step `{}`", failure.stage.as_str()),
        },
        baseline: None,
        change: None,
        first_seen_at: now,
        count,
        runs: 0,
        message: String::new(),
        runbook: None,
    };
    let facts = Facts {
        severity: Severity::Critical,
        label: "CHANNEL BROKEN".into(),
        subject: format!("deploywatch channel {channel}"),
        headline: format!("The channel {channel} takes no messages; mails go out as ever"),
        since: now,
        next_steps: vec![
            format!("Correct channels.{channel} in the settings"),
            format!("Run `deploywatch notify test --channel {channel}` to see what it answers"),
        ],
        context: Vec::new(),
        members: vec![member],
    };
    alerting::record(ctx, tx, &[Signal::Firing { key: key(channel), at: now, facts }]).await
}

fn key(channel: &str) -> DedupKey {
    let scope = broadcast::scope_of(channel);
    DedupKey { environment: String::new(), scope, kind: IncidentKind::MailBroken }
}
