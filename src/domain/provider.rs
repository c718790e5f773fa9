//! What the provider says about the webhooks that point here, compared with what we expect.

use serde::{Deserialize, Serialize};

use super::check::Severity;
use super::clock::{SignedDuration, Timestamp, humane, rfc3339};
use super::secret::SlotMode;

/// One webhook as the provider holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub id: String,
    pub store_id: Option<u64>,
    pub url: String,
    pub events: Vec<String>,
    pub last_sent_at: Option<Timestamp>,
    /// The last change of the webhook itself, of its address too.
    pub updated_at: Option<Timestamp>,
    pub mode: SlotMode,
}

/// What we know of one mode of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    pub mode: SlotMode,
    /// Whether a secret of this mode is accepted here.
    pub has_secret: bool,
    /// The newest request that may have been the provider's, verified or not.
    pub last_receipt: Option<Timestamp>,
    /// Since when what arrives is written down here; `None` while the source is not set up.
    pub log_since: Option<Timestamp>,
    /// Names of events that arrived within the last month.
    pub seen: Vec<String>,
}

/// What is expected of the webhooks of a source.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    pub source: &'a str,
    /// `https://deploywatch.example.com/webhooks/lemonsqueezy`; unknown where no public address is set.
    pub url: Option<&'a str>,
    /// The end of every address that reaches the source: `/webhooks/lemonsqueezy`.
    pub route: &'a str,
    /// Events that must be subscribed.
    pub events: &'a [String],
    /// Only webhooks of these stores count; all where empty.
    pub store_ids: &'a [u64],
    /// The modes that the key can see.
    pub sides: &'a [Side],
    pub now: Timestamp,
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable: `not_arriving`.
    pub code: String,
    pub severity: Severity,
    /// One sentence: what the provider says, and what that means.
    pub says: String,
    pub next: String,
    /// Since when it is so, once it was seen before.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

/// Keeps since when each finding is so, from the look before.
pub fn carry_on(findings: &mut [Finding], before: &[Finding], now: Timestamp) {
    for finding in findings {
        let known = before.iter().find(|known| known.code == finding.code);
        finding.since = known.and_then(|known| known.since).or(Some(now));
    }
}

/// A request that is on its way is not lost.
pub const ON_ITS_WAY: SignedDuration = SignedDuration::from_mins(10);
/// Two clocks are never quite the same.
pub const SKEW: SignedDuration = SignedDuration::from_mins(2);

