//! Sending stored deliveries to the product again: one by its id, or all of a time.

use super::passing::PassingError;
use crate::domain::ids::DeliveryId;
use crate::services::{Context, secrets};
use crate::store::relays::{NewRelay, Selection};
use crate::store::{StoreError, Tx, deliveries, relays};

/// The most that one request queues; what is left over is told.
pub const MOST: u32 = 10_000;

/// What a replay queued.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    pub queued: u64,
    /// Whether there is more than is queued at once; ask again with a later `since`.
    pub more: bool,
}

/// Queues one delivery anew.
pub async fn replay(ctx: &Context, id: &DeliveryId, actor: &str) -> Result<(), PassingError> {
    let mut tx = ctx.db.begin().await?;
    if !queue(ctx, &mut tx, id).await? {
        return Err(PassingError::NotQueued(id.clone()));
    }
    let nothing = serde_json::json!({});
    secrets::audit(ctx, &mut tx, actor, "delivery.replay", id.as_str(), &nothing).await?;
    tx.commit().await.map_err(StoreError::from)?;
    ctx.nudge.job("relay");
    Ok(())
}

/// Queues every accepted event of a source and time, or only those that were given up.
pub async fn replay_all(ctx: &Context, selection: &Selection, actor: &str) -> Result<Replayed, PassingError> {
    let source = ctx.settings.webhooks.sources.get(&selection.source);
    if source.is_none_or(|source| source.product_url.is_none()) {
        return Err(PassingError::NoProduct(selection.source.clone()));
    }
    let mut tx = ctx.db.begin().await?;
    let mut found = relays::select(&mut tx, selection, MOST + 1).await?;
    let more = found.len() > MOST as usize;
    found.truncate(MOST as usize);
    let mut queued = 0;
    for id in &found {
        queued += u64::from(queue(ctx, &mut tx, id).await?);
    }
    let detail = serde_json::json!({
        "queued": queued, "since": selection.since, "until": selection.until, "only_dead": selection.only_dead,
    });
    secrets::audit(ctx, &mut tx, actor, "delivery.replay", &selection.source, &detail).await?;
    tx.commit().await.map_err(StoreError::from)?;
    ctx.nudge.job("relay");
    Ok(Replayed { queued, more })
}

/// False where nothing of it can be passed on: it was refused, or nothing is sent for its source.
async fn queue(ctx: &Context, tx: &mut Tx, id: &DeliveryId) -> Result<bool, StoreError> {
    if relays::requeue(tx, id, ctx.now()).await? {
        return Ok(true);
    }
    let Some(delivery) = deliveries::get(tx, id).await? else { return Ok(false) };
    let source = ctx.settings.webhooks.sources.get(&delivery.source);
    let has_product = source.is_some_and(|source| source.product_url.is_some());
    let accepted = delivery.status == 200 || delivery.late;
    let (Some(event), Some(version), true) = (delivery.event, delivery.version, has_product && accepted)
    else {
        return Ok(false);
    };
    let (delivery, source) = (delivery.id, delivery.source);
    relays::insert(tx, &[NewRelay { delivery, source, event, version, at: ctx.now() }]).await?;
    Ok(true)
}
