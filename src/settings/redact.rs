//! How a value is shown to a person: secrets never, the address inside a URL without its password.

use config::{Value, ValueKind};

use super::schema::Field;

/// One line for `config show`.
pub(super) fn show(field: &Field, value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) if field.secret && field.path.last().is_some_and(|p| p.ends_with("url")) => {
            address(text)
        }
        _ if field.secret => "[redacted]".into(),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| show(field, item)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// A database URL without anything that could be a secret: scheme, host, port and name stay.
pub fn address(url: &str) -> String {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return format!("sqlite:{}", path.split('?').next().unwrap_or_default());
    }
    match url::Url::parse(url) {
        // A web address is a secret by its path: whoever has it may post there.
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {
            let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}/[redacted]", parsed.scheme(), parsed.host_str().unwrap_or_default())
        }
        Ok(parsed) => {
            let host = parsed.host_str().unwrap_or_default();
            let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
            let user = if parsed.username().is_empty() { "" } else { "[redacted]@" };
            format!("{}://{user}{host}{port}{}", parsed.scheme(), parsed.path())
        }
        Err(_) => "[redacted]".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn an_address_keeps_where_and_drops_who() {
        for (url, shown) in [
            (
                "postgres://user:canary@db.example.com:5433/acme?sslmode=require",
                "postgres://[redacted]@db.example.com:5433/acme",
            ),
            ("postgres://db/acme?password=canary", "postgres://db/acme"),
            (
                "https://canary:canary@hooks.slack.com/services/canary?x=canary",
                "https://hooks.slack.com/[redacted]",
            ),
            ("http://127.0.0.1:9000/canary", "http://127.0.0.1:9000/[redacted]"),
            ("sqlite:/var/lib/dw.db?mode=rwc", "sqlite:/var/lib/dw.db"),
            ("postgres://user:can ary@[broken", "[redacted]"),
        ] {
            assert_eq!(address(url), shown);
        }
    }
}