/// Compares, and returns what does not fit, the worst first.
pub fn audit(registered: &[Registered], expected: &Expected<'_>) -> Vec<Finding> {
    let counts = |webhook: &&Registered| {
        expected.store_ids.is_empty() || webhook.store_id.is_some_and(|id| expected.store_ids.contains(&id))
    };
    let mut findings = Vec::new();
    for side in expected.sides {
        let of_mode: Vec<&Registered> =
            registered.iter().filter(counts).filter(|webhook| webhook.mode == side.mode).collect();
        one_mode(&of_mode, side, expected, &mut findings);
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn one_mode(of_mode: &[&Registered], side: &Side, expected: &Expected<'_>, findings: &mut Vec<Finding>) {
    let (mode, source) = (side.mode.as_str(), expected.source);
    let mut found = |code: &str, severity, says: String, next: String| {
        findings.push(Finding { code: code.to_owned(), severity, says, next, since: None });
    };
    let ours: Vec<&Registered> =
        of_mode.iter().copied().filter(|webhook| reaches(&webhook.url, expected)).collect();
    let elsewhere: Vec<&Registered> = of_mode
        .iter()
        .copied()
        .filter(|webhook| !reaches(&webhook.url, expected) && leads_to(&webhook.url, expected.route))
        .collect();
    for webhook in &elsewhere {
        let address = shown(&webhook.url);
        let (code, why) = match trouble(&webhook.url) {
            Some(trouble) => (trouble.code(), trouble.explain()),
            None => ("other_address", "which is not this server's public address"),
        };
        let severity = if ours.is_empty() { Severity::Critical } else { Severity::Warning };
        found(
            code,
            severity,
            format!("The {mode} webhook {} sends to {address}, {why}", webhook.id),
            match expected.url {
                Some(url) => {
                    format!("Set its URL to {url} in Lemon Squeezy > Settings > Webhooks, or delete it")
                }
                None => "Set http.public_url here to the address that the provider uses".to_owned(),
            },
        );
    }
    if ours.is_empty() && elsewhere.is_empty() && side.has_secret {
        let others = match of_mode.len() {
            0 => "it has none at all".to_owned(),
            1 => format!("its only one sends to {}", shown(&of_mode[0].url)),
            n => format!("its {n} send elsewhere"),
        };
        found(
            "no_webhook",
            Severity::Critical,
            format!("Lemon Squeezy has no {mode} webhook that sends to {source} here: {others}"),
            format!(
                "Add one in Lemon Squeezy > Settings > Webhooks with the URL {}",
                expected.url.unwrap_or(expected.route)
            ),
        );
    }
    if !ours.is_empty() && !side.has_secret {
        found(
            "mode_without_secret",
            Severity::Warning,
            format!(
                "A {mode} webhook sends to {source}, but no {mode} secret is known here, so all it sends is refused"
            ),
            format!(
                "Add it with `deploywatch secret add {source} --mode {mode} --from-file FILE`, or delete that webhook"
            ),
        );
    }
    if ours.len() > 1 {
        let ids: Vec<&str> = ours.iter().map(|webhook| webhook.id.as_str()).collect();
        found(
            "two_on_one_url",
            Severity::Warning,
            format!("{} {mode} webhooks ({}) send to one URL: each event comes several times, and each webhook has a secret of its own", ours.len(), ids.join(", ")),
            "Keep one of them, with all the events, and delete the others in Lemon Squeezy > Settings > Webhooks"
                .to_owned(),
        );
    }
    for webhook in &ours {
        if let Some(trouble) = trouble(&webhook.url) {
            let address = shown(&webhook.url);
            found(
                trouble.code(),
                Severity::Critical,
                format!("The {mode} webhook {} sends to {address}, {}", webhook.id, trouble.explain()),
                "Set its URL to the public https:// address in Lemon Squeezy > Settings > Webhooks"
                    .to_owned(),
            );
        }
    }
    events(&ours, side, expected, &mut found);
    not_arriving(&ours, side, expected, &mut found);
}

fn events(
    ours: &[&Registered],
    side: &Side,
    expected: &Expected<'_>,
    found: &mut impl FnMut(&str, Severity, String, String),
) {
    if ours.is_empty() {
        return;
    }
    let subscribed = |name: &String| ours.iter().any(|webhook| webhook.events.contains(name));
    let next = "Tick them in Lemon Squeezy > Settings > Webhooks and save";
    let missing: Vec<&str> =
        expected.events.iter().filter(|name| !subscribed(name)).map(String::as_str).collect();
    if !missing.is_empty() {
        let says = format!("The {} webhook is not subscribed to {}", side.mode.as_str(), missing.join(", "));
        found("events_missing", Severity::Critical, says, next.to_owned());
    }
    let dropped: Vec<&str> = side
        .seen
        .iter()
        .filter(|name| !subscribed(name) && !expected.events.contains(name))
        // Our own probes and samples come from nobody's webhook.
        .filter(|name| !name.starts_with("deploywatch_"))
        .map(String::as_str)
        .collect();
    if !dropped.is_empty() {
        let says = format!(
            "The {} webhook is no longer subscribed to {}, which arrived within the last 30 days",
            side.mode.as_str(),
            dropped.join(", ")
        );
        found("events_dropped", Severity::Warning, says, next.to_owned());
    }
}

/// The provider says that it sent something, and nothing came.
fn not_arriving(
    ours: &[&Registered],
    side: &Side,
    expected: &Expected<'_>,
    found: &mut impl FnMut(&str, Severity, String, String),
) {
    let sent =
        ours.iter().filter_map(|webhook| Some((webhook.last_sent_at?, *webhook))).max_by_key(|(at, _)| *at);
    let (Some((sent, webhook)), Some(log_since)) = (sent, side.log_since) else { return };
    // What was sent before, to us or to another address, could not arrive here.
    if sent <= log_since || webhook.updated_at.is_some_and(|at| sent <= at) {
        return;
    }
    let late = expected.now.duration_since(sent) >= ON_ITS_WAY;
    if !late || side.last_receipt.is_some_and(|at| at + SKEW >= sent) {
        return;
    }
    let last = match side.last_receipt {
        Some(at) => {
            format!("nothing has arrived since {} ({} before)", rfc3339(at), humane(sent.duration_since(at)))
        }
        None => "nothing has ever arrived".to_owned(),
    };
    found(
        "not_arriving",
        Severity::Critical,
        format!(
            "Lemon Squeezy says that it sent a {} event at {}, but {last}",
            side.mode.as_str(),
            rfc3339(sent)
        ),
        format!(
            "Look at that webhook's deliveries in Lemon Squeezy > Settings > Webhooks for the answer it got from {}; then check DNS, the certificate, and what a firewall or bot protection does with the user agent LemonSqueezy-Hookshot",
            shown(&webhook.url)
        ),
    );
}

/// Why an address cannot be reached from the provider, or should not be used.
enum Trouble {
    NotHttps,
    Local,
    Tunnel,
}

impl Trouble {
    fn code(&self) -> &'static str {
        match self {
            Self::NotHttps => "not_https",
            Self::Local => "local_address",
            Self::Tunnel => "tunnel_address",
        }
    }

    fn explain(&self) -> &'static str {
        match self {
            Self::NotHttps => "without https: buyers' data crosses the internet in the clear",
            Self::Local => "which nobody on the internet can reach",
            Self::Tunnel => "a developer's tunnel, which ends when a laptop is closed",
        }
    }
}

