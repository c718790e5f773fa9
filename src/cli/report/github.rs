//! Annotations for GitHub Actions, one for each check that is not well, then the summary.

use super::{Report, Row};
use crate::cli::Output;
use crate::domain::check::Severity;
use crate::domain::observation::Outcome;

pub fn print(report: &Report, out: &mut Output) {
    for row in report.rows.iter().filter(|row| row.needs_a_look()) {
        out.line(&annotation(row));
    }
    out.line(&super::text::summary(report));
}

fn annotation(row: &Row) -> String {
    let (policy, seen) = (&row.policy, &row.observation);
    let command = match (seen.outcome, policy.severity) {
        _ if !row.counts() => "notice",
        (_, Severity::Info) => "notice",
        (Outcome::Warn, _) | (_, Severity::Warning) => "warning",
        _ => "error",
    };
    let title = format!("{}: {}", seen.outcome.as_str(), policy.name());
    let mut message = format!("{}: {}", policy.key, seen.message);
    if let Some(runbook) = &policy.runbook {
        message.push_str(&format!("\nrunbook: {runbook}"));
    }
    format!("::{command} title={}::{}", property(&title), data(&message))
}

/// As the runner's own toolkit escapes them.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
