//! One JSON document, for scripts. Fields are added, never renamed.

use serde_json::{Value, json};

use super::{FailOn, Report};
use crate::cli::Output;
use crate::domain::check::Mode;
use crate::domain::clock::rfc3339;
use crate::domain::observation::Outcome;

pub fn print(report: &Report, fail_on: FailOn, out: &mut Output) {
    let document = document(report, fail_on);
    out.line(&serde_json::to_string_pretty(&document).expect("a report is plain JSON"));
}

fn document(report: &Report, fail_on: FailOn) -> Value {
    let checks: Vec<Value> = report
        .rows
        .iter()
        .map(|row| {
            let (policy, seen) = (&row.policy, &row.observation);
            json!({
                "key": policy.key,
                "suite": policy.suite,
                "kind": policy.kind,
                "subject": policy.subject,
                "title": policy.title,
                "severity": policy.severity,
                "mode": match policy.mode {
                    Mode::Enforce => "enforce",
                    Mode::Shadow => "shadow",
                    Mode::Muted { .. } => "muted",
                },
                "outcome": seen.outcome,
                "reason": seen.reason,
                "message": seen.message,
                "value": seen.value,
                "unit": seen.unit,
                "tested": seen.tested,
                "threshold": seen.threshold,
                "baseline": seen.baseline,
                "carried": seen.carried,
                "proved": seen.proved,
                "duration_ms": seen.duration_ms,
                "samples": seen.samples,
                "statement": seen.statement,
                "owner": policy.owner,
                "runbook": policy.runbook,
            })
        })
        .collect();
    let outcomes =
        [Outcome::Pass, Outcome::Warn, Outcome::Fail, Outcome::Error, Outcome::NoData, Outcome::Skipped];
    let counts: serde_json::Map<String, Value> =
        outcomes.iter().map(|outcome| (outcome.as_str().to_owned(), json!(report.count(*outcome)))).collect();
    json!({
        "environment": report.environment,
        "server": report.server,
        "as_of": report.as_of.map(rfc3339),
        "baseline_at": report.baseline_at.map(rfc3339),
        "duration_ms": u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        "statements": report.statements,
        "counts": counts,
        "exit_code": report.exit_code(fail_on),
        "checks": checks,
    })
}
