//! Which links of mails were used, and who wants no reports.

use sqlx::AnyConnection;

use super::StoreError;
use crate::domain::clock::{Timestamp, to_micros};

/// Notes the use of a link. `false`: it was used before.
pub async fn use_once(c: &mut AnyConnection, digest: &str, now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query("INSERT INTO used_links (digest, used_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(digest)
        .bind(to_micros(now))
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn is_used(c: &mut AnyConnection, digest: &str) -> Result<bool, StoreError> {
    let row =
        sqlx::query("SELECT 1 FROM used_links WHERE digest = $1").bind(digest).fetch_optional(c).await?;
    Ok(row.is_some())
}

/// Forgets uses of links that have expired since.
pub async fn forget_used(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let done =
        sqlx::query("DELETE FROM used_links WHERE used_at < $1").bind(to_micros(before)).execute(c).await?;
    Ok(done.rows_affected())
}

/// Notes that a person wants no reports about an environment.
pub async fn reports_off(
    c: &mut AnyConnection,
    environment: &str,
    recipient: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO reports_off (environment, recipient, since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(environment)
    .bind(recipient.to_lowercase())
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(())
}

pub async fn reports_on(c: &mut AnyConnection, environment: &str, recipient: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM reports_off WHERE environment = $1 AND recipient = $2")
        .bind(environment)
        .bind(recipient.to_lowercase())
        .execute(c)
        .await?;
    Ok(())
}

pub async fn wants_no_reports(
    c: &mut AnyConnection,
    environment: &str,
    recipient: &str,
) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 FROM reports_off WHERE environment = $1 AND recipient = $2")
        .bind(environment)
        .bind(recipient.to_lowercase())
        .fetch_optional(c)
        .await?;
    Ok(row.is_some())
}
