//! Late verification: when a secret is added, what was refused without it is verified again, and what fits
//! becomes a delivery once, byte for byte.

use super::advance::{Match, advance, moves_on};
use super::batch::rules_of;
use super::body;
use super::keys::{KeySet, KeysError};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Answer, Check, Received, dispose, read_event};
use crate::domain::ids::EventId;
use crate::domain::signature::{Claim, digest};
use crate::services::secrets::Keyring;
use crate::services::{Context, alerting};
use crate::store::deliveries::{NewBody, NewEvent};
use crate::store::quarantine::Kept;
use crate::store::relays::NewRelay;
use crate::store::{StoreError, deliveries, meta, quarantine, relays, secrets};

/// Bodies looked at in one activation; the next one goes on.
const AT_ONCE: u32 = 1000;
const LAST_GENERATION: &str = "late_verification_generation";

/// Looks through the quarantine if the secrets changed since it was last looked through. Returns how many
/// bodies turned out to be genuine.
pub async fn verify_again(ctx: &Context, keyring: &Keyring) -> Result<u64, KeysError> {
    let generation = {
        let mut reader = ctx.db.reader().await.map_err(KeysError::Store)?;
        let generation = secrets::generation(&mut reader).await?.to_string();
        if meta::get(&mut reader, LAST_GENERATION).await?.as_deref() == Some(generation.as_str()) {
            return Ok(0);
        }
        generation
    };
    let keys = KeySet::load(ctx, keyring).await?;
    let mut sources: Vec<&str> = keys.all().iter().map(|(v, _)| v.slot.source.as_str()).collect();
    sources.dedup();
    let mut found = 0;
    for source in sources {
        let kept = quarantine::list(&mut *ctx.db.reader().await?, source, AT_ONCE).await?;
        for kept in kept {
            let Some((claim, body)) = open(keyring, &kept) else { continue };
            let (Some(matches), Some(scheme)) = (keys.verify(source, &body, &claim), keys.scheme(source))
            else {
                continue;
            };
            // What was held up on its way then is not fresher now.
            if scheme.too_far_off(&claim, kept.received_at).is_some() {
                continue;
            }
            let Ok(head) = read_event(scheme, &claim, &body, &digest(&body)) else { continue };
            if keys.any_live(&matches) {
                let version = keys.choose(&matches, Some(&head));
                let received = as_received(&kept, &body, Check::Matched { version, claim, head: Ok(head) });
                found += u64::from(accept(ctx, keyring, &kept, &body, &received).await?);
            }
        }
    }
    if found > 0 {
        ctx.nudge.job("relay");
    }
    let mut tx = ctx.db.begin().await?;
    meta::set(&mut tx, LAST_GENERATION, &generation, ctx.now()).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(found)
}

/// What the headers of a kept request claimed, and its body.
pub(super) fn open(keyring: &Keyring, kept: &Kept) -> Option<(Claim, Vec<u8>)> {
    let plain = keyring.unseal(kept.delivery.as_str(), &kept.sealed).ok()?;
    let (claim, body) = Claim::from_kept(&plain)?;
    Some((claim, body.to_vec()))
}

/// One transaction: out of the quarantine, an event if it is new, the delivery marked late. It is judged as if
/// it came now, so that what must not be accepted or passed on is not by this way either.
async fn accept(
    ctx: &Context,
    keyring: &Keyring,
    kept: &Kept,
    body: &[u8],
    received: &Received,
) -> Result<bool, StoreError> {
    let Check::Matched { version, head: Ok(head), .. } = &received.check else { return Ok(false) };
    let now: Timestamp = ctx.now();
    let mut tx = ctx.db.begin().await?;
    if !quarantine::release(&mut tx, &kept.delivery).await? {
        return Ok(false);
    }
    let at = kept.received_at;
    let Some(matched) = secrets::count_matches(&mut tx, version, 1, at, at).await? else { return Ok(false) };
    let disposition = dispose(received, Some(&matched), rules_of(ctx, &kept.source, &[]));
    if disposition.answer != Answer::Stored {
        return Ok(false);
    }
    let mut signals = Vec::new();
    if moves_on(disposition.class) {
        let event_name = Some(head.event_name.as_str());
        let found =
            Match { version: &matched, delivery: kept.delivery.as_str(), event_name, at: now, following: 1 };
        signals.extend(advance(ctx, &mut tx, &found).await?.told);
    }
    let event = NewEvent {
        id: EventId::new(now, &*ctx.entropy),
        source: &kept.source,
        head,
        at,
        delivery: &kept.delivery,
        late: true,
    };
    let inserted = deliveries::insert_events(&mut tx, std::slice::from_ref(&event)).await?;
    let event_id = if inserted.contains(event.id.as_str()) {
        let sealed = body::seal(keyring, &*ctx.entropy, &kept.delivery, body);
        let headers = kept.headers.clone();
        let kept_body = NewBody { delivery: kept.delivery.clone(), sealed, headers };
        deliveries::insert_bodies(&mut tx, vec![kept_body]).await?;
        let product =
            ctx.settings.webhooks.sources.get(&kept.source).is_some_and(|s| s.product_url.is_some());
        if product && disposition.class.is_for_product() {
            let (delivery, source) = (kept.delivery.clone(), kept.source.clone());
            let (event, version) = (event.id.clone(), version.clone());
            relays::insert(&mut tx, &[NewRelay { delivery, source, event, version, at: now }]).await?;
        }
        Some(event.id.clone())
    } else {
        deliveries::count_duplicate(&mut tx, &kept.source, &head.dedup_key()).await?.map(|(id, _)| id)
    };
    let about = (disposition.class.as_str(), Some(head.event_name.as_str()), head.mode().as_str());
    deliveries::accept_late(&mut tx, &kept.delivery, version, event_id.as_ref(), about).await?;
    alerting::record(ctx, &mut tx, &signals).await?;
    tx.commit().await?;
    if !signals.is_empty() {
        ctx.nudge.job(alerting::OUTBOX_JOB);
    }
    Ok(true)
}

/// The request as it was, with what its signature proves now.
fn as_received(kept: &Kept, body: &[u8], check: Check) -> Received {
    Received {
        id: kept.delivery.clone(),
        source: kept.source.clone(),
        at: kept.received_at,
        sender: kept.sender.clone(),
        user_agent: None,
        event_header: kept.event_header.clone(),
        content_encoding: kept.encoding.clone(),
        body_bytes: body.len() as u64,
        body_digest: kept.body_digest.clone(),
        check,
    }
}
