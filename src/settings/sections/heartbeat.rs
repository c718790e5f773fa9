//! `[heartbeat]`: who notices when deploywatch itself has stopped.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::settings::schema::SecretText;

/// `[heartbeat]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Asked every minute while scheduler, store and sender work: `https://hc-ping.com/…`. Off without one.
    #[schemars(with = "Option<SecretText>")]
    pub url: Option<SecretString>,
    /// How it is asked: get or post.
    pub method: HeartbeatMethod,
    /// A longer time without us is told by mail at the next start; 0 switches that off.
    pub gap_seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeartbeatMethod {
    Get,
    Post,
}
