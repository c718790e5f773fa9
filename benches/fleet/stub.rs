//! Watched databases that answer at once.

use std::time::Duration;

use deploywatch::domain::check::{Check, CheckPolicy};
use deploywatch::domain::clock::Clock;
use deploywatch::domain::measure::{Measure, RowAggregate, TableName, What};
use deploywatch::domain::measurement::{Measured, Measurement};
use deploywatch::domain::threshold::{Bound, Threshold};
use deploywatch::services::targets::{Probe, Prober, TargetsError};
use deploywatch::system::SystemClock;
use deploywatch::target::{Carry, Scan, TargetError};
use futures_util::future::BoxFuture;

use crate::Asked;

pub fn environment(n: usize) -> String {
    format!("environment-{n:05}")
}

/// Every check brings 0 violations of 1,000 rows.
pub struct Instant {
    checks: Vec<Check>,
}

impl Instant {
    pub fn new(asked: &Asked) -> Self {
        Self { checks: (0..asked.checks).map(|n| check(n, asked.every)).collect() }
    }
}

fn check(n: usize, every: u32) -> Check {
    let mut policy = CheckPolicy::new(&format!("orders.not_null.column_{n}"), "not_null");
    policy.fail = Some(Threshold { above: Some(Bound::Number(0.0)), ..Threshold::default() });
    policy.definition_hash = "0123456789abcdef".repeat(4);
    policy.every = every;
    policy.subject = "orders".into();
    let table = TableName { schema: None, name: "orders".into() };
    let aggregate = RowAggregate::NotNull { column: format!("column_{n}") };
    let measure = Measure::of(What::Rows { table, filter: None, aggregate });
    Check { policy, measure }
}

impl Prober for Instant {
    fn checks<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Check>, TargetsError>> {
        Box::pin(async { Ok(self.checks.clone()) })
    }

    fn scan(&self, probe: Probe) -> BoxFuture<'_, Result<Scan, TargetError>> {
        let measurements = probe.checks.iter().map(|check| measurement(check)).collect();
        let scan = Scan {
            as_of: SystemClock.now(),
            measurements,
            carry: Carry::default(),
            statements: 1,
            duration: Duration::from_millis(1),
            server: "none".into(),
        };
        Box::pin(async { Ok(scan) })
    }
}

fn measurement(check: &Check) -> Measurement {
    Measurement {
        key: check.key().clone(),
        definition_hash: check.policy.definition_hash.clone(),
        result: Ok(Measured { value: Some(0.0), tested: Some(1_000.0), ..Measured::default() }),
        duration_ms: 1,
        carried: false,
        proved: None,
        isolated: false,
        statement: Some("SELECT count(*) FILTER (WHERE column_1 IS NULL) FROM orders".into()),
    }
}
