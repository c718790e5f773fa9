//! The same news to second channels, through the same outbox. What is about the mail path itself is told here,
//! where mail cannot.

use crate::channels::{Bulletin, payload, title};
use crate::domain::clock::Timestamp;
use crate::domain::ids::NotificationId;
use crate::domain::incident::{Facts, Incident};
use crate::domain::notification::{Content, Notice, NotificationState};
use crate::services::{Context, links};
use crate::settings::{Channel, ChannelKind};
use crate::store::notifications::{self, Notification};
use crate::store::{StoreError, Tx};

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
    for (name, channel) in &ctx.settings.channels {
        let fits =
            channel.is_for(&incident.key.environment) && channel.severity.takes(incident.facts.severity);
        // A channel cannot tell of its own end.
        if fits && incident.key.scope != scope_of(name) {
            write(ctx, tx, (name, channel), incident, notice).await?;
        }
    }
    Ok(())
}

/// Tells the channels that were told of the problem that somebody is on it, or that it is over.
pub async fn follow_up(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    notice: Notice,
) -> Result<(), StoreError> {
    let all = notifications::list_of_incident(tx, &incident.id).await?;
    for (name, channel) in &ctx.settings.channels {
        let told = all
            .iter()
            .rev()
            .find(|stored| stored.notification.channel == *name && stored.notification.notice.announces());
        let lost = |state| matches!(state, NotificationState::Dead | NotificationState::Cancelled);
        if told.is_some_and(|stored| !lost(stored.state)) {
            write(ctx, tx, (name, channel), incident, notice).await?;
        }
    }
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
    (name, channel): (&String, &Channel),
    incident: &Incident,
    notice: Notice,
) -> Result<(), StoreError> {
    let now = ctx.now();
    let id = NotificationId::new(now, ctx.entropy.as_ref());
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
    let row = row(&bulletin, (name, channel), dedupe, id.clone());
    notifications::insert(tx, &row).await?;
    Ok(())
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
