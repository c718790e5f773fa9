//! The sections of the settings. Durations are whole seconds in fields that say so.
//!
//! The doc comments and types here are the schema that the loader checks values against, so that a new field
//! needs a line here, in `default.toml` and in `.env.example`, and nothing else.

mod oncall;
mod signals;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::schema::SecretText;

mod channels;
mod heartbeat;
mod provider_api;
mod signature;
mod triggers;

pub use channels::{Channel, ChannelKind, ChannelSeverity};
pub use heartbeat::{Heartbeat, HeartbeatMethod};
pub use oncall::{EnvironmentOnCall, OnCall, OnCallPerson, OnCallRotation};
pub use provider_api::ProviderApi;
pub use signals::{LogSource, MetricServer, Signals};
pub use signature::{SchemeName, SignatureSettings};
pub use triggers::Trigger;

/// `[http]`: one port for the API, the webhooks and the pages.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port to listen on; beyond loopback at least one token must exist.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// The address people use, for links in mails: `https://deploywatch.example.com`.
    #[schemars(with = "Option<String>", extend("format" = "uri"))]
    pub public_url: Option<url::Url>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// How long a graceful stop may take.
    pub shutdown_seconds: u64,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `sqlite:PATH` or `postgres://…`.
    #[schemars(with = "SecretText")]
    pub url: SecretString,
    /// How long finished things are kept.
    pub retention_days: u32,
}

/// `[secrets]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// 32 bytes as 64 hex digits or base64; without one, a key file beside the embedded store is made.
    #[schemars(with = "Option<SecretText>")]
    pub master_key: Option<SecretString>,
    /// How long a previous secret is accepted after a rotation.
    pub overlap_seconds: u64,
    /// How long an old secret must be silent before it is retired.
    pub quiet_seconds: u64,
    /// How long a retired secret is still recognised.
    pub detection_days: u32,
    /// A rotation that has not moved for this long is stuck.
    pub stage_deadline_seconds: u64,
    /// A secret that is older should be rotated: on-call gets a warning; 0 for never.
    pub max_age_days: u32,
    /// What a match on an overdue version gets: accept (200 and a page) or reject (401 and a page).
    pub overdue: OverduePolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverduePolicy {
    Accept,
    Reject,
}

/// `[verification]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// How long a deploy is watched.
    pub window_seconds: u32,
    /// The first part of the window, which CI waits for.
    pub smoke_seconds: u32,
    /// Seconds between scans during smoke.
    pub smoke_every_seconds: u32,
    /// Seconds between scans for the rest of the window.
    pub soak_every_seconds: u32,
    /// A failing check is measured again after this.
    pub confirm_after_seconds: u32,
    /// A start without finish is cancelled after this.
    pub abandon_after_seconds: u32,
    /// An older baseline is not used.
    pub baseline_max_age_seconds: u32,
}

/// `[scan]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// One scan of all checks may take this long.
    pub budget_seconds: u32,
    /// One statement may take this long.
    pub statement_timeout_seconds: u32,
    /// A scan never waits longer for a lock.
    pub lock_timeout_millis: u32,
    /// Connections that one scan may use.
    pub connections: u32,
    /// Targets that one process scans at the same time.
    pub parallel: u32,
    /// Believe validated foreign keys instead of reading the tables, as `trust: foreign_keys` does for one check.
    pub trust_foreign_keys: bool,
    /// Refuses a query whose planned cost is higher; no limit where absent.
    pub max_cost: Option<f64>,
}

/// `[webhooks]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// A larger body is answered 413.
    pub max_body_bytes: usize,
    /// A body that takes longer to arrive is answered 408.
    pub body_seconds: u64,
    /// Who sends us webhooks, by the name in the route.
    #[serde(default)]
    pub sources: BTreeMap<String, WebhookSource>,
}

