//! `[channels.NAME]`: where else on-call is told, besides mail.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::check::Severity;
use crate::settings::schema::SecretText;

/// `[channels.NAME]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// webhook (signed as Standard Webhooks say), slack (an incoming webhook) or pagerduty (Events API v2).
    pub kind: ChannelKind,
    /// Where to send; for pagerduty the base address, <https://events.pagerduty.com> where absent.
    #[schemars(with = "Option<SecretText>")]
    pub url: Option<SecretString>,
    /// webhook: the signing secret, whsec_ and base64; pagerduty: the integration's routing key.
    #[schemars(with = "Option<SecretText>")]
    pub secret: Option<SecretString>,
    /// Only what is about these environments; all where empty.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Only what is at least this severe: critical, warning or info (reports too).
    #[serde(default)]
    pub severity: ChannelSeverity,
    /// Allows addresses in private networks and on this machine.
    #[serde(default)]
    pub allow_private: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    Webhook,
    Slack,
    Pagerduty,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelSeverity {
    Critical,
    #[default]
    Warning,
    Info,
}

impl ChannelSeverity {
    pub fn takes(self, severity: Severity) -> bool {
        match self {
            Self::Critical => severity == Severity::Critical,
            Self::Warning => severity != Severity::Info,
            Self::Info => true,
        }
    }
}

impl Channel {
    /// Whether it is told about an environment; what is about deploywatch itself has none and is told to all.
    pub fn is_for(&self, environment: &str) -> bool {
        environment.is_empty()
            || self.environments.is_empty()
            || self.environments.iter().any(|name| name == environment)
    }
}
