//! Deploys on the wire.

use serde::{Deserialize, Serialize};

use crate::domain::attribution::Suspect;
use crate::domain::check::Stage;
use crate::domain::clock::Timestamp;
use crate::domain::deploy::{DeployKind, Override, OverrideVerdict};
use crate::domain::verdict::{CheckStanding, Counts, Provisional, Reason, VerdictState};

/// `POST /api/v1/deploys` (start) and `POST /api/v1/deploys/finish` (finish by version, started or not).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnounceRequest {
    /// May be left out when the server watches one environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// A commit or a release's name. The same environment and version are the same deploy.
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    #[serde(default = "normal")]
    pub kind: DeployKind,
    /// Who releases; the token's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// A link to the run, shown beside the deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Another attempt at a version that was announced before.
    #[serde(default)]
    pub new: bool,
    /// Instead of the settings', in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u32>,
}

fn normal() -> DeployKind {
    DeployKind::Normal
}

/// `POST /api/v1/deploys/{id}/cancel`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    pub reason: String,
}

/// `POST /api/v1/deploys/{id}/override`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    pub verdict: OverrideVerdict,
    pub reason: String,
    /// Who decides; the token's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// How long it counts, in seconds; a day where absent, a week at most.
    #[serde(default = "a_day")]
    pub seconds: u32,
}

fn a_day() -> u32 {
    86_400
}

/// `POST /api/v1/deploys/{id}/mute`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteRequest {
    /// The check's key.
    pub check: String,
    pub reason: String,
    /// Who mutes; the token's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// How long, in seconds: at most a week. 0 ends a mute.
    pub seconds: u32,
}

/// `POST /api/v1/deploys/{id}/reverify`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReverifyRequest {
    /// Who asks; the token's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// A link to the run, instead of the first attempt's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Instead of the settings', in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u32>,
}

/// A deploy with its verdict, answered by every route of deploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployView {
    pub id: String,
    pub environment: String,
    pub version: String,
    pub attempt: u32,
    pub commit: Option<String>,
    pub kind: DeployKind,
    pub actor: Option<String>,
    pub link: Option<String>,
    /// The page of this deploy.
    pub url: Option<String>,
    /// The computed verdict.
    pub state: VerdictState,
    pub provisional: Option<Provisional>,
    /// The verdict that counts: an override's while it lasts.
    pub effective: VerdictState,
    #[serde(rename = "override")]
    pub decided: Option<Override>,
    pub stage: Stage,
    /// The smoke stage's own verdict.
    pub smoke: VerdictState,
    /// When the verdict last changed.
    pub since: Timestamp,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// When the release went out, where this attempt verifies it again; and which attempt it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverifies: Option<String>,
    pub smoke_ends_at: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The next scan, while the window is open.
    pub next_scan_at: Option<Timestamp>,
    pub baseline: Option<BaselineView>,
    /// The lowest coverage of a check that counts, 0 to 1.
    pub coverage: f64,
    pub counts: Counts,
    /// Checks in shadow, which decide nothing.
    #[serde(default)]
    pub shadow: Counts,
    pub reasons: Vec<Reason>,
    pub failing: Vec<FailingView>,
    /// Every check; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStanding>,
    pub superseded_by: Option<String>,
    pub cancel_reason: Option<String>,
    /// Changes when the verdict does; `GET …?wait=30s` with `If-None-Match` waits for that.
    pub etag: String,
}

/// What a deploy is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineView {
    pub id: String,
    pub captured_at: Timestamp,
    /// In the answer to `start` alone: how many checks were measured, and those that could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmeasured: Vec<UnmeasuredView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmeasuredView {
    pub key: String,
    pub message: String,
}

/// One failing check with the numbers it was decided by, as text for people and as numbers for programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailingView {
    pub key: String,
    pub title: String,
    pub severity: crate::domain::check::Severity,
    pub breached: bool,
    pub recovered: bool,
    pub value: Option<f64>,
    pub observed: Option<String>,
    pub threshold: Option<String>,
    pub baseline: Option<f64>,
    pub before: Option<String>,
    pub reason: String,
    pub message: String,
    pub first_failed_at: Option<Timestamp>,
    /// Since the window opened: `T+00:07`.
    pub since: Option<String>,
    pub fails: u32,
    pub runs: u32,
    pub runbook: Option<String>,
    pub statement: Option<String>,
    /// The releases whose window covers the first fail, the prime suspect first; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<Suspect>,
}

/// `GET /api/v1/deploys`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployList {
    pub deploys: Vec<DeployView>,
}
