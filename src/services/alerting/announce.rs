//! Writes the notification rows: who is told what, in which words.

use std::collections::BTreeMap;

use super::broadcast;
use crate::domain::check::Severity;
use crate::domain::clock::Timestamp;
use crate::domain::ids::NotificationId;
use crate::domain::incident::{Facts, Incident, IncidentKind};
use crate::domain::notification::{Held, Notice, NotificationState};
use crate::domain::oncall::{Called, same_address};
use crate::email::{Desk, Letter, Links, mask, prepare};
use crate::services::{Context, links, oncall};
use crate::store::links::wants_no_reports;
use crate::store::notifications::{self, Notification};
use crate::store::{StoreError, Tx, outbox};

/// The channel of mails; second channels have names of their own.
pub const EMAIL: &str = "email";

/// Tells whoever is on call about an open incident.
pub async fn incident(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    notice: Notice,
) -> Result<(), StoreError> {
    broadcast::incident(ctx, tx, incident, notice).await?;
    let Some(mut people) = told_of(ctx, tx, incident, notice).await? else { return Ok(()) };
    let earlier: Vec<notifications::Stored> = notifications::list_of_incident(tx, &incident.id).await?;
    let earlier: Vec<_> = earlier.into_iter().filter(|s| s.notification.channel == EMAIL).collect();
    if notice == Notice::Escalated {
        let since = incident.told.first_at.unwrap_or(incident.opened_at);
        people.retain(|called| {
            !earlier.iter().any(|s| is_to(s, &called.person.email) && s.notification.created_at >= since)
        });
    }
    let mut told = Vec::new();
    for called in &people {
        let recipient = called.person.email.as_str();
        let announced =
            earlier.iter().rev().find(|s| is_to(s, recipient) && s.notification.notice.announces());
        let held = announced.filter(|s| s.held == Some(Held::Quiet) && s.state == NotificationState::Pending);
        if let Some(held) = held {
            // Its first mail still waits for the morning; it says what is true now, and goes at once if it must.
            renew(ctx, tx, incident, held, people.len() - 1).await?;
            if incident.facts.severity == Severity::Critical {
                outbox::release(tx, &held.notification.id, ctx.now()).await?;
            }
            continue;
        }
        // Whoever came on call meanwhile has no thread to remind of.
        let notice = if announced.is_none() && !notice.announces() && notice != Notice::Flapping {
            Notice::Opened
        } else {
            notice
        };
        write(ctx, tx, incident, notice, recipient, people.len() - 1).await?;
        told.push(match &called.by {
            Some(rotation) => format!("{} ({rotation})", mask(recipient)),
            None => mask(recipient),
        });
    }
    if people.is_empty() {
        // Settings for `serve` refuse this; a command that runs without recipients says so instead of nothing.
        tracing::warn!(incident = %incident.id, "nobody is configured to be told about this incident");
    }
    if !told.is_empty() {
        let detail = format!("{} to {}", notice.as_str(), told.join(", "));
        super::add_event(ctx, tx, &incident.id, "deploywatch", "told", &detail).await?;
    }
    Ok(())
}

fn is_to(stored: &notifications::Stored, recipient: &str) -> bool {
    same_address(&stored.notification.recipient, recipient)
}

/// First mails of an incident that wait for the end of quiet hours.
pub async fn held(tx: &mut Tx, incident: &Incident) -> Result<Vec<notifications::Stored>, StoreError> {
    let mut all = notifications::list_of_incident(tx, &incident.id).await?;
    all.retain(|s| {
        s.held == Some(Held::Quiet)
            && s.state == NotificationState::Pending
            && s.notification.notice.announces()
            && s.notification.channel == EMAIL
    });
    Ok(all)
}

/// What waited for the morning is the newer deploy's to tell.
pub async fn withdraw_held(ctx: &Context, tx: &mut Tx, incident: &Incident) -> Result<(), StoreError> {
    for first in held(tx, incident).await? {
        notifications::withdraw(tx, &first.notification.id, ctx.now()).await?;
    }
    Ok(())
}

