//! Deploys: announced, open, ended. Every change of state is a compare-and-set; false means that somebody
//! else was first.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::{Engine, StoreError};
use crate::domain::announce::Announced;
use crate::domain::cadence::Plan;
use crate::domain::check::Check;
use crate::domain::check_state::TargetHealth;
use crate::domain::clock::{SignedDuration, Timestamp, from_micros, to_micros};
use crate::domain::deploy::{Deploy, DeployKind, DeployState, Override};
use crate::domain::ids::{BaselineId, DeployId};
use crate::domain::verdict::Verdict;

/// A deploy with everything that is kept beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeployRow {
    pub deploy: Deploy,
    /// The baseline of the newest clean deploy before this one.
    pub clean_baseline_id: Option<BaselineId>,
    /// Every comparison is held against both baselines, since the deploy before was not clean.
    pub both_baselines: bool,
    pub check_set: String,
    pub decided: Option<Override>,
    pub verdict: Verdict,
    pub verdict_at: Timestamp,
    pub target_health: TargetHealth,
    pub announced: Announced,
    /// Ticks recorded so far.
    pub scans: i64,
    pub scanned_at: Option<Timestamp>,
    pub read_fully_at: Option<Timestamp>,
    pub next_due_at: Option<Timestamp>,
    pub lease_token: i64,
    pub lease_until: Timestamp,
}

/// What a tick writes beside its observations.
#[derive(Debug, Clone)]
pub struct TickRecord<'a> {
    pub id: &'a DeployId,
    pub lease_token: i64,
    pub plan: &'a Plan,
    pub state: &'a DeployState,
    pub verdict: &'a Verdict,
    pub verdict_at: Timestamp,
    pub target_health: &'a TargetHealth,
    pub announced: &'a Announced,
    pub scans: i64,
    pub scanned_at: Option<Timestamp>,
    pub read_fully_at: Option<Timestamp>,
    pub next_due_at: Option<Timestamp>,
}

/// Waits for its turn: one transaction at a time starts, finishes or ends deploys of an environment.
pub async fn take_turn(c: &mut AnyConnection, environment: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO environment_turns (environment, turn) VALUES ($1, 1)
         ON CONFLICT (environment) DO UPDATE SET turn = environment_turns.turn + 1",
    )
    .bind(environment)
    .execute(c)
    .await?;
    Ok(())
}

/// Keeps checks under the digest of their text.
pub async fn put_check_set(c: &mut AnyConnection, digest: &str, checks: &[Check]) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO check_sets (digest, checks) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
        .bind(digest)
        .bind(super::json(&checks))
        .execute(c)
        .await?;
    Ok(())
}

pub async fn get_check_set(c: &mut AnyConnection, digest: &str) -> Result<Vec<Check>, StoreError> {
    let row =
        sqlx::query("SELECT checks FROM check_sets WHERE digest = $1").bind(digest).fetch_one(c).await?;
    super::parse_json(&row, "checks")
}

