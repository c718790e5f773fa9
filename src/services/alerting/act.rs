//! What a person does about an incident, with a line in its history and one in the audit log.

use crate::domain::clock::Timestamp;
use crate::domain::ids::IncidentId;
use crate::domain::incident::{Incident, IncidentChange};
use crate::domain::notification::Notice;
use crate::services::Context;
use crate::store::audit::{self, AuditEntry};
use crate::store::incidents::Stored;
use crate::store::{StoreError, incidents, links};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Acknowledge,
    Resolve { note: String },
    Snooze { until: Timestamp },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Acted {
    /// There is no such incident.
    Unknown,
    /// It was so already, or is over.
    Unchanged(Incident),
    Done(Incident),
}

/// Who does it, and what the audit log keeps of it.
pub struct By<'a> {
    pub actor: &'a str,
    /// Names and numbers: where it came from.
    pub detail: serde_json::Value,
    /// The digest of a link that works once.
    pub once: Option<&'a str>,
}

/// Does it as `actor`. Idempotent: what is so already stays so.
pub async fn act(ctx: &Context, id: &IncidentId, actor: &str, act: Act) -> Result<Acted, StoreError> {
    act_by(ctx, id, &By { actor, detail: serde_json::json!({}), once: None }, act).await
}

/// The same with what the audit log keeps, and at most once for a link.
pub async fn act_by(ctx: &Context, id: &IncidentId, by: &By<'_>, act: Act) -> Result<Acted, StoreError> {
    let actor = by.actor;
    for _ in 0..super::TRIES {
        let mut tx = ctx.db.begin().await?;
        let Some(Stored { incident, version }) = incidents::get(&mut tx, id).await? else {
            return Ok(Acted::Unknown);
        };
        let now = ctx.now();
        if let Some(digest) = by.once
            && !links::use_once(&mut tx, digest, now).await?
        {
            return Ok(Acted::Unchanged(incident));
        }
        let (action, (incident, change)) = match &act {
            Act::Acknowledge => ("incident.ack", incident.acknowledge(now, actor)),
            Act::Resolve { note } => ("incident.resolve", incident.resolve(now, note.clone())),
            Act::Snooze { until } => ("incident.snooze", incident.snooze(now, *until)),
        };
        if change == IncidentChange::Nothing {
            return Ok(Acted::Unchanged(incident));
        }
        let stored = Stored { incident: incident.clone(), version };
        if !super::write(ctx, &mut tx, stored, change, actor).await? {
            continue;
        }
        if change == IncidentChange::Acknowledged {
            super::broadcast::follow_up(ctx, &mut tx, &incident, Notice::Acknowledged).await?;
        }
        if change == IncidentChange::Resolved {
            super::release(ctx, &mut tx, &incident.key).await?;
        }
        let entry = AuditEntry {
            at: now,
            actor: actor.into(),
            action: action.into(),
            subject: id.to_string(),
            detail: by.detail.clone(),
        };
        audit::append(&mut tx, ctx.entropy.as_ref(), &entry).await?;
        tx.commit().await?;
        ctx.nudge.job(super::OUTBOX_JOB);
        return Ok(Acted::Done(incident));
    }
    Err(StoreError::Contended("incident"))
}