/// Lets an unsent first mail say what is true now.
pub async fn renew(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    held: &notifications::Stored,
    others: usize,
) -> Result<(), StoreError> {
    let mail = &held.notification;
    let letter = letter(ctx, &mail.id, incident, mail.notice, &mail.recipient, others);
    let mut content = prepare(&Desk::of(&ctx.settings), &letter);
    content.message_id.clone_from(&mail.content.message_id);
    notifications::replace_unsent(tx, &mail.id, mail.notice, &content).await?;
    Ok(())
}

/// Who is to be told of an incident; `None` where a mail would be pointless, since it is about mail itself.
async fn told_of(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    notice: Notice,
) -> Result<Option<Vec<Called>>, StoreError> {
    let environment = &incident.key.environment;
    let mut people = match notice {
        Notice::Escalated => Vec::new(),
        _ => oncall::called(ctx, tx, environment, incident.facts.severity).await?,
    };
    // From the second step on both steps hear of it.
    if notice == Notice::Escalated || incident.told.escalated_at.is_some() {
        for called in oncall::second(ctx, tx, environment).await? {
            if !people.iter().any(|known| same_address(&known.person.email, &called.person.email)) {
                people.push(called);
            }
        }
    }
    if incident.key.kind == IncidentKind::MailBroken {
        if incident.key.scope.is_empty() {
            return Ok(None);
        }
        people.retain(|called| mask(&called.person.email) != incident.key.scope);
        if people.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(people))
}

/// Tells whoever was told of the problem that it is over, each at most once and nobody else.
pub async fn resolved(ctx: &Context, tx: &mut Tx, incident: &Incident) -> Result<(), StoreError> {
    broadcast::follow_up(ctx, tx, incident, Notice::Resolved).await?;
    let mut last: BTreeMap<String, notifications::Stored> = BTreeMap::new();
    let all = notifications::list_of_incident(tx, &incident.id).await?;
    for stored in all.iter().filter(|stored| stored.notification.channel == EMAIL) {
        let recipient = stored.notification.recipient.clone();
        match stored.notification.notice {
            notice if notice.announces() => {
                last.insert(recipient, stored.clone());
            }
            // Whoever knows of it by this alone is told of its end too.
            Notice::Flapping => {
                last.entry(recipient).or_insert_with(|| stored.clone());
            }
            _ => {}
        }
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
    broadcast::report(ctx, tx, environment, scope, facts).await?;
    let people = oncall::called(ctx, tx, environment, facts.severity).await?;
    for called in &people {
        let recipient = &called.person.email;
        if is_optional(scope) && wants_no_reports(tx, environment, recipient).await? {
            continue;
        }
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
            links: links_of_report(ctx, &id, scope),
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
            id: id.clone(),
        };
        if notifications::insert(tx, &row).await? {
            wait_for_the_morning(ctx, tx, &id, environment, facts.severity).await?;
        }
    }
    Ok(())
}

/// What a deploy came to is news that a person may do without; all else comes in any case.
fn is_optional(scope: &str) -> bool {
    scope.starts_with("dep_")
}

/// A report's page is its deploy's.
fn links_of_report(ctx: &Context, id: &NotificationId, scope: &str) -> Links {
    let deploy = scope.rsplit('/').next().filter(|part| part.starts_with("dep_"));
    let base = ctx.settings.http.public_url.as_ref().zip(deploy);
    let page = base.map(|(url, deploy)| format!("{}/deploys/{deploy}", url.as_str().trim_end_matches('/')));
    Links {
        page: page.map(|url| ("Open the deploy", url)),
        unsubscribe: if is_optional(scope) { links::of_report(ctx, id, ctx.now()) } else { None },
        ..Links::default()
    }
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
    wait_for_the_morning(ctx, tx, &id, &incident.key.environment, incident.facts.severity).await
}

/// What is not critical waits for the end of quiet hours.
async fn wait_for_the_morning(
    ctx: &Context,
    tx: &mut Tx,
    id: &NotificationId,
    environment: &str,
    severity: Severity,
) -> Result<(), StoreError> {
    match oncall::quiet_until(ctx, environment, severity) {
        Some(until) => outbox::hold_new(tx, id, until, Held::Quiet).await,
        None => Ok(()),
    }
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
        next_reminder: incident.next_reminder(&super::policy_of(ctx, incident)),
        links: Links { actions: links::of_incident(ctx, id, incident, ctx.now()), ..Links::default() },
        now: ctx.now(),
    }
}
