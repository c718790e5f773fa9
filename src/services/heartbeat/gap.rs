//! After a time without us: from when to when, and what was missed.

use std::collections::BTreeSet;

use crate::domain::absence::{Unwatched, signal};
use crate::domain::clock::Timestamp;
use crate::domain::deploy::DeployState;
use crate::services::{Context, alerting};
use crate::store::{StoreError, Tx, deploys};

/// Tells each environment that was being watched what was missed of it. Where nothing was watched but webhooks
/// are taken, their absence is told; else nobody has missed anything.
pub(super) async fn tell(
    ctx: &Context,
    tx: &mut Tx,
    from: Timestamp,
    to: Timestamp,
) -> Result<(), StoreError> {
    let mut signals = Vec::new();
    for environment in ctx.settings.environments.keys() {
        for row in deploys::list_open(tx, environment).await? {
            if row.deploy.state != DeployState::Verifying {
                continue;
            }
            let checks = deploys::get_check_set(tx, &row.check_set).await?;
            let plan = &row.deploy.plan;
            let missed: BTreeSet<Timestamp> = checks
                .iter()
                .flat_map(|check| plan.slots(&check.policy).map(|slot| slot.at))
                .filter(|at| from < *at && *at < to)
                .collect();
            if !missed.is_empty() {
                let deploy = Some((row.deploy.id.as_str(), row.deploy.label()));
                let what = Unwatched { environment, deploy, missed: missed.len() };
                signals.push(signal(&what, from, to));
            }
        }
    }
    if signals.is_empty() && !ctx.settings.webhooks.sources.is_empty() {
        signals.push(signal(&Unwatched { environment: "", deploy: None, missed: 0 }, from, to));
    }
    tracing::warn!(from = %from, to = %to, "nothing was watched in this time");
    alerting::record(ctx, tx, &signals).await?;
    ctx.nudge.job(alerting::OUTBOX_JOB);
    Ok(())
}
