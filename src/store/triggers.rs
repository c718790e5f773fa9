//! Requests of providers that were verified, until they are carried out and for some time after.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{Engine, StoreError};
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::DeployId;
use crate::domain::trigger::{Action, Address};

/// One request as it was taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerEvent {
    pub id: String,
    pub source: String,
    pub delivery: String,
    pub event: String,
    pub environment: String,
    pub subject: String,
    pub action: Action,
    pub answers: Vec<Address>,
    pub received_at: Timestamp,
}

/// A request with what became of it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    pub event: TriggerEvent,
    pub attempts: u32,
    /// A sentence, once it is over.
    pub outcome: Option<String>,
    pub deploy_id: Option<DeployId>,
}

/// A request that this process may carry out until the lease ends.
#[derive(Debug, Clone)]
pub struct EventClaim {
    pub stored: StoredEvent,
    pub lease: String,
}

/// Takes a request in. `false`: the provider has sent it before.
pub async fn insert(c: &mut AnyConnection, event: &TriggerEvent) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO trigger_events (id, source, delivery, event, environment, subject, wish, answers, received_at,
           turn, next_at, attempts)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
           (SELECT coalesce(max(turn), 0) + 1 FROM trigger_events), $9, 0)
         ON CONFLICT (source, delivery) DO NOTHING",
    )
    .bind(&event.id)
    .bind(&event.source)
    .bind(&event.delivery)
    .bind(&event.event)
    .bind(&event.environment)
    .bind(&event.subject)
    .bind(super::json(&event.action))
    .bind(super::json(&event.answers))
    .bind(to_micros(event.received_at))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Claims the request that is due longest and has no earlier one of its subject before it.
pub async fn claim(
    c: &mut AnyConnection,
    engine: Engine,
    now: Timestamp,
    lease: &str,
    lease_until: Timestamp,
) -> Result<Option<EventClaim>, StoreError> {
    let sql = format!(
        "UPDATE trigger_events SET lease = $2, lease_until = $3, attempts = attempts + 1
         WHERE id = (
           SELECT t.id FROM trigger_events t
           WHERE t.next_at <= $1 AND (t.lease_until IS NULL OR t.lease_until <= $1)
             AND NOT EXISTS (
               SELECT 1 FROM trigger_events e
               WHERE e.environment = t.environment AND e.subject = t.subject AND e.next_at IS NOT NULL
                 AND (e.turn < t.turn OR (e.turn = t.turn AND e.id < t.id)))
           ORDER BY t.next_at, t.turn, t.id LIMIT 1{})
         RETURNING *",
        engine.skip_locked()
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(to_micros(now))
        .bind(lease)
        .bind(to_micros(lease_until))
        .fetch_optional(c)
        .await?;
    row.as_ref().map(|row| Ok(EventClaim { stored: read(row)?, lease: lease.to_owned() })).transpose()
}

/// Prolongs a claim; false when another process has taken it over.
pub async fn renew(
    c: &mut AnyConnection,
    claim: &EventClaim,
    lease_until: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE trigger_events SET lease_until = $3 WHERE id = $1 AND lease = $2")
        .bind(&claim.stored.event.id)
        .bind(&claim.lease)
        .bind(to_micros(lease_until))
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a request with what came of it. `false`: the lease was lost.
pub async fn finish(
    c: &mut AnyConnection,
    claim: &EventClaim,
    at: Timestamp,
    outcome: &str,
    deploy: Option<&DeployId>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE trigger_events SET next_at = NULL, finished_at = $3, outcome = $4, deploy_id = $5, lease = NULL,
           lease_until = NULL
         WHERE id = $1 AND lease = $2",
    )
    .bind(&claim.stored.event.id)
    .bind(&claim.lease)
    .bind(to_micros(at))
    .bind(outcome)
    .bind(deploy.map(DeployId::as_str))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a claimed request back for a later attempt.
pub async fn postpone(
    c: &mut AnyConnection,
    claim: &EventClaim,
    next_at: Timestamp,
    because: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE trigger_events SET next_at = $3, outcome = $4, lease = NULL, lease_until = NULL
         WHERE id = $1 AND lease = $2",
    )
    .bind(&claim.stored.event.id)
    .bind(&claim.lease)
    .bind(to_micros(next_at))
    .bind(because)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The newest requests first.
pub async fn list(c: &mut AnyConnection, limit: i64) -> Result<Vec<StoredEvent>, StoreError> {
    let rows = sqlx::query("SELECT * FROM trigger_events ORDER BY turn DESC, id DESC LIMIT $1")
        .bind(limit)
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

/// Deletes requests that are over and older than `before`.
pub async fn forget(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM trigger_events WHERE received_at < $1 AND next_at IS NULL")
        .bind(to_micros(before))
        .execute(c)
        .await?;
    Ok(done.rows_affected())
}

fn read(row: &AnyRow) -> Result<StoredEvent, StoreError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    Ok(StoredEvent {
        event: TriggerEvent {
            id: text("id")?,
            source: text("source")?,
            delivery: text("delivery")?,
            event: text("event")?,
            environment: text("environment")?,
            subject: text("subject")?,
            action: super::parse_json(row, "wish")?,
            answers: super::parse_json(row, "answers")?,
            received_at: from_micros(row.try_get("received_at")?),
        },
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        outcome: row.try_get("outcome")?,
        deploy_id: row.try_get::<Option<String>, _>("deploy_id")?.map(DeployId::from_text),
    })
}