/// `[webhooks.sources.NAME]`; `lemonsqueezy` is the default one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSource {
    /// The environment it belongs to; may be left out when there is one.
    pub environment: Option<String>,
    /// The live mode's signing secret.
    #[schemars(with = "Option<SecretText>")]
    pub secret: Option<SecretString>,
    /// The live mode's secret before the last rotation.
    #[schemars(with = "Option<SecretText>")]
    pub secret_previous: Option<SecretString>,
    /// The test mode's signing secret.
    #[schemars(with = "Option<SecretText>")]
    pub test_secret: Option<SecretString>,
    /// The test mode's secret before the last rotation.
    #[schemars(with = "Option<SecretText>")]
    pub test_secret_previous: Option<SecretString>,
    /// How it signs. Where absent: the scheme of the source's own name where there is one, else Lemon Squeezy's.
    pub scheme: Option<SchemeName>,
    /// What differs from the scheme.
    #[serde(default)]
    pub signature: SignatureSettings,
    /// Deliveries of other stores are flagged; all stores where empty.
    #[serde(default)]
    pub store_ids: Vec<u64>,
    /// The provider's own API, which is asked about its webhooks where a key is given.
    #[serde(default)]
    pub api: ProviderApi,
    /// A SELECT on the watched database whose number grows with each order: orders without webhooks are told.
    pub orders_query: Option<String>,
    /// Says nothing when the source is silent for longer than its own rhythm.
    #[serde(default)]
    pub allow_silence: bool,
    /// The product's own webhook address; verified deliveries are passed on to it.
    #[schemars(with = "Option<String>", extend("format" = "uri"))]
    pub product_url: Option<url::Url>,
    /// A delivery that the product refuses is sent again with the signatures of the slot's other live secrets, so
    /// that a half-done rotation costs the product none.
    #[serde(default)]
    pub product_resign: bool,
}

/// `[email]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// How mails leave: smtp, directory (files, for development) or memory (for tests and the demo).
    pub transport: EmailTransport,
    /// The sender: `deploywatch <deploywatch@example.com>`.
    pub from: String,
    /// The domain of Message-IDs; the sender's domain where absent.
    pub message_id_domain: Option<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// Who is told where an environment names nobody.
    pub recipients: Vec<String>,
    /// Where the directory transport writes.
    pub directory: PathBuf,
    /// More mails than this are not sent in a minute; 0 is no cap. For providers that count.
    pub max_per_minute: u32,
    pub smtp: Smtp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmailTransport {
    Smtp,
    Directory,
    Memory,
}

/// `[email.smtp]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// implicit, starttls or none. From the port where absent: 465 implicit, others starttls.
    pub tls: Option<SmtpTls>,
    /// The account to log in with.
    pub username: Option<String>,
    /// Its password.
    #[schemars(with = "Option<SecretText>")]
    pub password: Option<SecretString>,
    /// How long connecting may take.
    pub connect_seconds: u64,
    /// How long one attempt may take as a whole.
    pub attempt_seconds: u64,
    /// A CA to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Allows `tls = "none"` beyond loopback.
    pub allow_insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    Implicit,
    Starttls,
    None,
}

/// `[alerts]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// A problem that returns this soon after it was resolved re-opens its incident.
    pub reopen_seconds: u32,
    /// After how long an open, unacknowledged incident is mailed again.
    pub reminder_seconds: Vec<u32>,
    /// A problem must be over for this long before it is told to be over; checks wait by themselves, too.
    pub resolve_hold_seconds: u32,
    /// More mails than this to one recipient in 10 minutes become a digest.
    pub max_mails_per_10_minutes: u32,
    /// What the links in mails may do without signing in: act (acknowledge, snooze) or login (nothing).
    pub links: LinkPolicy,
    /// When a window opens, a mail says so and proves the path: first (of an environment), always or never.
    pub armed: ArmedPolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArmedPolicy {
    First,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkPolicy {
    Act,
    Login,
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// An OTLP/HTTP endpoint; export is off without one.
    #[schemars(extend("format" = "uri"))]
    pub otlp_endpoint: Option<String>,
    /// The name under which traces and metrics appear.
    pub service_name: String,
    /// What is logged, as tracing's directives: `info,deploywatch=debug`.
    pub log: String,
    /// text or json.
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

/// `[environments.NAME]`: a target, its suites and its on-call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The watched database: `postgres://…` or `sqlite:PATH`.
    #[schemars(with = "SecretText")]
    pub database_url: SecretString,
    /// Files or folders of check suites; without any, the embedded ones that fit the database.
    #[serde(default)]
    pub suites: Vec<PathBuf>,
    /// Who is told about this environment; `email.recipients` where empty.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// off or policy: how the scanning role sees every row (docs/CHECKS.md).
    #[serde(default)]
    pub row_security: RowSecurity,
    /// A CA file for `sslmode=verify-full` (Supabase has its own CA).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// What differs from `[oncall]`.
    #[serde(default)]
    pub oncall: EnvironmentOnCall,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowSecurity {
    #[default]
    Off,
    Policy,
}
