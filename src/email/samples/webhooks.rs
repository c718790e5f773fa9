//! Samples about webhooks and their secrets, in the words of the real mails.

use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp, rfc3339};
use crate::domain::diagnosis::Class;
use crate::domain::events;
use crate::domain::incident::{Facts, Member};
use crate::domain::provider::Finding;
use crate::domain::provider_facts;
use crate::domain::rhythm::Orders;
use crate::domain::secret::{Slot, SlotMode};
use crate::domain::signature::Scheme;
use crate::domain::signature::builtin::built_in;

const OLD: &str = "v3 (3c9de1f0a772)";
const NEW: &str = "v4 (81fe07b25d90)";
const SOURCE: &str = "lemonsqueezy";

fn scheme() -> &'static Scheme {
    built_in(SOURCE).expect("it comes with the program")
}

fn subject() -> String {
    "acme-production lemonsqueezy webhook".to_owned()
}

fn ago(now: Timestamp, minutes: i64) -> Timestamp {
    now - SignedDuration::from_mins(minutes)
}

fn facts(
    severity: Severity,
    label: &str,
    headline: String,
    since: Timestamp,
    next_steps: Vec<String>,
) -> Facts {
    Facts {
        severity,
        label: label.into(),
        subject: subject(),
        headline,
        since,
        next_steps,
        context: Vec::new(),
        members: Vec::new(),
    }
}

fn lines<const N: usize>(lines: [(&str, String); N]) -> Vec<(String, String)> {
    lines.map(|(label, value)| (label.to_owned(), value)).to_vec()
}

fn nearby(now: Timestamp) -> Vec<(String, String)> {
    lines([
        ("last good delivery", rfc3339(ago(now, 5))),
        ("latest rotation", "rot_0192f0c1d2e37f00 of lemonsqueezy/live, begun 2 d before this by ada".into()),
        ("latest deploy", "7f3c2a1, 7 min before this".into()),
    ])
}

fn secret(now: Timestamp, state: &str, uses: u32) -> Member {
    let since = now - SignedDuration::from_hours(24);
    let deliveries = if uses == 1 { "1 delivery".to_owned() } else { format!("{uses} deliveries") };
    Member {
        key: "sec_3c9de1".into(),
        title: format!("secret {OLD} of lemonsqueezy/live"),
        severity: Severity::Critical,
        expected: "no delivery is signed with it".into(),
        observed: format!("{deliveries} since it is {state}, last {}", rfc3339(now)),
        baseline: None,
        change: None,
        first_seen_at: ago(now, 5),
        count: uses,
        runs: 0,
        message: format!("{OLD} signed {deliveries} since {}", rfc3339(since)),
        runbook: None,
    }
}

pub fn stale(now: Timestamp) -> Facts {
    let mut context = lines([
        ("source", "lemonsqueezy/live".into()),
        ("expected secret", NEW.into()),
        ("last delivery with it", rfc3339(ago(now, 90))),
    ]);
    context.extend(nearby(now));
    context.push(("in quarantine".into(), "4 refused bodies, kept for 7 days".into()));
    Facts {
        context,
        members: vec![secret(now, "retired", 4)],
        ..facts(
            Severity::Critical,
            "STALE SECRET",
            format!(
                "Lemon Squeezy still signs lemonsqueezy deliveries with the old secret {OLD}, retired for 1 d; these \
                 deliveries are refused with 401 and kept in quarantine"
            ),
            ago(now, 5),
            Class::StaleSecret.next_steps(SOURCE, scheme()),
        )
    }
}

pub fn refused(now: Timestamp) -> Facts {
    let since = ago(now, 10);
    let mut context = lines([
        ("first failure", rfc3339(since)),
        ("last failure", rfc3339(now)),
        ("last good delivery", rfc3339(ago(now, 16))),
        ("how sure", "likely, not proved".into()),
        ("in quarantine", "5 refused bodies, kept for 7 days".into()),
    ]);
    context.extend(nearby(now).split_off(1));
    Facts {
        context,
        ..facts(
            Severity::Critical,
            "SIGNATURE FAILURES",
            format!(
                "Every lemonsqueezy delivery since {} fails (5 distinct, 12 attempts): {}",
                rfc3339(since),
                Class::UnknownSecret.explain()
            ),
            since,
            Class::UnknownSecret.next_steps(SOURCE, scheme()),
        )
    }
}

