//! What a match means for its slot: the switch to a staged version, with the provider's proof, or that an old
//! one is overdue.

use crate::domain::clock::Timestamp;
use crate::domain::diagnosis::Class;
use crate::domain::incident::Signal;
use crate::domain::rotation::{Proof, ProofKind, Rotation, Side};
use crate::domain::secret::{SecretVersion, Slot, StateName, Transition, plan};
use crate::services::Context;
use crate::services::secrets::{FirstUse, SecretError, apply, policy, provider_switched};
use crate::store::{StoreError, Tx, products, rotations, secrets};

/// A delivery that a version verified, as the version stood before it.
pub(super) struct Match<'a> {
    pub version: &'a SecretVersion,
    pub delivery: &'a str,
    pub event_name: Option<&'a str>,
    pub at: Timestamp,
    /// Matches that already belong to the new state, this one among them.
    pub following: u32,
}

/// The changes that followed, and what on-call hears of them.
#[derive(Default)]
pub(super) struct Advanced {
    pub changes: Vec<Transition>,
    pub told: Option<Signal>,
}

/// Classes whose match may change a state.
pub(super) fn moves_on(class: Class) -> bool {
    matches!(class, Class::NewSecret | Class::OverdueSecret | Class::UnexpectedStore)
}

/// Applies what follows from a match.
pub(super) async fn advance(ctx: &Context, tx: &mut Tx, matched: &Match<'_>) -> Result<Advanced, StoreError> {
    let Match { version, delivery, at, .. } = *matched;
    let slot = secrets::list_slot(tx, &version.slot).await?;
    let changes = plan::matched(&slot, version, delivery, &policy(&ctx.settings), at);
    if changes.is_empty() {
        return Ok(Advanced::default());
    }
    match apply(ctx, tx, &changes, "deploywatch").await {
        Ok(()) => {}
        Err(SecretError::Store(error)) => return Err(error),
        // The rows are locked by this transaction, so this means that another process was first.
        Err(other) => {
            tracing::info!(error = %other, "another process moved this slot");
            return Ok(Advanced::default());
        }
    }
    secrets::restart_count(tx, &version.id, matched.following, at).await?;
    let mut told = None;
    if version.state.name() == StateName::Staged
        && let Some(open) = rotations::get_open(tx, &version.slot).await?
        && open.rotation.to.as_ref() == Some(&version.id)
    {
        let rotation = prove_provider(ctx, tx, &open, matched).await?;
        let old = rotation.from.as_ref().and_then(|id| slot.iter().find(|v| v.id == *id));
        let first = FirstUse { version, old, delivery, event_name: matched.event_name, at };
        told = Some(provider_switched(ctx, tx, &rotation, &first).await?);
    }
    Ok(Advanced { changes, told })
}

async fn prove_provider(
    ctx: &Context,
    tx: &mut Tx,
    open: &rotations::Stored,
    matched: &Match<'_>,
) -> Result<Rotation, StoreError> {
    let at = matched.at;
    let proof = Proof { at, by: ProofKind::Delivery { delivery: matched.delivery.to_owned() } };
    let Ok(mut seen) = open.rotation.clone().observe(Side::Provider, proof) else {
        return Ok(open.rotation.clone());
    };
    if seen.product.is_none() && !product_is_watched(ctx, tx, &open.rotation.slot).await? {
        let unwatched = Proof { at, by: ProofKind::NotWatched };
        seen = seen.observe(Side::Product, unwatched).unwrap_or_else(|_| open.rotation.clone());
    }
    rotations::update(tx, open, &seen, open.told_at).await?;
    Ok(seen)
}

/// Whether anything can prove the product's side; without it a rotation does not wait for that proof.
async fn product_is_watched(ctx: &Context, tx: &mut Tx, slot: &Slot) -> Result<bool, StoreError> {
    let source = ctx.settings.webhooks.sources.get(&slot.source);
    Ok(source.is_some_and(|s| s.product_url.is_some()) || products::get(tx, slot).await?.is_some())
}
