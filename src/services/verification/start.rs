//! Announcing a deploy: its checks are pinned, everything older stops scanning, and the baseline is captured
//! before the migration runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::measure::{look, watched_checks};
use super::{Announcement, Attempt, VerificationError, environment, mute};
use crate::domain::announce::Announced;
use crate::domain::baseline::{Baseline, BaselineSource};
use crate::domain::cadence::{Plan, jitter_ms};
use crate::domain::check::Check;
use crate::domain::check_state::TargetHealth;
use crate::domain::clock::{SignedDuration, Timestamp, truncate};
use crate::domain::deploy::{Deploy, DeployState};
use crate::domain::ids::{BaselineId, DeployId};
use crate::domain::measurement::Measurement;
use crate::domain::verdict::fold;
use crate::services::targets::Reading;
use crate::services::{Context, answers};
use crate::store::{StoreError, Tx, baselines, deploys, deploys::DeployRow};
use crate::target::Params;

/// What `start` answers.
#[derive(Debug, Clone)]
pub struct Started {
    pub row: DeployRow,
    /// False when the deploy was announced before.
    pub new: bool,
    pub baseline: Option<Baseline>,
}

/// How long a scan of the older deploy that is under way is waited for, so that its snapshot is closed before
/// the migration begins. These are real seconds: another process's work is waited for, not an instant.
const QUIET_LOOKS: u32 = 60;
const QUIET_PAUSE: Duration = Duration::from_millis(500);

/// Announces a deploy and captures its baseline; returns when the migration may run. Announcing it again
/// answers the same deploy.
pub async fn start(ctx: &Context, announcement: &Announcement) -> Result<Started, VerificationError> {
    let (row, new) = Box::pin(announce(ctx, announcement)).await?;
    if row.deploy.state != DeployState::Deploying {
        let baseline = load_baseline(ctx, row.deploy.baseline_id.as_ref()).await?;
        return Ok(Started { row, new, baseline });
    }
    if row.deploy.baseline_id.is_none() {
        Box::pin(capture(ctx, &row)).await?;
    }
    quiet(ctx, &row).await?;
    let row = super::get(ctx, &row.deploy.id).await?;
    let baseline = load_baseline(ctx, row.deploy.baseline_id.as_ref()).await?;
    Ok(Started { row, new, baseline })
}

/// Finds the deploy that is meant, or adds it in the state `deploying`. The bool says whether it is new.
pub(super) async fn announce(
    ctx: &Context,
    announcement: &Announcement,
) -> Result<(DeployRow, bool), VerificationError> {
    if announcement.version.trim().is_empty() {
        return Err(VerificationError::NoVersion);
    }
    let environment = environment(&ctx.settings, announcement.environment.as_deref())?;
    let checks = watched_checks(ctx, &environment).await?;
    if checks.is_empty() {
        return Err(VerificationError::NoChecks(environment));
    }
    let mut tx = ctx.db.begin().await?;
    let found = announce_in(ctx, &mut tx, announcement, &environment, &checks).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(found)
}

pub(super) async fn announce_in(
    ctx: &Context,
    tx: &mut Tx,
    announcement: &Announcement,
    environment: &str,
    checks: &[Check],
) -> Result<(DeployRow, bool), VerificationError> {
    deploys::take_turn(tx, environment).await?;
    let known = deploys::get_version(tx, environment, &announcement.version).await?;
    let newest = deploys::get_newest(tx, environment).await?;
    let attempt = match known {
        Some(known) if is_same(&known, newest.as_ref(), announcement.attempt) => return Ok((known, false)),
        Some(known) => known.deploy.attempt + 1,
        None => 1,
    };
    let checks = mute::carried_over(tx, newest.as_ref(), checks, ctx.now()).await?;
    let row = new_row(ctx, announcement, environment, attempt, &checks)?;
    deploys::put_check_set(tx, &row.check_set, &checks).await?;
    if !deploys::insert_deploy(tx, &row).await? {
        return Err(VerificationError::State(
            "the same deploy is being announced elsewhere; try again".into(),
        ));
    }
    answers::announced(ctx, tx, &row.deploy).await?;
    Ok((row, true))
}

/// The same version is the same deploy while it lives, and afterwards as long as nothing came after it: a
/// release that went out again (a rollback, a retry after it was cancelled) is another attempt.
fn is_same(known: &DeployRow, newest: Option<&DeployRow>, attempt: Attempt) -> bool {
    if attempt == Attempt::New {
        return false;
    }
    match known.deploy.state {
        DeployState::Deploying | DeployState::Verifying => true,
        DeployState::Closed { .. } => newest.is_none_or(|newest| newest.deploy.id == known.deploy.id),
        DeployState::Superseded { .. } | DeployState::Cancelled { .. } => false,
    }
}

