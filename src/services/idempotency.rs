//! Idempotency-Key: the first answer to a request is the answer to all its repetitions.

use sha2::{Digest, Sha256};

use crate::domain::clock::SignedDuration;
use crate::services::Context;
use crate::store::{StoreError, idempotency};

/// A request that has not answered after this belongs to a process that died.
const IN_FLIGHT: SignedDuration = SignedDuration::from_mins(5);

/// What to do with a request that carries a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Do the work, then [`finish`] or [`forget`].
    First,
    /// Answer this again.
    Again(u16, String),
    /// 422: the key was used with another request.
    Mismatch,
    /// 409: the first one has not answered yet.
    InFlight,
}

/// Asks whose turn it is. `scope` is the caller and the route, so that keys of two callers do not meet;
/// `request` is the raw body.
pub async fn begin(ctx: &Context, scope: &str, key: &str, request: &[u8]) -> Result<Turn, StoreError> {
    let request_hash = hex::encode(Sha256::digest(request));
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    let claimed = idempotency::claim(&mut tx, scope, key, &request_hash, now, now - IN_FLIGHT).await?;
    let known = if claimed { None } else { idempotency::get(&mut tx, scope, key).await? };
    tx.commit().await?;
    Ok(match known {
        _ if claimed => Turn::First,
        Some(known) if known.request_hash != request_hash => Turn::Mismatch,
        Some(idempotency::Remembered { answer: Some((status, body)), .. }) => Turn::Again(status, body),
        // Forgotten between the two statements means that the first one failed just now.
        _ => Turn::InFlight,
    })
}

/// Remembers the answer.
pub async fn finish(
    ctx: &Context,
    scope: &str,
    key: &str,
    status: u16,
    body: &str,
) -> Result<(), StoreError> {
    let mut tx = ctx.db.begin().await?;
    idempotency::answer(&mut tx, scope, key, status, body).await?;
    Ok(tx.commit().await?)
}

/// Gives the key up after a failure on our side, so that a retry works.
pub async fn forget(ctx: &Context, scope: &str, key: &str) -> Result<(), StoreError> {
    let mut tx = ctx.db.begin().await?;
    idempotency::forget(&mut tx, scope, key).await?;
    Ok(tx.commit().await?)
}
