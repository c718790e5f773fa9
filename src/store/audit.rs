//! Who did what, append only.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::{Entropy, uuid_v7};

/// One thing that somebody did. `detail` holds names and numbers, never a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    pub at: Timestamp,
    /// `token ci`, `loopback`, `command line`, `deploywatch`.
    pub actor: String,
    /// `token.create`, `deploy.override`, `incident.ack`.
    pub action: String,
    pub subject: String,
    pub detail: serde_json::Value,
}

pub async fn append(
    c: &mut AnyConnection,
    entropy: &dyn Entropy,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO audit (id, at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(format!("aud_{}", uuid_v7(entry.at, entropy).simple()))
        .bind(to_micros(entry.at))
        .bind(entry.actor.as_str())
        .bind(entry.action.as_str())
        .bind(entry.subject.as_str())
        .bind(entry.detail.to_string())
        .execute(c)
        .await?;
    Ok(())
}

/// The newest entries first.
pub async fn list(c: &mut AnyConnection, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT at, actor, action, subject, detail FROM audit ORDER BY at DESC, id DESC LIMIT $1",
    )
    .bind(limit)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let detail: String = row.try_get("detail")?;
            Ok(AuditEntry {
                at: from_micros(row.try_get("at")?),
                actor: row.try_get("actor")?,
                action: row.try_get("action")?,
                subject: row.try_get("subject")?,
                detail: serde_json::from_str(&detail)
                    .map_err(|_| StoreError::Corrupt("the detail of an audit entry is not JSON".into()))?,
            })
        })
        .collect()
}
