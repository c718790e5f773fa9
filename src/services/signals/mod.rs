//! Checks beside SQL: user flows and metrics over HTTP, lines of log drains, and what we know ourselves about
//! webhooks and their secrets. A source that cannot be asked is an error of its own checks and of nothing else.

mod drain;
mod lines;
mod outside;
mod own;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;

pub use drain::{Delivered, Drains, Taken};
pub use lines::upkeep;
pub use outside::Outside;
pub use own::built_in;

use crate::domain::check::Check;
use crate::domain::clock::Timestamp;
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measured, Measurement};
use crate::domain::signal::Signal;
use crate::services::Context;

/// Asked at the same time.
const PARALLEL: usize = 8;

/// The instants that a measurement depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub now: Timestamp,
    /// When the window opened; none for a baseline.
    pub deployed_at: Option<Timestamp>,
}

impl Facts {
    /// Whether something that happened then belongs to the deploy that is watched.
    fn falls_in(&self, at: Timestamp) -> bool {
        self.deployed_at.is_none_or(|deployed| at >= deployed)
    }
}

/// One measurement for each check, in their order; each is a signal.
pub async fn measure(ctx: &Context, checks: &[Arc<Check>], facts: Facts) -> Vec<Measurement> {
    if checks.is_empty() {
        return Vec::new();
    }
    let outside = Outside::of(&ctx.settings);
    let budget = Duration::from_secs(ctx.settings.scan.budget_seconds.into());
    let deadline = Instant::now() + budget;
    let all: Vec<BoxFuture<'_, Measurement>> = checks
        .iter()
        .map(|check| Box::pin(one(ctx, &outside, check, facts, deadline)) as BoxFuture<'_, Measurement>)
        .collect();
    stream::iter(all).buffered(PARALLEL).collect().await
}

async fn one(
    ctx: &Context,
    outside: &Outside,
    check: &Check,
    facts: Facts,
    deadline: Instant,
) -> Measurement {
    let begun = Instant::now();
    let work = async {
        match check.measure.signal() {
            Some(Signal::LogCount(count)) => lines::measure(ctx, count, facts).await,
            Some(Signal::Webhooks { source }) => own::webhooks(ctx, source, facts).await,
            Some(Signal::Secrets { source }) => own::secrets(ctx, source, facts).await,
            _ => outside.measure(check, facts.now).await,
        }
    };
    let left = deadline.saturating_duration_since(begun);
    let result = tokio::time::timeout(left, work).await.unwrap_or_else(|_| {
        Err(MeasureError {
            code: MeasureErrorCode::Budget,
            message: "the time for one scan was used up before this was answered".into(),
            hint: Some("raise scan.budget_seconds, or ask less often".into()),
        })
    });
    finished(check, result, begun)
}

/// A measurement that began at `begun` and is over now.
fn finished(check: &Check, result: Result<Measured, MeasureError>, begun: Instant) -> Measurement {
    Measurement {
        key: check.key().clone(),
        definition_hash: check.policy.definition_hash.clone(),
        result,
        duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        carried: false,
        proved: None,
        isolated: false,
        statement: statement(check),
    }
}

/// What to ask by hand. The URL stands there as it is written, references and all.
fn statement(check: &Check) -> Option<String> {
    match check.measure.signal()? {
        Signal::Http(request) | Signal::HttpLatency { request, .. } => Some(request.curl()),
        Signal::Metric { query, .. } => Some(query.clone()),
        Signal::LogCount(_) => None,
        Signal::Webhooks { source } | Signal::Secrets { source } => {
            Some(format!("deploywatch secret status {source}"))
        }
    }
}

fn signal_error(message: impl Into<String>, hint: Option<&str>) -> MeasureError {
    MeasureError { code: MeasureErrorCode::Signal, message: message.into(), hint: hint.map(str::to_owned) }
}
