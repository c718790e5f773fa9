//! Events that Lemon Squeezy is known to send. Others are taken and kept as well; they are told once, since the
//! product may not know them either.

use super::check::Severity;
use super::clock::{Timestamp, rfc3339};
use super::incident::Facts;

/// As documented, and as its own page for simulating them sends.
const KNOWN: [&str; 18] = [
    "affiliate_activated",
    "customer_updated",
    "license_key_created",
    "license_key_updated",
    "order_created",
    "order_refunded",
    "subscription_cancelled",
    "subscription_created",
    "subscription_expired",
    "subscription_paused",
    "subscription_payment_failed",
    "subscription_payment_recovered",
    "subscription_payment_refunded",
    "subscription_payment_success",
    "subscription_plan_changed",
    "subscription_resumed",
    "subscription_unpaused",
    "subscription_updated",
];

/// Whether a name is nobody's: neither the provider's nor that of our own tests and probes.
pub fn is_new(name: &str) -> bool {
    !KNOWN.contains(&name) && !name.starts_with("deploywatch_")
}

/// What is told of the first delivery of such an event.
pub fn new_event(subject: String, source: &str, name: &str, delivery: &str, at: Timestamp) -> Facts {
    Facts {
        severity: Severity::Info,
        label: "NEW EVENT".into(),
        subject,
        headline: format!(
            "Lemon Squeezy sent {source} an event that deploywatch does not know, {name}: it was verified and is \
             treated as any other"
        ),
        since: at,
        next_steps: vec![
            format!("See that the product takes or ignores {name} without an error"),
            "If it is not wanted, untick it in Lemon Squeezy > Settings > Webhooks".into(),
        ],
        context: vec![
            ("event".into(), name.to_owned()),
            ("first delivery".into(), format!("{delivery} at {}", rfc3339(at))),
        ],
        members: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_events_and_our_own_are_not_new() {
        for name in ["order_created", "subscription_plan_changed", "deploywatch_probe"] {
            assert!(!is_new(name), "{name}");
        }
        for name in ["dispute_created", "Order_Created", ""] {
            assert!(is_new(name), "{name}");
        }
    }
}
