//! Rules that hold between values, after each value has its kind.

mod signals;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use base64::Engine as _;
use lettre::message::Mailbox;
use secrecy::{ExposeSecret, SecretString};

use super::load::{Origins, Purpose};
use super::*;
use crate::domain::trigger::Provider;

/// The longest stop that process managers wait for, with a margin.
const LONGEST_STOP: u64 = 25;

/// Lemon Squeezy's own lower limit for a signing secret.
const SHORTEST_SECRET: usize = 6;

struct Report<'a> {
    origins: &'a Origins,
    problems: &'a mut Vec<String>,
}

impl Report<'_> {
    /// `path (origin) says`
    fn problem(&mut self, path: &str, says: &str) {
        self.problems.push(format!("{} {says}", self.origins.name(path)));
    }
}

pub(super) fn check(
    settings: &Settings,
    purpose: Purpose,
    origins: &Origins,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    let report = &mut Report { origins, problems };
    numbers(settings, report);
    store(settings, report);
    environments(settings, report);
    sources(settings, report, warnings);
    triggers(settings, report);
    email(settings, purpose, report);
    for (path, says) in super::oncall::problems(settings) {
        report.problem(&path, &says);
    }
    tls_of_the_port(settings, report, warnings);
    channels(settings, report);
    signals::check(settings, report);
    if settings.telemetry.log.parse::<tracing_subscriber::EnvFilter>().is_err() {
        report.problem("telemetry.log", "must be tracing directives, such as info,deploywatch=debug");
    }
}

fn numbers(settings: &Settings, report: &mut Report<'_>) {
    let (v, s) = (&settings.verification, &settings.scan);
    for (path, value) in [
        ("verification.window_seconds", v.window_seconds),
        ("verification.smoke_seconds", v.smoke_seconds),
        ("verification.smoke_every_seconds", v.smoke_every_seconds),
        ("verification.soak_every_seconds", v.soak_every_seconds),
        ("verification.abandon_after_seconds", v.abandon_after_seconds),
        ("verification.baseline_max_age_seconds", v.baseline_max_age_seconds),
        ("scan.budget_seconds", s.budget_seconds),
        ("scan.statement_timeout_seconds", s.statement_timeout_seconds),
        ("scan.lock_timeout_millis", s.lock_timeout_millis),
        ("scan.connections", s.connections),
        ("scan.parallel", s.parallel),
        ("store.retention_days", settings.store.retention_days),
        ("alerts.max_mails_per_10_minutes", settings.alerts.max_mails_per_10_minutes),
        ("webhooks.max_body_bytes", u32::try_from(settings.webhooks.max_body_bytes).unwrap_or(u32::MAX)),
        ("webhooks.body_seconds", u32::try_from(settings.webhooks.body_seconds).unwrap_or(u32::MAX)),
    ] {
        if value == 0 {
            report.problem(path, "must be more than 0");
        }
    }
    if v.smoke_seconds > v.window_seconds {
        report.problem("verification.smoke_seconds", "must not be longer than verification.window_seconds");
    }
    if s.statement_timeout_seconds > s.budget_seconds {
        report.problem("scan.statement_timeout_seconds", "must not be longer than scan.budget_seconds");
    }
    if s.connections > 8 {
        report
            .problem("scan.connections", "must be at most 8, to leave the watched database its connections");
    }
    if s.parallel > 256 {
        report.problem("scan.parallel", "must be at most 256; run another worker for more");
    }
    if settings.webhooks.max_body_bytes > 64 << 20 {
        report.problem("webhooks.max_body_bytes", "must be at most 67108864 (64 MiB)");
    }
    if settings.http.shutdown_seconds > LONGEST_STOP {
        report.problem("http.shutdown_seconds", "must be at most 25, or process managers kill first");
    }
}

fn store(settings: &Settings, report: &mut Report<'_>) {
    let url = settings.store.url.expose_secret();
    if let Some(rest) = url.strip_prefix("sqlite:") {
        let path = rest.trim_start_matches("//");
        if path.is_empty() || path.starts_with(':') || path.contains("mode=memory") {
            report
                .problem("store.url", "must name a file: an in-memory store would lose everything at a stop");
        }
    } else if !is_postgres(url) {
        report.problem("store.url", "must be sqlite:PATH or postgres://USER@HOST/NAME");
    }
    if let Some(key) = &settings.secrets.master_key
        && decode_key(key).is_none()
    {
        report.problem(
            "secrets.master_key",
            "must be 32 bytes as 64 hex digits or base64; `openssl rand -hex 32` makes one",
        );
    }
}

