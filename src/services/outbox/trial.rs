//! A mail sent by hand, through the same rows, words and sender as every other.

use std::time::Duration;

use super::second;
use crate::domain::check::Severity;
use crate::domain::ids::NotificationId;
use crate::domain::incident::Facts;
use crate::domain::notification::{Notice, NotificationState};
use crate::email::{Desk, Letter, Links, prepare};
use crate::services::Context;
use crate::services::alerting::announce::EMAIL;
use crate::services::alerting::broadcast;
use crate::settings::EmailTransport;
use crate::store::StoreError;
use crate::store::notifications::{self, Attempt, Notification, Stored};

/// Between two looks at a message that another process is sending.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Writes a test mail to each of `people` and returns the rows' names.
pub async fn write(ctx: &Context, people: &[String]) -> Result<Vec<NotificationId>, StoreError> {
    let now = ctx.now();
    let facts = facts(ctx);
    let mut ids = Vec::new();
    let mut tx = ctx.db.begin().await?;
    for recipient in people {
        let id = NotificationId::new(now, ctx.entropy.as_ref());
        let letter = Letter {
            id: &id,
            notice: Notice::Test,
            environment: "",
            incident: None,
            facts: &facts,
            recipient,
            others: people.len() - 1,
            next_reminder: None,
            links: Links::default(),
            now,
        };
        let row = Notification {
            dedupe: format!("test/{id}"),
            channel: EMAIL.into(),
            incident: None,
            environment: String::new(),
            notice: Notice::Test,
            severity: facts.severity.as_str().into(),
            recipient: recipient.clone(),
            content: prepare(&Desk::of(&ctx.settings), &letter),
            created_at: now,
            not_before: now,
            id: id.clone(),
        };
        notifications::insert(&mut tx, &row).await?;
        ids.push(id);
    }
    tx.commit().await?;
    Ok(ids)
}

/// Writes a test message to a channel, or the end of one, which closes what a pager opened for it. `None`: the
/// settings have no such channel.
pub async fn write_to_channel(
    ctx: &Context,
    channel: &str,
    notice: Notice,
) -> Result<Option<NotificationId>, StoreError> {
    let id = NotificationId::new(ctx.now(), ctx.entropy.as_ref());
    let mut facts = facts(ctx);
    facts.subject = format!("deploywatch channel {channel}");
    facts.headline = format!("Messages from deploywatch reach the channel {channel}");
    facts.context.retain(|(label, _)| label != "sent through");
    let Some(row) = broadcast::trial(ctx, channel, notice, &facts, id.clone()) else { return Ok(None) };
    let mut tx = ctx.db.begin().await?;
    notifications::insert(&mut tx, &row).await?;
    tx.commit().await?;
    Ok(Some(id))
}

/// Sends until the message has been tried once, here or by a running server, and says what came of it. A
/// message that failed is withdrawn: a test that arrives an hour later would only confuse.
pub async fn try_once(ctx: &Context, id: &NotificationId) -> Result<(Stored, Vec<Attempt>), StoreError> {
    let seconds = ctx.settings.email.smtp.attempt_seconds.saturating_mul(2).saturating_add(5);
    let wait = async {
        loop {
            send(ctx, id).await?;
            let stored = notifications::get(&mut *ctx.db.reader().await?, id).await?;
            let stored = stored.ok_or_else(|| StoreError::Corrupt(format!("{id} has vanished")))?;
            let waiting = match stored.state {
                NotificationState::Pending => stored.attempts == 0,
                NotificationState::Sending => true,
                _ => false,
            };
            if !waiting {
                return Ok::<_, StoreError>(stored);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let stored = match tokio::time::timeout(Duration::from_secs(seconds), wait).await {
        Ok(stored) => stored?,
        Err(_) => notifications::get(&mut *ctx.db.reader().await?, id)
            .await?
            .ok_or_else(|| StoreError::Corrupt(format!("{id} has vanished")))?,
    };
    if stored.state == NotificationState::Pending {
        let mut tx = ctx.db.begin().await?;
        notifications::withdraw(&mut tx, id, ctx.now()).await?;
        tx.commit().await?;
    }
    let attempts = notifications::list_attempts(&mut *ctx.db.reader().await?, id).await?;
    Ok((stored, attempts))
}

/// Sends what is due on the message's own way.
async fn send(ctx: &Context, id: &NotificationId) -> Result<(), StoreError> {
    let stored = notifications::get(&mut *ctx.db.reader().await?, id).await?;
    let channel = stored.map_or_else(|| EMAIL.to_owned(), |stored| stored.notification.channel);
    match ctx.settings.channels.get(&channel) {
        Some(settings) => second::send_to(ctx, &channel, settings).await?,
        None => super::send_due(ctx).await?,
    };
    Ok(())
}

fn facts(ctx: &Context) -> Facts {
    let email = &ctx.settings.email;
    let path = match email.transport {
        EmailTransport::Smtp => format!("SMTP by {}:{}", email.smtp.host, email.smtp.port),
        EmailTransport::Directory => format!("files in {}", email.directory.display()),
        EmailTransport::Memory => "memory".into(),
    };
    let watched: Vec<&str> = ctx.settings.environments.keys().map(String::as_str).collect();
    Facts {
        severity: Severity::Info,
        label: "TEST".into(),
        subject: "deploywatch mail path".into(),
        headline: "Mails from deploywatch reach you".into(),
        since: ctx.now(),
        next_steps: vec!["Nothing: this mail only shows that the path works".into()],
        context: vec![
            ("sent through".into(), path),
            ("watches".into(), if watched.is_empty() { "nothing yet".into() } else { watched.join(", ") }),
            ("version".into(), env!("CARGO_PKG_VERSION").into()),
        ],
        members: Vec::new(),
    }
}