pub fn compromised(now: Timestamp) -> Facts {
    let mut context = lines([("source", "lemonsqueezy/live".into())]);
    context.extend(nearby(now));
    Facts {
        context,
        members: vec![secret(now, "compromised", 1)],
        ..facts(
            Severity::Critical,
            "REVOKED SECRET USED",
            format!("A request to lemonsqueezy was signed with {OLD}, compromised for 1 d; it was refused"),
            now,
            Class::CompromisedSecret.next_steps(SOURCE, scheme()),
        )
    }
}

fn proofs(now: Timestamp, provider: &str, product: &str) -> Vec<(String, String)> {
    lines([
        ("rotation", "rot_0192f0c1d2e37f00".into()),
        ("started", format!("{} by ada", rfc3339(now - SignedDuration::from_hours(24)))),
        ("provider", provider.into()),
        ("product", product.into()),
    ])
}

pub fn stuck(now: Timestamp) -> Facts {
    let provider = format!("it signed delivery dlv_0192f0c1d2e37f00 ({})", rfc3339(ago(now, 1400)));
    Facts {
        context: proofs(now, &provider, "no proof yet"),
        ..facts(
            Severity::Warning,
            "ROTATION STUCK",
            format!(
                "The rotation of lemonsqueezy/live from {OLD} to {NEW}, begun 1 d ago, is stuck: the deadline passed and \
                 the product never proved that it knows the new secret"
            ),
            now,
            vec![
                "Set the new secret in the product's environment (Vercel: Settings > Environment Variables) and redeploy \
                 it; a changed variable without a redeploy changes nothing"
                    .into(),
                "When it is done, say so with `deploywatch secret rotate lemonsqueezy --product-done`".into(),
                "Or go back with `deploywatch secret rollback lemonsqueezy`".into(),
            ],
        )
    }
}

pub fn other_secret(now: Timestamp) -> Facts {
    Facts {
        context: lines([
            ("signed with", format!("{NEW}, active for 3 min")),
            ("product's answer", "401".into()),
            ("product last held", format!("another secret, {} (relay)", rfc3339(ago(now, 90)))),
            ("waiting for the product", "2".into()),
        ]),
        ..facts(
            Severity::Critical,
            "PRODUCT ON ANOTHER SECRET",
            format!(
                "Lemon Squeezy signs with {NEW}, but the product refuses it with 401: it still holds another secret"
            ),
            now,
            vec![
                "Set the current secret in the product's environment and redeploy it (Vercel: a changed variable needs a \
                 new deployment)"
                    .into(),
                "Nothing is lost meanwhile: refused deliveries are kept and tried again for more than a day".into(),
                "Check with `deploywatch secret probe lemonsqueezy`".into(),
            ],
        )
    }
}

pub fn product_down(now: Timestamp) -> Facts {
    Facts {
        context: lines([
            ("tried", format!("4 times, last {}", rfc3339(now))),
            ("waiting for the product", "6".into()),
        ]),
        ..facts(
            Severity::Warning,
            "PRODUCT DOES NOT TAKE WEBHOOKS",
            "The product answers 500 to lemonsqueezy deliveries: deliveries are kept and tried again, nothing is lost yet"
                .into(),
            now,
            vec![
                "Look at the product's own errors and its latest deploy: this is not about the signing secret".into(),
                "Check the address in `webhooks.sources.lemonsqueezy.product_url`: redirects are not followed".into(),
                "Once it works, send what was given up with `deploywatch webhook replay --dead --source lemonsqueezy`"
                    .into(),
            ],
        )
    }
}

pub fn foreign(now: Timestamp) -> Facts {
    facts(
        Severity::Warning,
        "FOREIGN SIGNATURE",
        "Requests to lemonsqueezy carry signatures that look like those of Stripe: they are refused with 400"
            .into(),
        now,
        Class::MalformedSignature(None).next_steps(SOURCE, scheme()),
    )
}

