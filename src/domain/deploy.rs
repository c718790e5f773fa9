//! One announced release and where it stands.

use serde::{Deserialize, Serialize};

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
    /// Seconds of the smoke stage and of the whole window.
    pub smoke_seconds: u32,
    pub window_seconds: u32,
    pub state: DeployState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeployKind {
    Normal,
    Rollback,
    Config,
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

impl Deploy {
    /// The end of the whole window, once it is open.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.finished_at.map(|at| at + super::clock::SignedDuration::from_secs(self.window_seconds.into()))
    }

    pub fn smoke_ends_at(&self) -> Option<Timestamp> {
        self.finished_at.map(|at| at + super::clock::SignedDuration::from_secs(self.smoke_seconds.into()))
    }
}
