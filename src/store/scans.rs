//! Each pass over a target: when, how late, how long, how much.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::{DeployId, ScanId};

/// One scan as recorded. `error` is set when the target as a whole could not be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRow {
    pub id: ScanId,
    pub deploy_id: DeployId,
    /// Counts the ticks of its deploy.
    pub scan: i64,
    pub at: Timestamp,
    pub late_ms: i64,
    pub duration_ms: i64,
    pub checks: i64,
    pub carried: i64,
    pub statements: i64,
    pub server: Option<String>,
    pub error: Option<String>,
}

pub async fn insert_scan(c: &mut AnyConnection, scan: &ScanRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO scans (id, deploy_id, scan, at, late_ms, duration_ms, checks, carried, statements, server, error)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(scan.id.as_str())
    .bind(scan.deploy_id.as_str())
    .bind(scan.scan)
    .bind(to_micros(scan.at))
    .bind(scan.late_ms)
    .bind(scan.duration_ms)
    .bind(scan.checks)
    .bind(scan.carried)
    .bind(scan.statements)
    .bind(scan.server.as_deref())
    .bind(scan.error.as_deref())
    .execute(c)
    .await?;
    Ok(())
}

/// The newest scans of a deploy, newest first.
pub async fn list_scans(
    c: &mut AnyConnection,
    deploy: &DeployId,
    limit: i64,
) -> Result<Vec<ScanRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM scans WHERE deploy_id = $1 ORDER BY scan DESC LIMIT $2")
        .bind(deploy.as_str())
        .bind(limit)
        .fetch_all(c)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ScanRow {
                id: ScanId::from_text(row.try_get::<String, _>("id")?),
                deploy_id: DeployId::from_text(row.try_get::<String, _>("deploy_id")?),
                scan: row.try_get("scan")?,
                at: from_micros(row.try_get("at")?),
                late_ms: row.try_get("late_ms")?,
                duration_ms: row.try_get("duration_ms")?,
                checks: row.try_get("checks")?,
                carried: row.try_get("carried")?,
                statements: row.try_get("statements")?,
                server: row.try_get("server")?,
                error: row.try_get("error")?,
            })
        })
        .collect()
}
