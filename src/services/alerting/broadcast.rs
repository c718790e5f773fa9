//! The same news to second channels, through the same outbox. What is about the mail path itself is told here,
//! where mail cannot.

use crate::channels::{Bulletin, payload, title};
use crate::domain::check::Severity;
use crate::domain::clock::Timestamp;
use crate::domain::ids::NotificationId;
use crate::domain::incident::{Facts, Incident};
use crate::domain::notification::{Content, Held, Notice, NotificationState};
use crate::services::{Context, links, oncall};
use crate::settings::{Channel, ChannelKind};
use crate::store::notifications::{self, Notification, Stored};
use crate::store::{StoreError, Tx, outbox};

/// The scope of the incident that says that a channel takes no messages.
pub fn scope_of(channel: &str) -> String {
    format!("channel {channel}")
}

/// Tells every channel whose environments and severity fit.
pub async fn incident(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    notice: Notice,
) -> Result<(), StoreError> {
    let earlier = earlier(ctx, tx, incident).await?;
    for (name, channel) in &ctx.settings.channels {
        let fits =
            channel.is_for(&incident.key.environment) && channel.severity.takes(incident.facts.severity);
        // A channel cannot tell of its own end.
        if !fits || incident.key.scope == scope_of(name) {
            continue;
        }
        if let Some(held) = earlier.iter().find(|stored| is_held(stored, name)) {
            // Its first message still waits for the morning; it says what is true now, and goes at once if it must.
            renew(ctx, tx, (name, channel), incident, held).await?;
            if incident.facts.severity == Severity::Critical {
                outbox::release(tx, &held.notification.id, ctx.now()).await?;
            }
            continue;
        }
        // What a channel hears of first is an opening to it, whose end it is told.
        let known = earlier.iter().any(|stored| is_announcement(stored, name));
        let notice = if known || notice.announces() { notice } else { Notice::Opened };
        let id = write(ctx, tx, (name, channel), incident, notice).await?;
        // A pager wakes people, so that their quiet hours are its own. Chats and programs wake nobody.
        if channel.kind == ChannelKind::Pagerduty
            && let Some(until) = oncall::quiet_until(ctx, &incident.key.environment, incident.facts.severity)
        {
            outbox::hold_new(tx, &id, until, Held::Quiet).await?;
        }
    }
    Ok(())
}

/// Lets first messages that wait for the morning say what is true now.
pub async fn renew_held(ctx: &Context, tx: &mut Tx, incident: &Incident) -> Result<(), StoreError> {
    let earlier = earlier(ctx, tx, incident).await?;
    for (name, channel) in &ctx.settings.channels {
        if let Some(held) = earlier.iter().find(|stored| is_held(stored, name)) {
            renew(ctx, tx, (name, channel), incident, held).await?;
        }
    }
    Ok(())
}

/// Tells the channels that were told of the problem that somebody is on it, or that it is over. Where the problem
/// itself was not told yet, its end is no news.
pub async fn follow_up(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    notice: Notice,
) -> Result<(), StoreError> {
    let earlier = earlier(ctx, tx, incident).await?;
    for (name, channel) in &ctx.settings.channels {
        let told = earlier.iter().rev().find(|stored| is_announcement(stored, name));
        let Some(told) = told else { continue };
        if is_held(told, name) {
            if notice == Notice::Resolved {
                notifications::withdraw(tx, &told.notification.id, ctx.now()).await?;
            }
            continue;
        }
        if !matches!(told.state, NotificationState::Dead | NotificationState::Cancelled) {
            write(ctx, tx, (name, channel), incident, notice).await?;
        }
    }
    Ok(())
}

/// What was written of an incident, oldest first; nothing where there are no channels to look it up for.
async fn earlier(ctx: &Context, tx: &mut Tx, incident: &Incident) -> Result<Vec<Stored>, StoreError> {
    if ctx.settings.channels.is_empty() {
        return Ok(Vec::new());
    }
    notifications::list_of_incident(tx, &incident.id).await
}

fn is_announcement(stored: &Stored, channel: &str) -> bool {
    stored.notification.channel == channel && stored.notification.notice.announces()
}

/// Whether it waits for the end of quiet hours.
fn is_held(stored: &Stored, channel: &str) -> bool {
    is_announcement(stored, channel)
        && stored.held == Some(Held::Quiet)
        && stored.state == NotificationState::Pending
}

async fn renew(
    ctx: &Context,
    tx: &mut Tx,
    channel: (&String, &Channel),
    incident: &Incident,
    held: &Stored,
) -> Result<(), StoreError> {
    let mail = &held.notification;
    let row = of_incident(ctx, channel, incident, mail.notice, mail.id.clone());
    notifications::replace_unsent(tx, &mail.id, mail.notice, &row.content).await?;
    Ok(())
}