pub(super) fn new_row(
    ctx: &Context,
    announcement: &Announcement,
    environment: &str,
    attempt: u32,
    checks: &[Check],
) -> Result<DeployRow, VerificationError> {
    let now = truncate(ctx.now());
    let settings = &ctx.settings.verification;
    let smoke_seconds = announcement.smoke_seconds.unwrap_or(settings.smoke_seconds);
    let window_seconds = announcement.window_seconds.unwrap_or(settings.window_seconds);
    if smoke_seconds == 0 || smoke_seconds > window_seconds {
        return Err(VerificationError::Stages);
    }
    let deploy = Deploy {
        id: DeployId::new(now, ctx.entropy.as_ref()),
        environment: environment.to_owned(),
        version: announcement.version.clone(),
        commit: announcement.commit.clone(),
        kind: announcement.kind,
        attempt,
        actor: announcement.actor.clone(),
        link: announcement.link.clone(),
        started_at: now,
        baseline_id: None,
        baseline_at: None,
        finished_at: None,
        released_at: None,
        reverifies: None,
        plan: Plan {
            opened_at: now,
            smoke_seconds,
            window_seconds,
            smoke_every: settings.smoke_every_seconds,
            soak_every: settings.soak_every_seconds,
            confirm_after: settings.confirm_after_seconds,
            jitter_ms: jitter_ms(environment, settings.smoke_every_seconds),
            extension: None,
        },
        state: DeployState::Deploying,
    };
    let verdict = fold(&deploy, &[], &TargetHealth::default(), now);
    Ok(DeployRow {
        deploy,
        clean_baseline_id: None,
        both_baselines: false,
        check_set: digest(checks),
        decided: None,
        verdict,
        verdict_at: now,
        target_health: TargetHealth::default(),
        announced: Announced::default(),
        scans: 0,
        scanned_at: None,
        read_fully_at: None,
        next_due_at: Some(now + SignedDuration::from_secs(settings.abandon_after_seconds.into())),
        lease_token: 0,
        lease_until: Timestamp::UNIX_EPOCH,
    })
}

pub(super) fn digest(checks: &[Check]) -> String {
    let text = serde_json::to_vec(checks).expect("checks have text keys and finite numbers");
    hex::encode(Sha256::digest(text))
}

/// One scan of everything, kept for good. When it fails the announcement is taken back: no migration runs, and
/// the older deploy's watch goes on at once.
async fn capture(ctx: &Context, row: &DeployRow) -> Result<(), VerificationError> {
    let deploy = &row.deploy;
    match measure(ctx, row).await {
        Ok((captured_at, measurements)) => {
            let baseline = Baseline {
                id: BaselineId::new(captured_at, ctx.entropy.as_ref()),
                environment: deploy.environment.clone(),
                captured_at,
                source: BaselineSource::Captured,
                measurements,
            };
            let mut tx = ctx.db.begin().await?;
            baselines::insert_baseline(&mut tx, &baseline).await?;
            // Two announcements of one deploy may both have measured; the first baseline stays.
            if deploys::set_baseline(&mut tx, &deploy.id, &baseline.id, captured_at).await? {
                tx.commit().await.map_err(StoreError::from)?;
            }
            Ok(())
        }
        Err(because) => {
            let mut tx = ctx.db.begin().await?;
            deploys::delete_unstarted(&mut tx, &deploy.id).await?;
            answers::changed(ctx, &mut tx, deploy).await?;
            tx.commit().await.map_err(StoreError::from)?;
            Err(VerificationError::Baseline(because))
        }
    }
}

type Measurements = BTreeMap<crate::domain::check::CheckKey, Measurement>;

async fn measure(ctx: &Context, row: &DeployRow) -> Result<(Timestamp, Measurements), String> {
    let load = async {
        let mut c = ctx.db.reader().await?;
        deploys::get_check_set(&mut c, &row.check_set).await
    };
    let checks = load.await.map_err(|error| error.to_string())?;
    let captured_at = truncate(ctx.now());
    let params = Params { environment: row.deploy.environment.clone(), ..Params::default() };
    let checks = checks.into_iter().map(Arc::new).collect();
    let seen = look(ctx, checks, params, Reading::Full, captured_at).await;
    // A target that cannot be read now is not migrated either, whatever else could be measured.
    let mut measurements = match seen.target {
        Some(scan) => scan.map_err(|error| error.error.message)?.measurements,
        None => Vec::new(),
    };
    if measurements.is_empty() {
        measurements = seen.beside;
        all_failed(&measurements)?;
    } else {
        all_failed(&measurements)?;
        measurements.extend(seen.beside);
    }
    Ok((captured_at, measurements.into_iter().map(|m| (m.key.clone(), m)).collect()))
}

/// The first error where there is nothing but errors.
fn all_failed(measurements: &[Measurement]) -> Result<(), String> {
    let first = measurements.iter().find_map(|m| m.result.as_ref().err());
    match first.filter(|_| measurements.iter().all(|m| m.result.is_err())) {
        Some(error) => Err(error.message.clone()),
        None => Ok(()),
    }
}

async fn quiet(ctx: &Context, row: &DeployRow) -> Result<(), VerificationError> {
    for _ in 0..QUIET_LOOKS {
        let open = deploys::list_open(&mut *ctx.db.reader().await?, &row.deploy.environment).await?;
        let now = ctx.now();
        if !open.iter().any(|older| older.deploy.id != row.deploy.id && older.lease_until > now) {
            return Ok(());
        }
        tokio::time::sleep(QUIET_PAUSE).await;
    }
    Ok(())
}

async fn load_baseline(ctx: &Context, id: Option<&BaselineId>) -> Result<Option<Baseline>, StoreError> {
    match id {
        Some(id) => baselines::get_baseline(&mut *ctx.db.reader().await?, id).await,
        None => Ok(None),
    }
}
