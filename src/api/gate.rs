//! The gate on the wire.

use serde::{Deserialize, Serialize};

use super::deploys::DeployView;
use crate::domain::clock::Timestamp;
use crate::domain::gate::GateAnswer;
use crate::domain::verdict::{Reason, VerdictState};

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
