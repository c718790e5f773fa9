//! Rows of rotations. One is open for each slot; the unique index is what decides.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::StoreError;
use super::secrets::{instant, json, mode_of};
use crate::domain::clock::{Timestamp, to_micros};
use crate::domain::ids::{RotationId, SecretVersionId};
use crate::domain::rotation::Rotation;
use crate::domain::secret::Slot;

/// A rotation with the number that its next write must still find.
#[derive(Debug, Clone)]
pub struct Stored {
    pub rotation: Rotation,
    pub version: i64,
    pub told_at: Option<Timestamp>,
}

/// Inserts a rotation unless the slot has an open one; says whether it did.
pub async fn insert(c: &mut AnyConnection, rotation: &Rotation) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO rotations (id, source, mode, from_id, to_id, started_at, started_by, deadline_at, provider, product)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT DO NOTHING",
    )
    .bind(rotation.id.as_str())
    .bind(&rotation.slot.source)
    .bind(rotation.slot.mode.as_str())
    .bind(rotation.from.as_ref().map(|id| id.as_str().to_owned()))
    .bind(rotation.to.as_ref().map(|id| id.as_str().to_owned()))
    .bind(to_micros(rotation.started_at))
    .bind(&rotation.started_by)
    .bind(to_micros(rotation.deadline_at))
    .bind(rotation.provider.as_ref().map(text))
    .bind(rotation.product.as_ref().map(text))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes back what was read as `stored`; false means that somebody was first.
pub async fn update(
    c: &mut AnyConnection,
    stored: &Stored,
    rotation: &Rotation,
    told_at: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE rotations
         SET to_id = $1, deadline_at = $2, provider = $3, product = $4, ended = $5, told_at = $6, version = version + 1
         WHERE id = $7 AND version = $8",
    )
    .bind(rotation.to.as_ref().map(|id| id.as_str().to_owned()))
    .bind(to_micros(rotation.deadline_at))
    .bind(rotation.provider.as_ref().map(text))
    .bind(rotation.product.as_ref().map(text))
    .bind(rotation.end.as_ref().map(text))
    .bind(told_at.map(to_micros))
    .bind(rotation.id.as_str())
    .bind(stored.version)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get_open(c: &mut AnyConnection, slot: &Slot) -> Result<Option<Stored>, StoreError> {
    let row = sqlx::query("SELECT * FROM rotations WHERE source = $1 AND mode = $2 AND ended IS NULL")
        .bind(&slot.source)
        .bind(slot.mode.as_str())
        .fetch_optional(c)
        .await?;
    row.as_ref().map(read).transpose()
}

pub async fn list_open(c: &mut AnyConnection) -> Result<Vec<Stored>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM rotations WHERE ended IS NULL ORDER BY started_at").fetch_all(c).await?;
    rows.iter().map(read).collect()
}

/// The newest rotations of a source, open and over.
pub async fn list_of(c: &mut AnyConnection, source: &str, limit: u32) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query("SELECT * FROM rotations WHERE source = $1 ORDER BY started_at DESC LIMIT $2")
        .bind(source)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("proofs and ends are plain values")
}

fn read(row: &AnyRow) -> Result<Stored, StoreError> {
    let optional = |name: &str| row.try_get::<Option<String>, _>(name);
    let rotation = Rotation {
        id: RotationId::from_text(row.try_get::<String, _>("id")?),
        slot: Slot { source: row.try_get("source")?, mode: mode_of(row.try_get("mode")?)? },
        from: optional("from_id")?.map(SecretVersionId::from_text),
        to: optional("to_id")?.map(SecretVersionId::from_text),
        started_at: instant(row, "started_at")?,
        started_by: row.try_get("started_by")?,
        deadline_at: instant(row, "deadline_at")?,
        provider: optional("provider")?.map(|t| json(&t, "rotations.provider")).transpose()?,
        product: optional("product")?.map(|t| json(&t, "rotations.product")).transpose()?,
        end: optional("ended")?.map(|t| json(&t, "rotations.ended")).transpose()?,
    };
    let told_at = row.try_get::<Option<i64>, _>("told_at")?.map(crate::domain::clock::from_micros);
    Ok(Stored { rotation, version: row.try_get("version")?, told_at })
}
