//! The delivery log as people read it: what arrived, what was answered, and why.

use super::times;
use super::view::{Badge, Fact};
use super::words::capital;
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::delivery::Delivery;
use crate::domain::diagnosis::Class;
use crate::domain::secret::SecretVersion;

/// One delivery in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    pub link: String,
    pub title: String,
    pub badge: Badge,
    pub summary: String,
}

pub fn row(delivery: &Delivery, versions: &[SecretVersion], now: Timestamp) -> DeliveryRow {
    let mut parts = vec![times::ago(delivery.received_at, now), delivery.source.clone()];
    parts.extend(signer(delivery, versions).map(|version| format!("signed with {version}")));
    if delivery.duplicate {
        parts.push("sent before".to_owned());
    }
    if delivery.late {
        parts.push("taken in late".to_owned());
    }
    parts.extend(delivery.flags.iter().map(|flag| flag.replace('_', " ")));
    DeliveryRow {
        link: format!("/deliveries/{}", delivery.id),
        title: delivery.event_name.clone().unwrap_or_else(|| "unknown event".to_owned()),
        badge: badge(delivery),
        summary: parts.join(" · "),
    }
}

/// The answer and what it was, in words; never the colour alone.
pub fn badge(delivery: &Delivery) -> Badge {
    let word = format!("{} {}", delivery.status, delivery.class.replace('_', " "));
    let usual = matches!(delivery.class.as_str(), "verified" | "new_secret" | "retiring_secret");
    match delivery.status {
        _ if delivery.late => Badge::good(word),
        200 if usual => Badge::good(word),
        200 => Badge::warn(word),
        503 => Badge::unknown(word),
        _ => Badge::bad(word),
    }
}

pub fn facts(delivery: &Delivery, versions: &[SecretVersion], now: Timestamp) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new(
            "received",
            format!("{}, {}", rfc3339(delivery.received_at), times::relative(delivery.received_at, now)),
        ),
        Fact::new("answered", delivery.status.to_string()),
        Fact::new("source", delivery.source.clone()),
        Fact::new("mode", delivery.mode.map_or("not known", |mode| mode.as_str())),
        Fact::new("secret", signer(delivery, versions).unwrap_or_else(|| "none that is known".to_owned())),
        Fact::new("body", format!("{} bytes", delivery.body_bytes)),
        Fact { mono: true, ..Fact::new("SHA-256", delivery.body_digest.clone()) },
        Fact::new("sender calls itself", delivery.user_agent.clone().unwrap_or_else(|| "nothing".to_owned())),
    ];
    if let Some(event) = &delivery.event {
        let link = format!("/deliveries?event_id={event}");
        facts.push(Fact { link: Some(link), mono: true, ..Fact::new("event", event.as_str()) });
    }
    let mut notes: Vec<String> = delivery.flags.iter().map(|flag| flag.replace('_', " ")).collect();
    if delivery.duplicate {
        notes.push("the event was known already".to_owned());
    }
    if delivery.late {
        notes.push("taken in after it was refused, once its secret was known".to_owned());
    }
    if !notes.is_empty() {
        facts.push(Fact::new("notes", notes.join("; ")));
    }
    facts
}

/// What it turned out to be, as a sentence.
pub fn finding(delivery: &Delivery) -> String {
    Class::parse(&delivery.class)
        .map_or_else(|| delivery.class.clone(), |class| capital(&class.explain()) + ".")
}

fn signer(delivery: &Delivery, versions: &[SecretVersion]) -> Option<String> {
    let id = delivery.version.as_ref()?;
    versions.iter().find(|version| version.id == *id).map(SecretVersion::label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::DeliveryId;

    #[test]
    fn a_delivery_says_what_was_answered_and_why() {
        let now: Timestamp = "2026-05-01T12:10:00Z".parse().unwrap();
        let delivery = Delivery {
            id: DeliveryId::from_text("dlv_1"),
            source: "lemonsqueezy".into(),
            mode: None,
            received_at: "2026-05-01T12:00:00Z".parse().unwrap(),
            status: 401,
            class: "unknown_secret".into(),
            version: None,
            event: None,
            event_name: None,
            duplicate: false,
            late: false,
            flags: Vec::new(),
            body_bytes: 1997,
            body_digest: "ab".into(),
            user_agent: None,
        };
        let shown = row(&delivery, &[], now);
        assert_eq!(shown.badge, Badge::bad("401 unknown secret"));
        assert_eq!(shown.summary, "12:00, 10 min ago · lemonsqueezy");
        assert_eq!(shown.title, "unknown event");
        let late = Delivery { late: true, duplicate: true, ..delivery };
        assert_eq!(row(&late, &[], now).badge.tone, "good");
        assert!(row(&late, &[], now).summary.ends_with("sent before · taken in late"));
    }
}
