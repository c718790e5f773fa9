//! Rows of secret versions, their sealed keys and their use.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::SecretVersionId;
use crate::domain::secret::{
    Origin, SecretState, SecretVersion, Slot, SlotMode, StateName, Transition, Usage,
};

/// A version with its sealed key, if it still has one.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub version: SecretVersion,
    pub sealed: Option<Vec<u8>>,
}

const COLUMNS: &str = "id, source, mode, number, fingerprint, length, warnings, origin, state, state_at, \
     until_at, reason, added_at, matches, first_match_at, last_match_at, state_matches, \
     state_first_match_at, stale_since";

/// Inserts a version; false means that the slot got another active or staged version, or this number, first.
pub async fn insert(
    c: &mut AnyConnection,
    version: &SecretVersion,
    sealed: &[u8],
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO secret_versions
           (id, source, mode, number, fingerprint, length, warnings, origin, sealed, state, state_at, until_at, reason, added_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT DO NOTHING",
    )
    .bind(version.id.as_str())
    .bind(&version.slot.source)
    .bind(version.slot.mode.as_str())
    .bind(i64::from(version.number))
    .bind(&version.fingerprint)
    .bind(i64::from(version.length))
    .bind(serde_json::to_string(&version.warnings).expect("warnings are plain names"))
    .bind(version.origin.as_str())
    .bind(sealed.to_vec())
    .bind(version.state.name().as_str())
    .bind(to_micros(version.state.since()))
    .bind(version.state.until().map(to_micros))
    .bind(reason(&version.state))
    .bind(to_micros(version.added_at))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes a change of state; false means that the version was no longer in the state it starts from.
pub async fn transition(c: &mut AnyConnection, change: &Transition) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE secret_versions
         SET state = $1, state_at = $2, until_at = $3, reason = $4, state_matches = 0, state_first_match_at = NULL,
             sealed = CASE WHEN $1 = 'purged' THEN NULL ELSE sealed END
         WHERE id = $5 AND state = $6",
    )
    .bind(change.to.name().as_str())
    .bind(to_micros(change.to.since()))
    .bind(change.to.until().map(to_micros))
    .bind(reason(&change.to))
    .bind(change.version.as_str())
    .bind(change.from.as_str())
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Counts matches and returns the version as it stands now, locked until the transaction ends.
pub async fn count_matches(
    c: &mut AnyConnection,
    id: &SecretVersionId,
    matches: u32,
    first: Timestamp,
    last: Timestamp,
) -> Result<Option<SecretVersion>, StoreError> {
    let row = sqlx::query(
        "UPDATE secret_versions
         SET matches = matches + $1,
             first_match_at = COALESCE(first_match_at, $2),
             last_match_at = CASE WHEN last_match_at > $3 THEN last_match_at ELSE $3 END,
             state_matches = state_matches + $1,
             state_first_match_at = COALESCE(state_first_match_at, $2)
         WHERE id = $4
         RETURNING *",
    )
    .bind(i64::from(matches))
    .bind(to_micros(first))
    .bind(to_micros(last))
    .bind(id.as_str())
    .fetch_optional(c)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Starts the count of a new state with the matches that led to it.
pub async fn restart_count(
    c: &mut AnyConnection,
    id: &SecretVersionId,
    matches: u32,
    first: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE secret_versions SET state_matches = $1, state_first_match_at = $2 WHERE id = $3")
        .bind(i64::from(matches))
        .bind(to_micros(first))
        .bind(id.as_str())
        .execute(c)
        .await?;
    Ok(())
}

/// Remembers that on-call was told about a stale version, or that the matter is closed.
pub async fn set_stale(
    c: &mut AnyConnection,
    id: &SecretVersionId,
    since: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE secret_versions SET stale_since = $1 WHERE id = $2")
        .bind(since.map(to_micros))
        .bind(id.as_str())
        .execute(c)
        .await?;
    Ok(())
}

/// All versions of all slots, without keys.
pub async fn list(c: &mut AnyConnection) -> Result<Vec<SecretVersion>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM secret_versions ORDER BY source, mode, number");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(c).await?;
    rows.iter().map(read).collect()
}