/// Adds a deploy. False when the same environment, version and attempt exist.
pub async fn insert_deploy(c: &mut AnyConnection, row: &DeployRow) -> Result<bool, StoreError> {
    let deploy = &row.deploy;
    let done = sqlx::query(
        "INSERT INTO deploys (id, environment, version, attempt, commit_id, kind, actor, link, state, started_at,
           plan, check_set, verdict, verdict_state, verdict_at, next_due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (environment, version, attempt) DO NOTHING",
    )
    .bind(deploy.id.as_str())
    .bind(deploy.environment.as_str())
    .bind(deploy.version.as_str())
    .bind(i64::from(deploy.attempt))
    .bind(deploy.commit.as_deref())
    .bind(deploy.kind.as_str())
    .bind(deploy.actor.as_deref())
    .bind(deploy.link.as_deref())
    .bind(deploy.state.as_str())
    .bind(to_micros(deploy.started_at))
    .bind(super::json(&deploy.plan))
    .bind(row.check_set.as_str())
    .bind(super::json(&row.verdict))
    .bind(row.verdict.state.as_str())
    .bind(to_micros(row.verdict_at))
    .bind(row.next_due_at.map(to_micros))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes back a deploy whose baseline could not be captured, as if it had not been announced.
pub async fn delete_unstarted(c: &mut AnyConnection, id: &DeployId) -> Result<bool, StoreError> {
    let done =
        sqlx::query("DELETE FROM deploys WHERE id = $1 AND state = 'deploying' AND baseline_id IS NULL")
            .bind(id.as_str())
            .execute(c)
            .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get_deploy(c: &mut AnyConnection, id: &DeployId) -> Result<Option<DeployRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM deploys WHERE id = $1").bind(id.as_str()).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

/// The newest attempt at a version.
pub async fn get_version(
    c: &mut AnyConnection,
    environment: &str,
    version: &str,
) -> Result<Option<DeployRow>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM deploys WHERE environment = $1 AND version = $2 ORDER BY attempt DESC LIMIT 1",
    )
    .bind(environment)
    .bind(version)
    .fetch_optional(c)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The newest deploy of an environment that nobody cancelled.
pub async fn get_newest(c: &mut AnyConnection, environment: &str) -> Result<Option<DeployRow>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM deploys WHERE environment = $1 AND state <> 'cancelled'
         ORDER BY started_at DESC, id DESC LIMIT 1",
    )
    .bind(environment)
    .fetch_optional(c)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The newest deploy of an environment whose window was opened, whatever became of it: a watch that somebody
/// cancelled was of a release all the same.
pub async fn get_last_finished(
    c: &mut AnyConnection,
    environment: &str,
) -> Result<Option<DeployRow>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM deploys WHERE environment = $1 AND finished_at IS NOT NULL
         ORDER BY finished_at DESC, id DESC LIMIT 1",
    )
    .bind(environment)
    .fetch_optional(c)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The newest deploy of an environment that is good enough to compare with.
pub async fn get_newest_clean(
    c: &mut AnyConnection,
    environment: &str,
) -> Result<Option<DeployRow>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM deploys WHERE environment = $1 AND clean = 1 AND baseline_id IS NOT NULL
         ORDER BY finished_at DESC LIMIT 1",
    )
    .bind(environment)
    .fetch_optional(c)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Deploys, newest first; of one environment where given.
pub async fn list_deploys(
    c: &mut AnyConnection,
    environment: Option<&str>,
    limit: i64,
) -> Result<Vec<DeployRow>, StoreError> {
    let sql = match environment {
        Some(_) => "SELECT * FROM deploys WHERE environment = $2 ORDER BY started_at DESC, id DESC LIMIT $1",
        None => "SELECT * FROM deploys ORDER BY started_at DESC, id DESC LIMIT $1",
    };
    let query = sqlx::query(sql).bind(limit);
    let query = match environment {
        Some(name) => query.bind(name),
        None => query,
    };
    query.fetch_all(c).await?.iter().map(read).collect()
}

/// The deploys of an environment whose window is open; more than one only for an instant.
pub async fn list_open(c: &mut AnyConnection, environment: &str) -> Result<Vec<DeployRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM deploys WHERE environment = $1 AND state = 'verifying' ORDER BY finished_at",
    )
    .bind(environment)
    .fetch_all(c)
    .await?;
    rows.iter().map(read).collect()
}

/// The newest deploys of an environment that had started by an instant, newest first; those that were taken
/// back before they went out are none.
pub async fn list_started_by(
    c: &mut AnyConnection,
    environment: &str,
    at: Timestamp,
    limit: i64,
) -> Result<Vec<DeployRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM deploys WHERE environment = $1 AND started_at <= $2
           AND (finished_at IS NOT NULL OR state <> 'cancelled')
         ORDER BY started_at DESC, id DESC LIMIT $3",
    )
    .bind(environment)
    .bind(to_micros(at))
    .bind(limit)
    .fetch_all(c)
    .await?;
    rows.iter().map(read).collect()
}

