//! The gate decision: what CI is told, with reasons.

use serde::{Deserialize, Serialize};

/// The five answers, with their exit code and HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateAnswer {
    Go,
    Wait,
    Stop,
    Inconclusive,
    /// Superseded or cancelled.
    Gone,
    /// Unknown deploy, or none yet.
    Unknown,
}

impl GateAnswer {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Go => 0,
            Self::Stop => 1,
            Self::Inconclusive => 3,
            Self::Wait => 4,
            Self::Gone | Self::Unknown => 5,
        }
    }

    pub fn http_status(self) -> u16 {
        match self {
            Self::Go => 200,
            Self::Wait => 425,
            Self::Stop => 409,
            Self::Inconclusive => 424,
            Self::Gone => 410,
            Self::Unknown => 404,
        }
    }
}
