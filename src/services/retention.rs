//! Forgets what is older than `store.retention_days`, one small transaction after the other, so that nobody
//! waits for the writer.

use crate::domain::clock::SignedDuration;
use crate::services::Context;
use crate::services::outbox::second;
use crate::store::{StoreError, answers, links, retention, silences, triggers};

/// A client repeats a request within minutes; a day is generous.
const ANSWERS_FOR: SignedDuration = SignedDuration::from_hours(24);
/// A link works for 72 hours; its use is remembered longer.
const LINKS_FOR: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Deploys and incidents of one activation; the next one goes on.
const AT_ONCE: u32 = 200;

/// Deletes what is due and gives the number of rows.
pub async fn forget(ctx: &Context) -> Result<u64, StoreError> {
    let now = ctx.now();
    let before = now - SignedDuration::from_hours(24 * i64::from(ctx.settings.store.retention_days));
    let mut gone = 0;
    for _ in 0..AT_ONCE {
        let mut tx = ctx.db.begin().await?;
        let rows = retention::forget_deploy(&mut tx, before).await?
            + retention::forget_incident(&mut tx, before).await?;
        tx.commit().await?;
        gone += rows;
        if rows == 0 {
            break;
        }
    }
    let mut tx = ctx.db.begin().await?;
    gone += retention::forget_baselines(&mut tx, before).await?;
    gone += retention::forget_reports(&mut tx, before).await?;
    gone += second::cancel_orphans(ctx, &mut tx).await?;
    gone += silences::forget(&mut tx, before).await?;
    gone += links::forget_used(&mut tx, now - LINKS_FOR).await?;
    gone += retention::forget_requests(&mut tx, now - ANSWERS_FOR, now).await?;
    gone += triggers::forget(&mut tx, before).await?;
    gone += answers::forget_stray(&mut tx, before).await?;
    tx.commit().await?;
    Ok(gone)
}
