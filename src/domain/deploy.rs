//! One announced release and where it stands.

use serde::{Deserialize, Serialize};

use super::cadence::Plan;
use super::clock::Timestamp;
use super::ids::{BaselineId, DeployId};

/// A release as announced, with the instants that matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    pub id: DeployId,
    pub environment: String,
    pub version: String,
    pub commit: Option<String>,
    pub kind: DeployKind,
    /// 1, or more for a re-verification of the same version.
    pub attempt: u32,
    /// Who or what announced it, a link to the CI run, free text: shown, never interpreted.
    pub actor: Option<String>,
    pub link: Option<String>,
    pub started_at: Timestamp,
    pub baseline_id: Option<BaselineId>,
    /// When the baseline was captured: the parameter `:baseline_at`.
    pub baseline_at: Option<Timestamp>,
    /// When the window opened: the parameter `:deployed_at`.
    pub finished_at: Option<Timestamp>,
    /// When the release itself went out, where it is verified again: the first attempt's finish.
    pub released_at: Option<Timestamp>,
    /// The attempt that this one verifies again.
    pub reverifies: Option<DeployId>,
    /// When the window is watched, once it is open; before, `opened_at` is the start.
    pub plan: Plan,
    pub state: DeployState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeployKind {
    Normal,
    Rollback,
    Config,
}

impl DeployKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Rollback => "rollback",
            Self::Config => "config",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Normal, Self::Rollback, Self::Config].into_iter().find(|k| k.as_str() == text)
    }
}

/// The life of a deploy. Terminal states do not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DeployState {
    /// Between `start` and `finish`: migrations run, nothing is scanned.
    Deploying,
    /// The window is open.
    Verifying,
    Closed {
        at: Timestamp,
    },
    Superseded {
        at: Timestamp,
        by: DeployId,
    },
    Cancelled {
        at: Timestamp,
        reason: String,
    },
}

impl DeployState {
    /// The word that the store and the API use.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Verifying => "verifying",
            Self::Closed { .. } => "closed",
            Self::Superseded { .. } => "superseded",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Deploying | Self::Verifying)
    }
}

impl Deploy {
    /// The end of the whole window, once it is open.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.finished_at.map(|_| self.plan.ends_at())
    }

    /// When the release went out: what `:deployed_at` is, and what a baseline must be older than.
    pub fn deployed_at(&self) -> Option<Timestamp> {
        self.released_at.or(self.finished_at)
    }

    pub fn smoke_ends_at(&self) -> Option<Timestamp> {
        self.finished_at.map(|_| self.plan.smoke_ends_at())
    }

    /// What a person calls this release: the version, and which attempt where there were several.
    pub fn label(&self) -> String {
        match self.attempt {
            0 | 1 => self.version.clone(),
            n => format!("{} (attempt {n})", self.version),
        }
    }
}

/// A person's decision beside the computed verdict, which it never rewrites.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Override {
    pub verdict: OverrideVerdict,
    pub actor: String,
    pub reason: String,
    pub at: Timestamp,
    /// At most seven days after `at`.
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverrideVerdict {
    Passed,
    Failed,
}

/// The longest an override may last.
pub const MAX_OVERRIDE_SECONDS: i64 = 7 * 86_400;

/// What is wrong with an override as asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    #[error("an override needs an actor; say who decides")]
    NoActor,
    #[error("an override needs a reason; say why, for the person who reads it next week")]
    NoReason,
    #[error("an override must end after now and within 7 days; give a nearer expiry")]
    Expiry,
}

impl Override {
    pub fn validate(&self) -> Result<(), OverrideError> {
        if self.actor.trim().is_empty() {
            return Err(OverrideError::NoActor);
        }
        if self.reason.trim().is_empty() {
            return Err(OverrideError::NoReason);
        }
        let length = self.expires_at.duration_since(self.at).as_secs();
        if !(1..=MAX_OVERRIDE_SECONDS).contains(&length) {
            return Err(OverrideError::Expiry);
        }
        Ok(())
    }

    pub fn is_active(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.expires_at
    }
}
