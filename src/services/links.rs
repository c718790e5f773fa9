//! What the links of mails do. Looking changes nothing, so that mail scanners may follow every link; pressing
//! the button on the page that a link leads to acts, once.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::domain::clock::Timestamp;
use crate::domain::ids::NotificationId;
use crate::domain::incident::{Incident, IncidentState};
use crate::domain::link::{BadLink, Link, LinkAction};
use crate::email::mask;
use crate::services::Context;
use crate::services::alerting::act::{Act, Acted, By, act_by};
use crate::services::alerting::announce::EMAIL;
use crate::store::audit::{self, AuditEntry};
use crate::store::notifications::Notification;
use crate::store::{StoreError, incidents, links, notifications};

/// A link that is valid, with what it is about.
pub struct Looked {
    pub link: Link,
    pub mail: Notification,
    pub incident: Option<Incident>,
    /// Its button was pressed before.
    pub used: bool,
    /// Whether this person gets no reports now.
    pub reports_off: bool,
}

/// What came of pressing.
pub enum Pressed {
    Done(Looked),
    /// It was used before, or was so already.
    Already(Looked),
}

/// Why a link does nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("this link is not whole, or was not made here")]
    Broken,
    #[error("this link has expired; links in mails work for 72 hours")]
    Expired,
    #[error("what this link was about has been forgotten since")]
    Gone,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The links of a mail about an open incident: label and address. None where the address of this server is
/// not known, or where the problem is over.
pub fn of_incident(
    ctx: &Context,
    mail: &NotificationId,
    incident: &Incident,
    written_at: Timestamp,
) -> Vec<(&'static str, String)> {
    let Some(base) = base(ctx) else { return Vec::new() };
    if incident.state.is_resolved() {
        return Vec::new();
    }
    let to = |action| format!("{base}/act/{}", token(ctx, mail, action, written_at));
    let mut links = Vec::new();
    if incident.state == IncidentState::Open {
        links.push(("Acknowledge", to(LinkAction::Acknowledge)));
    }
    links.push(("Snooze 1 h", to(LinkAction::SnoozeHour)));
    links.push(("Snooze 4 h", to(LinkAction::SnoozeFourHours)));
    links.push(("Silence…", format!("{base}/silences/new?incident={}", incident.id)));
    links
}

/// Where a person ends the reports about an environment; mail programs POST to it for one click.
pub fn of_report(ctx: &Context, mail: &NotificationId, written_at: Timestamp) -> Option<String> {
    let base = base(ctx)?;
    Some(format!("{base}/act/{}", token(ctx, mail, LinkAction::ReportsOff, written_at)))
}

/// Reads a link without changing anything.
pub async fn look(ctx: &Context, token: &str) -> Result<Looked, LinkError> {
    let link = Link::open(token, &key(ctx), ctx.now()).map_err(|bad| match bad {
        BadLink::Broken => LinkError::Broken,
        BadLink::Expired => LinkError::Expired,
    })?;
    let mut reader = ctx.db.reader().await?;
    let mail = notifications::get(&mut reader, &link.notification).await?.ok_or(LinkError::Gone)?;
    let mail = mail.notification;
    let incident = match &mail.incident {
        Some(id) => incidents::get(&mut reader, id).await?.map(|stored| stored.incident),
        None => None,
    };
    let used = links::is_used(&mut reader, &digest(token)).await?;
    let reports_off = links::wants_no_reports(&mut reader, &mail.environment, &mail.recipient).await?;
    Ok(Looked { link, mail, incident, used, reports_off })
}

/// Does what a link says, once, in the name of whoever got the mail. `from` is where the request came from.
pub async fn press(ctx: &Context, token: &str, from: Option<IpAddr>) -> Result<Pressed, LinkError> {
    let looked = look(ctx, token).await?;
    let what = match looked.link.action {
        LinkAction::ReportsOff => return set_reports(ctx, looked, Reports::Off, from).await,
        LinkAction::Acknowledge => Act::Acknowledge,
        action @ (LinkAction::SnoozeHour | LinkAction::SnoozeFourHours) => {
            Act::Snooze { until: ctx.now() + action.snooze().unwrap_or_default() }
        }
    };
    let Some(incident) = looked.mail.incident.clone() else { return Err(LinkError::Gone) };
    let who = actor(&looked.mail);
    let digest = digest(token);
    let by = By { actor: &who, detail: place(&looked.mail, from), once: Some(&digest) };
    Ok(match act_by(ctx, &incident, &by, what).await? {
        Acted::Unknown => return Err(LinkError::Gone),
        Acted::Unchanged(incident) => Pressed::Already(Looked { incident: Some(incident), ..looked }),
        Acted::Done(incident) => Pressed::Done(Looked { incident: Some(incident), used: true, ..looked }),
    })
}

/// Whether somebody wants reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reports {
    On,
    Off,
}

/// Ends or resumes the reports to whoever got the mail. It may be pressed again: both ways lead back.
pub async fn set_reports(
    ctx: &Context,
    looked: Looked,
    wanted: Reports,
    from: Option<IpAddr>,
) -> Result<Pressed, LinkError> {
    let off = wanted == Reports::Off;
    if looked.reports_off == off {
        return Ok(Pressed::Already(looked));
    }
    let (mail, now) = (&looked.mail, ctx.now());
    let mut tx = ctx.db.begin().await?;
    match wanted {
        Reports::Off => links::reports_off(&mut tx, &mail.environment, &mail.recipient, now).await?,
        Reports::On => links::reports_on(&mut tx, &mail.environment, &mail.recipient).await?,
    }
    let entry = AuditEntry {
        at: now,
        actor: actor(mail),
        action: if off { "reports.off" } else { "reports.on" }.into(),
        subject: mail.environment.clone(),
        detail: place(mail, from),
    };
    audit::append(&mut tx, ctx.entropy.as_ref(), &entry).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Pressed::Done(Looked { reports_off: off, ..looked }))
}

/// The recipient as others may read it; the row of the mail has the address.
fn actor(mail: &Notification) -> String {
    if mail.channel == EMAIL {
        format!("{} (by mail)", mask(&mail.recipient))
    } else {
        format!("somebody in {}", mail.channel)
    }
}

fn place(mail: &Notification, from: Option<IpAddr>) -> serde_json::Value {
    serde_json::json!({ "mail": mail.id, "from": from })
}

fn token(ctx: &Context, mail: &NotificationId, action: LinkAction, written_at: Timestamp) -> String {
    Link::new(mail.clone(), action, written_at).seal(&key(ctx))
}

fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

fn key(ctx: &Context) -> [u8; 32] {
    ctx.keys.derive("mail-links")
}

fn base(ctx: &Context) -> Option<String> {
    let url = ctx.settings.http.public_url.as_ref()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}
