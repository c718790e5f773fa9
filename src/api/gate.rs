//! The gate on the wire.

use serde::{Deserialize, Serialize};

use super::deploys::{DeployView, FailingView};
use crate::domain::check::Stage;
use crate::domain::clock::Timestamp;
use crate::domain::gate::GateAnswer;
use crate::domain::verdict::{Counts, Provisional, Reason, VerdictState};

/// `GET /api/v1/environments/{environment}/gate` and `GET /api/v1/gate`; the status code says the same as
/// `answer`: 200 go, 425 wait, 409 stop, 424 inconclusive, 410 superseded or cancelled, 404 unknown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateView {
    pub answer: GateAnswer,
    /// What `deploywatch gate` ends with.
    pub exit_code: u8,
    pub effective: Option<VerdictState>,
    pub reasons: Vec<Reason>,
    /// The same for a person, a few lines.
    pub explanation: Vec<String>,
    pub at: Timestamp,
    pub deploy: Option<DeployView>,
}

/// `GET /api/v1/environments/{environment}/gate/rollback`: 200 only when the deploy has failed, for systems
/// that roll back on 200.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackView {
    pub rollback: bool,
    #[serde(flatten)]
    pub gate: GateView,
}

/// `GET /api/v1/environments/{environment}/verdict`: always 200, what is known in one flat object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictView {
    /// The computed verdict, or `unknown` where nothing was announced.
    pub state: String,
    pub answer: GateAnswer,
    pub effective: Option<VerdictState>,
    pub provisional: Option<Provisional>,
    pub stage: Option<Stage>,
    /// The smoke stage's own verdict.
    pub smoke: Option<VerdictState>,
    pub since: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
    pub coverage: f64,
    pub counts: Counts,
    pub reasons: Vec<Reason>,
    pub failing: Vec<FailingView>,
    pub superseded_by: Option<String>,
    pub version: Option<String>,
    pub deploy: Option<String>,
    pub url: Option<String>,
    /// Changes when the verdict or the answer does; `?wait=30s` with `If-None-Match` waits for that.
    pub etag: String,
}
