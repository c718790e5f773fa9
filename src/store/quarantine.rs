//! Refused bodies, kept sealed and for a while: verified again when a secret is added.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::StoreError;
use super::secrets::instant;
use crate::domain::clock::{Timestamp, to_micros};
use crate::domain::ids::DeliveryId;

/// One refused body with its signature, both sealed.
#[derive(Debug, Clone)]
pub struct Kept {
    pub delivery: DeliveryId,
    pub source: String,
    pub received_at: Timestamp,
    pub expires_at: Timestamp,
    pub sender: String,
    pub body_digest: String,
    pub encoding: Option<String>,
    pub event_header: Option<String>,
    pub sealed: Vec<u8>,
    /// What goes on to the product, sealed.
    pub headers: Option<Vec<u8>>,
}

/// Keeps a body, or counts another attempt with the same one.
pub async fn keep(c: &mut AnyConnection, kept: &Kept) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO quarantine
           (delivery_id, source, received_at, expires_at, sender, body_digest, encoding, event_header, sealed,
            headers)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (source, body_digest) DO UPDATE SET attempts = quarantine.attempts + 1",
    )
    .bind(kept.delivery.as_str())
    .bind(&kept.source)
    .bind(to_micros(kept.received_at))
    .bind(to_micros(kept.expires_at))
    .bind(&kept.sender)
    .bind(&kept.body_digest)
    .bind(kept.encoding.clone())
    .bind(kept.event_header.clone())
    .bind(kept.sealed.clone())
    .bind(kept.headers.clone())
    .execute(c)
    .await?;
    Ok(())
}

/// Rows in all, and of one sender.
pub async fn count(c: &mut AnyConnection, sender: &str) -> Result<(u64, u64), StoreError> {
    let row = sqlx::query(
        "SELECT CAST(count(*) AS BIGINT) AS n,
                CAST(COALESCE(sum(CASE WHEN sender = $1 THEN 1 ELSE 0 END), 0) AS BIGINT) AS own
         FROM quarantine",
    )
    .bind(sender)
    .fetch_one(c)
    .await?;
    let number = |name: &str| Ok::<_, StoreError>(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0));
    Ok((number("n")?, number("own")?))
}

/// Makes room: drops the oldest body of the sender that takes the most.
pub async fn drop_one(c: &mut AnyConnection) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM quarantine WHERE delivery_id =
           (SELECT delivery_id FROM quarantine WHERE sender =
              (SELECT sender FROM quarantine GROUP BY sender ORDER BY count(*) DESC, sender LIMIT 1)
            ORDER BY received_at, delivery_id LIMIT 1)",
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Everything kept for a source, the oldest first.
pub async fn list(c: &mut AnyConnection, source: &str, limit: u32) -> Result<Vec<Kept>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM quarantine WHERE source = $1 ORDER BY received_at, delivery_id LIMIT $2")
            .bind(source)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await?;
    rows.iter().map(read).collect()
}

/// What nobody has looked at yet.
pub async fn list_undiagnosed(c: &mut AnyConnection, limit: u32) -> Result<Vec<Kept>, StoreError> {
    let rows = sqlx::query("SELECT * FROM quarantine WHERE diagnosis IS NULL ORDER BY received_at LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

pub async fn set_diagnosis(c: &mut AnyConnection, id: &DeliveryId, class: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE quarantine SET diagnosis = $1 WHERE delivery_id = $2")
        .bind(class)
        .bind(id.as_str())
        .execute(c)
        .await?;
    Ok(())
}

/// Takes one out; false means that somebody else did.
pub async fn release(c: &mut AnyConnection, id: &DeliveryId) -> Result<bool, StoreError> {
    let done =
        sqlx::query("DELETE FROM quarantine WHERE delivery_id = $1").bind(id.as_str()).execute(c).await?;
    Ok(done.rows_affected() == 1)
}

pub async fn expire(c: &mut AnyConnection, now: Timestamp) -> Result<u64, StoreError> {
    let done =
        sqlx::query("DELETE FROM quarantine WHERE expires_at <= $1").bind(to_micros(now)).execute(c).await?;
    Ok(done.rows_affected())
}

/// How many bodies wait for a source's right secret.
pub async fn count_source(c: &mut AnyConnection, source: &str) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT CAST(count(*) AS BIGINT) AS n FROM quarantine WHERE source = $1")
        .bind(source)
        .fetch_one(c)
        .await?;
    Ok(u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or(0))
}

fn read(row: &AnyRow) -> Result<Kept, StoreError> {
    Ok(Kept {
        delivery: DeliveryId::from_text(row.try_get::<String, _>("delivery_id")?),
        source: row.try_get("source")?,
        received_at: instant(row, "received_at")?,
        expires_at: instant(row, "expires_at")?,
        sender: row.try_get("sender")?,
        body_digest: row.try_get("body_digest")?,
        encoding: row.try_get("encoding")?,
        event_header: row.try_get("event_header")?,
        sealed: row.try_get("sealed")?,
        headers: row.try_get("headers")?,
    })
}
