//! Answers to requests that carried an Idempotency-Key.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, to_micros};

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub request_hash: String,
    /// Status and body; `None` while the first request is in flight.
    pub answer: Option<(u16, String)>,
}

/// Claims a key; false when somebody has it. A claim without an answer that is older than `stale_before`
/// belongs to a process that died, and is taken over.
pub async fn claim(
    c: &mut AnyConnection,
    scope: &str,
    key: &str,
    request_hash: &str,
    now: Timestamp,
    stale_before: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO idempotency (scope, key, request_hash, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (scope, key) DO UPDATE SET created_at = excluded.created_at
         WHERE idempotency.status IS NULL AND idempotency.created_at < $5
           AND idempotency.request_hash = excluded.request_hash",
    )
    .bind(scope)
    .bind(key)
    .bind(request_hash)
    .bind(to_micros(now))
    .bind(to_micros(stale_before))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get(c: &mut AnyConnection, scope: &str, key: &str) -> Result<Option<Remembered>, StoreError> {
    let row = sqlx::query("SELECT request_hash, status, body FROM idempotency WHERE scope = $1 AND key = $2")
        .bind(scope)
        .bind(key)
        .fetch_optional(c)
        .await?;
    row.map(|row| {
        let status: Option<i64> = row.try_get("status")?;
        let body: Option<String> = row.try_get("body")?;
        let answer = status.and_then(|s| u16::try_from(s).ok()).map(|s| (s, body.unwrap_or_default()));
        Ok(Remembered { request_hash: row.try_get("request_hash")?, answer })
    })
    .transpose()
}

pub async fn answer(
    c: &mut AnyConnection,
    scope: &str,
    key: &str,
    status: u16,
    body: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE idempotency SET status = $3, body = $4 WHERE scope = $1 AND key = $2")
        .bind(scope)
        .bind(key)
        .bind(i64::from(status))
        .bind(body)
        .execute(c)
        .await?;
    Ok(())
}

/// Gives an unanswered claim up, so that the request can be made again.
pub async fn forget(c: &mut AnyConnection, scope: &str, key: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM idempotency WHERE scope = $1 AND key = $2 AND status IS NULL")
        .bind(scope)
        .bind(key)
        .execute(c)
        .await?;
    Ok(())
}

/// How many were older than `before`.
pub async fn delete_before(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM idempotency WHERE created_at < $1")
        .bind(to_micros(before))
        .execute(c)
        .await?;
    Ok(done.rows_affected())
}