fn trouble(address: &str) -> Option<Trouble> {
    let url = url::Url::parse(address).ok()?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let ip: Option<std::net::IpAddr> = host.parse().ok();
    let private = ip.is_some_and(|ip| match ip.to_canonical() {
        std::net::IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()
        }
        std::net::IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local(),
    });
    const LOCAL: [&str; 4] = [".localhost", ".local", ".internal", ".lan"];
    const TUNNELS: [&str; 7] = [
        ".ngrok.io",
        ".ngrok.app",
        ".ngrok-free.app",
        ".ngrok.dev",
        ".loca.lt",
        ".trycloudflare.com",
        ".ngrok-free.dev",
    ];
    if private || host == "localhost" || LOCAL.iter().any(|end| host.ends_with(end)) {
        Some(Trouble::Local)
    } else if TUNNELS.iter().any(|end| host.ends_with(end)) {
        Some(Trouble::Tunnel)
    } else if url.scheme() != "https" {
        Some(Trouble::NotHttps)
    } else {
        None
    }
}

/// Whether a webhook's address is ours: the public one, or any with our route where none is set.
fn reaches(address: &str, expected: &Expected<'_>) -> bool {
    match expected.url {
        Some(ours) => same(address, ours),
        None => leads_to(address, expected.route),
    }
}

/// The same host, port and path; a scheme that differs is a finding of its own.
fn same(address: &str, ours: &str) -> bool {
    let parts = |text: &str| {
        let url = url::Url::parse(text).ok()?;
        let default = url.port().or(match url.scheme() {
            "http" | "https" => None,
            _ => url.port_or_known_default(),
        });
        Some((url.host_str()?.to_ascii_lowercase(), default, url.path().trim_end_matches('/').to_owned()))
    };
    parts(address).is_some_and(|address| Some(address) == parts(ours))
}

fn leads_to(address: &str, route: &str) -> bool {
    url::Url::parse(address).is_ok_and(|url| url.path().trim_end_matches('/').ends_with(route))
}

