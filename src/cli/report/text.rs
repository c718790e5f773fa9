//! The table for people: what holds, what does not and why, and how to look for oneself.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{Report, Row};
use crate::cli::Output;
use crate::domain::blame::TOLD;
use crate::domain::check::Mode;
use crate::domain::clock::rfc3339;
use crate::domain::measurement::Unit;
use crate::domain::observation::{Observation, Outcome};
use crate::domain::wording::{percent, quantity};

pub fn print(report: &Report, out: &mut Output) {
    header(report, out);
    table(report, out);
    let mut told: Vec<&str> = Vec::new();
    for row in report.rows.iter().filter(|row| row.needs_a_look()) {
        let message = row.observation.message.as_str();
        let alike = report.rows.iter().filter(|other| is_same_blind_spot(row, other)).collect::<Vec<_>>();
        if alike.len() < 2 {
            explain(row, out);
        } else if !told.contains(&message) {
            told.push(message);
            explain_once(&alike, out);
        }
    }
    out.line("");
    out.line(&summary(report));
}

fn header(report: &Report, out: &mut Output) {
    if let (Some(server), Some(as_of)) = (&report.server, report.as_of) {
        out.line(&format!("{} on {server}, as of {}", report.environment, rfc3339(as_of)));
    }
    if let Some(at) = report.baseline_at {
        out.line(&format!("compared with the baseline of {}", rfc3339(at)));
    }
    out.line("");
}

fn table(report: &Report, out: &mut Output) {
    let compared = report.rows.iter().any(|row| row.observation.baseline.is_some());
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let mut head = vec!["STATUS", "SEVERITY", "CHECK", "VALUE", "THRESHOLD"];
    if compared {
        head.extend(["BASELINE", "CHANGE"]);
    }
    head.push("TIME");
    let width = head.len();
    table.set_header(head);
    for row in &report.rows {
        let seen = &row.observation;
        let mut cells = vec![
            status(row),
            row.policy.severity.as_str().to_owned(),
            row.policy.key.to_string(),
            seen.value.map_or_else(dash, |value| quantity(value, seen.unit)),
            seen.threshold.clone().unwrap_or_else(dash),
        ];
        if compared {
            cells.push(seen.baseline.map_or_else(dash, |value| quantity(value, seen.unit)));
            cells.push(change(seen).unwrap_or_else(dash));
        }
        cells.push(time(seen));
        table.add_row(cells);
    }
    let numeric: &[usize] = if compared { &[3, 5, 6, 7] } else { &[3, 5] };
    for &column in numeric.iter().filter(|column| **column < width) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for (index, line) in table.lines().enumerate() {
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
        match index.checked_sub(1).and_then(|index| report.rows.get(index)) {
            Some(row) => {
                let status = status(row);
                out.line(&line.replacen(&status, &styled(style(row.observation.outcome), &status), 1));
            }
            None => out.line(&styled(Style::new().bold(), line)),
        }
    }
}

fn status(row: &Row) -> String {
    let word = row.observation.outcome.as_str();
    match row.policy.mode {
        Mode::Shadow => format!("{word} (shadow)"),
        Mode::Muted { .. } if !row.counts() => format!("{word} (muted)"),
        _ => word.to_owned(),
    }
}

