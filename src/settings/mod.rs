//! Settings: embedded `default.toml` → file → environment, validated all at once, never printed with secrets.
//!
//! The sections are plain data; where a value came from is known only to the loader.

pub mod sections;

pub use sections::*;

use serde::Deserialize;
use std::collections::BTreeMap;

/// Everything the service can be told. One section is one file's worth of meaning.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub http: Http,
    pub store: Store,
    pub secrets: Secrets,
    pub verification: Verification,
    pub scan: Scan,
    pub webhooks: Webhooks,
    pub email: Email,
    pub alerts: Alerts,
    pub telemetry: Telemetry,
    /// What is watched, by name: `acme-production`.
    #[serde(default)]
    pub environments: BTreeMap<String, Environment>,
}
