//! What people do with secrets: add, promote, retire, revoke, roll back, rotate.

use super::{Keyring, SecretError, policy};
use crate::domain::ids::{RotationId, SecretVersionId};
use crate::domain::rotation::{EndKind, Phase, Proof, ProofKind, Rotation, Side};
use crate::domain::secret::plan::{self, Insistence, Refusal};
use crate::domain::secret::{
    Evidence, Origin, SecretState, SecretVersion, Slot, StateName, Transition, format,
};
use crate::services::Context;
use crate::store::audit::{self, AuditEntry};
use crate::store::{StoreError, Tx, rotations, secrets};

/// Who does it and why: both go into the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pub actor: String,
    pub reason: String,
}

impl Who {
    fn evidence(&self) -> Evidence {
        Evidence::Operator { actor: self.actor.clone(), reason: self.reason.clone() }
    }
}

/// A change of a version that is already known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Promote,
    Retire(Insistence),
    Revoke(Insistence),
    RollBack,
}

/// What an operation did, for the person who asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub version: Option<SecretVersion>,
    pub changes: Vec<String>,
}

pub(super) struct NewVersion<'a> {
    pub slot: &'a Slot,
    pub secret: &'a [u8],
    pub origin: Origin,
    pub state: SecretState,
}

/// Adds a value: active if it is the slot's first, staged otherwise, which begins a rotation.
pub async fn add(
    ctx: &Context,
    keyring: &Keyring,
    slot: &Slot,
    secret: &[u8],
    origin: Origin,
    who: &Who,
) -> Result<SecretVersion, SecretError> {
    known_source(ctx, slot)?;
    let scheme = ctx.settings.webhooks.scheme(&slot.source);
    format::inspect(secret, scheme.longest_secret).map_err(Refusal::from)?;
    scheme.key(secret)?;
    let mut tx = ctx.db.begin().await?;
    let versions = secrets::list_slot(&mut tx, slot).await?;
    let fingerprint = keyring.fingerprint(secret);
    let addition = plan::add(&versions, &fingerprint, who.evidence(), &policy(&ctx.settings), ctx.now())?;
    let version = match addition {
        plan::Addition::New(state) => {
            insert(ctx, &mut tx, keyring, NewVersion { slot, secret, origin, state }, &versions, who).await?
        }
        plan::Addition::Revive(change) => {
            let known = versions.iter().find(|v| v.id == change.version).ok_or(SecretError::Conflict)?;
            let mut revived = known.clone();
            apply(ctx, &mut tx, std::slice::from_ref(&change), &who.actor).await?;
            revived.state = change.to;
            if revived.state.name() == StateName::Staged {
                open_rotation(ctx, &mut tx, &versions, &revived, who).await?;
            }
            revived
        }
    };
    tx.commit().await.map_err(StoreError::from)?;
    // What was refused without it is verified again at once.
    ctx.nudge.job("webhooks");
    Ok(version)
}

/// Writes a new version, its audit row and, where it is staged, its rotation.
pub(super) async fn insert(
    ctx: &Context,
    tx: &mut Tx,
    keyring: &Keyring,
    new: NewVersion<'_>,
    slot: &[SecretVersion],
    who: &Who,
) -> Result<SecretVersion, SecretError> {
    let now = ctx.now();
    let id = SecretVersionId::new(now, &*ctx.entropy);
    let fingerprint = keyring.fingerprint(new.secret);
    let longest = ctx.settings.webhooks.scheme(&new.slot.source).longest_secret;
    let mut warnings = format::inspect(new.secret, longest).map_err(Refusal::from)?;
    let others: Vec<SecretVersion> =
        secrets::list(tx).await?.into_iter().filter(|v| v.slot != *new.slot).collect();
    warnings.extend(plan::reuse_warning(&others, &fingerprint));
    let version = SecretVersion {
        id: id.clone(),
        slot: new.slot.clone(),
        number: slot.iter().map(|v| v.number).max().unwrap_or(0) + 1,
        fingerprint,
        length: u32::try_from(new.secret.len()).unwrap_or(u32::MAX),
        warnings,
        origin: new.origin,
        added_at: now,
        state: new.state,
        usage: Default::default(),
        stale_since: None,
    };
    let sealed = keyring.seal(&*ctx.entropy, id.as_str(), new.secret);
    if !secrets::insert(tx, &version, &sealed).await? {
        return Err(SecretError::Conflict);
    }
    secrets::bump_generation(tx, now).await?;
    let detail = serde_json::json!({
        "slot": version.slot.to_string(), "version": version.number, "fingerprint": version.fingerprint,
        "state": version.state.name(), "origin": version.origin, "reason": who.reason,
    });
    audit(ctx, tx, &who.actor, "secret.add", id.as_str(), &detail).await?;
    if version.state.name() == StateName::Staged {
        open_rotation(ctx, tx, slot, &version, who).await?;
    }
    Ok(version)
}