fn style(outcome: Outcome) -> Style {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match outcome {
        Outcome::Pass => colour(AnsiColor::Green),
        Outcome::Warn => colour(AnsiColor::Yellow),
        Outcome::Fail => colour(AnsiColor::Red).bold(),
        Outcome::Error | Outcome::NoData | Outcome::Missed => colour(AnsiColor::Magenta).bold(),
        Outcome::Skipped => Style::new().dimmed(),
    }
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn dash() -> String {
    "-".to_owned()
}

fn change(seen: &Observation) -> Option<String> {
    let (value, baseline) = (seen.value?, seen.baseline?);
    let by = value - baseline;
    let sign = if by > 0.0 { "+" } else { "" };
    Some(match seen.unit {
        _ if by == 0.0 => "0".to_owned(),
        Unit::Rows if baseline != 0.0 => format!("{sign}{}", percent_signed(by / baseline * 100.0)),
        unit => format!("{sign}{}", quantity(by, unit)),
    })
}

/// `percent` says "<0.01%" of what is tiny, whatever its sign.
fn percent_signed(value: f64) -> String {
    if value < 0.0 { format!("-{}", percent(-value)) } else { percent(value) }
}

fn time(seen: &Observation) -> String {
    match (&seen.proved, seen.carried, seen.duration_ms) {
        (Some(_), ..) => "proved".to_owned(),
        (None, true, _) => "carried".to_owned(),
        (None, false, ms) if ms < 10_000 => format!("{ms} ms"),
        (None, false, ms) => format!("{} s", ms / 1000),
    }
}

/// Whether both could not be measured for the very same reason.
fn is_same_blind_spot(row: &Row, other: &Row) -> bool {
    let (a, b) = (&row.observation, &other.observation);
    a.outcome == Outcome::Error && b.outcome == Outcome::Error && a.message == b.message
}

/// One reason for several checks is said once.
fn explain_once(rows: &[&Row], out: &mut Output) {
    let Some(first) = rows.first() else { return };
    let keys: Vec<&str> = rows.iter().map(|row| row.policy.key.as_str()).collect();
    out.line("");
    out.line(&format!(
        "{} {} checks: {}",
        styled(style(Outcome::Error), "error"),
        rows.len(),
        keys.join(", ")
    ));
    out.line(&format!("  {}", first.observation.message));
}

/// Why it is not well, which rows, and the statement to look for oneself.
fn explain(row: &Row, out: &mut Output) {
    let (policy, seen) = (&row.policy, &row.observation);
    out.line("");
    let status = status(row);
    let severity = policy.severity.as_str();
    out.line(&format!("{} {} ({severity})", styled(style(seen.outcome), &status), policy.key));
    if let Some(title) = &policy.title {
        out.line(&format!("  {title}"));
    }
    out.line(&format!("  {}", seen.message));
    if !seen.samples.is_empty() {
        out.line(&format!("  rows: {}", seen.samples.join(", ")));
    }
    if let Some(owner) = &policy.owner {
        out.line(&format!("  owner: {owner}"));
    }
    if let Some(runbook) = &policy.runbook {
        out.line(&format!("  runbook: {runbook}"));
    }
    if let Some(statement) = &seen.statement {
        out.line("  look for yourself:");
        for line in statement.lines() {
            out.line(&format!("    {line}"));
        }
    }
}

pub fn summary(report: &Report) -> String {
    let total = report.rows.len();
    let proved = report.rows.iter().filter(|row| row.observation.proved.is_some()).count();
    let told = report.rows.iter().filter(|row| row.observation.reason == TOLD).count();
    let mut parts = Vec::new();
    for (outcome, word) in [
        (Outcome::Fail, "failed"),
        (Outcome::Warn, "warned"),
        (Outcome::Error, "could not be measured"),
        (Outcome::NoData, "without a usable value"),
        (Outcome::Skipped, "skipped"),
        (Outcome::Pass, "passed"),
    ] {
        let others = if outcome == Outcome::Skipped { told } else { 0 };
        if others > 0 {
            parts.push(format!("{others} told by another"));
        }
        match report.count(outcome) - others {
            0 => {}
            count if outcome == Outcome::Pass && proved > 0 => {
                parts.push(format!("{count} passed ({proved} proved by constraints)"));
            }
            count if outcome == Outcome::Skipped && without_baseline(report) => {
                parts.push(format!("{count} skipped (nothing to compare with; see --save-baseline)"));
            }
            count => parts.push(format!("{count} {word}")),
        }
    }
    let noun = if total == 1 { "check" } else { "checks" };
    let statements = if report.statements == 1 { "statement" } else { "statements" };
    format!(
        "{total} {noun}: {}; {} {statements} in {:.1} s",
        parts.join(", "),
        report.statements,
        report.duration.as_secs_f64()
    )
}

fn without_baseline(report: &Report) -> bool {
    report.rows.iter().any(|row| row.observation.reason == "skipped.no_baseline")
}
