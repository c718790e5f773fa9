//! Opening the window, and the ways a deploy ends other than by its window: superseded, cancelled, abandoned;
//! and a person's decision beside the verdict.

use super::measure::watched_checks;
use super::{Announcement, VerificationError, Watched, environment, is_over, start};
use crate::domain::announce::{End, armed, at_end};
use crate::domain::baseline::{Baseline, BaselineSource, is_fresh};
use crate::domain::check_state::{CheckState, TargetHealth};
use crate::domain::clock::{Timestamp, truncate};
use crate::domain::deploy::{Deploy, DeployState, Override, OverrideVerdict};
use crate::domain::ids::{BaselineId, DeployId};
use crate::domain::incident::{DedupKey, IncidentKind, Signal};
use crate::domain::verdict::fold;
use crate::services::{Context, alerting, answers};
use crate::settings::ArmedPolicy;
use crate::store::audit::{self, AuditEntry};
use crate::store::{StoreError, Tx, baselines, deploys, deploys::DeployRow, observations};

/// Opens the window of a started deploy. Finishing it again answers the same.
pub async fn finish(ctx: &Context, id: &DeployId) -> Result<DeployRow, VerificationError> {
    let known = super::get(ctx, id).await?;
    let mut tx = ctx.db.begin().await?;
    deploys::take_turn(&mut tx, &known.deploy.environment).await?;
    let row = deploys::get_deploy(&mut tx, id).await?;
    let row = row.ok_or_else(|| VerificationError::NotFound(id.clone()))?;
    let row = Box::pin(finish_in(ctx, &mut tx, row)).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(row)
}

/// Finishes a version, started or not. Without a start the newest clean scan is the baseline.
pub async fn finish_version(
    ctx: &Context,
    announcement: &Announcement,
) -> Result<DeployRow, VerificationError> {
    if announcement.version.trim().is_empty() {
        return Err(VerificationError::NoVersion);
    }
    let environment = environment(&ctx.settings, announcement.environment.as_deref())?;
    let checks = watched_checks(ctx, &environment).await?;
    if checks.is_empty() {
        return Err(VerificationError::NoChecks(environment));
    }
    let mut tx = ctx.db.begin().await?;
    let (row, _) = Box::pin(start::announce_in(ctx, &mut tx, announcement, &environment, &checks)).await?;
    let row = Box::pin(finish_in(ctx, &mut tx, row)).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(row)
}

async fn finish_in(ctx: &Context, tx: &mut Tx, mut row: DeployRow) -> Result<DeployRow, VerificationError> {
    match &row.deploy.state {
        DeployState::Deploying => {}
        DeployState::Cancelled { reason, .. } => {
            return Err(VerificationError::State(format!(
                "deploy {} was cancelled ({reason}); announce it again",
                row.deploy.label()
            )));
        }
        _ => return Ok(row),
    }
    let now = truncate(ctx.now());
    let previous = deploys::get_last_finished(tx, &row.deploy.environment).await?;
    choose_baseline(ctx, tx, &mut row, previous.as_ref(), now).await?;
    open_in(ctx, tx, row, previous, now).await
}

/// Opens the window of a deploy whose baseline is chosen; what was watched before ends.
pub(super) async fn open_in(
    ctx: &Context,
    tx: &mut Tx,
    mut row: DeployRow,
    previous: Option<DeployRow>,
    now: Timestamp,
) -> Result<DeployRow, VerificationError> {
    supersede_older(ctx, tx, &row.deploy, now).await?;
    // Asked after the older one has ended: it may be the newest clean one itself.
    let clean = deploys::get_newest_clean(tx, &row.deploy.environment).await?;
    row.clean_baseline_id = clean.and_then(|clean| clean.deploy.baseline_id);
    if let Some(previous) = &previous {
        let previous = deploys::get_deploy(tx, &previous.deploy.id).await?;
        row.both_baselines = previous.as_ref().is_some_and(|p| !is_vouched_for(p, now));
        if let Some(closed) = previous.filter(|p| matches!(p.deploy.state, DeployState::Closed { .. })) {
            close_incidents(ctx, tx, closed, &row.deploy, now).await?;
        }
    }
    row.deploy.state = DeployState::Verifying;
    row.deploy.finished_at = Some(now);
    row.deploy.plan.opened_at = now;
    let checks = ctx.check_sets.get(tx, &row.check_set).await?;
    let states = checks.iter().map(|check| CheckState::new(&check.policy, &row.deploy.plan)).collect();
    let watched = Watched { checks, states };
    row.verdict = fold(&row.deploy, &watched.assessed(), &TargetHealth::default(), now);
    row.verdict_at = now;
    row.next_due_at = Some(watched.next_due_at(&row.deploy, &row.verdict, now));
    if !deploys::open_window(tx, &row).await? {
        return Err(VerificationError::State("the deploy changed meanwhile; look at it again".into()));
    }
    observations::put_states(tx, &row.deploy.id, &watched.states.iter().collect::<Vec<_>>()).await?;
    answers::changed(ctx, tx, &row.deploy).await?;
    let says_so = match ctx.settings.alerts.armed {
        ArmedPolicy::First => previous.is_none(),
        ArmedPolicy::Always => true,
        ArmedPolicy::Never => false,
    };
    if says_so {
        alerting::record(ctx, tx, &[armed(&row.deploy, watched.checks.len(), now)]).await?;
    }
    Ok(row)
}

