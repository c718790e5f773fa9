//! What on-call knows of a deploy, as a tick finds it.

use crate::domain::announce::{Announced, key};
use crate::domain::incident::{IncidentKind, IncidentState};
use crate::domain::observation::{Observation, Outcome};
use crate::services::Context;
use crate::store::deploys::DeployRow;
use crate::store::{StoreError, incidents};

/// What was announced, without what a person called resolved and a newer scan found again: that is told again.
pub(super) async fn known(
    ctx: &Context,
    row: &DeployRow,
    seen: &[Observation],
) -> Result<Announced, StoreError> {
    let mut known = row.announced.clone();
    let again = seen.iter().any(|one| one.outcome == Outcome::Fail && known.breached.contains(&one.key));
    let unmeasured = known.cannot_check && seen.iter().any(|one| one.outcome == Outcome::Error);
    let doubted = [(IncidentKind::ChecksFailed, again), (IncidentKind::CannotCheck, unmeasured)];
    for (kind, _) in doubted.into_iter().filter(|(_, doubted)| *doubted) {
        let latest = incidents::find_latest(&mut *ctx.db.reader().await?, &key(&row.deploy, kind)).await?;
        if latest.is_some_and(|stored| matches!(stored.incident.state, IncidentState::Resolved { .. })) {
            known.forget(kind);
        }
    }
    Ok(known)
}
