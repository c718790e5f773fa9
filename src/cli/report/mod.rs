//! The results of one run, and the forms in which they are printed.

mod explain;
mod github;
mod json;
mod junit;
mod text;

use std::time::Duration;

use crate::cli::Output;
use crate::domain::check::{CheckPolicy, Mode, Severity};
use crate::domain::clock::Timestamp;
use crate::domain::observation::{Observation, Outcome};

pub use explain::explain;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// JUnit XML, which most CI systems show
    Junit,
    /// Annotations of GitHub Actions
    Github,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FailOn {
    #[default]
    Critical,
    Warning,
}

/// One run.
#[derive(Debug)]
pub struct Report {
    pub environment: String,
    pub server: Option<String>,
    pub as_of: Option<Timestamp>,
    pub baseline_at: Option<Timestamp>,
    pub duration: Duration,
    pub statements: u32,
    pub rows: Vec<Row>,
}

#[derive(Debug)]
pub struct Row {
    pub policy: CheckPolicy,
    pub observation: Observation,
}

impl Row {
    /// Shadow and muted checks are shown and change nothing.
    pub fn counts(&self) -> bool {
        match self.policy.mode {
            Mode::Enforce => true,
            Mode::Shadow => false,
            Mode::Muted { until } => until <= self.observation.observed_at,
        }
    }

    fn matters(&self, from: FailOn) -> bool {
        let least = match from {
            FailOn::Critical => Severity::Critical,
            FailOn::Warning => Severity::Warning,
        };
        self.counts() && self.policy.severity <= least
    }

    /// Whether a person should read its sentence.
    pub fn needs_a_look(&self) -> bool {
        matches!(self.observation.outcome, Outcome::Fail | Outcome::Warn | Outcome::Error | Outcome::NoData)
    }
}

impl Report {
    /// 1 a check failed, 3 one could not be measured, 0 else. A failure is certain, so it comes first.
    pub fn exit_code(&self, from: FailOn) -> u8 {
        let any =
            |broken: &dyn Fn(&Row) -> bool| self.rows.iter().any(|row| row.matters(from) && broken(row));
        let failed = |row: &Row| match row.observation.outcome {
            Outcome::Fail => true,
            Outcome::Warn => from == FailOn::Warning,
            _ => false,
        };
        let unmeasured =
            |row: &Row| matches!(row.observation.outcome, Outcome::Error | Outcome::NoData | Outcome::Missed);
        match (any(&failed), any(&unmeasured)) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        }
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.observation.outcome == outcome).count()
    }
}

/// By severity, then key.
pub fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| (a.policy.severity, &a.policy.key).cmp(&(b.policy.severity, &b.policy.key)));
    rows
}

pub fn print(report: &Report, format: Format, fail_on: FailOn, step_summary: Option<&str>, out: &mut Output) {
    match format {
        Format::Text => text::print(report, out),
        Format::Json => json::print(report, fail_on, out),
        Format::Junit => junit::print(report, out),
        Format::Github => github::print(report, step_summary, out),
    }
}

#[cfg(test)]
mod tests;