/// 32 bytes from 64 hex digits or base64.
pub fn decode_key(text: &SecretString) -> Option<[u8; 32]> {
    let text = text.expose_secret().trim();
    let bytes = hex::decode(text).ok().or_else(|| {
        let standard = base64::engine::general_purpose::STANDARD.decode(text).ok();
        standard.or_else(|| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok())
    })?;
    bytes.try_into().ok()
}

fn is_postgres(url: &str) -> bool {
    (url.starts_with("postgres://") || url.starts_with("postgresql://")) && url::Url::parse(url).is_ok()
}

fn environments(settings: &Settings, report: &mut Report<'_>) {
    for (name, environment) in &settings.environments {
        let at = |field: &str| format!("environments.{name}.{field}");
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !first || !letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_') {
            report.problem(
                &format!("environments.{name}"),
                "must be named with lower-case letters, digits, - and _, since the name is part of addresses",
            );
        }
        let url = environment.database_url.expose_secret();
        if url.is_empty() {
            report.problem(&at("database_url"), "is empty; give the watched database, or unset it");
        } else if !is_postgres(url) && url.strip_prefix("sqlite:").is_none_or(str::is_empty) {
            report.problem(&at("database_url"), "must be postgres://USER@HOST/NAME or sqlite:PATH");
        }
        for suite in &environment.suites {
            // `embedded:NAME` travels inside the program; an unknown name is said by the loader.
            if !suite.to_string_lossy().starts_with("embedded:") && !suite.exists() {
                report.problem(&at("suites"), &format!("names {}, which does not exist", suite.display()));
            }
        }
        file(report, &at("ca_file"), environment.ca_file.as_deref());
        mailboxes(report, &at("recipients"), &environment.recipients);
    }
}

fn sources(settings: &Settings, report: &mut Report<'_>, warnings: &mut Vec<String>) {
    let known: Vec<&str> = settings.environments.keys().map(String::as_str).collect();
    for (name, source) in &settings.webhooks.sources {
        let at = |field: &str| format!("webhooks.sources.{name}.{field}");
        let scheme = source.scheme(name, &mut |field, says| {
            report.problem(&format!("webhooks.sources.{name}.signature.{field}"), &says);
        });
        let keys = [("key", &source.api.key), ("test_key", &source.api.test_key)];
        for (field, key) in keys.into_iter().filter_map(|(field, key)| Some((field, key.as_ref()?))) {
            if scheme.name != "lemonsqueezy" {
                report.problem(
                    &at(&format!("api.{field}")),
                    "is for Lemon Squeezy's API; other providers have none here",
                );
            } else if key.expose_secret().trim().is_empty() {
                report.problem(&at(&format!("api.{field}")), "is empty; give it a value or unset it");
            }
        }
        if source.orders_query.is_some() && known.is_empty() {
            report.problem(&at("orders_query"), "needs an environment whose database it is asked of");
        }
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (field, secret) in [
            ("secret", &source.secret),
            ("secret_previous", &source.secret_previous),
            ("test_secret", &source.test_secret),
            ("test_secret_previous", &source.test_secret_previous),
        ] {
            let Some(secret) = secret.as_ref().map(ExposeSecret::expose_secret) else { continue };
            if secret.is_empty() {
                report.problem(
                    &at(field),
                    "is empty; anybody could sign with it, so give it a value or unset it",
                );
                continue;
            }
            if secret.chars().count() < SHORTEST_SECRET {
                report.problem(&at(field), "is shorter than 6 characters, which is easily guessed");
            }
            if let Err(error) = scheme.key(secret.as_bytes()) {
                report.problem(&at(field), &format!("cannot be used: {error}"));
            }
            if secret.trim() != secret || secret.starts_with(['"', '\'']) {
                let named = report.origins.name(&at(field));
                warnings
                    .push(format!("{named} begins or ends with white space or a quote; is that part of it?"));
            }
            if let Some(other) = seen.insert(secret, field) {
                let named = report.origins.name(&at(field));
                warnings.push(format!("{named} equals {other}, so nothing can tell the two apart"));
            }
        }
        for (previous, current, given) in [
            ("secret_previous", "secret", source.secret_previous.is_some() && source.secret.is_none()),
            (
                "test_secret_previous",
                "test_secret",
                source.test_secret_previous.is_some() && source.test_secret.is_none(),
            ),
        ] {
            if given {
                report
                    .problem(&at(previous), &format!("is given without {current}; set the current one too"));
            }
        }
        match &source.environment {
            Some(environment) if !known.contains(&environment.as_str()) => {
                let listed = if known.is_empty() { "none is configured".into() } else { known.join(", ") };
                report.problem(
                    &at("environment"),
                    &format!("names {environment:?}, which is not an environment ({listed})"),
                );
            }
            None if known.len() > 1 => report.problem(
                &at("environment"),
                &format!("is missing; say which one of {} it is", known.join(", ")),
            ),
            _ => {}
        }
    }
}

