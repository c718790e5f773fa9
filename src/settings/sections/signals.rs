//! `[signals]`: what is measured beside the watched database.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::domain::logs::LogFormat;
use crate::settings::schema::SecretText;

/// `[signals]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    /// Private networks that http checks may reach, such as 10.0.0.0/8; none where empty.
    #[serde(default)]
    pub allow_private: Vec<String>,
    /// A CA that http checks trust beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// What `${NAME}` stands for in the URLs, headers and bodies of http checks.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, SecretText>")]
    pub values: BTreeMap<String, SecretString>,
    /// The Prometheus servers that metric checks ask, by name.
    #[serde(default)]
    pub metrics: BTreeMap<String, MetricServer>,
    /// The log drains that send to `POST /logs/NAME`, by name.
    #[serde(default)]
    pub logs: BTreeMap<String, LogSource>,
}

/// `[signals.metrics.NAME]`: any server that speaks Prometheus' HTTP API.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricServer {
    /// The server's address, below which /api/v1/query is: `https://prometheus.example.com`.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "uri"))]
    pub url: Option<url::Url>,
    /// Sent as `Authorization: Bearer …`.
    #[serde(default)]
    #[schemars(with = "Option<SecretText>")]
    pub token: Option<SecretString>,
    /// The account for basic authentication.
    #[serde(default)]
    pub username: Option<String>,
    /// Its password.
    #[serde(default)]
    #[schemars(with = "Option<SecretText>")]
    pub password: Option<SecretString>,
    /// A CA to trust beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// `[signals.logs.NAME]`: a log drain.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogSource {
    /// vercel, supabase or ndjson: who sends, and so how it is signed.
    #[serde(default)]
    pub format: Option<LogFormat>,
    /// The drain's secret: signs the bodies (vercel, ndjson), or is sent as a bearer token (supabase, ndjson).
    #[serde(default)]
    #[schemars(with = "Option<SecretText>")]
    pub secret: Option<SecretString>,
    /// What Vercel asks to be answered as `x-vercel-verify`, to prove that the endpoint is yours.
    #[serde(default)]
    pub verify: Option<String>,
    /// Without any line for this long the drain is broken: its checks have no data. 900 where absent.
    #[serde(default)]
    pub silent_seconds: Option<u32>,
}

impl Signals {
    /// What `${NAME}` stands for; case does not matter, since variables are upper-case and tables are not.
    pub fn value(&self, name: &str) -> Option<&SecretString> {
        self.values.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}