/// Its own baseline, if it was captured soon enough before and nothing else was released since; else the
/// newest clean scan; else none.
async fn choose_baseline(
    ctx: &Context,
    tx: &mut Tx,
    row: &mut DeployRow,
    previous: Option<&DeployRow>,
    now: Timestamp,
) -> Result<(), VerificationError> {
    let max_age = ctx.settings.verification.baseline_max_age_seconds;
    let released_since = |at: Timestamp| previous.and_then(|p| p.deploy.finished_at).is_some_and(|f| f > at);
    let own = row.deploy.baseline_at.filter(|at| is_fresh(*at, now, max_age) && !released_since(*at));
    if own.is_some() {
        return Ok(());
    }
    (row.deploy.baseline_id, row.deploy.baseline_at) = (None, None);
    let clean = baselines::get_clean_scan(tx, &row.deploy.environment).await?;
    if let Some((captured_at, measurements)) = clean.filter(|(at, _)| is_fresh(*at, now, max_age)) {
        let baseline = Baseline {
            id: BaselineId::new(now, ctx.entropy.as_ref()),
            environment: row.deploy.environment.clone(),
            captured_at,
            source: BaselineSource::LatestScan,
            measurements,
        };
        baselines::insert_baseline(tx, &baseline).await?;
        row.deploy.baseline_id = Some(baseline.id);
        row.deploy.baseline_at = Some(captured_at);
    }
    Ok(())
}

/// Whether what a deploy left behind may be compared with alone: it was clean, or a person said that it is
/// good. Else its damage would be laundered by the next baseline.
fn is_vouched_for(row: &DeployRow, now: Timestamp) -> bool {
    let by_hand = row.decided.as_ref().filter(|decided| decided.is_active(now));
    match by_hand.map(|decided| decided.verdict) {
        Some(OverrideVerdict::Passed) => true,
        Some(OverrideVerdict::Failed) => false,
        None => row.verdict.clean,
    }
}

async fn supersede_older(
    ctx: &Context,
    tx: &mut Tx,
    newer: &Deploy,
    now: Timestamp,
) -> Result<(), VerificationError> {
    for mut older in deploys::list_open(tx, &newer.environment).await? {
        if older.deploy.id == newer.id {
            continue;
        }
        let from = older.deploy.state.clone();
        older.deploy.state = DeployState::Superseded { at: now, by: newer.id.clone() };
        end(ctx, tx, older, &from, &End::SupersededBy(newer.label()), now).await?;
    }
    Ok(())
}

/// Ends a deploy whose row holds its new state already.
async fn end(
    ctx: &Context,
    tx: &mut Tx,
    mut row: DeployRow,
    from: &DeployState,
    how: &End,
    now: Timestamp,
) -> Result<DeployRow, VerificationError> {
    let watched = Watched::load(ctx, tx, &row).await?;
    row.verdict = fold(&row.deploy, &watched.assessed(), &row.target_health, now);
    row.verdict_at = now;
    let (signals, announced) = at_end(&row.deploy, &row.verdict, &row.announced, how, now);
    row.announced = announced;
    row.next_due_at = None;
    if !deploys::end_deploy(tx, from, &row).await? {
        return Err(VerificationError::State("the deploy changed meanwhile; look at it again".into()));
    }
    alerting::record(ctx, tx, &signals).await?;
    answers::changed(ctx, tx, &row.deploy).await?;
    Ok(row)
}

