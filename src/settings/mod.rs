//! Settings: embedded `default.toml` → file → environment, validated all at once, never printed with secrets.
//!
//! The sections are plain data; where a value came from is known only to the loader.

mod load;
mod oncall;
mod redact;
pub mod schema;
pub mod sections;
mod sources;
mod validate;

pub use load::{DEFAULTS, Inputs, Loaded, Purpose, SettingsError, Shown, load};
pub use oncall::{OnCallPlan, plan as oncall_plan};
pub use redact::address;
pub use sections::*;
pub use sources::{COMMAND_VARIABLES, PLAIN_VARIABLES, variable_of};
pub use validate::{decode_key, signing_key};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Everything the service can be told. One section is one file's worth of meaning.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
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
    pub oncall: OnCall,
    pub heartbeat: Heartbeat,
    pub telemetry: Telemetry,
    pub signals: Signals,
    /// Who tells us of releases, by the name in the route `/triggers/NAME`.
    #[serde(default)]
    pub triggers: BTreeMap<String, Trigger>,
    /// Where else on-call is told, by a name of your choice.
    #[serde(default)]
    pub channels: BTreeMap<String, Channel>,
    /// What is watched, by name: `acme-production`.
    #[serde(default)]
    pub environments: BTreeMap<String, Environment>,
}

impl Settings {
    /// The defaults alone: a server that watches nothing.
    pub fn defaults() -> Self {
        load(&Inputs::default(), Purpose::Command)
            .expect("the defaults are valid, a test loads them")
            .settings
    }
}
