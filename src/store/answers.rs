//! The places where verdicts are shown by others: what each was told last, and what it is to be told.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{Engine, StoreError};
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::deploy::DeployKind;
use crate::domain::ids::DeployId;
use crate::domain::trigger::Address;

/// One place.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerRow {
    pub id: String,
    pub deploy_id: Option<DeployId>,
    pub environment: String,
    pub source: String,
    pub address: Address,
    /// Of a question without a deploy: the kind of the release that asks.
    pub next_kind: Option<DeployKind>,
    pub created_at: Timestamp,
}

/// A place with where it stands.
#[derive(Debug, Clone)]
pub struct StoredAnswer {
    pub row: AnswerRow,
    pub state: String,
    pub remote_id: Option<String>,
    pub revision: i64,
    pub told: Option<String>,
    pub told_at: Option<Timestamp>,
    pub next_at: Option<Timestamp>,
    pub attempts: u32,
    pub failure: Option<String>,
}

/// A place that this process may tell until the lease ends.
#[derive(Debug)]
pub struct AnswerClaim {
    pub stored: StoredAnswer,
    pub lease: String,
}

/// What one try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerAttempt {
    pub at: Timestamp,
    pub duration_ms: u64,
    pub said: String,
    pub status: Option<u16>,
    pub failure: Option<String>,
}

/// Where a place stands after it was told.
#[derive(Debug, Clone)]
pub struct Settled<'a> {
    pub told: &'a str,
    pub remote_id: Option<&'a str>,
    /// When to look again without being asked to.
    pub next_at: Option<Timestamp>,
    /// Nothing will ever be told there again.
    pub done: bool,
    pub at: Timestamp,
}

/// Adds a place, due at once. `false`: it is there already. A question without a deploy may be asked again.
pub async fn insert(c: &mut AnyConnection, answer: &AnswerRow) -> Result<bool, StoreError> {
    let deploy = answer.deploy_id.as_ref().map(DeployId::as_str);
    let dedupe =
        format!("{} {} {}", answer.address.channel(), answer.address.place(), deploy.unwrap_or_default());
    let done = sqlx::query(
        "INSERT INTO answers (id, dedupe, deploy_id, environment, source, channel, address, asked, state, revision,
           created_at, next_at, attempts)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', 0, $9, $9, 0)
         ON CONFLICT (dedupe) DO UPDATE SET state = 'open', told = NULL, next_at = excluded.next_at,
           asked = excluded.asked WHERE answers.deploy_id IS NULL",
    )
    .bind(&answer.id)
    .bind(dedupe)
    .bind(deploy)
    .bind(&answer.environment)
    .bind(&answer.source)
    .bind(answer.address.channel())
    .bind(super::json(&answer.address))
    .bind(answer.next_kind.map(DeployKind::as_str))
    .bind(to_micros(answer.created_at))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A deploy's verdict has changed: its places are due, and those that ask about the environment's last one.
/// Call it in the transaction of the change. The number of places.
pub async fn touch(
    c: &mut AnyConnection,
    deploy: &DeployId,
    environment: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    // News are worth another try where the old were given up.
    let own = "UPDATE answers SET revision = revision + 1, next_at = $2, state = 'open',
           attempts = CASE WHEN state = 'dead' THEN 0 ELSE attempts END
         WHERE deploy_id = $1 AND state IN ('open', 'dead')";
    let asking = "UPDATE answers SET revision = revision + 1, next_at = $2
         WHERE environment = $1 AND deploy_id IS NULL AND state = 'open'";
    let mut touched = 0;
    for (sql, key) in [(own, deploy.as_str()), (asking, environment)] {
        touched += sqlx::query(sql).bind(key).bind(to_micros(now)).execute(&mut *c).await?.rows_affected();
    }
    Ok(touched)
}

