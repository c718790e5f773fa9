//! Observations, and the state of each check that they add up to.

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{StoreError, dialect};
use crate::domain::check_state::CheckState;
use crate::domain::clock::{Timestamp, to_micros};
use crate::domain::ids::DeployId;
use crate::domain::observation::Observation;

/// Rows of one statement: far below both engines' limits of bound values.
const ROWS: usize = 500;

/// An observation with its place in the deploy's history.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The tick that made it: the order in which to replay.
    pub scan: i64,
    /// 0 is the slot itself, 1 and on are its extra samples.
    pub sample: u32,
    pub observation: Observation,
}

/// Adds observations. A slot that was answered before is a breach of the primary key, and fails.
pub async fn insert_observations(
    c: &mut AnyConnection,
    deploy: &DeployId,
    seen: &[Recorded],
) -> Result<(), StoreError> {
    for rows in seen.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO observations (deploy_id, check_key, slot_at, sample, scan, observed_at, outcome, body)
             VALUES {}",
            dialect::values(rows.len(), 8)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in rows {
            query = query
                .bind(deploy.as_str())
                .bind(row.observation.key.as_str())
                .bind(to_micros(row.observation.slot_at))
                .bind(i64::from(row.sample))
                .bind(row.scan)
                .bind(to_micros(row.observation.observed_at))
                .bind(row.observation.outcome.as_str())
                .bind(super::json(&row.observation));
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// Every observation of a deploy in the order they were made.
pub async fn list_observations(
    c: &mut AnyConnection,
    deploy: &DeployId,
) -> Result<Vec<Recorded>, StoreError> {
    let rows = sqlx::query(
        "SELECT scan, sample, body FROM observations WHERE deploy_id = $1
         ORDER BY scan, slot_at, sample, check_key",
    )
    .bind(deploy.as_str())
    .fetch_all(c)
    .await?;
    rows.iter().map(recorded).collect()
}

/// The observations of one check at or after an instant, oldest first: for bars over time.
pub async fn list_of_check(
    c: &mut AnyConnection,
    deploy: &DeployId,
    key: &str,
    from: Timestamp,
) -> Result<Vec<Recorded>, StoreError> {
    let rows = sqlx::query(
        "SELECT scan, sample, body FROM observations
         WHERE deploy_id = $1 AND check_key = $2 AND slot_at >= $3 ORDER BY slot_at, sample",
    )
    .bind(deploy.as_str())
    .bind(key)
    .bind(to_micros(from))
    .fetch_all(c)
    .await?;
    rows.iter().map(recorded).collect()
}

/// Writes the states of checks over what they were.
pub async fn put_states(
    c: &mut AnyConnection,
    deploy: &DeployId,
    states: &[&CheckState],
) -> Result<(), StoreError> {
    for rows in states.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO check_states (deploy_id, check_key, state) VALUES {}
             ON CONFLICT (deploy_id, check_key) DO UPDATE SET state = excluded.state",
            dialect::values(rows.len(), 3)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for state in rows {
            query = query.bind(deploy.as_str()).bind(state.key.as_str()).bind(super::json(state));
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// The states of a deploy's checks, by key.
pub async fn list_states(c: &mut AnyConnection, deploy: &DeployId) -> Result<Vec<CheckState>, StoreError> {
    let rows = sqlx::query("SELECT state FROM check_states WHERE deploy_id = $1 ORDER BY check_key")
        .bind(deploy.as_str())
        .fetch_all(c)
        .await?;
    rows.iter().map(|row| super::parse_json(row, "state")).collect()
}

fn recorded(row: &sqlx::any::AnyRow) -> Result<Recorded, StoreError> {
    let sample: i64 = row.try_get("sample")?;
    Ok(Recorded {
        scan: row.try_get("scan")?,
        sample: u32::try_from(sample).unwrap_or(u32::MAX),
        observation: super::parse_json(row, "body")?,
    })
}