/// Whether a deploy of this environment runs its migrations, so that nothing may scan its target.
pub async fn is_migrating(c: &mut AnyConnection, environment: &str) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT id FROM deploys WHERE environment = $1 AND state = 'deploying' LIMIT 1")
        .bind(environment)
        .fetch_optional(c)
        .await?;
    Ok(row.is_some())
}

/// Whether a deploy announced after this one is between its start and its finish.
pub async fn is_newer_deploying(c: &mut AnyConnection, deploy: &Deploy) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT id FROM deploys WHERE environment = $1 AND state = 'deploying' AND started_at >= $2 AND id <> $3
         LIMIT 1",
    )
    .bind(deploy.environment.as_str())
    .bind(to_micros(deploy.started_at))
    .bind(deploy.id.as_str())
    .fetch_optional(c)
    .await?;
    Ok(row.is_some())
}

/// Gives a started deploy its baseline, once.
pub async fn set_baseline(
    c: &mut AnyConnection,
    id: &DeployId,
    baseline: &BaselineId,
    captured_at: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE deploys SET baseline_id = $2, baseline_at = $3
         WHERE id = $1 AND state = 'deploying' AND baseline_id IS NULL",
    )
    .bind(id.as_str())
    .bind(baseline.as_str())
    .bind(to_micros(captured_at))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Opens the window of a started deploy, once.
pub async fn open_window(c: &mut AnyConnection, row: &DeployRow) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE deploys SET state = 'verifying', finished_at = $2, plan = $3, baseline_id = $4, baseline_at = $5,
           clean_baseline_id = $6, both_baselines = $7, verdict = $8, verdict_state = $9, verdict_at = $10,
           next_due_at = $11, released_at = $12, reverifies = $13, lease_until = 0
         WHERE id = $1 AND state = 'deploying'",
    )
    .bind(row.deploy.id.as_str())
    .bind(row.deploy.finished_at.map(to_micros))
    .bind(super::json(&row.deploy.plan))
    .bind(row.deploy.baseline_id.as_ref().map(|id| id.as_str()))
    .bind(row.deploy.baseline_at.map(to_micros))
    .bind(row.clean_baseline_id.as_ref().map(|id| id.as_str()))
    .bind(i64::from(row.both_baselines))
    .bind(super::json(&row.verdict))
    .bind(row.verdict.state.as_str())
    .bind(to_micros(row.verdict_at))
    .bind(row.next_due_at.map(to_micros))
    .bind(row.deploy.released_at.map(to_micros))
    .bind(row.deploy.reverifies.as_ref().map(|id| id.as_str()))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a deploy that is in the state `from`: superseded or cancelled. A tick that is under way loses its
