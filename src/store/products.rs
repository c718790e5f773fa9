//! Which secret a product holds, as far as it showed, and the headers that are passed on to it.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, to_micros};
use crate::domain::ids::{DeliveryId, SecretVersionId};
use crate::domain::secret::Slot;

/// What is known of a product's secret, and from what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub version: SecretVersionId,
    pub seen_at: Timestamp,
    /// relay, probe or fingerprint.
    pub how: String,
}

/// Remembers what the product showed last.
pub async fn set(
    c: &mut AnyConnection,
    slot: &Slot,
    version: &SecretVersionId,
    now: Timestamp,
    how: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO product_secrets (source, mode, version_id, seen_at, how) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (source, mode) DO UPDATE
         SET version_id = excluded.version_id, seen_at = excluded.seen_at, how = excluded.how",
    )
    .bind(&slot.source)
    .bind(slot.mode.as_str())
    .bind(version.as_str())
    .bind(to_micros(now))
    .bind(how)
    .execute(c)
    .await?;
    Ok(())
}

pub async fn get(c: &mut AnyConnection, slot: &Slot) -> Result<Option<Held>, StoreError> {
    let row =
        sqlx::query("SELECT version_id, seen_at, how FROM product_secrets WHERE source = $1 AND mode = $2")
            .bind(&slot.source)
            .bind(slot.mode.as_str())
            .fetch_optional(c)
            .await?;
    row.map(|row| {
        Ok(Held {
            version: SecretVersionId::from_text(row.try_get::<String, _>("version_id")?),
            seen_at: super::secrets::instant(&row, "seen_at")?,
            how: row.try_get("how")?,
        })
    })
    .transpose()
}

/// The sealed headers of a delivery; `None` where none were kept.
pub async fn get_headers(c: &mut AnyConnection, id: &DeliveryId) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query("SELECT headers FROM webhook_bodies WHERE delivery_id = $1")
        .bind(id.as_str())
        .fetch_optional(c)
        .await?;
    Ok(row.map(|row| row.try_get("headers")).transpose()?.flatten())
}
