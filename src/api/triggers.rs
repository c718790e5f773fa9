//! Triggers and answers on the wire.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;

/// `GET /api/v1/triggers`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerEventList {
    pub events: Vec<TriggerEventView>,
}

/// One request of a provider that meant something to us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerEventView {
    pub id: String,
    /// The trigger's name in the settings.
    pub source: String,
    /// As the provider calls it: `deployment_status success`.
    pub event: String,
    /// start, finish, cancel or permit.
    pub action: String,
    pub environment: String,
    pub version: Option<String>,
    pub received_at: Timestamp,
    pub attempts: u32,
    /// What came of it, a sentence; none while it is not over.
    pub outcome: Option<String>,
    pub deploy: Option<String>,
}

/// `GET /api/v1/deploys/{id}/answers`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerList {
    pub answers: Vec<AnswerView>,
}

/// One place where the verdict is shown by somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerView {
    pub id: String,
    pub source: String,
    /// github_commit, github_deployment, github_rule or vercel_check.
    pub channel: String,
    pub place: String,
    /// open, done or dead (given up after about a day of failures).
    pub state: String,
    /// What it was told last.
    pub said: Option<String>,
    pub told_at: Option<Timestamp>,
    /// When it is told or tried next; none while there is nothing to tell.
    pub next_at: Option<Timestamp>,
    pub failure: Option<String>,
    pub attempts: Vec<AttemptView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    pub at: Timestamp,
    pub duration_ms: u64,
    pub said: String,
    pub status: Option<u16>,
    pub failure: Option<String>,
}
