//! Rows of deliveries on their way to the product.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::StoreError;
use super::dialect::{pieces, values};
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::{DeliveryId, EventId, SecretVersionId};

/// One delivery to pass on.
#[derive(Debug, Clone)]
pub struct NewRelay {
    pub delivery: DeliveryId,
    pub source: String,
    pub event: EventId,
    pub version: SecretVersionId,
    pub at: Timestamp,
}

/// A due delivery, claimed.
#[derive(Debug, Clone)]
pub struct Due {
    pub delivery: DeliveryId,
    pub source: String,
    pub version: SecretVersionId,
    pub event_name: String,
    /// This try counted.
    pub attempts: u32,
}

/// Where the relay of a delivery stands.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RelayState {
    pub state: String,
    pub attempts: u32,
    pub next_at: Option<Timestamp>,
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
}

/// Queues deliveries; an event that is queued already stays as it is.
pub async fn insert(c: &mut AnyConnection, relays: &[NewRelay]) -> Result<(), StoreError> {
    for piece in pieces(relays) {
        let text = format!(
            "INSERT INTO relays (delivery_id, source, event_id, version_id, created_at, next_at, state)
             VALUES {} ON CONFLICT DO NOTHING",
            values(piece.len(), 7)
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        for relay in piece {
            query = query
                .bind(relay.delivery.as_str().to_owned())
                .bind(relay.source.clone())
                .bind(relay.event.as_str().to_owned())
                .bind(relay.version.as_str().to_owned())
                .bind(to_micros(relay.at))
                .bind(to_micros(relay.at))
                .bind("queued");
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// Claims due deliveries until `lease_until`, so that a process that dies gives them back by itself.
pub async fn claim_due(
    c: &mut AnyConnection,
    skip_locked: &str,
    now: Timestamp,
    lease_until: Timestamp,
    limit: u32,
) -> Result<Vec<Due>, StoreError> {
    let text = format!(
        "UPDATE relays SET next_at = $1, attempts = attempts + 1, last_at = $2
         WHERE delivery_id IN (SELECT delivery_id FROM relays WHERE next_at <= $2
                               ORDER BY next_at, delivery_id LIMIT $3{skip_locked})
         RETURNING delivery_id, source, version_id, attempts,
                   (SELECT e.event_name FROM webhook_events e WHERE e.id = relays.event_id) AS event_name"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(to_micros(lease_until))
        .bind(to_micros(now))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    rows.iter().map(read_due).collect()
}

/// Writes the end of an attempt: over where `next_at` is absent.
pub async fn finish(
    c: &mut AnyConnection,
    delivery: &DeliveryId,
    state: &str,
    next_at: Option<Timestamp>,
    (status, error): (Option<u16>, Option<&str>),
    signed_with: Option<&SecretVersionId>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE relays SET state = $1, next_at = $2, last_status = $3, last_error = $4, signed_with = $5
         WHERE delivery_id = $6",
    )
    .bind(state)
    .bind(next_at.map(to_micros))
    .bind(status.map(i64::from))
    .bind(error.map(str::to_owned))
    .bind(signed_with.map(|id| id.as_str().to_owned()))
    .bind(delivery.as_str())
    .execute(c)
    .await?;
    Ok(())
}

/// What waits for the product of a source, and what was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    pub queued: u64,
    pub dead: u64,
    /// When the oldest of both was received.
    pub oldest: Option<Timestamp>,
}

pub async fn backlog(c: &mut AnyConnection, source: &str) -> Result<Backlog, StoreError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(sum(CASE WHEN state = 'queued' THEN 1 ELSE 0 END), 0) AS BIGINT) AS queued,
                CAST(COALESCE(sum(CASE WHEN state = 'dead' THEN 1 ELSE 0 END), 0) AS BIGINT) AS dead,
                min(created_at) AS oldest
         FROM relays WHERE source = $1 AND state IN ('queued', 'dead')",
    )
    .bind(source)
    .fetch_one(c)
    .await?;
    let count = |name: &str| Ok::<_, StoreError>(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0));
    let oldest = row.try_get::<Option<i64>, _>("oldest")?.map(from_micros);
    Ok(Backlog { queued: count("queued")?, dead: count("dead")?, oldest })
}

/// Which deliveries to send again.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub source: String,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only those that were given up.
    pub only_dead: bool,
}

/// Accepted deliveries that carried an event first, the oldest first.
pub async fn select(
    c: &mut AnyConnection,
    selection: &Selection,
    limit: u32,
) -> Result<Vec<DeliveryId>, StoreError> {
    let dead = if selection.only_dead { " AND r.state = 'dead'" } else { "" };
    let text = format!(
        "SELECT d.id FROM webhook_deliveries d
         JOIN webhook_events e ON e.id = d.event_id AND e.delivery_id = d.id
         LEFT JOIN relays r ON r.event_id = e.id
         WHERE d.source = $1 AND d.received_at >= $2 AND d.received_at < $3
           AND d.class NOT IN ('test_on_live', 'unexpected_store'){dead}
           AND d.id >= $5 ORDER BY d.id LIMIT $4"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(&selection.source)
        .bind(selection.since.map_or(0, to_micros))
        .bind(selection.until.map_or(i64::MAX, to_micros))
        .bind(i64::from(limit))
        .bind(selection.since.map_or_else(String::new, DeliveryId::earliest))
        .fetch_all(c)
        .await?;
    rows.iter().map(|row| Ok(DeliveryId::from_text(row.try_get::<String, _>("id")?))).collect()
}

/// Starts over what was queued of this delivery's event; false where it never was.
pub async fn requeue(
    c: &mut AnyConnection,
    delivery: &DeliveryId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE relays SET state = 'queued', next_at = $1, attempts = 0
             WHERE event_id = (SELECT event_id FROM webhook_deliveries WHERE id = $2)",
    )
    .bind(to_micros(now))
    .bind(delivery.as_str())
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get(c: &mut AnyConnection, delivery: &DeliveryId) -> Result<Option<RelayState>, StoreError> {
    let row = sqlx::query("SELECT * FROM relays WHERE delivery_id = $1")
        .bind(delivery.as_str())
        .fetch_optional(c)
        .await?;
    row.map(|row| {
        Ok(RelayState {
            state: row.try_get("state")?,
            attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(0),
            next_at: row.try_get::<Option<i64>, _>("next_at")?.map(from_micros),
            last_status: row.try_get::<Option<i64>, _>("last_status")?.and_then(|s| u16::try_from(s).ok()),
            last_error: row.try_get("last_error")?,
        })
    })
    .transpose()
}

fn read_due(row: &AnyRow) -> Result<Due, StoreError> {
    Ok(Due {
        delivery: DeliveryId::from_text(row.try_get::<String, _>("delivery_id")?),
        source: row.try_get("source")?,
        version: SecretVersionId::from_text(row.try_get::<String, _>("version_id")?),
        event_name: row.try_get::<Option<String>, _>("event_name")?.unwrap_or_default(),
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(0),
    })
}