/// Begins the rotation that a staged version is for, or fills in a planned one.
async fn open_rotation(
    ctx: &Context,
    tx: &mut Tx,
    slot: &[SecretVersion],
    staged: &SecretVersion,
    who: &Who,
) -> Result<(), SecretError> {
    let now = ctx.now();
    if let Some(open) = rotations::get_open(tx, &staged.slot).await? {
        if open.rotation.to.is_none() {
            let filled = Rotation { to: Some(staged.id.clone()), ..open.rotation.clone() };
            rotations::update(tx, &open, &filled, None).await?;
            return Ok(());
        }
        // The one before was never finished: a new secret replaces it.
        let closed = open.rotation.clone().close(EndKind::Failed, now, "replaced by a newer rotation");
        let closed = closed.map_err(|_| SecretError::Conflict)?;
        rotations::update(tx, &open, &closed, open.told_at).await?;
    }
    let active = slot.iter().find(|v| v.state.name() == StateName::Active);
    let rotation = Rotation {
        id: RotationId::new(now, &*ctx.entropy),
        slot: staged.slot.clone(),
        from: active.map(|v| v.id.clone()),
        to: Some(staged.id.clone()),
        started_at: now,
        started_by: who.actor.clone(),
        deadline_at: now + policy(&ctx.settings).stage_deadline,
        provider: None,
        product: None,
        end: None,
    };
    rotations::insert(tx, &rotation).await?;
    Ok(())
}

