//! The outbox on the wire. Addresses are masked: who may read the outbox need not learn them.

use serde::{Deserialize, Serialize};

/// One message to one recipient. Instants are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    pub id: String,
    pub channel: String,
    /// What it tells: opened, reopened, update, reminder, resolved, …
    pub notice: String,
    pub environment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    pub severity: String,
    pub recipient: String,
    pub subject: String,
    /// pending, sending, sent, dead, cancelled or digested
    pub state: String,
    pub attempts: u32,
    pub created_at: String,
    pub not_before: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// The class of the last failure: transient, configuration, recipient or message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Why it waits although it could be sent: storm or quiet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The message that told it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `GET /api/v1/outbox`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageList {
    pub messages: Vec<MessageView>,
}
