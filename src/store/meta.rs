//! Small facts that must survive a restart.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, to_micros};

pub async fn get(c: &mut AnyConnection, name: &str) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name).fetch_optional(c).await?;
    row.map(|row| Ok(row.try_get("value")?)).transpose()
}

pub async fn set(c: &mut AnyConnection, name: &str, value: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO meta (name, value, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    )
    .bind(name)
    .bind(value)
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(())
}

/// Writes only where nothing stood, and returns what stands there now.
pub async fn get_or_set(
    c: &mut AnyConnection,
    name: &str,
    value: &str,
    now: Timestamp,
) -> Result<String, StoreError> {
    sqlx::query(
        "INSERT INTO meta (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
    )
    .bind(name)
    .bind(value)
    .bind(to_micros(now))
    .execute(&mut *c)
    .await?;
    Ok(get(c, name).await?.unwrap_or_else(|| value.to_owned()))
}

/// Everything whose name begins so.
pub async fn list(c: &mut AnyConnection, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
    // The prefix is compared, not matched, so that % and _ in it mean nothing.
    let rows = sqlx::query(
        "SELECT name, value FROM meta WHERE substr(name, 1, CAST($1 AS INTEGER)) = $2 ORDER BY name",
    )
    .bind(i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX))
    .bind(prefix)
    .fetch_all(c)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("value")?))).collect()
}

pub async fn delete(c: &mut AnyConnection, name: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM meta WHERE name = $1").bind(name).execute(c).await?;
    Ok(())
}
