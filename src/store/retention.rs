//! Deletes what is older than the retention, in pieces, children before parents.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, to_micros};

/// Deletes one ended deploy with everything that was seen in it; the newest of an environment always stays,
/// since the next gate asks about it. Gives the rows deleted, 0 if nothing is old enough.
pub async fn forget_deploy(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let oldest = sqlx::query(
        "SELECT d.id FROM deploys d \
         WHERE d.state IN ('closed', 'superseded', 'cancelled') AND d.ended_at < $1 \
           AND EXISTS (SELECT 1 FROM deploys n WHERE n.environment = d.environment AND n.started_at > d.started_at) \
         ORDER BY d.ended_at LIMIT 1",
    )
    .bind(to_micros(before))
    .fetch_optional(&mut *c)
    .await?;
    let Some(oldest) = oldest else { return Ok(0) };
    let id: String = oldest.try_get("id")?;
    let mut gone = 0;
    for sql in [
        "DELETE FROM observations WHERE deploy_id = $1",
        "DELETE FROM check_states WHERE deploy_id = $1",
        "DELETE FROM scans WHERE deploy_id = $1",
        "DELETE FROM answer_attempts WHERE answer_id IN (SELECT id FROM answers WHERE deploy_id = $1)",
        "DELETE FROM answers WHERE deploy_id = $1",
        "DELETE FROM deploys WHERE id = $1",
    ] {
        gone += sqlx::query(sql).bind(&id).execute(&mut *c).await?.rows_affected();
    }
    Ok(gone)
}

/// Deletes baselines that no deploy is held against any more.
pub async fn forget_baselines(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM baselines WHERE captured_at < $1 AND NOT EXISTS (SELECT 1 FROM deploys d \
         WHERE d.baseline_id = baselines.id OR d.clean_baseline_id = baselines.id)",
    )
    .bind(to_micros(before))
    .execute(&mut *c)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes one resolved incident with its history and its messages.
pub async fn forget_incident(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let oldest = sqlx::query(
        "SELECT i.id FROM incidents i WHERE i.resolved = 1 AND i.updated_at < $1 \
           AND NOT EXISTS (SELECT 1 FROM notifications n \
             WHERE n.incident_id = i.id AND n.state IN ('pending', 'sending')) \
         ORDER BY i.updated_at LIMIT 1",
    )
    .bind(to_micros(before))
    .fetch_optional(&mut *c)
    .await?;
    let Some(oldest) = oldest else { return Ok(0) };
    let id: String = oldest.try_get("id")?;
    let mut gone = 0;
    for sql in [
        "DELETE FROM notification_attempts WHERE notification_id IN \
         (SELECT id FROM notifications WHERE incident_id = $1)",
        "DELETE FROM notifications WHERE incident_id = $1",
        "DELETE FROM incident_events WHERE incident_id = $1",
        "DELETE FROM incidents WHERE id = $1",
    ] {
        gone += sqlx::query(sql).bind(&id).execute(&mut *c).await?.rows_affected();
    }
    Ok(gone)
}

/// Deletes reports, which belong to no incident, once they are out or given up.
pub async fn forget_reports(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let mut gone = 0;
    for sql in [
        "DELETE FROM notification_attempts WHERE notification_id IN (SELECT id FROM notifications \
         WHERE incident_id IS NULL AND created_at < $1 AND state IN ('sent', 'dead', 'cancelled', 'digested'))",
        "DELETE FROM notifications WHERE incident_id IS NULL AND created_at < $1 \
         AND state IN ('sent', 'dead', 'cancelled', 'digested')",
    ] {
        gone += sqlx::query(sql).bind(to_micros(before)).execute(&mut *c).await?.rows_affected();
    }
    Ok(gone)
}

/// Deletes remembered answers that nobody asks for again, and sessions that have ended.
pub async fn forget_requests(
    c: &mut AnyConnection,
    answered_before: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let answers = sqlx::query("DELETE FROM idempotency WHERE created_at < $1")
        .bind(to_micros(answered_before))
        .execute(&mut *c)
        .await?;
    let sessions = sqlx::query("DELETE FROM sessions WHERE expires_at < $1")
        .bind(to_micros(now))
        .execute(&mut *c)
        .await?;
    Ok(answers.rows_affected() + sessions.rows_affected())
}
