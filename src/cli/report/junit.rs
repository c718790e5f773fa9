//! JUnit XML: fail is a failure, could-not-measure an error, warn passes with its sentence.

use std::fmt::Write as _;

use super::{Report, Row};
use crate::cli::Output;
use crate::domain::observation::Outcome;

pub fn print(report: &Report, out: &mut Output) {
    out.line(document(report).trim_end());
}

fn document(report: &Report) -> String {
    let mut suites: Vec<&str> = report.rows.iter().map(|row| row.policy.suite.as_str()).collect();
    suites.sort_unstable();
    suites.dedup();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<&Row> = report.rows.iter().collect();
    let _ = writeln!(xml, "<testsuites name=\"deploywatch\" {}>", counts(&all));
    for suite in suites {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.policy.suite == suite).collect();
        let _ = writeln!(xml, "  <testsuite name=\"{}\" {}>", escape(suite), counts(&rows));
        for row in rows {
            testcase(&mut xml, row);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn counts(rows: &[&Row]) -> String {
    let of = |kind: Kind| rows.iter().filter(|row| kind_of(row) == kind).count();
    let seconds: u64 = rows.iter().map(|row| row.observation.duration_ms).sum();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        rows.len(),
        of(Kind::Failure),
        of(Kind::Error),
        of(Kind::Skipped),
        time(seconds)
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passed,
    Failure,
    Error,
    Skipped,
}

/// What is muted or only in the shadow passes, as everywhere else; its sentence is still there.
fn kind_of(row: &Row) -> Kind {
    match row.observation.outcome {
        Outcome::Skipped => Kind::Skipped,
        _ if !row.counts() => Kind::Passed,
        Outcome::Fail => Kind::Failure,
        Outcome::Error | Outcome::NoData | Outcome::Missed => Kind::Error,
        Outcome::Pass | Outcome::Warn => Kind::Passed,
    }
}

fn testcase(xml: &mut String, row: &Row) {
    let (policy, seen) = (&row.policy, &row.observation);
    let _ = write!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escape(&policy.suite),
        escape(policy.key.as_str()),
        time(seen.duration_ms)
    );
    let (message, reason) = (escape(&seen.message), escape(&seen.reason));
    let body = escape(seen.statement.as_deref().unwrap_or_default());
    match kind_of(row) {
        Kind::Failure => {
            let _ = writeln!(
                xml,
                ">\n      <failure message=\"{message}\" type=\"{reason}\">{body}</failure>\n    </testcase>"
            );
        }
        Kind::Error => {
            let _ = writeln!(
                xml,
                ">\n      <error message=\"{message}\" type=\"{reason}\">{body}</error>\n    </testcase>"
            );
        }
        Kind::Skipped => {
            let _ = writeln!(xml, ">\n      <skipped message=\"{message}\"/>\n    </testcase>");
        }
        Kind::Passed if row.needs_a_look() => {
            let outcome = seen.outcome.as_str();
            let _ = writeln!(xml, ">\n      <system-out>{outcome}: {message}</system-out>\n    </testcase>");
        }
        Kind::Passed => xml.push_str("/>\n"),
    }
}

fn time(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// Control characters have no place in XML 1.0, not even escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}')
            }
            other => escaped.push(other),
        }
    }
    escaped
}