/// lease and records nothing.
pub async fn end_deploy(
    c: &mut AnyConnection,
    from: &DeployState,
    row: &DeployRow,
) -> Result<bool, StoreError> {
    let ended = Ended::of(&row.deploy.state);
    let done = sqlx::query(
        "UPDATE deploys SET state = $3, ended_at = $4, superseded_by = $5, cancel_reason = $6, verdict = $7,
           verdict_state = $8, clean = $9, verdict_at = $10, announced = $11, next_due_at = NULL,
           lease_token = lease_token + 1, lease_until = 0
         WHERE id = $1 AND state = $2",
    )
    .bind(row.deploy.id.as_str())
    .bind(from.as_str())
    .bind(row.deploy.state.as_str())
    .bind(ended.at.map(to_micros))
    .bind(ended.superseded_by)
    .bind(ended.cancel_reason)
    .bind(super::json(&row.verdict))
    .bind(row.verdict.state.as_str())
    .bind(i64::from(row.verdict.clean))
    .bind(to_micros(row.verdict_at))
    .bind(super::json(&row.announced))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes what a tick found, if its lease still holds and nobody ended the deploy meanwhile; gives the lease
/// back.
pub async fn record_tick(c: &mut AnyConnection, tick: &TickRecord<'_>) -> Result<bool, StoreError> {
    let ended = Ended::of(tick.state);
    let done = sqlx::query(
        "UPDATE deploys SET plan = $3, state = $4, ended_at = $5, verdict = $6, verdict_state = $7, clean = $8,
           verdict_at = $9, target_health = $10, announced = $11, scans = $12, scanned_at = $13,
           read_fully_at = $14, next_due_at = $15, lease_until = 0
         WHERE id = $1 AND lease_token = $2 AND state = 'verifying'",
    )
    .bind(tick.id.as_str())
    .bind(tick.lease_token)
    .bind(super::json(tick.plan))
    .bind(tick.state.as_str())
    .bind(ended.at.map(to_micros))
    .bind(super::json(tick.verdict))
    .bind(tick.verdict.state.as_str())
    .bind(i64::from(tick.verdict.clean))
    .bind(to_micros(tick.verdict_at))
    .bind(super::json(tick.target_health))
    .bind(super::json(tick.announced))
    .bind(tick.scans)
    .bind(tick.scanned_at.map(to_micros))
    .bind(tick.read_fully_at.map(to_micros))
    .bind(tick.next_due_at.map(to_micros))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes what on-call was told about a deploy that has ended before.
pub async fn set_announced(
    c: &mut AnyConnection,
    id: &DeployId,
    announced: &Announced,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE deploys SET announced = $2 WHERE id = $1")
        .bind(id.as_str())
        .bind(super::json(announced))
        .execute(c)
        .await?;
    Ok(())
}

/// A person's decision, over whatever was decided before.
pub async fn set_override(
    c: &mut AnyConnection,
    id: &DeployId,
    decided: &Override,
) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE deploys SET override = $2, verdict_at = $3 WHERE id = $1")
        .bind(id.as_str())
        .bind(super::json(decided))
        .bind(to_micros(decided.at))
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets a person's decision.
pub async fn clear_override(c: &mut AnyConnection, id: &DeployId, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE deploys SET override = NULL, verdict_at = $2 WHERE id = $1")
        .bind(id.as_str())
        .bind(to_micros(at))
        .execute(c)
        .await?;
    Ok(())
}

/// Puts other checks in the place of those that an open deploy is watched by. A tick that is under way loses its
/// lease, since it decides by the old ones, and the next one is due at once. `from` is the digest and the number of
/// ticks that the caller has seen: what was recorded since was decided by the old ones.
pub async fn replace_check_set(
    c: &mut AnyConnection,
    id: &DeployId,
    from: (&str, i64),
    to: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE deploys SET check_set = $3, lease_token = lease_token + 1, lease_until = 0,
           next_due_at = CASE WHEN state = 'verifying' THEN $4 ELSE next_due_at END
         WHERE id = $1 AND check_set = $2 AND scans = $5 AND state IN ('deploying', 'verifying')",
    )
    .bind(id.as_str())
    .bind(from.0)
    .bind(to)
    .bind(to_micros(now))
    .bind(from.1)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Claims deploys that want something, those that wait longest first. A lease that ends implausibly far in
/// the future was given before the clock was set back, and is void.
pub async fn claim_due(
    c: &mut AnyConnection,
    engine: Engine,
    now: Timestamp,
    lease: SignedDuration,
    limit: i64,
) -> Result<Vec<DeployRow>, StoreError> {
    // MATERIALIZED keeps PostgreSQL from running the locking select more than once.
    let sql = format!(
        "WITH due AS MATERIALIZED (
           SELECT id FROM deploys
           WHERE next_due_at <= $1 AND (lease_until <= $1 OR lease_until > $3)
           ORDER BY next_due_at LIMIT $4{}
         )
         UPDATE deploys SET lease_token = lease_token + 1, lease_until = $2
         WHERE id IN (SELECT id FROM due) RETURNING *",
        engine.skip_locked()
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(to_micros(now))
        .bind(to_micros(now + lease))
        .bind(to_micros(now + lease * 2))
        .bind(limit)
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

/// Prolongs a claim; false when another process has taken it over, or when it was given back: a renewal that was on
/// its way while the tick was recorded must not hold up the next one.
pub async fn renew_claim(
    c: &mut AnyConnection,
    id: &DeployId,
    lease_token: i64,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE deploys SET lease_until = $3 WHERE id = $1 AND lease_token = $2 AND lease_until > 0",
    )
    .bind(id.as_str())
    .bind(lease_token)
    .bind(to_micros(until))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The columns that tell how a deploy ended.
#[derive(Default)]
struct Ended<'a> {
    at: Option<Timestamp>,
    superseded_by: Option<&'a str>,
    cancel_reason: Option<&'a str>,
}

impl<'a> Ended<'a> {
    fn of(state: &'a DeployState) -> Self {
        match state {
            DeployState::Deploying | DeployState::Verifying => Self::default(),
            DeployState::Closed { at } => Self { at: Some(*at), ..Self::default() },
            DeployState::Superseded { at, by } => {
                Self { at: Some(*at), superseded_by: Some(by.as_str()), ..Self::default() }
            }
            DeployState::Cancelled { at, reason } => {
                Self { at: Some(*at), cancel_reason: Some(reason), ..Self::default() }
            }
        }
    }
}

fn read(row: &AnyRow) -> Result<DeployRow, StoreError> {
    let instant = |name: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(name)?.map(from_micros))
    };
    let needed = |name: &str| -> Result<Timestamp, StoreError> { Ok(from_micros(row.try_get(name)?)) };
    let text = |name: &str| -> Result<Option<String>, StoreError> { Ok(row.try_get(name)?) };
    let corrupt = |what: &str, word: &str| StoreError::Corrupt(format!("deploy {what} {word:?}"));
    let kind: String = row.try_get("kind")?;
    let attempt: i64 = row.try_get("attempt")?;
    Ok(DeployRow {
        deploy: Deploy {
            id: DeployId::from_text(row.try_get::<String, _>("id")?),
            environment: row.try_get("environment")?,
            version: row.try_get("version")?,
            commit: text("commit_id")?,
            kind: DeployKind::parse(&kind).ok_or_else(|| corrupt("kind", &kind))?,
            attempt: u32::try_from(attempt).map_err(|_| corrupt("attempt", &attempt.to_string()))?,
            actor: text("actor")?,
            link: text("link")?,
            started_at: needed("started_at")?,
            baseline_id: text("baseline_id")?.map(BaselineId::from_text),
            baseline_at: instant("baseline_at")?,
            finished_at: instant("finished_at")?,
            released_at: instant("released_at")?,
            reverifies: text("reverifies")?.map(DeployId::from_text),
            plan: super::parse_json(row, "plan")?,
            state: read_state(row)?,
        },
        clean_baseline_id: text("clean_baseline_id")?.map(BaselineId::from_text),
        both_baselines: row.try_get::<i64, _>("both_baselines")? != 0,
        check_set: row.try_get("check_set")?,
        decided: text("override")?.map(|_| super::parse_json(row, "override")).transpose()?,
        verdict: super::parse_json(row, "verdict")?,
        verdict_at: needed("verdict_at")?,
        target_health: super::parse_json(row, "target_health")?,
        announced: super::parse_json(row, "announced")?,
        scans: row.try_get("scans")?,
        scanned_at: instant("scanned_at")?,
        read_fully_at: instant("read_fully_at")?,
        next_due_at: instant("next_due_at")?,
        lease_token: row.try_get("lease_token")?,
        lease_until: needed("lease_until")?,
    })
}

fn read_state(row: &AnyRow) -> Result<DeployState, StoreError> {
    let word: String = row.try_get("state")?;
    let at = from_micros(row.try_get::<Option<i64>, _>("ended_at")?.unwrap_or_default());
    Ok(match word.as_str() {
        "deploying" => DeployState::Deploying,
        "verifying" => DeployState::Verifying,
        "closed" => DeployState::Closed { at },
        "superseded" => {
            let by: Option<String> = row.try_get("superseded_by")?;
            DeployState::Superseded { at, by: DeployId::from_text(by.unwrap_or_default()) }
        }
        "cancelled" => {
            let reason: Option<String> = row.try_get("cancel_reason")?;
            DeployState::Cancelled { at, reason: reason.unwrap_or_default() }
        }
        _ => return Err(StoreError::Corrupt(format!("deploy state {word:?}"))),
    })
}
