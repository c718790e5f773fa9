//! Verifying a release again that is out already: another window over the same release, held against what it
//! was held against before. Nothing is deployed, and no evidence of the earlier attempt is touched.

use super::measure::watched_checks;
use super::{Announcement, Attempt, VerificationError, finish, mute, start};
use crate::domain::clock::truncate;
use crate::domain::deploy::DeployState;
use crate::domain::ids::DeployId;
use crate::domain::verdict::VerdictState;
use crate::services::{Context, answers};
use crate::store::audit::{self, AuditEntry};
use crate::store::deploys::{self, DeployRow};
use crate::store::{StoreError, Tx};

/// How to verify again.
#[derive(Debug, Clone, Default)]
pub struct Again {
    pub actor: String,
    pub link: Option<String>,
    /// Instead of the settings', in seconds.
    pub smoke_seconds: Option<u32>,
    pub window_seconds: Option<u32>,
}

/// Opens attempt n+1 of a release whose verdict is there and that nothing has replaced. Asking again while
/// that attempt is watched answers it.
pub async fn reverify(ctx: &Context, id: &DeployId, again: &Again) -> Result<DeployRow, VerificationError> {
    let known = super::get(ctx, id).await?;
    let checks = watched_checks(ctx, &known.deploy.environment).await?;
    if checks.is_empty() {
        return Err(VerificationError::NoChecks(known.deploy.environment));
    }
    let mut tx = ctx.db.begin().await?;
    deploys::take_turn(&mut tx, &known.deploy.environment).await?;
    let row = deploys::get_deploy(&mut tx, id).await?;
    let row = row.ok_or_else(|| VerificationError::NotFound(id.clone()))?;
    let newest = deploys::get_newest(&mut tx, &row.deploy.environment).await?;
    if let Some(newest) = &newest
        && newest.deploy.reverifies.as_ref() == Some(id)
        && newest.deploy.state == DeployState::Verifying
    {
        return Ok(newest.clone());
    }
    let last = deploys::get_last_finished(&mut tx, &row.deploy.environment).await?;
    may_be_verified_again(&row, newest.as_ref(), last.as_ref())?;
    let now = truncate(ctx.now());
    let deploy = &row.deploy;
    let announcement = Announcement {
        environment: Some(deploy.environment.clone()),
        version: deploy.version.clone(),
        commit: deploy.commit.clone(),
        kind: deploy.kind,
        actor: Some(again.actor.clone()),
        link: again.link.clone().or_else(|| deploy.link.clone()),
        attempt: Attempt::New,
        smoke_seconds: again.smoke_seconds,
        window_seconds: again.window_seconds,
    };
    let attempts = deploys::get_version(&mut tx, &deploy.environment, &deploy.version).await?;
    let attempt = attempts.map_or(deploy.attempt, |newest| newest.deploy.attempt) + 1;
    let checks = mute::carried_over(&mut tx, newest.as_ref(), &checks, now).await?;
    let mut anew = start::new_row(ctx, &announcement, &deploy.environment, attempt, &checks)?;
    anew.deploy.baseline_id.clone_from(&deploy.baseline_id);
    anew.deploy.baseline_at = deploy.baseline_at;
    anew.deploy.released_at = deploy.deployed_at();
    anew.deploy.reverifies = Some(id.clone());
    deploys::put_check_set(&mut tx, &anew.check_set, &checks).await?;
    if !deploys::insert_deploy(&mut tx, &anew).await? {
        return Err(VerificationError::State(
            "the same deploy is being announced elsewhere; try again".into(),
        ));
    }
    answers::announced(ctx, &mut tx, &anew.deploy).await?;
    let anew = Box::pin(finish::open_in(ctx, &mut tx, anew, last, now)).await?;
    record(ctx, &mut tx, &again.actor, id, &anew).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(anew)
}

fn may_be_verified_again(
    row: &DeployRow,
    newest: Option<&DeployRow>,
    last: Option<&DeployRow>,
) -> Result<(), VerificationError> {
    let deploy = &row.deploy;
    let refuse = |why: String| Err(VerificationError::State(why));
    if deploy.finished_at.is_none() {
        return refuse(format!(
            "deploy {} has not gone out, so there is nothing to verify again; finish it first",
            deploy.label()
        ));
    }
    let came_after =
        |other: &&DeployRow| other.deploy.id != deploy.id && other.deploy.started_at >= deploy.started_at;
    let replaced = [newest, last].into_iter().flatten().find(came_after);
    if let Some(other) = replaced {
        return refuse(format!(
            "deploy {} has come after {}; verify that one, or announce {} as a release of its own",
            other.deploy.label(),
            deploy.label(),
            deploy.version
        ));
    }
    if row.verdict.state == VerdictState::Verifying {
        return refuse(format!(
            "deploy {} is still being watched and nothing has failed; wait for its verdict, or cancel the watch",
            deploy.label()
        ));
    }
    Ok(())
}

async fn record(
    ctx: &Context,
    tx: &mut Tx,
    actor: &str,
    id: &DeployId,
    anew: &DeployRow,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: ctx.now(),
        actor: actor.to_owned(),
        action: "deploy.reverify".to_owned(),
        subject: id.to_string(),
        detail: serde_json::json!({ "attempt": anew.deploy.attempt, "deploy": anew.deploy.id.as_str() }),
    };
    audit::append(tx, ctx.entropy.as_ref(), &entry).await
}
