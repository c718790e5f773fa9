//! Rules for `[signals]`.

use secrecy::ExposeSecret;

use super::{Report, file};
use crate::domain::logs::LogFormat;
use crate::settings::Settings;

pub(super) fn check(settings: &Settings, report: &mut Report<'_>) {
    let signals = &settings.signals;
    for network in &signals.allow_private {
        if network.parse::<ipnet::IpNet>().is_err() {
            report.problem(
                "signals.allow_private",
                &format!("must list networks such as 10.0.0.0/8 or fd00::/8, not {network:?}"),
            );
        }
    }
    file(report, "signals.ca_file", signals.ca_file.as_deref());
    for (name, value) in &signals.values {
        let at = format!("signals.values.{name}");
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            report.problem(&at, "must be named with letters, digits and _, since checks write ${NAME}");
        }
        // A line break in a header would be refused at each request; better said once.
        if value.expose_secret().contains(['\r', '\n']) {
            report.problem(&at, "must be one line");
        }
    }
    for (name, server) in &signals.metrics {
        let at = |field: &str| format!("signals.metrics.{name}.{field}");
        if server.url.is_none() {
            report.problem(&at("url"), "is missing; give the address of the Prometheus server");
        }
        match (&server.token, &server.username, &server.password) {
            (Some(_), Some(_), _) => {
                report.problem(&at("token"), "and username are both given; a request carries one of them");
            }
            (_, Some(_), None) => report.problem(&at("username"), "is given without a password"),
            (_, None, Some(_)) => report.problem(&at("password"), "is given without a username"),
            _ => {}
        }
        file(report, &at("ca_file"), server.ca_file.as_deref());
    }
    for (name, source) in &signals.logs {
        let at = |field: &str| format!("signals.logs.{name}.{field}");
        if source.format.is_none() {
            report.problem(&at("format"), "is missing; say vercel, supabase or ndjson");
        }
        let secret = source.secret.as_ref().map(ExposeSecret::expose_secret);
        if secret.is_none_or(|secret| secret.trim().len() < 8) {
            report.problem(
                &at("secret"),
                "must have at least 8 characters, or anybody could send log lines; \
                 `openssl rand -hex 20` makes one",
            );
        }
        if source.verify.is_some() && source.format != Some(LogFormat::Vercel) {
            report.problem(&at("verify"), "is for Vercel's drains alone");
        }
        if source.silent_seconds == Some(0) {
            report.problem(&at("silent_seconds"), "must be more than 0");
        }
    }
}
