//! Keeping a check quiet for a while, by a person's word: it is measured on, and the verdict says that it was muted.

use super::{VerificationError, Watched};
use crate::domain::check::{Check, CheckKey, Mode, MuteSpan};
use crate::domain::clock::{SignedDuration, Timestamp, truncate};
use crate::domain::deploy::{DeployState, MAX_OVERRIDE_SECONDS, OverrideError};
use crate::domain::ids::DeployId;
use crate::domain::verdict::fold;
use crate::services::Context;
use crate::store::audit::{self, AuditEntry};
use crate::store::deploys::{self, DeployRow};
use crate::store::{StoreError, Tx};

/// What a person asks for. No seconds at all end a mute.
#[derive(Debug, Clone)]
pub struct Muting {
    pub check: CheckKey,
    pub seconds: u32,
    pub actor: String,
    pub reason: String,
}

/// Names as like as this are taken for a slip of the finger.
const ALIKE: f64 = 0.8;

/// Mutes one check of an open deploy from now on. The rules that a deploy is watched by change for its future
/// alone: what was observed before keeps its meaning.
pub async fn mute(ctx: &Context, id: &DeployId, muting: Muting) -> Result<DeployRow, VerificationError> {
    validate(&muting)?;
    let known = super::get(ctx, id).await?;
    let mut tx = ctx.db.begin().await?;
    deploys::take_turn(&mut tx, &known.deploy.environment).await?;
    let row = deploys::get_deploy(&mut tx, id).await?;
    let mut row = row.ok_or_else(|| VerificationError::NotFound(id.clone()))?;
    if row.deploy.state.is_terminal() {
        return Err(VerificationError::State(format!(
            "deploy {} is no longer watched, so there is nothing to mute; see `deploywatch deploy override`",
            row.deploy.label()
        )));
    }
    let now = truncate(ctx.now());
    let mut checks = deploys::get_check_set(&mut tx, &row.check_set).await?;
    change(&row, &mut checks, &muting, now)?;
    let digest = super::start::digest(&checks);
    deploys::put_check_set(&mut tx, &digest, &checks).await?;
    if !deploys::replace_check_set(&mut tx, id, (&row.check_set, row.scans), &digest, now).await? {
        return Err(VerificationError::State("the deploy was scanned meanwhile; mute it again".into()));
    }
    row.check_set = digest;
    record(ctx, &mut tx, id, &muting).await?;
    // As the next tick will write it.
    if row.deploy.state == DeployState::Verifying {
        let watched = Watched::load(ctx, &mut tx, &row).await?;
        row.verdict = fold(&row.deploy, &watched.assessed(), &row.target_health, now);
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(row)
}

fn validate(muting: &Muting) -> Result<(), OverrideError> {
    if muting.actor.trim().is_empty() {
        return Err(OverrideError::NoActor);
    }
    if muting.reason.trim().is_empty() {
        return Err(OverrideError::NoReason);
    }
    if i64::from(muting.seconds) > MAX_OVERRIDE_SECONDS {
        return Err(OverrideError::Expiry);
    }
    Ok(())
}

fn change(
    row: &DeployRow,
    checks: &mut [Check],
    muting: &Muting,
    now: Timestamp,
) -> Result<(), VerificationError> {
    let Some(check) = checks.iter_mut().find(|check| *check.key() == muting.check) else {
        return Err(no_check(row, checks, muting.check.as_str()));
    };
    let policy = &mut check.policy;
    if policy.mode == Mode::Shadow {
        return Err(VerificationError::State(format!("{} is in shadow and decides nothing", policy.key)));
    }
    // One that is under way ends here; what it covered until now stays covered.
    for mute in policy.mutes.iter_mut().filter(|mute| mute.covers(now)) {
        mute.until = now;
    }
    if muting.seconds > 0 {
        policy.mutes.push(MuteSpan {
            from: now,
            until: now + SignedDuration::from_secs(muting.seconds.into()),
            actor: muting.actor.clone(),
            reason: muting.reason.clone(),
        });
    }
    Ok(())
}

fn no_check(row: &DeployRow, checks: &[Check], wanted: &str) -> VerificationError {
    let near = |check: &&Check| strsim::jaro_winkler(check.key().as_str(), wanted);
    let nearest =
        checks.iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|check| near(check) > ALIKE);
    VerificationError::NoCheck {
        label: row.deploy.label(),
        key: wanted.to_owned(),
        nearest: nearest.map(|check| check.key().to_string()),
    }
}

/// The checks of a new deploy with the mutes that the deploy before still has: they last until their end,
/// whatever is released meanwhile.
pub(super) async fn carried_over(
    tx: &mut Tx,
    newest: Option<&DeployRow>,
    checks: &[Check],
    now: Timestamp,
) -> Result<Vec<Check>, StoreError> {
    let mut checks = checks.to_vec();
    let Some(newest) = newest else { return Ok(checks) };
    for known in deploys::get_check_set(tx, &newest.check_set).await? {
        let lasting: Vec<MuteSpan> = known.policy.mutes.into_iter().filter(|mute| mute.covers(now)).collect();
        if let Some(check) = checks.iter_mut().find(|check| check.policy.key == known.policy.key) {
            check.policy.mutes.extend(lasting);
        }
    }
    Ok(checks)
}

async fn record(ctx: &Context, tx: &mut Tx, id: &DeployId, muting: &Muting) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: ctx.now(),
        actor: muting.actor.clone(),
        action: "deploy.mute".to_owned(),
        subject: id.to_string(),
        detail: serde_json::json!({
            "check": muting.check.as_str(), "seconds": muting.seconds, "reason": muting.reason,
        }),
    };
    audit::append(tx, ctx.entropy.as_ref(), &entry).await
}
