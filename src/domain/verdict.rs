//! The verdict: a fold over observations. Could-not-measure is neither healthy nor a failure.

use serde::{Deserialize, Serialize};

use super::check::{CheckKey, Severity};
use super::clock::Timestamp;
use super::observation::Outcome;

/// What the evidence says so far, or in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictState {
    Deploying,
    Verifying,
    Passed,
    PassedWithWarnings,
    Failed,
    Inconclusive,
    Superseded,
    Cancelled,
}

impl VerdictState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Verifying => "verifying",
            Self::Passed => "passed",
            Self::PassedWithWarnings => "passed_with_warnings",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a deploy stands while it is still verifying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provisional {
    Clean,
    Warnings,
    /// Failing, below `fail_after`.
    AtRisk,
    Unobservable,
}

/// One check's part in a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckStanding {
    pub key: CheckKey,
    pub severity: Severity,
    pub last: Option<Outcome>,
    pub breached: bool,
    pub recovered: bool,
    pub unobservable: bool,
    pub planned: u32,
    pub conclusive: u32,
    pub value: Option<f64>,
    pub baseline: Option<f64>,
    pub threshold: Option<String>,
    pub message: String,
    pub first_failed_at: Option<Timestamp>,
}
