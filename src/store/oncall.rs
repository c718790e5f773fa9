//! Who stands in for whom, beyond what the settings say.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::oncall::Substitute;

/// One stand-in, with who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    pub id: String,
    pub substitute: Substitute,
    pub reason: String,
    pub created_by: String,
    pub created_at: Timestamp,
}

pub async fn insert(c: &mut AnyConnection, over: &Override) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO oncall_overrides (id, rotation, person, from_at, until_at, reason, created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&over.id)
    .bind(&over.substitute.rotation)
    .bind(&over.substitute.person)
    .bind(to_micros(over.substitute.from))
    .bind(to_micros(over.substitute.until))
    .bind(&over.reason)
    .bind(&over.created_by)
    .bind(to_micros(over.created_at))
    .execute(c)
    .await?;
    Ok(())
}

/// What is not over at `now`, the oldest first: of several at once the last one counts.
pub async fn list(c: &mut AnyConnection, now: Timestamp) -> Result<Vec<Override>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM oncall_overrides WHERE until_at > $1 ORDER BY created_at, id LIMIT 1000")
            .bind(to_micros(now))
            .fetch_all(c)
            .await?;
    rows.iter().map(read).collect()
}

/// Overrides whose id ends with `suffix`; at most two, since two are already too many.
pub async fn find_by_suffix(c: &mut AnyConnection, suffix: &str) -> Result<Vec<Override>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM oncall_overrides WHERE substr(id, CAST(length(id) - $1 + 1 AS INTEGER)) = $2 ORDER BY created_at LIMIT 2",
    )
    .bind(i64::try_from(suffix.chars().count()).unwrap_or(i64::MAX))
    .bind(suffix)
    .fetch_all(c)
    .await?;
    rows.iter().map(read).collect()
}

/// `false`: there was none.
pub async fn delete(c: &mut AnyConnection, id: &str) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM oncall_overrides WHERE id = $1").bind(id).execute(c).await?;
    Ok(done.rows_affected() == 1)
}

fn read(row: &AnyRow) -> Result<Override, StoreError> {
    Ok(Override {
        id: row.try_get("id")?,
        substitute: Substitute {
            rotation: row.try_get("rotation")?,
            person: row.try_get("person")?,
            from: from_micros(row.try_get("from_at")?),
            until: from_micros(row.try_get("until_at")?),
        },
        reason: row.try_get("reason")?,
        created_by: row.try_get("created_by")?,
        created_at: from_micros(row.try_get("created_at")?),
    })
}
