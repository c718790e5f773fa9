//! One look at everything: the target in one scan, and what is beside it at the same time. Neither keeps the
//! other from being measured.

use std::sync::Arc;

use crate::domain::check::Check;
use crate::domain::clock::Timestamp;
use crate::domain::measurement::Measurement;
use crate::services::Context;
use crate::services::signals::{self, Facts};
use crate::services::targets::{Probe, Reading, TargetsError};
use crate::target::{Params, Scan, TargetError};

/// What was brought back.
pub(super) struct Look {
    /// `None` where no check asks the target.
    pub target: Option<Result<Scan, TargetError>>,
    pub beside: Vec<Measurement>,
}

/// The checks of an environment: those of its suites, and what we know of its webhooks ourselves.
pub(super) async fn watched_checks(ctx: &Context, environment: &str) -> Result<Vec<Check>, TargetsError> {
    let mut checks = ctx.prober.checks(environment).await?;
    if !checks.is_empty() {
        checks.extend(signals::built_in(&ctx.settings, environment, &checks));
    }
    Ok(checks)
}

pub(super) async fn look(
    ctx: &Context,
    checks: Vec<Arc<Check>>,
    params: Params,
    reading: Reading,
    now: Timestamp,
) -> Look {
    let (beside, asked): (Vec<_>, Vec<_>) =
        checks.into_iter().partition(|check| check.measure.signal().is_some());
    let facts = Facts { now, deployed_at: params.deployed_at };
    let environment = params.environment.clone();
    let scan = async {
        if asked.is_empty() {
            return None;
        }
        Some(ctx.prober.scan(Probe { environment, checks: asked, params, reading }).await)
    };
    let (target, beside) = tokio::join!(scan, signals::measure(ctx, &beside, facts));
    Look { target, beside }
}
