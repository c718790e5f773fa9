//! PagerDuty Events API v2: trigger, acknowledge and resolve by one key for each incident.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::payload::{Bulletin, clean, cut, title};
use super::{Call, Failure, address, allowed};
use crate::domain::check::Severity;
use crate::domain::clock::rfc3339;
use crate::domain::notification::{FailureClass, Notice, Stage};
use crate::settings::Channel;

const BASE: &str = "https://events.pagerduty.com";
/// PagerDuty refuses a longer summary.
const SUMMARY: usize = 1_024;
const MEMBERS: usize = 20;

/// Adds the routing key, which is no part of what the outbox keeps.
pub(super) fn request(settings: &Channel, body: &str) -> Result<Call, Failure> {
    let wrong = |text: &str| Failure::new(Stage::Build, FailureClass::Message, text);
    let mut event: Value = serde_json::from_str(body).map_err(|_| wrong("the message is not JSON"))?;
    let key = settings.secret.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    event["routing_key"] = json!(key);
    let base = address(settings, Some(BASE))?;
    let url = base.join("v2/enqueue").map_err(|_| wrong("its url cannot be extended"))?;
    Ok(Call {
        url,
        headers: vec![("content-type", "application/json".into())],
        body: Some(event.to_string()),
        allow: allowed(settings),
    })
}

pub(super) fn body(bulletin: &Bulletin<'_>) -> Value {
    let key = bulletin.incident.map_or_else(|| bulletin.id.to_owned(), |incident| incident.id.to_string());
    let action = match bulletin.notice {
        Notice::Acknowledged => "acknowledge",
        Notice::Resolved | Notice::Recovered => "resolve",
        _ => "trigger",
    };
    let mut event = json!({"event_action": action, "dedup_key": format!("deploywatch/{key}")});
    if action == "trigger" {
        let facts = bulletin.facts;
        let details: serde_json::Map<String, Value> = facts
            .members
            .iter()
            .take(MEMBERS)
            .map(|m| {
                (clean(&m.key), json!(clean(&format!("expected {}, observed {}", m.expected, m.observed))))
            })
            .collect();
        let steps: Vec<&String> = facts.next_steps.iter().take(10).collect();
        event["payload"] = json!({
            "summary": cut(&format!("{}: {}", title(bulletin), clean(&facts.headline)), SUMMARY),
            "source": if bulletin.environment.is_empty() { "deploywatch" } else { bulletin.environment },
            "severity": match (bulletin.notice, facts.severity) {
                (Notice::Test, _) | (_, Severity::Info) => "info",
                (_, Severity::Critical) => "critical",
                (_, Severity::Warning) => "warning",
            },
            "timestamp": rfc3339(facts.since),
            "component": facts.subject,
            "class": bulletin.incident.map(|incident| incident.key.kind.as_str()),
            "custom_details": {"what": details, "next_steps": steps},
        });
        event["client"] = json!("deploywatch");
        if let Some(page) = &bulletin.page {
            event["client_url"] = json!(page);
        }
    }
    event
}
