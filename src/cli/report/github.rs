//! Annotations for GitHub Actions, one for each check that is not well, then the summary.

use std::io::Write;

use super::{Report, Row};
use crate::cli::Output;
use crate::domain::check::Severity;
use crate::domain::observation::Outcome;

/// `step_summary` is the file that the runner names for the page of the job.
pub fn print(report: &Report, step_summary: Option<&str>, out: &mut Output) {
    for row in report.rows.iter().filter(|row| row.needs_a_look()) {
        out.line(&annotation(row));
    }
    out.line(&super::text::summary(report));
    let Some(path) = step_summary.filter(|path| !path.is_empty()) else { return };
    let written = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(markdown(report).as_bytes()));
    if let Err(error) = written {
        out.note(&format!("warning: the job summary {path} could not be written: {error}"));
    }
}

/// What is not well as a table, for the job's page.
fn markdown(report: &Report) -> String {
    let mut text =
        format!("### deploywatch check: {}\n\n{}\n", report.environment, super::text::summary(report));
    let rows: Vec<&Row> = report.rows.iter().filter(|row| row.needs_a_look()).collect();
    if !rows.is_empty() {
        text.push_str("\n| status | severity | check | what was found |\n|---|---|---|---|\n");
    }
    for row in rows {
        let (policy, seen) = (&row.policy, &row.observation);
        let status = if row.counts() {
            seen.outcome.as_str().to_owned()
        } else {
            format!("{} (not counted)", seen.outcome.as_str())
        };
        text.push_str(&format!(
            "| {status} | {} | `{}` | {} |\n",
            policy.severity.as_str(),
            policy.key,
            cell(&seen.message)
        ));
    }
    text.push('\n');
    text
}

/// A text that stays in its cell and is no markup.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => cell.push(' '),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => cell.extend(['\\', c]),
            '<' => cell.push_str("&lt;"),
            '&' => cell.push_str("&amp;"),
            c => cell.push(c),
        }
    }
    cell
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
