//! Silence beyond a slot's own rhythm: told once, over with the next delivery.

use crate::domain::clock::{SignedDuration, rfc3339};
use crate::domain::incident::{DedupKey, IncidentKind, Signal};
use crate::domain::provider_facts;
use crate::domain::rhythm::{Rhythm, overdue, rhythm};
use crate::domain::secret::{SecretVersion, Slot};
use crate::services::secrets::{key, subject};
use crate::services::{Context, alerting};
use crate::store::{StoreError, deliveries, incidents, secrets};

/// How far back the rhythm is learned, and from how many deliveries of the source.
const HISTORY: SignedDuration = SignedDuration::from_hours(24 * 28);
const MOST: u32 = 2000;

/// Looks at every slot that has a secret; returns how many changed.
pub(super) async fn review(ctx: &Context) -> Result<u64, StoreError> {
    let mut slots: Vec<Slot> = {
        let versions = secrets::list(&mut *ctx.db.reader().await?).await?;
        let live = |v: SecretVersion| v.state.is_live().then_some(v.slot);
        versions.into_iter().filter_map(live).collect()
    };
    slots.sort_unstable();
    slots.dedup();
    let mut changed = 0;
    for slot in slots {
        let allowed = ctx.settings.webhooks.sources.get(&slot.source).is_some_and(|s| s.allow_silence);
        if !allowed {
            changed += u64::from(review_slot(ctx, &slot).await?);
        }
    }
    Ok(changed)
}

async fn review_slot(ctx: &Context, slot: &Slot) -> Result<bool, StoreError> {
    let now = ctx.now();
    let mut reader = ctx.db.reader().await?;
    let Some(last) = deliveries::last_receipt(&mut reader, &slot.source, slot.mode).await? else {
        return Ok(false);
    };
    let key = dedup_key(ctx, slot);
    let known = incidents::find_latest(&mut reader, &key).await?.map(|stored| stored.incident);
    let open = known.filter(|incident| !incident.state.is_resolved());
    if let Some(open) = open {
        if last <= open.opened_at {
            return Ok(false);
        }
        drop(reader);
        let note = format!("a delivery arrived at {}", rfc3339(last));
        return tell(ctx, Signal::Cleared { key, at: now, note }).await;
    }
    // Only a silence of hours is worth learning the rhythm for.
    if now.duration_since(last) < SignedDuration::from_hours(6) {
        return Ok(false);
    }
    let arrivals = deliveries::arrivals(&mut reader, &slot.source, slot.mode, now - HISTORY, MOST).await?;
    drop(reader);
    let learned = rhythm(&arrivals);
    let (Some(silent), Rhythm::Known { pauses, usual, limit }) = (overdue(learned, last, now), learned)
    else {
        return Ok(false);
    };
    let silence = provider_facts::Silence { slot, last, silent, usual, pauses, limit };
    let facts = provider_facts::silence(subject(ctx, &slot.source), &silence);
    tell(ctx, Signal::Firing { key, at: now, facts }).await
}

async fn tell(ctx: &Context, signal: Signal) -> Result<bool, StoreError> {
    let mut tx = ctx.db.begin().await?;
    alerting::record(ctx, &mut tx, &[signal]).await?;
    tx.commit().await?;
    Ok(true)
}

fn dedup_key(ctx: &Context, slot: &Slot) -> DedupKey {
    DedupKey { scope: slot.to_string(), ..key(ctx, &slot.source, IncidentKind::WebhookSilence) }
}