pub async fn list_slot(c: &mut AnyConnection, slot: &Slot) -> Result<Vec<SecretVersion>, StoreError> {
    let text =
        format!("SELECT {COLUMNS} FROM secret_versions WHERE source = $1 AND mode = $2 ORDER BY number");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(&slot.source)
        .bind(slot.mode.as_str())
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

/// All versions that still have a key.
pub async fn list_sealed(c: &mut AnyConnection) -> Result<Vec<Sealed>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM secret_versions WHERE sealed IS NOT NULL ORDER BY source, mode, number")
            .fetch_all(c)
            .await?;
    rows.iter().map(|row| Ok(Sealed { version: read(row)?, sealed: row.try_get("sealed")? })).collect()
}

/// Grows with each change of a version, so that a cache asks one cheap question.
pub async fn generation(c: &mut AnyConnection) -> Result<i64, StoreError> {
    let row =
        sqlx::query("SELECT value FROM meta WHERE name = 'secrets_generation'").fetch_optional(c).await?;
    let Some(row) = row else { return Ok(0) };
    let text: String = row.try_get("value")?;
    text.parse().map_err(|_| StoreError::Corrupt("meta.secrets_generation is not a number".into()))
}

pub async fn bump_generation(c: &mut AnyConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO meta (name, value, updated_at) VALUES ('secrets_generation', '1', $1)
         ON CONFLICT (name) DO UPDATE
         SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT), updated_at = excluded.updated_at",
    )
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(())
}

fn reason(state: &SecretState) -> &str {
    match state {
        SecretState::Compromised { reason, .. } => reason,
        _ => "",
    }
}

pub(super) fn instant(row: &AnyRow, name: &str) -> Result<Timestamp, StoreError> {
    Ok(from_micros(row.try_get(name)?))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str, place: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{place}: {error}")))
}

pub(super) fn mode_of(text: String) -> Result<SlotMode, StoreError> {
    SlotMode::parse(&text).ok_or(StoreError::Corrupt(format!("mode {text}")))
}

fn read(row: &AnyRow) -> Result<SecretVersion, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("secret_versions.{what}"));
    let optional = |name: &str| Ok::<_, StoreError>(row.try_get::<Option<i64>, _>(name)?.map(from_micros));
    let count = |name: &str| u64::try_from(row.try_get::<i64, _>(name)?).map_err(|_| corrupt(name));
    let since = instant(row, "state_at")?;
    let until = || optional("until_at")?.ok_or(corrupt("until_at"));
    let name: String = row.try_get("state")?;
    let state = match StateName::parse(&name).ok_or(corrupt("state"))? {
        StateName::Staged => SecretState::Staged { since, deadline: until()? },
        StateName::Active => SecretState::Active { since },
        StateName::Retiring => SecretState::Retiring { since, overlap_until: until()? },
        StateName::Overdue => SecretState::Overdue { since },
        StateName::Retired => SecretState::Retired { since, detect_until: until()? },
        StateName::Compromised => {
            SecretState::Compromised { since, detect_until: until()?, reason: row.try_get("reason")? }
        }
        StateName::Purged => SecretState::Purged { since },
    };
    let origin: String = row.try_get("origin")?;
    Ok(SecretVersion {
        id: SecretVersionId::from_text(row.try_get::<String, _>("id")?),
        slot: Slot { source: row.try_get("source")?, mode: mode_of(row.try_get("mode")?)? },
        number: u32::try_from(count("number")?).map_err(|_| corrupt("number"))?,
        fingerprint: row.try_get("fingerprint")?,
        length: u32::try_from(count("length")?).map_err(|_| corrupt("length"))?,
        warnings: json(row.try_get::<&str, _>("warnings")?, "secret_versions.warnings")?,
        origin: Origin::ALL.into_iter().find(|o| o.as_str() == origin).ok_or(corrupt("origin"))?,
        added_at: instant(row, "added_at")?,
        state,
        usage: Usage {
            matches: count("matches")?,
            first_match_at: optional("first_match_at")?,
            last_match_at: optional("last_match_at")?,
            state_matches: count("state_matches")?,
            state_first_match_at: optional("state_first_match_at")?,
        },
        stale_since: optional("stale_since")?,
    })
}
