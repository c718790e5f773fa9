//! Incidents and what happened to them.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::IncidentId;
use crate::domain::incident::{DedupKey, Incident, IncidentKind, IncidentState};

/// An incident with the version that a write must find unchanged.
#[derive(Debug, Clone)]
pub struct Stored {
    pub incident: Incident,
    pub version: i64,
}

/// One line of an incident's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub actor: String,
    pub event: String,
    pub detail: String,
}

/// Which incidents to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Open,
    All,
}

/// Writes a new incident. `false`: another one is open for this key.
pub async fn insert(c: &mut AnyConnection, incident: &Incident) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO incidents (id, environment, scope, kind, state, resolved, facts, told, opened_at, updated_at,
                                reopened, snoozed_until, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)
         ON CONFLICT DO NOTHING",
    )
    .bind(incident.id.as_str())
    .bind(&incident.key.environment)
    .bind(&incident.key.scope)
    .bind(incident.key.kind.as_str())
    .bind(json(&incident.state)?)
    .bind(i64::from(incident.state.is_resolved()))
    .bind(json(&incident.facts)?)
    .bind(json(&incident.told)?)
    .bind(to_micros(incident.opened_at))
    .bind(to_micros(incident.updated_at))
    .bind(i64::from(incident.reopened))
    .bind(incident.snoozed_until.map(to_micros))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes a changed incident. `false`: somebody else changed it since it was read.
pub async fn update(c: &mut AnyConnection, incident: &Incident, version: i64) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE incidents SET state = $3, resolved = $4, facts = $5, told = $6, updated_at = $7, reopened = $8,
                              snoozed_until = $9, version = version + 1
         WHERE id = $1 AND version = $2",
    )
    .bind(incident.id.as_str())
    .bind(version)
    .bind(json(&incident.state)?)
    .bind(i64::from(incident.state.is_resolved()))
    .bind(json(&incident.facts)?)
    .bind(json(&incident.told)?)
    .bind(to_micros(incident.updated_at))
    .bind(i64::from(incident.reopened))
    .bind(incident.snoozed_until.map(to_micros))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The newest incident of a key, open or not.
pub async fn find_latest(c: &mut AnyConnection, key: &DedupKey) -> Result<Option<Stored>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM incidents WHERE environment = $1 AND scope = $2 AND kind = $3
         ORDER BY resolved, opened_at DESC, id DESC LIMIT 1",
    )
    .bind(&key.environment)
    .bind(&key.scope)
    .bind(key.kind.as_str())
    .fetch_optional(c)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The newest incident of a kind in an environment, if a newer deploy took it over.
pub async fn find_superseded(
    c: &mut AnyConnection,
    environment: &str,
    kind: IncidentKind,
) -> Result<Option<Stored>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM incidents WHERE environment = $1 AND kind = $2 ORDER BY opened_at DESC, id DESC LIMIT 1",
    )
    .bind(environment)
    .bind(kind.as_str())
    .fetch_optional(c)
    .await?;
    let newest = row.as_ref().map(read).transpose()?;
    Ok(newest.filter(|stored| matches!(stored.incident.state, IncidentState::Superseded { .. })))
}

pub async fn get(c: &mut AnyConnection, id: &IncidentId) -> Result<Option<Stored>, StoreError> {
    let row =
        sqlx::query("SELECT * FROM incidents WHERE id = $1").bind(id.as_str()).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

/// Incidents whose id ends with `suffix`: what people type. At most two, since two are already too many.
pub async fn find_by_suffix(c: &mut AnyConnection, suffix: &str) -> Result<Vec<Stored>, StoreError> {
    // The suffix is compared, not matched, so that % and _ in it mean nothing.
    let rows = sqlx::query(
        "SELECT * FROM incidents WHERE substr(id, CAST(length(id) - $1 + 1 AS INTEGER)) = $2 ORDER BY opened_at DESC LIMIT 2",
    )
    .bind(i64::try_from(suffix.chars().count()).unwrap_or(i64::MAX))
    .bind(suffix)
    .fetch_all(c)
    .await?;
    rows.iter().map(read).collect()
}

/// Newest first. `environment` narrows.
pub async fn list(
    c: &mut AnyConnection,
    which: Which,
    environment: Option<&str>,
    limit: u32,
) -> Result<Vec<Stored>, StoreError> {
    let resolved_up_to = i64::from(which == Which::All);
    let rows = sqlx::query(
        "SELECT * FROM incidents WHERE resolved <= $1 AND ($2 = '' OR environment = $2)
         ORDER BY opened_at DESC, id DESC LIMIT $3",
    )
    .bind(resolved_up_to)
    .bind(environment.unwrap_or_default())
    .bind(i64::from(limit))
    .fetch_all(c)
    .await?;
    rows.iter().map(read).collect()
}

/// Appends to an incident's history.
pub async fn add_event(
    c: &mut AnyConnection,
    id: &str,
    incident: &IncidentId,
    event: &Event,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO incident_events (id, incident_id, at, actor, event, detail) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(incident.as_str())
    .bind(to_micros(event.at))
    .bind(&event.actor)
    .bind(&event.event)
    .bind(&event.detail)
    .execute(c)
    .await?;
    Ok(())
}

/// An incident's history, oldest first.
pub async fn list_events(c: &mut AnyConnection, incident: &IncidentId) -> Result<Vec<Event>, StoreError> {
    let rows = sqlx::query("SELECT * FROM incident_events WHERE incident_id = $1 ORDER BY at, id LIMIT 500")
        .bind(incident.as_str())
        .fetch_all(c)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Event {
                at: from_micros(row.try_get("at")?),
                actor: row.try_get("actor")?,
                event: row.try_get("event")?,
                detail: row.try_get("detail")?,
            })
        })
        .collect()
}

fn read(row: &AnyRow) -> Result<Stored, StoreError> {
    let kind: String = row.try_get("kind")?;
    let kind =
        IncidentKind::parse(&kind).ok_or_else(|| StoreError::Corrupt(format!("incident kind {kind}")))?;
    let incident = Incident {
        id: IncidentId::from_text(row.try_get::<String, _>("id")?),
        key: DedupKey { environment: row.try_get("environment")?, scope: row.try_get("scope")?, kind },
        state: parse(row, "state")?,
        facts: parse(row, "facts")?,
        told: parse(row, "told")?,
        opened_at: from_micros(row.try_get("opened_at")?),
        updated_at: from_micros(row.try_get("updated_at")?),
        reopened: u32::try_from(row.try_get::<i64, _>("reopened")?).unwrap_or(u32::MAX),
        snoozed_until: row.try_get::<Option<i64>, _>("snoozed_until")?.map(from_micros),
    };
    Ok(Stored { incident, version: row.try_get("version")? })
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(format!("incidents.{column}: {error}")))
}
