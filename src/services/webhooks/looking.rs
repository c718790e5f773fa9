//! Looking into refused deliveries, off the request path and a few at a time: what is found out for certain
//! is written down and corrects what on-call was told.

use super::keys::{KeySet, KeysError};
use super::late;
use super::signals::told_again;
use crate::domain::diagnosis::Class;
use crate::domain::diagnosis::recompute::{Candidate, recompute};
use crate::services::secrets::Keyring;
use crate::services::{Context, alerting};
use crate::store::quarantine::Kept;
use crate::store::{StoreError, deliveries, quarantine};

/// Bodies of one activation: the work is done for strangers, so there is little of it at once.
const AT_ONCE: u32 = 20;

/// Diagnoses what nobody has looked at yet; returns how many there were.
pub(super) async fn diagnose(ctx: &Context, keyring: &Keyring) -> Result<u64, KeysError> {
    let waiting = quarantine::list_undiagnosed(&mut *ctx.db.reader().await?, AT_ONCE).await?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let keys = KeySet::load(ctx, keyring).await?;
    for kept in &waiting {
        let found = find(keyring, &keys, kept);
        write(ctx, kept, found).await?;
    }
    Ok(waiting.len() as u64)
}

fn find(keyring: &Keyring, keys: &KeySet, kept: &Kept) -> Option<Class> {
    let (claim, body) = late::open(keyring, kept)?;
    let scheme = keys.scheme(&kept.source)?;
    let candidates: Vec<Candidate<'_>> = keys
        .all()
        .iter()
        .map(|(version, key)| Candidate { key, own_source: version.slot.source == kept.source })
        .collect();
    recompute(scheme, &body, &claim, &candidates)
}

async fn write(ctx: &Context, kept: &Kept, found: Option<Class>) -> Result<(), StoreError> {
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    let name = found.map_or("looked at", Class::as_str);
    quarantine::set_diagnosis(&mut tx, &kept.delivery, name).await?;
    if let Some(class) = found {
        deliveries::set_class(&mut tx, &kept.delivery, class.as_str()).await?;
        let mut health = deliveries::get_health(&mut tx, &kept.source).await?;
        if let Some(failing) = &mut health.failing
            && failing.last_class != class.as_str()
        {
            class.as_str().clone_into(&mut failing.last_class);
            let signal = told_again(ctx, &mut tx, &kept.source, failing, now).await?;
            deliveries::put_health(&mut tx, &kept.source, &health, now).await?;
            if let Some(signal) = signal {
                alerting::record(ctx, &mut tx, &[signal]).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}
