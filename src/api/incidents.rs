//! Incidents on the wire.

use serde::{Deserialize, Serialize};

use crate::domain::check::Severity;
use crate::domain::clock::rfc3339;
use crate::domain::incident::{Incident, IncidentState, Member};

/// One incident. Instants are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    pub id: String,
    pub environment: String,
    /// The deploy's id for checks, the source's name for webhooks, else empty.
    pub scope: String,
    pub kind: String,
    /// open, acknowledged, resolved or superseded
    pub state: String,
    pub severity: Severity,
    pub subject: String,
    pub headline: String,
    pub since: String,
    pub opened_at: String,
    pub updated_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<String>,
    pub reopened: u32,
    /// It comes and goes, since then; told once and held open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping_since: Option<String>,
    /// When the second step was told, since nobody had acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<String>,
    pub next_steps: Vec<String>,
    pub members: Vec<MemberView>,
}

/// One failing check, secret or recipient of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    pub key: String,
    pub title: String,
    pub severity: Severity,
    pub expected: String,
    pub observed: String,
    pub baseline: Option<String>,
    pub change: Option<String>,
    pub first_seen_at: String,
    pub count: u32,
    pub runs: u32,
    pub message: String,
    pub runbook: Option<String>,
}

/// `GET /api/v1/incidents`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentList {
    pub incidents: Vec<IncidentView>,
}

/// The body of `POST /api/v1/incidents/{id}/resolve` and `/snooze`; all fields may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    pub note: Option<String>,
    /// How long to snooze: `30m`, `1h`.
    pub length: Option<String>,
    /// Carried by forms; checked before it gets here.
    pub csrf: Option<String>,
}

impl IncidentView {
    pub fn of(incident: &Incident) -> Self {
        let facts = &incident.facts;
        let (acknowledged_by, resolved_at, resolution) = match &incident.state {
            IncidentState::Open => (None, None, None),
            IncidentState::Acknowledged { by, .. } => (Some(by.clone()), None, None),
            IncidentState::Resolved { at, note } => (None, Some(rfc3339(*at)), Some(note.clone())),
            IncidentState::Superseded { at, by } => {
                (None, Some(rfc3339(*at)), Some(format!("superseded by deploy {by}")))
            }
        };
        Self {
            id: incident.id.to_string(),
            environment: incident.key.environment.clone(),
            scope: incident.key.scope.clone(),
            kind: incident.key.kind.as_str().into(),
            state: incident.state.as_str().into(),
            severity: facts.severity,
            subject: facts.subject.clone(),
            headline: facts.headline.clone(),
            since: rfc3339(facts.since),
            opened_at: rfc3339(incident.opened_at),
            updated_at: rfc3339(incident.updated_at),
            acknowledged_by,
            resolved_at,
            resolution,
            snoozed_until: incident.snoozed_until.map(rfc3339),
            reopened: incident.reopened,
            flapping_since: incident.told.flaps.since().map(rfc3339),
            escalated_at: incident.told.escalated_at.map(rfc3339),
            next_steps: facts.next_steps.clone(),
            members: facts.members.iter().map(member).collect(),
        }
    }
}

fn member(member: &Member) -> MemberView {
    let member = member.clone();
    MemberView {
        key: member.key,
        title: member.title,
        severity: member.severity,
        expected: member.expected,
        observed: member.observed,
        baseline: member.baseline,
        change: member.change,
        first_seen_at: rfc3339(member.first_seen_at),
        count: member.count,
        runs: member.runs,
        message: member.message,
        runbook: member.runbook,
    }
}
