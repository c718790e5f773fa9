//! Silences.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::SilenceId;
use crate::domain::incident::IncidentKind;
use crate::domain::silence::{Matchers, Silence};

pub async fn insert(c: &mut AnyConnection, silence: &Silence) -> Result<(), StoreError> {
    let matchers = &silence.matchers;
    sqlx::query(
        "INSERT INTO silences (id, environment, deploy_id, check_key, kind, owner, reason, starts_at, ends_at,
                               created_by, ended_by, settled)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', 0)",
    )
    .bind(silence.id.as_str())
    .bind(matchers.environment.as_deref().unwrap_or_default())
    .bind(matchers.deploy.as_deref().unwrap_or_default())
    .bind(matchers.check.as_deref().unwrap_or_default())
    .bind(matchers.kind.map_or("", IncidentKind::as_str))
    .bind(&silence.owner)
    .bind(&silence.reason)
    .bind(to_micros(silence.starts_at))
    .bind(to_micros(silence.ends_at))
    .bind(&silence.created_by)
    .execute(c)
    .await?;
    Ok(())
}

/// Ends one early. `false`: it had ended.
pub async fn end(c: &mut AnyConnection, id: &SilenceId, by: &str, at: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE silences SET ends_at = $2, ended_by = $3 WHERE id = $1 AND ends_at > $2")
        .bind(id.as_str())
        .bind(to_micros(at))
        .bind(by)
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get(c: &mut AnyConnection, id: &SilenceId) -> Result<Option<Silence>, StoreError> {
    let row = sqlx::query("SELECT * FROM silences WHERE id = $1").bind(id.as_str()).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

/// Those that have not ended at `now`, the next to end first.
pub async fn list_active(c: &mut AnyConnection, now: Timestamp) -> Result<Vec<Silence>, StoreError> {
    let rows = sqlx::query("SELECT * FROM silences WHERE ends_at > $1 ORDER BY ends_at, id LIMIT 1000")
        .bind(to_micros(now))
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

/// All, the newest first.
pub async fn list_all(c: &mut AnyConnection, limit: u32) -> Result<Vec<Silence>, StoreError> {
    let rows = sqlx::query("SELECT * FROM silences ORDER BY starts_at DESC, id DESC LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

/// Those that ended and whose end has not been told yet.
pub async fn list_unsettled(c: &mut AnyConnection, now: Timestamp) -> Result<Vec<Silence>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM silences WHERE settled = 0 AND ends_at <= $1 ORDER BY ends_at, id LIMIT 100",
    )
    .bind(to_micros(now))
    .fetch_all(c)
    .await?;
    rows.iter().map(read).collect()
}

/// Notes that what outlived it was told. `false`: another process was first.
pub async fn settle(c: &mut AnyConnection, id: &SilenceId) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE silences SET settled = 1 WHERE id = $1 AND settled = 0")
        .bind(id.as_str())
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes those that ended before.
pub async fn forget(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM silences WHERE settled = 1 AND ends_at < $1")
        .bind(to_micros(before))
        .execute(c)
        .await?;
    Ok(done.rows_affected())
}

fn read(row: &AnyRow) -> Result<Silence, StoreError> {
    let given = |column: &str| -> Result<Option<String>, StoreError> {
        Ok(Some(row.try_get::<String, _>(column)?).filter(|text| !text.is_empty()))
    };
    let kind = match given("kind")? {
        Some(kind) => Some(
            IncidentKind::parse(&kind).ok_or_else(|| StoreError::Corrupt(format!("silence kind {kind}")))?,
        ),
        None => None,
    };
    Ok(Silence {
        id: SilenceId::from_text(row.try_get::<String, _>("id")?),
        matchers: Matchers {
            environment: given("environment")?,
            deploy: given("deploy_id")?,
            check: given("check_key")?,
            kind,
        },
        owner: row.try_get("owner")?,
        reason: row.try_get("reason")?,
        starts_at: from_micros(row.try_get("starts_at")?),
        ends_at: from_micros(row.try_get("ends_at")?),
        created_by: row.try_get("created_by")?,
        ended_by: given("ended_by")?,
    })
}
