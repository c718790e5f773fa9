//! What is due for webhooks between requests: late verification, the health of sources, and old rows.

use super::keys::KeysError;
use super::{late, looking, signals};
use crate::services::Context;
use crate::services::secrets::Keyring;
use crate::store::{StoreError, quarantine};

/// Does everything that is due; returns how many things changed. Safe to run in several processes at once.
pub async fn upkeep(ctx: &Context) -> Result<u64, KeysError> {
    let keyring = Keyring::new(&ctx.keys);
    let late = late::verify_again(ctx, &keyring).await?;
    if late > 0 {
        tracing::info!(deliveries = late, "refused deliveries were verified late");
    }
    let looked_at = looking::diagnose(ctx, &keyring).await?;
    let reviewed = signals::review_failing(ctx).await?;
    let mut tx = ctx.db.begin().await?;
    let expired = quarantine::expire(&mut tx, ctx.now()).await?;
    if expired > 0 {
        tx.commit().await.map_err(StoreError::from)?;
    }
    Ok(late + looked_at + reviewed + expired)
}