/// An address without what may be a token in it.
fn shown(address: &str) -> String {
    match url::Url::parse(address) {
        Ok(url) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
        }
        Err(_) => "an address that is none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const OURS: &str = "https://dw.example.com/webhooks/lemonsqueezy";

    fn webhook(url: &str) -> Registered {
        Registered {
            id: "7".into(),
            store_id: Some(1),
            url: url.into(),
            events: vec!["order_created".into()],
            last_sent_at: Some(at("2026-05-01T11:00:00Z")),
            updated_at: Some(at("2026-04-01T00:00:00Z")),
            mode: SlotMode::Live,
        }
    }

    fn side() -> Side {
        Side {
            mode: SlotMode::Live,
            has_secret: true,
            last_receipt: Some(at("2026-05-01T11:00:01Z")),
            log_since: Some(at("2026-03-01T00:00:00Z")),
            seen: vec!["order_created".into(), "deploywatch_test".into()],
        }
    }

    fn codes(registered: &[Registered], side: Side, events: &[&str]) -> Vec<String> {
        let events: Vec<String> = events.iter().map(|name| (*name).to_owned()).collect();
        let sides = [side];
        let expected = Expected {
            source: "lemonsqueezy",
            url: Some(OURS),
            route: "/webhooks/lemonsqueezy",
            events: &events,
            store_ids: &[1],
            sides: &sides,
            now: at("2026-05-01T12:00:00Z"),
        };
        let findings = audit(registered, &expected);
        for finding in &findings {
            assert!(!finding.says.ends_with('.') && !finding.next.ends_with('.'), "{finding:?}");
            assert!(!finding.says.contains("token"), "{finding:?}");
        }
        findings.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn what_fits_is_no_finding() {
        assert_eq!(codes(&[webhook(OURS)], side(), &["order_created"]), [""; 0]);
        assert_eq!(codes(&[webhook("https://DW.example.com/webhooks/lemonsqueezy/")], side(), &[]), [""; 0]);
        // A product's own webhook beside ours is its own business.
        let product = webhook("https://app.example.com/api/webhooks?token=1");
        assert_eq!(codes(&[webhook(OURS), product], side(), &[]), [""; 0]);
        let other_store =
            Registered { store_id: Some(2), ..webhook("http://127.0.0.1/webhooks/lemonsqueezy") };
        assert_eq!(codes(&[webhook(OURS), other_store], side(), &[]), [""; 0]);
        // What was sent before the webhook pointed here, or before this was set up, went elsewhere.
        let moved = Registered { updated_at: Some(at("2026-05-01T11:30:00Z")), ..webhook(OURS) };
        assert_eq!(codes(&[moved], Side { last_receipt: None, ..side() }, &[]), [""; 0]);
        let young = Side { last_receipt: None, log_since: Some(at("2026-05-01T11:30:00Z")), ..side() };
        assert_eq!(codes(&[webhook(OURS)], young, &[]), [""; 0]);
        let on_its_way = Registered { last_sent_at: Some(at("2026-05-01T11:55:00Z")), ..webhook(OURS) };
        assert_eq!(codes(&[on_its_way], side(), &[]), [""; 0]);
    }

    #[test]
    fn each_thing_that_does_not_fit_has_its_name() {
        let none = Side { has_secret: false, last_receipt: None, seen: Vec::new(), ..side() };
        let sent = |text: &str| Registered { last_sent_at: Some(at(text)), ..webhook(OURS) };
        let bare = |url: &str| Registered { last_sent_at: None, ..webhook(url) };
        type Row<'a> = (Vec<Registered>, Side, &'a [&'a str], Vec<&'a str>);
        let table: Vec<Row<'_>> = vec![
            (vec![], side(), &[], vec!["no_webhook"]),
            (vec![webhook("https://app.example.com/hook?token=1")], side(), &[], vec!["no_webhook"]),
            (vec![], none.clone(), &[], vec![]),
            (
                vec![webhook("https://old.example.com/webhooks/lemonsqueezy")],
                side(),
                &[],
                vec!["other_address"],
            ),
            (
                vec![webhook("http://localhost:8080/webhooks/lemonsqueezy")],
                side(),
                &[],
                vec!["local_address"],
            ),
            (
                vec![webhook("https://a1b2.ngrok-free.app/webhooks/lemonsqueezy")],
                side(),
                &[],
                vec!["tunnel_address"],
            ),
            (vec![webhook("http://dw.example.com/webhooks/lemonsqueezy")], side(), &[], vec!["not_https"]),
            (vec![bare(OURS)], none, &[], vec!["mode_without_secret"]),
            (vec![webhook(OURS), webhook(OURS)], side(), &[], vec!["two_on_one_url"]),
            (vec![webhook(OURS)], side(), &["order_created", "order_refunded"], vec!["events_missing"]),
            (vec![sent("2026-05-01T11:30:00Z")], side(), &[], vec!["not_arriving"]),
            (vec![webhook(OURS)], Side { last_receipt: None, ..side() }, &[], vec!["not_arriving"]),
            (
                vec![webhook(OURS)],
                Side { seen: vec!["subscription_created".into()], ..side() },
                &[],
                vec!["events_dropped"],
            ),
        ];
        for (registered, side, events, expected) in table {
            assert_eq!(codes(&registered, side, events), expected, "{registered:?}");
        }
    }

    #[test]
    fn a_mode_is_judged_by_its_own_webhooks_and_receipts() {
        let test = Registered { mode: SlotMode::Test, ..webhook(OURS) };
        assert_eq!(codes(std::slice::from_ref(&test), side(), &[]), ["no_webhook"]);
        let test_side = Side { mode: SlotMode::Test, ..side() };
        assert_eq!(codes(&[test], test_side, &[]), [""; 0]);
    }
}