/// Changes a known version. `number` names it; without one, the slot's own rules find it.
pub async fn run(
    ctx: &Context,
    slot: &Slot,
    number: Option<u32>,
    operation: Operation,
    who: &Who,
) -> Result<Outcome, SecretError> {
    known_source(ctx, slot)?;
    let (now, policy, evidence) = (ctx.now(), policy(&ctx.settings), who.evidence());
    let mut tx = ctx.db.begin().await?;
    let versions = secrets::list_slot(&mut tx, slot).await?;
    let chosen = |state: StateName| {
        let found = match number {
            Some(number) => versions.iter().find(|v| v.number == number),
            None => versions.iter().find(|v| v.state.name() == state),
        };
        found.ok_or(Refusal::Unknown)
    };
    let changes = match operation {
        Operation::Promote => plan::promote(&versions, chosen(StateName::Staged)?, &evidence, &policy, now)?,
        Operation::Retire(insistence) => {
            vec![plan::retire(chosen(StateName::Retiring)?, insistence, &evidence, &policy, now)?]
        }
        Operation::Revoke(insistence) => {
            plan::revoke(&versions, chosen(StateName::Active)?, insistence, &evidence, &policy, now)?
        }
        Operation::RollBack => plan::roll_back(&versions, &evidence, &policy, now)?,
    };
    apply(ctx, &mut tx, &changes, &who.actor).await?;
    if operation == Operation::RollBack
        && let Some(open) = rotations::get_open(&mut tx, slot).await?
    {
        let closed = open.rotation.clone().close(EndKind::RolledBack, now, &who.reason);
        let closed = closed.map_err(|_| SecretError::Conflict)?;
        rotations::update(&mut tx, &open, &closed, open.told_at).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    let label = |id: &SecretVersionId| {
        versions.iter().find(|v| v.id == *id).map_or_else(String::new, SecretVersion::label)
    };
    let changes = changes.iter().map(|change| {
        format!("{}: {} → {}", label(&change.version), change.from.as_str(), change.to.name().as_str())
    });
    Ok(Outcome { version: None, changes: changes.collect() })
}

/// Announces a rotation before the new value exists, so that its steps can be followed.
pub async fn plan_rotation(ctx: &Context, slot: &Slot, who: &Who) -> Result<Rotation, SecretError> {
    known_source(ctx, slot)?;
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    let versions = secrets::list_slot(&mut tx, slot).await?;
    let rotation = Rotation {
        id: RotationId::new(now, &*ctx.entropy),
        slot: slot.clone(),
        from: versions.iter().find(|v| v.state.name() == StateName::Active).map(|v| v.id.clone()),
        to: None,
        started_at: now,
        started_by: who.actor.clone(),
        deadline_at: now + policy(&ctx.settings).stage_deadline,
        provider: None,
        product: None,
        end: None,
    };
    if !rotations::insert(&mut tx, &rotation).await? {
        return Err(SecretError::Conflict);
    }
    audit(ctx, &mut tx, &who.actor, "rotation.plan", rotation.id.as_str(), &serde_json::json!({})).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(rotation)
}

/// Records the product's proof for the open rotation of a slot; false where none is open.
pub async fn confirm_product(
    ctx: &Context,
    slot: &Slot,
    by: ProofKind,
    actor: &str,
) -> Result<bool, SecretError> {
    let mut tx = ctx.db.begin().await?;
    let Some(open) = rotations::get_open(&mut tx, slot).await? else { return Ok(false) };
    let proof = Proof { at: ctx.now(), by };
    let detail = serde_json::json!({ "product": proof });
    let seen = open.rotation.clone().observe(Side::Product, proof).map_err(|_| SecretError::Conflict)?;
    if seen == open.rotation {
        return Ok(true);
    }
    if !rotations::update(&mut tx, &open, &seen, open.told_at).await? {
        return Err(SecretError::Conflict);
    }
    audit(ctx, &mut tx, actor, "rotation.product", seen.id.as_str(), &detail).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(true)
}

/// Ends the open rotation of a slot without touching any version.
pub async fn give_up(ctx: &Context, slot: &Slot, who: &Who) -> Result<Phase, SecretError> {
    let mut tx = ctx.db.begin().await?;
    let open = rotations::get_open(&mut tx, slot).await?.ok_or(Refusal::Unknown)?;
    let closed = open.rotation.clone().close(EndKind::Failed, ctx.now(), &who.reason);
    let closed = closed.map_err(|_| SecretError::Conflict)?;
    rotations::update(&mut tx, &open, &closed, open.told_at).await?;
    let detail = serde_json::json!({ "reason": who.reason });
    audit(ctx, &mut tx, &who.actor, "rotation.give_up", closed.id.as_str(), &detail).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Phase::Failed)
}

/// Writes changes of state with their audit rows; refuses if somebody was first.
pub(crate) async fn apply(
    ctx: &Context,
    tx: &mut Tx,
    changes: &[Transition],
    actor: &str,
) -> Result<(), SecretError> {
    for change in changes {
        if !secrets::transition(tx, change).await? {
            return Err(SecretError::Conflict);
        }
        let detail = serde_json::json!({
            "from": change.from, "to": change.to.name(), "evidence": change.evidence,
        });
        audit(ctx, tx, actor, "secret.state", change.version.as_str(), &detail).await?;
    }
    if !changes.is_empty() {
        secrets::bump_generation(tx, ctx.now()).await?;
    }
    Ok(())
}

pub(crate) async fn audit(
    ctx: &Context,
    tx: &mut Tx,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &serde_json::Value,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: ctx.now(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.clone(),
    };
    audit::append(tx, &*ctx.entropy, &entry).await
}

fn known_source(ctx: &Context, slot: &Slot) -> Result<(), SecretError> {
    let known = slot.source == "lemonsqueezy" || ctx.settings.webhooks.sources.contains_key(&slot.source);
    known.then_some(()).ok_or_else(|| SecretError::UnknownSource(slot.source.clone()))
}
