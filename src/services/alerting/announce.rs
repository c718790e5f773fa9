//! Writes the notification rows: who is told what, in which words.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::clock::Timestamp;
use crate::domain::ids::NotificationId;
use crate::domain::incident::{Facts, Incident, IncidentKind};
use crate::domain::notification::{Notice, NotificationState};
use crate::email::{Desk, Letter, mask, prepare};
use crate::services::Context;
use crate::store::notifications::{self, Notification};
use crate::store::{StoreError, Tx};

/// The channel of mails; second channels have names of their own.
pub const EMAIL: &str = "email";

/// Who is told about an environment; those of `[email]` where it names nobody.
pub fn recipients(ctx: &Context, environment: &str) -> Vec<String> {
    let own = ctx.settings.environments.get(environment).map(|found| found.recipients.as_slice());
    let all = own.filter(|own| !own.is_empty()).unwrap_or(&ctx.settings.email.recipients);
    let mut seen = BTreeSet::new();
    all.iter().filter(|address| seen.insert(address.trim().to_lowercase())).cloned().collect()
}

/// Tells everybody on call about an open incident.
pub async fn incident(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    notice: Notice,
) -> Result<(), StoreError> {
    let Some(people) = told_of(ctx, incident) else { return Ok(()) };
    for recipient in &people {
        write(ctx, tx, incident, notice, recipient, people.len() - 1).await?;
    }
    if people.is_empty() {
        // Settings for `serve` refuse this; a command that runs without recipients says so instead of nothing.
        tracing::warn!(incident = %incident.id, "nobody is configured to be told about this incident");
    }
    Ok(())
}

/// Who is to be told of an incident; `None` where a mail would be pointless, since it is about mail itself.
fn told_of(ctx: &Context, incident: &Incident) -> Option<Vec<String>> {
    let mut people = recipients(ctx, &incident.key.environment);
    if incident.key.kind == IncidentKind::MailBroken {
        if incident.key.scope.is_empty() {
            return None;
        }
        people.retain(|address| mask(address) != incident.key.scope);
        if people.is_empty() {
            return None;
        }
    }
    Some(people)
}

/// Tells whoever was told of the problem that it is over, each at most once and nobody else.
pub async fn resolved(ctx: &Context, tx: &mut Tx, incident: &Incident) -> Result<(), StoreError> {
    let mut last: BTreeMap<String, notifications::Stored> = BTreeMap::new();
    let all = notifications::list_of_incident(tx, &incident.id).await?;
    for stored in all
        .iter()
        .filter(|stored| stored.notification.channel == EMAIL && stored.notification.notice.announces())
    {
        last.insert(stored.notification.recipient.clone(), stored.clone());
    }
    let others = last.len().saturating_sub(1);
    for (recipient, announced) in last {
        match announced.state {
            NotificationState::Dead | NotificationState::Cancelled => continue,
            NotificationState::Pending => {
                let mail =
                    letter(ctx, &announced.notification.id, incident, Notice::Recovered, &recipient, others);
                let mut content = prepare(&Desk::of(&ctx.settings), &mail);
                content.message_id.clone_from(&announced.notification.content.message_id);
                let id = &announced.notification.id;
                if notifications::replace_unsent(tx, id, Notice::Recovered, &content).await? {
                    notifications::cancel_follow_ups(tx, &incident.id, EMAIL, &recipient, ctx.now()).await?;
                    continue;
                }
            }
            NotificationState::Sending | NotificationState::Sent | NotificationState::Digested => {}
        }
        write(ctx, tx, incident, Notice::Resolved, &recipient, others).await?;
    }
    Ok(())
}

/// A report goes out once for each (environment, scope).
pub async fn report(
    ctx: &Context,
    tx: &mut Tx,
    environment: &str,
    scope: &str,
    at: Timestamp,
    facts: &Facts,
) -> Result<(), StoreError> {
    let people = recipients(ctx, environment);
    for recipient in &people {
        let id = NotificationId::new(ctx.now(), ctx.entropy.as_ref());
        let letter = Letter {
            id: &id,
            notice: Notice::Report,
            environment,
            incident: None,
            facts,
            recipient,
            others: people.len() - 1,
            next_reminder: None,
            now: at,
        };
        let row = Notification {
            dedupe: format!("report/{environment}/{scope}/{EMAIL}/{}", recipient.to_lowercase()),
            channel: EMAIL.into(),
            incident: None,
            environment: environment.into(),
            notice: Notice::Report,
            severity: facts.severity.as_str().into(),
            recipient: recipient.clone(),
            content: prepare(&Desk::of(&ctx.settings), &letter),
            created_at: ctx.now(),
            not_before: ctx.now(),
            id,
        };
        notifications::insert(tx, &row).await?;
    }
    Ok(())
}

async fn write(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    notice: Notice,
    recipient: &str,
    others: usize,
) -> Result<(), StoreError> {
    let now = ctx.now();
    let id = NotificationId::new(now, ctx.entropy.as_ref());
    let mail = letter(ctx, &id, incident, notice, recipient, others);
    let row = Notification {
        dedupe: format!(
            "{}/{}/{}/{}/{EMAIL}/{}",
            incident.id,
            incident.reopened,
            notice.as_str(),
            now.as_microsecond(),
            recipient.to_lowercase()
        ),
        channel: EMAIL.into(),
        incident: Some(incident.id.clone()),
        environment: incident.key.environment.clone(),
        notice,
        severity: incident.facts.severity.as_str().into(),
        recipient: recipient.into(),
        content: prepare(&Desk::of(&ctx.settings), &mail),
        created_at: now,
        not_before: now,
        id: id.clone(),
    };
    notifications::insert(tx, &row).await?;
    Ok(())
}

fn letter<'a>(
    ctx: &Context,
    id: &'a NotificationId,
    incident: &'a Incident,
    notice: Notice,
    recipient: &'a str,
    others: usize,
) -> Letter<'a> {
    Letter {
        id,
        notice,
        environment: &incident.key.environment,
        incident: Some(incident),
        facts: &incident.facts,
        recipient,
        others,
        next_reminder: incident.next_reminder(&super::policy(ctx)),
        now: ctx.now(),
    }
}
