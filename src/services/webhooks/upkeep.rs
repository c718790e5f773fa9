//! What is due for webhooks between requests: late verification, the health of sources, and old rows.

use super::keys::KeysError;
use super::{late, looking, notices, signals};
use crate::domain::clock::SignedDuration;
use crate::services::Context;
use crate::services::secrets::Keyring;
use crate::store::{StoreError, deliveries, quarantine};

/// Does everything that is due; returns how many things changed. Safe to run in several processes at once.
pub async fn upkeep(ctx: &Context) -> Result<u64, KeysError> {
    let keyring = Keyring::new(&ctx.keys);
    let late = late::verify_again(ctx, &keyring).await?;
    if late > 0 {
        tracing::info!(deliveries = late, "refused deliveries were verified late");
    }
    let looked_at = looking::diagnose(ctx, &keyring).await?;
    let reviewed = signals::review_failing(ctx).await?
        + notices::review_repeated(ctx).await?
        + notices::end(ctx).await?;
    let mut tx = ctx.db.begin().await?;
    let expired = quarantine::expire(&mut tx, ctx.now()).await?;
    if expired > 0 {
        tx.commit().await.map_err(StoreError::from)?;
    }
    Ok(late + looked_at + reviewed + expired)
}

/// Rows of one transaction, so that deleting never holds the writer for long.
const FORGET_AT_ONCE: u32 = 2000;

/// Deletes what is older than the retention, a piece at a time.
pub async fn forget(ctx: &Context) -> Result<u64, StoreError> {
    let kept = SignedDuration::from_hours(24 * i64::from(ctx.settings.store.retention_days));
    let before = ctx.now() - kept;
    let mut gone = 0;
    loop {
        let mut tx = ctx.db.begin().await?;
        let now_gone = deliveries::forget(&mut tx, before, FORGET_AT_ONCE).await?;
        if now_gone == 0 {
            return Ok(gone);
        }
        tx.commit().await?;
        gone += now_gone;
    }
}
