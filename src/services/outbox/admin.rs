//! What a person does about a message: send it now, even if it was given up.

use crate::domain::ids::NotificationId;
use crate::services::{Context, alerting};
use crate::store::audit::{self, AuditEntry};
use crate::store::notifications::{self, Stored};
use crate::store::{StoreError, outbox};

/// What came of it.
#[derive(Debug, Clone)]
pub enum Retried {
    /// There is no such message.
    Unknown,
    /// It was sent, is being sent, or another mail told it.
    TooLate(Stored),
    Due(Stored),
}

/// Makes a message due now, as `actor`. Its 24 hours start again.
pub async fn retry(ctx: &Context, id: &NotificationId, actor: &str) -> Result<Retried, StoreError> {
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    let done = outbox::retry(&mut tx, id, now).await?;
    let Some(stored) = notifications::get(&mut tx, id).await? else { return Ok(Retried::Unknown) };
    if !done {
        return Ok(Retried::TooLate(stored));
    }
    let entry = AuditEntry {
        at: now,
        actor: actor.into(),
        action: "outbox.retry".into(),
        subject: id.to_string(),
        detail: serde_json::json!({}),
    };
    audit::append(&mut tx, ctx.entropy.as_ref(), &entry).await?;
    tx.commit().await?;
    ctx.nudge.job(alerting::OUTBOX_JOB);
    Ok(Retried::Due(stored))
}