/// Claims the place that is due longest.
pub async fn claim(
    c: &mut AnyConnection,
    engine: Engine,
    now: Timestamp,
    lease: &str,
    lease_until: Timestamp,
) -> Result<Option<AnswerClaim>, StoreError> {
    let sql = format!(
        "UPDATE answers SET lease = $2, lease_until = $3, attempts = attempts + 1
         WHERE id = (
           SELECT id FROM answers
           WHERE next_at <= $1 AND state = 'open' AND (lease_until IS NULL OR lease_until <= $1)
           ORDER BY next_at, id LIMIT 1{})
         RETURNING *",
        engine.skip_locked()
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(to_micros(now))
        .bind(lease)
        .bind(to_micros(lease_until))
        .fetch_optional(c)
        .await?;
    row.as_ref().map(|row| Ok(AnswerClaim { stored: read(row)?, lease: lease.to_owned() })).transpose()
}

/// The place was told. A verdict that changed meanwhile keeps it due. `false`: the lease was lost.
pub async fn settle(
    c: &mut AnyConnection,
    claim: &AnswerClaim,
    settled: &Settled<'_>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE answers SET told = $3, told_at = $4, remote_id = $5, state = $6, attempts = 0, failure = NULL,
           lease = NULL, lease_until = NULL, next_at = CASE WHEN revision > $7 THEN next_at ELSE $8 END
         WHERE id = $1 AND lease = $2",
    )
    .bind(&claim.stored.row.id)
    .bind(&claim.lease)
    .bind(settled.told)
    .bind(to_micros(settled.at))
    .bind(settled.remote_id)
    .bind(if settled.done { "done" } else { "open" })
    .bind(claim.stored.revision)
    .bind(settled.next_at.map(to_micros))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The place could not be told: it is tried again at `next_at`, or given up where there is none.
pub async fn fail(
    c: &mut AnyConnection,
    claim: &AnswerClaim,
    remote_id: Option<&str>,
    next_at: Option<Timestamp>,
    failure: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE answers SET state = $3, next_at = $4, failure = $5, remote_id = $6, lease = NULL, lease_until = NULL
         WHERE id = $1 AND lease = $2",
    )
    .bind(&claim.stored.row.id)
    .bind(&claim.lease)
    .bind(if next_at.is_some() { "open" } else { "dead" })
    .bind(next_at.map(to_micros))
    .bind(failure)
    .bind(remote_id)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn add_attempt(
    c: &mut AnyConnection,
    id: &str,
    answer: &str,
    attempt: &AnswerAttempt,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO answer_attempts (id, answer_id, at, duration_ms, said, status, failure)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(answer)
    .bind(to_micros(attempt.at))
    .bind(i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX))
    .bind(&attempt.said)
    .bind(attempt.status.map(i64::from))
    .bind(&attempt.failure)
    .execute(c)
    .await?;
    Ok(())
}

/// The places of a deploy, oldest first.
pub async fn list_of_deploy(
    c: &mut AnyConnection,
    deploy: &DeployId,
) -> Result<Vec<StoredAnswer>, StoreError> {
    let rows = sqlx::query("SELECT * FROM answers WHERE deploy_id = $1 ORDER BY created_at, id LIMIT 100")
        .bind(deploy.as_str())
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

/// The tries at one place, oldest first.
pub async fn list_attempts(c: &mut AnyConnection, answer: &str) -> Result<Vec<AnswerAttempt>, StoreError> {
    let rows = sqlx::query("SELECT * FROM answer_attempts WHERE answer_id = $1 ORDER BY at, id LIMIT 200")
        .bind(answer)
        .fetch_all(c)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(AnswerAttempt {
                at: from_micros(row.try_get("at")?),
                duration_ms: u64::try_from(row.try_get::<i64, _>("duration_ms")?).unwrap_or(0),
                said: row.try_get("said")?,
                status: row.try_get::<Option<i64>, _>("status")?.and_then(|code| u16::try_from(code).ok()),
                failure: row.try_get("failure")?,
            })
        })
        .collect()
}

/// Deletes places without a deploy that were added before `before`, with their tries: questions, and those
/// whose deploy was taken back.
pub async fn forget_stray(c: &mut AnyConnection, before: Timestamp) -> Result<u64, StoreError> {
    let mut gone = 0;
    for sql in [
        "DELETE FROM answer_attempts WHERE answer_id IN (SELECT id FROM answers WHERE created_at < $1
           AND NOT EXISTS (SELECT 1 FROM deploys d WHERE d.id = answers.deploy_id))",
        "DELETE FROM answers WHERE created_at < $1
           AND NOT EXISTS (SELECT 1 FROM deploys d WHERE d.id = answers.deploy_id)",
    ] {
        gone += sqlx::query(sql).bind(to_micros(before)).execute(&mut *c).await?.rows_affected();
    }
    Ok(gone)
}

fn read(row: &AnyRow) -> Result<StoredAnswer, StoreError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let kind: Option<String> = row.try_get("asked")?;
    Ok(StoredAnswer {
        row: AnswerRow {
            id: text("id")?,
            deploy_id: row.try_get::<Option<String>, _>("deploy_id")?.map(DeployId::from_text),
            environment: text("environment")?,
            source: text("source")?,
            address: super::parse_json(row, "address")?,
            next_kind: kind.as_deref().and_then(DeployKind::parse),
            created_at: from_micros(row.try_get("created_at")?),
        },
        state: text("state")?,
        remote_id: row.try_get("remote_id")?,
        revision: row.try_get("revision")?,
        told: row.try_get("told")?,
        told_at: row.try_get::<Option<i64>, _>("told_at")?.map(from_micros),
        next_at: row.try_get::<Option<i64>, _>("next_at")?.map(from_micros),
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        failure: row.try_get("failure")?,
    })
}