/// A report goes to the channels that want everything, once for each (environment, scope); a pager wants none.
pub async fn report(
    ctx: &Context,
    tx: &mut Tx,
    environment: &str,
    scope: &str,
    facts: &Facts,
) -> Result<(), StoreError> {
    for (name, channel) in &ctx.settings.channels {
        let fits = channel.is_for(environment) && channel.severity.takes(facts.severity);
        if !fits || channel.kind == ChannelKind::Pagerduty {
            continue;
        }
        let now = ctx.now();
        let id = NotificationId::new(now, ctx.entropy.as_ref());
        let bulletin = Bulletin {
            id: id.as_str(),
            notice: Notice::Report,
            environment,
            incident: None,
            facts,
            page: page(ctx, scope.starts_with("dep_").then(|| format!("deploys/{scope}"))),
            actions: Vec::new(),
            now,
        };
        let dedupe = format!("report/{environment}/{scope}/{name}");
        let row = row(&bulletin, (name, channel), dedupe, id.clone());
        notifications::insert(tx, &row).await?;
    }
    Ok(())
}

/// Many messages to a chat in one, with the page that lists what is open.
pub fn digest(ctx: &Context, name: &str, facts: &Facts, id: NotificationId) -> Option<Notification> {
    let channel = ctx.settings.channels.get(name)?;
    let bulletin = Bulletin {
        id: id.as_str(),
        notice: Notice::Digest,
        environment: "",
        incident: None,
        facts,
        page: page(ctx, Some(String::new())),
        actions: Vec::new(),
        now: ctx.now(),
    };
    Some(row(&bulletin, (name, channel), format!("digest/{id}"), id.clone()))
}

/// Tries a channel: the row of a test message. `None`: there is no such channel.
pub fn trial(
    ctx: &Context,
    name: &str,
    notice: Notice,
    facts: &Facts,
    id: NotificationId,
) -> Option<Notification> {
    let channel = ctx.settings.channels.get(name)?;
    let bulletin = Bulletin {
        // One key for the test and its end, so that a pager closes what it opened.
        id: "test",
        notice,
        environment: "",
        incident: None,
        facts,
        page: None,
        actions: Vec::new(),
        now: ctx.now(),
    };
    let dedupe = format!("test/{id}");
    Some(row(&bulletin, (name, channel), dedupe, id))
}

async fn write(
    ctx: &Context,
    tx: &mut Tx,
    channel: (&String, &Channel),
    incident: &Incident,
    notice: Notice,
) -> Result<NotificationId, StoreError> {
    let id = NotificationId::new(ctx.now(), ctx.entropy.as_ref());
    let row = of_incident(ctx, channel, incident, notice, id.clone());
    notifications::insert(tx, &row).await?;
    Ok(id)
}

fn of_incident(
    ctx: &Context,
    (name, channel): (&String, &Channel),
    incident: &Incident,
    notice: Notice,
    id: NotificationId,
) -> Notification {
    let now = ctx.now();
    let bulletin = Bulletin {
        id: id.as_str(),
        notice,
        environment: &incident.key.environment,
        incident: Some(incident),
        facts: &incident.facts,
        page: page(ctx, Some(format!("incidents/{}", incident.id))),
        actions: links::of_incident(ctx, &id, incident, now),
        now,
    };
    let dedupe = dedupe(incident, notice, now, name);
    row(&bulletin, (name, channel), dedupe, id.clone())
}

fn dedupe(incident: &Incident, notice: Notice, now: Timestamp, channel: &str) -> String {
    let (id, turn, at) = (&incident.id, incident.reopened, now.as_microsecond());
    format!("{id}/{turn}/{}/{at}/{channel}", notice.as_str())
}

fn row(
    bulletin: &Bulletin<'_>,
    (name, channel): (&str, &Channel),
    dedupe: String,
    id: NotificationId,
) -> Notification {
    Notification {
        dedupe,
        channel: name.to_owned(),
        incident: bulletin.incident.map(|incident| incident.id.clone()),
        environment: bulletin.environment.to_owned(),
        notice: bulletin.notice,
        severity: bulletin.facts.severity.as_str().into(),
        recipient: name.to_owned(),
        content: Content {
            message_id: id.to_string(),
            subject: title(bulletin),
            headers: Vec::new(),
            text: payload(channel.kind, bulletin),
            html: String::new(),
        },
        created_at: bulletin.now,
        not_before: bulletin.now,
        id,
    }
}

fn page(ctx: &Context, path: Option<String>) -> Option<String> {
    let base = ctx.settings.http.public_url.as_ref()?;
    Some(format!("{}/{}", base.as_str().trim_end_matches('/'), path?))
}
