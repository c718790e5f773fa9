//! Baselines, and the newest clean measurements of each environment.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::baseline::{Baseline, BaselineSource};
use crate::domain::check::CheckKey;
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::BaselineId;
use crate::domain::measurement::Measurement;

pub async fn insert_baseline(c: &mut AnyConnection, baseline: &Baseline) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO baselines (id, environment, captured_at, source, measurements)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(baseline.id.as_str())
    .bind(baseline.environment.as_str())
    .bind(to_micros(baseline.captured_at))
    .bind(baseline.source.as_str())
    .bind(super::json(&baseline.measurements))
    .execute(c)
    .await?;
    Ok(())
}

pub async fn get_baseline(c: &mut AnyConnection, id: &BaselineId) -> Result<Option<Baseline>, StoreError> {
    let row =
        sqlx::query("SELECT id, environment, captured_at, source, measurements FROM baselines WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(c)
            .await?;
    row.map(|row| {
        let source: String = row.try_get("source")?;
        Ok(Baseline {
            id: BaselineId::from_text(row.try_get::<String, _>("id")?),
            environment: row.try_get("environment")?,
            captured_at: from_micros(row.try_get("captured_at")?),
            source: BaselineSource::parse(&source)
                .ok_or_else(|| StoreError::Corrupt(format!("baseline source {source:?}")))?,
            measurements: super::parse_json(&row, "measurements")?,
        })
    })
    .transpose()
}

/// Replaces what is known as the newest clean scan of an environment.
pub async fn put_clean_scan(
    c: &mut AnyConnection,
    environment: &str,
    captured_at: Timestamp,
    measurements: &BTreeMap<CheckKey, Measurement>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO clean_scans (environment, captured_at, measurements) VALUES ($1, $2, $3)
         ON CONFLICT (environment) DO UPDATE
         SET captured_at = excluded.captured_at, measurements = excluded.measurements",
    )
    .bind(environment)
    .bind(to_micros(captured_at))
    .bind(super::json(measurements))
    .execute(c)
    .await?;
    Ok(())
}

/// When the newest clean scan was made, and what it measured.
pub async fn get_clean_scan(
    c: &mut AnyConnection,
    environment: &str,
) -> Result<Option<(Timestamp, BTreeMap<CheckKey, Measurement>)>, StoreError> {
    let row = sqlx::query("SELECT captured_at, measurements FROM clean_scans WHERE environment = $1")
        .bind(environment)
        .fetch_optional(c)
        .await?;
    row.map(|row| Ok((from_micros(row.try_get("captured_at")?), super::parse_json(&row, "measurements")?)))
        .transpose()
}