fn triggers(settings: &Settings, report: &mut Report<'_>) {
    for (name, trigger) in &settings.triggers {
        let at = |field: &str| format!("triggers.{name}.{field}");
        let Some(provider) = trigger.provider_of(name) else {
            report.problem(
                &at("provider"),
                "is missing; say whose webhooks these are: github, vercel or generic",
            );
            continue;
        };
        if trigger.secret.is_none() && (provider != Provider::Generic || trigger.secret_previous.is_some()) {
            let says =
                "is missing; without it anybody could announce a release, so give the webhook's secret";
            report.problem(&at("secret"), says);
        }
        for (field, secret) in [("secret", &trigger.secret), ("secret_previous", &trigger.secret_previous)] {
            let short = secret.as_ref().is_some_and(|s| s.expose_secret().chars().count() < SHORTEST_SECRET);
            if short {
                report.problem(&at(field), "is shorter than 6 characters, which is easily guessed");
            }
        }
        for (theirs, ours) in trigger.names() {
            match ours {
                Some(ours) if !theirs.is_empty() && settings.environments.contains_key(ours) => {}
                Some(ours) => {
                    report.problem(
                        &at("environments"),
                        &format!("names {ours:?}, which is not an environment"),
                    );
                }
                None => report.problem(
                    &at("environments"),
                    &format!("has {theirs:?} without its environment; write \"{theirs}=ENVIRONMENT\""),
                ),
            }
        }
        if trigger.environments.is_empty() && settings.environments.len() > 1 && provider != Provider::Generic
        {
            let says = "is empty and there are several environments; write \"Production=ENVIRONMENT\"";
            report.problem(&at("environments"), says);
        }
        for repository in trigger.repositories.iter().filter(|repository| repository.split('/').count() != 2)
        {
            report.problem(&at("repositories"), &format!("has {repository:?}, which is not OWNER/NAME"));
        }
        match (&trigger.app_id, &trigger.private_key) {
            (Some(_), None) => {
                report.problem(&at("app_id"), "is given without private_key, the App's own key")
            }
            (None, Some(_)) => report.problem(&at("private_key"), "is given without app_id, whose key it is"),
            (Some(_), Some(key)) if !key.expose_secret().contains("PRIVATE KEY-----") => report.problem(
                &at("private_key"),
                "is not a key in PEM; use the file that GitHub made, by private_key_file",
            ),
            _ => {}
        }
        let local = |url: &url::Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if trigger.api_url.as_ref().is_some_and(|url| url.scheme() != "https" && !local(url)) {
            report.problem(&at("api_url"), "must be https, or the token would travel in the clear");
        }
    }
}

fn email(settings: &Settings, purpose: Purpose, report: &mut Report<'_>) {
    let email = &settings.email;
    mailboxes(report, "email.from", std::slice::from_ref(&email.from));
    mailboxes(report, "email.recipients", &email.recipients);
    mailboxes(report, "email.reply_to", email.reply_to.as_slice());
    file(report, "email.smtp.ca_file", email.smtp.ca_file.as_deref());
    let smtp = &email.smtp;
    let loopback = smtp.host == "localhost" || smtp.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if smtp.tls == Some(SmtpTls::None) && !loopback && !smtp.allow_insecure && !smtp.host.is_empty() {
        report.problem(
            "email.smtp.tls",
            "is \"none\", which would send mails and the password in the clear; use \"starttls\" or \"implicit\", \
             or set email.smtp.allow_insecure",
        );
    }
    match (&smtp.username, &smtp.password) {
        (Some(_), None) => report.problem("email.smtp.username", "is given without email.smtp.password"),
        (None, Some(_)) => report.problem("email.smtp.password", "is given without email.smtp.username"),
        _ => {}
    }
    if smtp.connect_seconds == 0 || smtp.attempt_seconds == 0 {
        report.problem("email.smtp.attempt_seconds", "and connect_seconds must be more than 0");
    }
    if purpose == Purpose::Serve {
        somebody_is_told(settings, report);
    }
}

/// Two ports are known for their mode; the other one would only wait and fail.
fn tls_of_the_port(settings: &Settings, report: &Report<'_>, warnings: &mut Vec<String>) {
    let smtp = &settings.email.smtp;
    let named = report.origins.name("email.smtp.tls");
    match (smtp.port, smtp.tls) {
        (465, Some(SmtpTls::Starttls | SmtpTls::None)) => warnings.push(format!(
            "{named} does not fit port 465, which wants TLS from the first byte; set \"implicit\" or port 587"
        )),
        (25 | 587, Some(SmtpTls::Implicit)) => warnings.push(format!(
            "{named} is \"implicit\" and port {} usually begins in plain text; set \"starttls\" or port 465",
            smtp.port
        )),
        _ => {}
    }
}

