//! What is known about a provider besides its deliveries: what its own API says, how long it may stay silent,
//! and whether orders grow that it told nobody of.

mod audit;
mod orders;
mod questions;
mod silence;

pub use audit::{Look, LookError, look};
pub use questions::{QuestionError, known, observe, record};

use crate::services::{Context, alerting};
use crate::store::StoreError;

/// Looks at whatever is due; returns how many looks there were. Several processes may do so at once.
pub async fn upkeep(ctx: &Context) -> Result<u64, StoreError> {
    let mut done = audit::due(ctx).await?;
    done += orders::due(ctx).await?;
    done += silence::review(ctx).await?;
    if done > 0 {
        ctx.nudge.job(alerting::OUTBOX_JOB);
    }
    Ok(done)
}
