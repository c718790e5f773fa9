//! Keeps a storm from burying its own news: a capped number of mails to a recipient, then one that tells the rest.

use crate::domain::check::Severity;
use crate::domain::clock::Timestamp;
use crate::domain::ids::NotificationId;
use crate::domain::incident::{Facts, Member};
use crate::domain::notification::{Held, Notice};
use crate::domain::storm::{Pace, WINDOW, pace};
use crate::email::{Desk, Letter, Links, prepare};
use crate::services::Context;
use crate::services::alerting::announce::EMAIL;
use crate::services::alerting::broadcast;
use crate::store::notifications::{self, Claim, Notification, Stored};
use crate::store::{StoreError, Tx, outbox};

/// Messages that one digest tells; more become the next one.
const DIGEST: u32 = 500;

/// Whether the claimed message goes out as it is. If not, it has been put into a digest or given back.
pub async fn lets_through(ctx: &Context, claim: &Claim) -> Result<bool, StoreError> {
    let stored = &claim.stored;
    let mail = &stored.notification;
    let asked_for = matches!(mail.notice, Notice::Test | Notice::Digest);
    // What a server may have seen must go out as the same mail.
    if asked_for || stored.maybe_taken {
        return Ok(true);
    }
    let now = ctx.now();
    let cap = ctx.settings.alerts.max_mails_per_10_minutes;
    let sent = {
        let mut reader = ctx.db.reader().await?;
        outbox::list_sent_since(&mut reader, &mail.channel, &mail.recipient, now - WINDOW).await?
    };
    let pace = pace(&sent, cap, stored.held == Some(Held::Storm), now);
    if pace == Pace::Send {
        return Ok(true);
    }
    let mut tx = ctx.db.begin().await?;
    match pace {
        Pace::Send => {}
        Pace::Hold(until) => {
            outbox::hold(&mut tx, claim, until, Held::Storm).await?;
            let behind = outbox::hold_recipient(&mut tx, &mail.channel, &mail.recipient, until).await?;
            tracing::info!(behind, "messages to one recipient are held back by the storm guard");
        }
        Pace::Digest => write_digest(ctx, &mut tx, claim, now).await?,
    }
    tx.commit().await?;
    ctx.metrics.mail("held");
    Ok(false)
}

async fn write_digest(ctx: &Context, tx: &mut Tx, claim: &Claim, now: Timestamp) -> Result<(), StoreError> {
    let (channel, recipient) = (&claim.stored.notification.channel, &claim.stored.notification.recipient);
    let mut told = outbox::list_waiting_for(tx, channel, recipient, now, DIGEST).await?;
    told.insert(0, claim.stored.clone());
    let id = NotificationId::new(now, ctx.entropy.as_ref());
    let ids: Vec<NotificationId> = told.iter().map(|stored| stored.notification.id.clone()).collect();
    let facts = facts(ctx, &told);
    let row = match broadcast::digest(ctx, channel, &facts, id.clone()) {
        Some(row) => row,
        None => mail(ctx, recipient, &facts, &id, now),
    };
    notifications::insert(tx, &row).await?;
    outbox::put_into_digest(tx, &id, &ids, now).await?;
    tracing::info!(digest = %id, messages = ids.len(), "many messages to one recipient become a digest");
    Ok(())
}

fn mail(ctx: &Context, recipient: &str, facts: &Facts, id: &NotificationId, now: Timestamp) -> Notification {
    let letter = Letter {
        id,
        notice: Notice::Digest,
        environment: "",
        incident: None,
        facts,
        recipient,
        others: 0,
        next_reminder: None,
        links: Links::default(),
        now,
    };
    Notification {
        dedupe: format!("digest/{id}"),
        channel: EMAIL.into(),
        incident: None,
        environment: String::new(),
        notice: Notice::Digest,
        severity: facts.severity.as_str().into(),
        recipient: recipient.to_owned(),
        content: prepare(&Desk::of(&ctx.settings), &letter),
        created_at: now,
        not_before: now,
        id: id.clone(),
    }
}

/// What the digest says: that there is a cap, and every message by its subject and first line, the worst first.
fn facts(ctx: &Context, told: &[Stored]) -> Facts {
    let cap = ctx.settings.alerts.max_mails_per_10_minutes;
    let mut members: Vec<Member> = told.iter().map(member).collect();
    members.sort_by_key(|member| member.severity);
    let count = told.len();
    let what = if count == 1 { "1 message".to_owned() } else { format!("{count} messages in one") };
    let mut next_steps = vec![
        "Start with the worst, which stand first".to_owned(),
        format!(
            "What else comes up within these ten minutes is collected as well; the cap is \
             alerts.max_mails_per_10_minutes = {cap}"
        ),
    ];
    if let Some(url) = &ctx.settings.http.public_url {
        next_steps.insert(0, format!("See all that is open: {url}"));
    }
    Facts {
        severity: members.iter().map(|member| member.severity).min().unwrap_or(Severity::Info),
        label: format!("DIGEST {count}"),
        subject: "deploywatch mails to you".into(),
        headline: format!("{what}: you are sent at most {cap} in 10 minutes, and there were more"),
        since: told.iter().map(|stored| stored.notification.created_at).min().unwrap_or(ctx.now()),
        next_steps,
        context: Vec::new(),
        members,
    }
}

fn member(stored: &Stored) -> Member {
    let mail = &stored.notification;
    let text = said(mail);
    let severity = [Severity::Critical, Severity::Warning, Severity::Info]
        .into_iter()
        .find(|severity| severity.as_str() == mail.severity);
    Member {
        key: mail.id.as_str().to_owned(),
        title: mail.content.subject.clone(),
        severity: severity.unwrap_or(Severity::Info),
        expected: String::new(),
        observed: String::new(),
        baseline: None,
        change: None,
        first_seen_at: mail.created_at,
        count: 0,
        runs: 0,
        message: text,
        runbook: None,
    }
}

/// The headline of a message: a mail's first line without its status, or what a chat shows in its notification.
fn said(mail: &Notification) -> String {
    if mail.channel != EMAIL {
        let message: Option<serde_json::Value> = serde_json::from_str(&mail.content.text).ok();
        let text = message.as_ref().and_then(|message| message["text"].as_str()).unwrap_or_default();
        return text.split_once("] ").map_or(text, |(_, headline)| headline).to_owned();
    }
    let first = mail.content.text.lines().next().unwrap_or_default();
    first.split_once(": ").map_or(first, |(_, headline)| headline).to_owned()
}