fn channels(settings: &Settings, report: &mut Report<'_>) {
    for (name, channel) in &settings.channels {
        let at = |field: &str| format!("channels.{name}.{field}");
        if name == "email" {
            report.problem(&format!("channels.{name}"), "must not be named email, which stands for mails");
        }
        if let Some(url) = &channel.url {
            web_address(report, &at("url"), url);
        } else if channel.kind != ChannelKind::Pagerduty {
            report.problem(&at("url"), "is missing; say where to send");
        }
        let secret = channel.secret.as_ref().map(ExposeSecret::expose_secret).filter(|s| !s.is_empty());
        match (channel.kind, secret) {
            (ChannelKind::Slack, Some(_)) => {
                report.problem(&at("secret"), "is not used by slack, whose address is its secret; unset it");
            }
            (ChannelKind::Slack, None) => {}
            (ChannelKind::Webhook, None) => report.problem(
                &at("secret"),
                "is missing; set it and the receiver's to `whsec_` and what `openssl rand -base64 32` prints",
            ),
            (ChannelKind::Webhook, Some(secret)) if signing_key(secret).is_none() => report.problem(
                &at("secret"),
                "must be whsec_ and 24 to 64 bytes as base64; `openssl rand -base64 32` makes them",
            ),
            (ChannelKind::Pagerduty, None) => {
                report.problem(&at("secret"), "is missing; give the routing key of the integration");
            }
            (ChannelKind::Webhook | ChannelKind::Pagerduty, Some(_)) => {}
        }
        for environment in &channel.environments {
            if !settings.environments.contains_key(environment) {
                let known: Vec<&str> = settings.environments.keys().map(String::as_str).collect();
                let listed = if known.is_empty() { "none is configured".into() } else { known.join(", ") };
                report.problem(
                    &at("environments"),
                    &format!("names {environment:?}, which is not an environment ({listed})"),
                );
            }
        }
    }
    if let Some(url) = &settings.heartbeat.url {
        web_address(report, "heartbeat.url", url);
    }
}

/// The address itself stays out of the message: it may hold a token.
fn web_address(report: &mut Report<'_>, path: &str, url: &SecretString) {
    let parsed = url::Url::parse(url.expose_secret()).ok();
    if !parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some()) {
        report.problem(path, "must be an address that begins with https:// or http://");
    }
}

/// The key behind a `whsec_` secret of Standard Webhooks.
pub fn signing_key(secret: &str) -> Option<Vec<u8>> {
    let text = secret.trim().strip_prefix("whsec_")?;
    let key = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

/// A server that watches something must be able to tell somebody.
fn somebody_is_told(settings: &Settings, report: &mut Report<'_>) {
    let watches = !settings.environments.is_empty() || !settings.webhooks.sources.is_empty();
    if !watches {
        return;
    }
    if settings.duty("").critical.is_empty() {
        let mut alone: Vec<&str> = settings
            .environments
            .keys()
            .map(String::as_str)
            .filter(|name| settings.duty(name).critical.is_empty())
            .collect();
        if settings.environments.is_empty() {
            alone.push("webhooks");
        }
        if !alone.is_empty() {
            report.problem(
                "email.recipients",
                &format!(
                    "is empty, so nobody would be told about {}; set \
                     DEPLOYWATCH__EMAIL__RECIPIENTS=oncall@example.com, or recipients of the environment",
                    alone.join(", ")
                ),
            );
        }
    }
    if settings.email.transport == EmailTransport::Smtp && settings.email.smtp.host.is_empty() {
        report.problem(
            "email.smtp.host",
            "is empty, so no mail could be sent; set DEPLOYWATCH__EMAIL__SMTP__HOST, or for development \
             DEPLOYWATCH__EMAIL__TRANSPORT=directory",
        );
    }
}

fn mailboxes(report: &mut Report<'_>, path: &str, addresses: &[String]) {
    for (i, address) in addresses.iter().enumerate() {
        // The address itself stays out of the message: messages end up in logs.
        if address.parse::<Mailbox>().is_err() {
            let which = if addresses.len() > 1 { format!("(number {}) ", i + 1) } else { String::new() };
            report.problem(path, &format!("{which}must be a mail address, such as oncall@example.com"));
        }
    }
}

fn file(report: &mut Report<'_>, path: &str, file: Option<&Path>) {
    if let Some(file) = file
        && let Err(error) = std::fs::File::open(file)
    {
        report.problem(path, &format!("names {}, which cannot be read: {error}", file.display()));
    }
}
