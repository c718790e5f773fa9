//! The sections of the settings. Durations are whole seconds in fields that say so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

/// `[http]`: one port for the API, the webhooks and the pages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub listen: SocketAddr,
    /// The address people use, for links in mails: `https://deploywatch.example.com`.
    pub public_url: Option<url::Url>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<std::net::IpAddr>,
    pub shutdown_seconds: u64,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: SecretString,
    pub retention_days: u32,
}

/// `[secrets]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// 32 bytes as 64 hex digits or base64; without one, a key file beside the embedded store is made.
    pub master_key: Option<SecretString>,
    pub overlap_seconds: u64,
    pub quiet_seconds: u64,
    pub detection_days: u32,
    pub stage_deadline_seconds: u64,
    /// What a match on an overdue version gets: accept (200 and a page) or reject (401 and a page).
    pub overdue: OverduePolicy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverduePolicy {
    Accept,
    Reject,
}

/// `[verification]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    pub window_seconds: u32,
    pub smoke_seconds: u32,
    pub smoke_every_seconds: u32,
    pub soak_every_seconds: u32,
    pub confirm_after_seconds: u32,
    /// A start without finish is cancelled after this.
    pub abandon_after_seconds: u32,
    pub baseline_max_age_seconds: u32,
}

/// `[scan]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    pub budget_seconds: u32,
    pub statement_timeout_seconds: u32,
    pub lock_timeout_millis: u32,
    pub connections: u32,
    pub max_cost: Option<f64>,
}

/// `[webhooks]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    pub max_body_bytes: usize,
    pub body_seconds: u64,
    pub sources: BTreeMap<String, WebhookSource>,
}

/// `[webhooks.sources.NAME]`; `lemonsqueezy` is the default one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSource {
    pub environment: Option<String>,
    pub secret: Option<SecretString>,
    pub secret_previous: Option<SecretString>,
    pub test_secret: Option<SecretString>,
    pub test_secret_previous: Option<SecretString>,
    #[serde(default)]
    pub store_ids: Vec<u64>,
}

/// `[email]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    pub transport: EmailTransport,
    pub from: String,
    /// The domain of Message-IDs; the sender's domain where absent.
    pub message_id_domain: Option<String>,
    pub reply_to: Option<String>,
    /// Who is told where an environment names nobody.
    pub recipients: Vec<String>,
    /// Where the directory transport writes.
    pub directory: PathBuf,
    pub smtp: Smtp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailTransport {
    Smtp,
    Directory,
    Memory,
}

/// `[email.smtp]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    /// From the port where absent: 465 implicit, 587 starttls, 25 and others starttls.
    pub tls: Option<SmtpTls>,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    pub connect_seconds: u64,
    pub attempt_seconds: u64,
    /// A CA to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Allows `tls = "none"` beyond loopback.
    pub allow_insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    Implicit,
    Starttls,
    None,
}

/// `[alerts]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    pub reopen_seconds: u32,
    pub reminder_seconds: Vec<u32>,
    pub max_mails_per_10_minutes: u32,
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// An OTLP/HTTP endpoint; export is off without one.
    pub otlp_endpoint: Option<String>,
    pub service_name: String,
    pub log: String,
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

/// `[environments.NAME]`: a target, its suites and its on-call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The watched database: `postgres://…` or `sqlite:PATH`.
    pub database_url: SecretString,
    /// Files or folders of check suites; without any, the embedded ones that fit the database.
    #[serde(default)]
    pub suites: Vec<PathBuf>,
    #[serde(default)]
    pub recipients: Vec<String>,
    #[serde(default)]
    pub row_security: RowSecurity,
    /// A CA file for `sslmode=verify-full` (Supabase has its own CA).
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowSecurity {
    /// `SET LOCAL row_security = off`: hidden rows are an error.
    #[default]
    Off,
    /// Stays on; every table read must have a permissive `USING (true)` policy for the role.
    Policy,
}
