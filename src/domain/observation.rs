//! The outcome of one planned slot of one check.

use serde::{Deserialize, Serialize};

use super::check::CheckKey;
use super::clock::Timestamp;
use super::measurement::Unit;

/// Exactly one of seven. Only pass, warn and fail are conclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pass,
    Warn,
    Fail,
    /// Could not be measured. Neither healthy nor a failure.
    Error,
    /// Measured, but there is no value or no usable baseline.
    NoData,
    /// The slot went by while we were down or over the scan's budget.
    Missed,
    /// Its condition was false, the deploy is between start and finish, or it has no baseline to compare.
    Skipped,
}

impl Outcome {
    pub fn is_conclusive(self) -> bool {
        matches!(self, Self::Pass | Self::Warn | Self::Fail)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::NoData => "no_data",
            Self::Missed => "missed",
            Self::Skipped => "skipped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pass, Self::Warn, Self::Fail, Self::Error, Self::NoData, Self::Missed, Self::Skipped]
            .into_iter()
            .find(|o| o.as_str() == text)
    }
}

/// One observation, with the numbers it was decided by. A fleet keeps a hundred million of them a day, so that
/// what is absent is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub key: CheckKey,
    /// The planned instant. A confirm sample carries the slot it confirms.
    pub slot_at: Timestamp,
    /// The snapshot's `now()`, or the slot's own instant for missed and skipped ones.
    pub observed_at: Timestamp,
    pub outcome: Outcome,
    /// A stable word for why: `fail.above`, `error.timeout`, `no_data.baseline_missing`, `skipped.deploying`.
    pub reason: String,
    /// One sentence for a person, with the resolved numbers.
    pub message: String,
    /// The end of the message that says what other checks of the scan found of the same fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    pub unit: Unit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// The threshold that decided, resolved: `> 0`, `drop > 1% (990)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub carried: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub confirm: bool,
    pub duration_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
    /// To ask again by hand; not kept for what passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}