/// What still failed when an older window closed is now the newer deploy's to show.
async fn close_incidents(
    ctx: &Context,
    tx: &mut Tx,
    mut closed: DeployRow,
    newer: &Deploy,
    now: Timestamp,
) -> Result<(), VerificationError> {
    if closed.announced.breached.is_empty() {
        return Ok(());
    }
    closed.announced.breached.clear();
    closed.announced.passing.clear();
    deploys::set_announced(tx, &closed.deploy.id, &closed.announced).await?;
    let key = DedupKey {
        environment: closed.deploy.environment.clone(),
        scope: closed.deploy.id.as_str().to_owned(),
        kind: IncidentKind::ChecksFailed,
    };
    let by = newer.label();
    Ok(alerting::record(ctx, tx, &[Signal::Superseded { key, at: now, by }]).await?)
}

/// Stops watching a deploy, or takes an announced one back; the older watch then goes on.
pub async fn cancel(
    ctx: &Context,
    id: &DeployId,
    actor: &str,
    reason: &str,
) -> Result<DeployRow, VerificationError> {
    let known = super::get(ctx, id).await?;
    let mut tx = ctx.db.begin().await?;
    deploys::take_turn(&mut tx, &known.deploy.environment).await?;
    let row = deploys::get_deploy(&mut tx, id).await?;
    let row = row.ok_or_else(|| VerificationError::NotFound(id.clone()))?;
    if matches!(row.deploy.state, DeployState::Cancelled { .. }) {
        return Ok(row);
    }
    if is_over(&row.deploy.state) {
        return Err(VerificationError::State(format!(
            "deploy {} is {} and can no longer be cancelled",
            row.deploy.label(),
            row.verdict.state.as_str()
        )));
    }
    let row = cancel_in(ctx, &mut tx, row, reason).await?;
    record(ctx, &mut tx, actor, "deploy.cancel", id, serde_json::json!({ "reason": reason })).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(row)
}

/// Cancels inside a transaction that has the environment's turn.
pub(super) async fn cancel_in(
    ctx: &Context,
    tx: &mut Tx,
    mut row: DeployRow,
    reason: &str,
) -> Result<DeployRow, VerificationError> {
    let now = truncate(ctx.now());
    let from = row.deploy.state.clone();
    row.deploy.state = DeployState::Cancelled { at: now, reason: reason.to_owned() };
    end(ctx, tx, row, &from, &End::Cancelled(reason.to_owned()), now).await
}

/// Records a person's decision. The computed verdict stays as it is, beside it.
pub async fn decide_by_hand(
    ctx: &Context,
    id: &DeployId,
    decided: Override,
) -> Result<DeployRow, VerificationError> {
    decided.validate()?;
    let mut row = super::get(ctx, id).await?;
    let mut tx = ctx.db.begin().await?;
    if !deploys::set_override(&mut tx, id, &decided).await? {
        return Err(VerificationError::NotFound(id.clone()));
    }
    let detail = serde_json::to_value(&decided).unwrap_or_default();
    record(ctx, &mut tx, &decided.actor, "deploy.override", id, detail).await?;
    answers::changed(ctx, &mut tx, &row.deploy).await?;
    tx.commit().await.map_err(StoreError::from)?;
    (row.verdict_at, row.decided) = (decided.at, Some(decided));
    Ok(row)
}

/// Takes a person's decision back, so that the computed verdict counts again. What was decided stays in the
/// audit log.
pub async fn withdraw_decision(
    ctx: &Context,
    id: &DeployId,
    actor: &str,
) -> Result<DeployRow, VerificationError> {
    let mut row = super::get(ctx, id).await?;
    let Some(decided) = row.decided.take() else {
        return Err(VerificationError::NotDecided(row.deploy.label()));
    };
    let now = truncate(ctx.now());
    let mut tx = ctx.db.begin().await?;
    deploys::clear_override(&mut tx, id, now).await?;
    let detail = serde_json::to_value(&decided).unwrap_or_default();
    record(ctx, &mut tx, actor, "deploy.override.withdraw", id, detail).await?;
    answers::changed(ctx, &mut tx, &row.deploy).await?;
    tx.commit().await.map_err(StoreError::from)?;
    row.verdict_at = now;
    Ok(row)
}

async fn record(
    ctx: &Context,
    tx: &mut Tx,
    actor: &str,
    action: &str,
    id: &DeployId,
    detail: serde_json::Value,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: ctx.now(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: id.to_string(),
        detail,
    };
    audit::append(tx, ctx.entropy.as_ref(), &entry).await
}