pub fn new_secret(now: Timestamp) -> Facts {
    let mut context = lines([
        ("rotation", "rot_0192f0c1d2e37f00".into()),
        ("first delivery", format!("dlv_0192f0c1d2e37f00 at {}", rfc3339(now))),
        ("event", "order_created".into()),
        ("product", "no proof yet".into()),
    ]);
    context.extend(nearby(now).split_off(2));
    Facts {
        context,
        ..facts(
            Severity::Info,
            "NEW SECRET SIGNS",
            format!(
                "Lemon Squeezy signs lemonsqueezy/live deliveries with the new secret {NEW}; {OLD} is accepted for \
                 another 1 d"
            ),
            now,
            vec![
                "Make sure that the product runs with the new secret too: set it in its environment and redeploy \
                 (Vercel: a changed variable needs a new deployment)"
                    .into(),
                "Show it with `deploywatch secret probe lemonsqueezy`, or say it with `deploywatch secret rotate \
                 lemonsqueezy --product-done`"
                    .into(),
                "Nothing else: the old secret retires by itself; `deploywatch secret status lemonsqueezy` follows it"
                    .into(),
            ],
        )
    }
}

pub fn rotated(now: Timestamp) -> Facts {
    let signed = format!("it signed delivery dlv_0192f0c1d2e37f00 ({})", rfc3339(ago(now, 1400)));
    let held = format!("it reported the new secret's fingerprint ({})", rfc3339(ago(now, 1380)));
    Facts {
        context: proofs(now, &signed, &held),
        ..facts(
            Severity::Info,
            "SECRET ROTATED",
            format!(
                "The rotation of lemonsqueezy/live from {OLD} to {NEW} is complete after 1 d: the old secret is quiet \
                 and retired"
            ),
            now,
            vec![
                "Remove the old value where it is still kept: LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS here, and in the \
                 product's environment; a delivery signed with it is refused and pages from now on"
                    .into(),
            ],
        )
    }
}

pub fn new_event(now: Timestamp) -> Facts {
    events::new_event(subject(), SOURCE, "dispute_created", "dlv_0192f0c1d2e37f00", now)
}

pub fn setup(now: Timestamp) -> Facts {
    let finding = |code: &str, severity, says: &str, next: &str| Finding {
        code: code.into(),
        severity,
        says: says.into(),
        next: next.into(),
        since: Some(ago(now, 10)),
    };
    let sent = rfc3339(ago(now, 25));
    let findings = [
        finding(
            "not_arriving",
            Severity::Critical,
            &format!(
                "Lemon Squeezy says that it sent a live event at {sent}, but nothing has arrived since {} (2 h before)",
                rfc3339(ago(now, 145))
            ),
            "Look at that webhook's deliveries in Lemon Squeezy > Settings > Webhooks for the answer it got from \
             https://watch.example.com/webhooks/lemonsqueezy; then check DNS, the certificate, and what a firewall or \
             bot protection does with the user agent LemonSqueezy-Hookshot",
        ),
        finding(
            "events_dropped",
            Severity::Warning,
            "The live webhook is no longer subscribed to subscription_updated, which arrived within the last 30 days",
            "Tick them in Lemon Squeezy > Settings > Webhooks and save",
        ),
    ];
    provider_facts::setup(subject(), SOURCE, 2, &findings, now)
}

pub fn silence(now: Timestamp) -> Facts {
    let slot = Slot { source: SOURCE.into(), mode: SlotMode::Live };
    let hours = SignedDuration::from_hours;
    let silence = provider_facts::Silence {
        slot: &slot,
        last: now - hours(19),
        silent: hours(19),
        usual: hours(12),
        pauses: 214,
        limit: hours(18),
    };
    provider_facts::silence(subject(), &silence)
}

pub fn orders(now: Timestamp) -> Facts {
    let orders = Orders {
        received_at: Some(ago(now, 130)),
        counted: Some(1204.0),
        latest: Some(1209.0),
        grown_at: Some(ago(now, 20)),
    };
    provider_facts::orders(subject(), SOURCE, &orders, now)
}
