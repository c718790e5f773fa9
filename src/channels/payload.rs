//! From facts to what a channel is sent. Pure; nothing is sent here, and nothing secret is in it.

use serde_json::{Value, json};

use super::{pagerduty, slack};
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::incident::{Facts, Incident, IncidentState, Member};
use crate::domain::notification::Notice;
use crate::settings::ChannelKind;

const MEMBERS: usize = 50;
const STEPS: usize = 10;
const CONTEXT: usize = 20;
/// Names and texts from outside are cut to this.
const LETTERS: usize = 500;

/// One piece of news, before it takes a channel's form.
pub struct Bulletin<'a> {
    /// The message's own id.
    pub id: &'a str,
    pub notice: Notice,
    pub environment: &'a str,
    pub incident: Option<&'a Incident>,
    pub facts: &'a Facts,
    pub page: Option<String>,
    pub actions: Vec<(&'static str, String)>,
    pub now: Timestamp,
}

impl Bulletin<'_> {
    /// Whether it says that something is wrong, rather than that it is over or taken care of.
    pub(super) fn is_news(&self) -> bool {
        !matches!(self.notice, Notice::Resolved | Notice::Recovered | Notice::Acknowledged)
    }
}

/// The body of the request, without keys and signatures.
pub fn payload(kind: ChannelKind, bulletin: &Bulletin<'_>) -> String {
    match kind {
        ChannelKind::Webhook => webhook(bulletin),
        ChannelKind::Slack => slack::body(bulletin),
        ChannelKind::Pagerduty => pagerduty::body(bulletin),
    }
    .to_string()
}

/// `[FAIL] acme-production deploy 7f3c2a1 #3f9a1c`, as mails say it.
pub fn title(bulletin: &Bulletin<'_>) -> String {
    let short = bulletin.incident.map(|incident| format!(" #{}", incident.short_id())).unwrap_or_default();
    format!("[{}] {}{short}", status(bulletin), clean(&bulletin.facts.subject))
}

pub(super) fn status(bulletin: &Bulletin<'_>) -> String {
    let label = clean(&bulletin.facts.label);
    match bulletin.notice {
        Notice::Reopened => format!("{label} AGAIN"),
        Notice::Escalated => format!("ESCALATED {label}"),
        Notice::Flapping => "FLAPPING".into(),
        Notice::Update => "UPDATE".into(),
        Notice::Worsened => format!("NOW {}: {label}", bulletin.facts.severity.as_str().to_uppercase()),
        Notice::Reminder => "REMINDER".into(),
        Notice::Resolved | Notice::Recovered => "RESOLVED".into(),
        Notice::Acknowledged => "ACKNOWLEDGED".into(),
        _ => label,
    }
}

fn webhook(bulletin: &Bulletin<'_>) -> Value {
    let facts = bulletin.facts;
    let context: serde_json::Map<String, Value> = facts
        .context
        .iter()
        .take(CONTEXT)
        .map(|(label, value)| (clean(label), json!(clean(value))))
        .collect();
    let of = if bulletin.incident.is_some() { "incident." } else { "" };
    json!({
        "type": format!("{of}{}", bulletin.notice.as_str()),
        "timestamp": rfc3339(bulletin.now),
        "data": {
            "id": bulletin.id,
            "environment": bulletin.environment,
            "severity": facts.severity.as_str(),
            "label": clean(&facts.label),
            "subject": clean(&facts.subject),
            "headline": clean(&facts.headline),
            "since": rfc3339(facts.since),
            "next_steps": facts.next_steps.iter().take(STEPS).map(|step| clean(step)).collect::<Vec<_>>(),
            "context": context,
            "members": facts.members.iter().take(MEMBERS).map(member).collect::<Vec<_>>(),
            "members_total": facts.members.len(),
            "incident": bulletin.incident.map(incident),
            "url": bulletin.page,
        },
    })
}

fn incident(incident: &Incident) -> Value {
    let (by, note) = match &incident.state {
        IncidentState::Acknowledged { by, .. } => (Some(by), None),
        IncidentState::Resolved { note, .. } => (None, Some(clean(note))),
        _ => (None, None),
    };
    json!({
        "id": incident.id,
        "kind": incident.key.kind.as_str(),
        "scope": incident.key.scope,
        "state": incident.state.as_str(),
        "opened_at": rfc3339(incident.opened_at),
        "acknowledged_by": by,
        "resolution": note,
    })
}

fn member(member: &Member) -> Value {
    json!({
        "key": clean(&member.key),
        "title": clean(&member.title),
        "severity": member.severity.as_str(),
        "expected": clean(&member.expected),
        "observed": clean(&member.observed),
        "baseline": member.baseline.as_deref().map(clean),
        "message": clean(&member.message),
        "first_seen_at": rfc3339(member.first_seen_at),
    })
}

/// One line without control and direction-changing characters.
pub(super) fn clean(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c })
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'))
        .collect();
    cut(&plain, LETTERS)
}

pub(super) fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters - 1).chain(['…']).collect()
}
