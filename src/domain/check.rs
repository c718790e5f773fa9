//! A check as the rest of the product sees it: how it is named, when it runs, what it means when it fails.
//!
//! What a check *measures* is [`Measure`]; the suite loader makes it and only `target` looks inside.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::threshold::Threshold;
use super::wording::Wording;

pub use super::measure::Measure;

/// The stable, unique name of a check, e.g. `users.not_null.email`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckKey(pub String);

impl CheckKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much a failing check matters: only critical ones can fail a deploy. Ordered, most severe first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Critical,
    Warning,
    Info,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Whether the outcome counts. A mute always ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Mode {
    Enforce,
    Shadow,
    Muted { until: Timestamp },
}

/// A time for which a person does not want to hear of a check. It always ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MuteSpan {
    pub from: Timestamp,
    pub until: Timestamp,
    pub actor: String,
    pub reason: String,
}

impl MuteSpan {
    pub fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// `smoke` is the first minutes, for CI; `soak` the whole window.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Smoke,
    Soak,
}

/// What a measured but empty value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNoData {
    Inconclusive,
    Pass,
    Fail,
}

/// Which baseline a comparing threshold is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BaselineMode {
    PreDeploy,
    LastClean,
    Both,
}

/// Everything about a check but its measurement. It is stored with each deploy, so that a verdict can be
/// replayed with the rules it was made by. All durations are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckPolicy {
    pub key: CheckKey,
    pub suite: String,
    /// The kind's name as written in a suite: `not_null`, `row_count`, …
    pub kind: String,
    /// The table or other object, for display and grouping: `users`, `public`, or empty.
    pub subject: String,
    pub title: Option<String>,
    pub severity: Severity,
    pub mode: Mode,
    pub stages: Vec<Stage>,
    /// Seconds between two slots in soak, 0 for the settings' cadence; in smoke the denser of this and the
    /// smoke cadence is used.
    pub every: u32,
    pub initial_delay: u32,
    pub timeout: u32,
    pub warn: Option<Threshold>,
    pub fail: Option<Threshold>,
    /// Fails until breached: in a row, or of the last `fail_within` runs where that is more.
    pub fail_after: u32,
    #[serde(default)]
    pub fail_within: u32,
    /// Consecutive passes until recovered.
    pub recover_after: u32,
    /// Breached when more than this many slots failed in all; `None` is unlimited.
    pub failure_budget: Option<u32>,
    /// Conclusive ÷ planned, 0 to 1.
    pub min_coverage: f64,
    pub on_no_data: OnNoData,
    /// A recovered check still fails the deploy.
    pub latch: bool,
    /// Consecutive errors until unobservable.
    pub error_limit: u32,
    pub baseline: BaselineMode,
    /// Below this baseline value a percentage is not used; the absolute change is.
    pub min_baseline: f64,
    /// SHA-256 (hex) of what is measured and held against what; a changed one makes a baseline unusable.
    pub definition_hash: String,
    /// Within this many seconds after a deploy a failure is shown and nobody is told.
    #[serde(default)]
    pub settle: u32,
    pub owner: Option<String>,
    pub runbook: Option<String>,
    pub tags: Vec<String>,
    /// How a measured value of this check is said in a sentence.
    #[serde(default)]
    pub wording: Wording,
    /// What people asked for while it was watched, beside a mute in the suite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mutes: Vec<MuteSpan>,
}

impl CheckPolicy {
    /// A check with every option at its default and no threshold, to be filled in with `..`.
    pub fn new(key: &str, kind: &str) -> Self {
        Self {
            key: CheckKey(key.to_owned()),
            suite: String::new(),
            kind: kind.to_owned(),
            subject: String::new(),
            title: None,
            severity: Severity::Critical,
            mode: Mode::Enforce,
            stages: vec![Stage::Smoke, Stage::Soak],
            every: 0,
            initial_delay: 0,
            timeout: 30,
            warn: None,
            fail: None,
            fail_after: 2,
            fail_within: 0,
            recover_after: 2,
            failure_budget: None,
            min_coverage: 0.8,
            on_no_data: OnNoData::Inconclusive,
            latch: true,
            error_limit: 4,
            baseline: BaselineMode::PreDeploy,
            min_baseline: 100.0,
            definition_hash: String::new(),
            settle: 0,
            owner: None,
            runbook: None,
            tags: Vec::new(),
            wording: Wording::default(),
            mutes: Vec::new(),
        }
    }

    /// Whether any threshold compares with a baseline, so that the check needs one.
    pub fn compares(&self) -> bool {
        self.warn.iter().chain(&self.fail).any(Threshold::compares)
    }

    /// The same check held against its absolute bounds alone; `None` where its fail threshold has none.
    pub fn without_comparison(&self) -> Option<Self> {
        let absolute = |threshold: &Option<Threshold>| {
            threshold.as_ref().map(Threshold::absolute).filter(|threshold| !threshold.is_empty())
        };
        let (warn, fail) = (absolute(&self.warn), absolute(&self.fail));
        // A check that only warns is judged by its warning.
        let judged = if self.fail.is_some() { fail.is_some() } else { warn.is_some() };
        judged.then(|| Self { warn, fail, ..self.clone() })
    }

    /// The title a person gave, else the key.
    pub fn name(&self) -> &str {
        self.title.as_deref().unwrap_or(self.key.as_str())
    }
}

/// One declarative assertion, ready to be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub policy: CheckPolicy,
    pub measure: Measure,
}

impl Check {
    pub fn key(&self) -> &CheckKey {
        &self.policy.key
    }
}
