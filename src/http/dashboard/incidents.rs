//! Incidents as on-call reads them: what, since when, what to do.

use super::times;
use super::view::{Badge, IncidentRow};
use super::words::sentence;
use crate::domain::check::Severity;
use crate::domain::clock::{Timestamp, humane};
use crate::domain::incident::{Incident, IncidentState};

/// Members beyond these are on the deploy's page.
const MEMBERS: usize = 3;

pub fn row(incident: &Incident, now: Timestamp) -> IncidentRow {
    let facts = &incident.facts;
    let mut lines = vec![sentence(&facts.headline)];
    // The headline of a single member says what the member says.
    if facts.members.len() > 1 {
        lines.extend(facts.members.iter().take(MEMBERS).map(|m| format!("{}: {}.", m.title, m.observed)));
        if facts.members.len() > MEMBERS {
            lines.push(format!("And {}.", format_args!("{} more", facts.members.len() - MEMBERS)));
        }
    }
    let (badge, since) = match &incident.state {
        IncidentState::Open => {
            let badge = match facts.severity {
                Severity::Critical => Badge::bad("open"),
                Severity::Warning | Severity::Info => Badge::warn("open"),
            };
            let badge = if incident.told.flaps.is_flapping() { Badge::warn("flapping") } else { badge };
            (badge, format!("Open since {}", times::ago(facts.since, now)))
        }
        IncidentState::Acknowledged { at, by } => {
            let since = format!("Open since {}", times::at(facts.since, now));
            (Badge::busy("acknowledged"), format!("{since}; {by} took it at {}", times::at(*at, now)))
        }
        IncidentState::Resolved { at, note } => {
            let lasted = humane(at.duration_since(facts.since));
            (Badge::good("resolved"), format!("Resolved {} after {lasted}: {note}", times::ago(*at, now)))
        }
        IncidentState::Superseded { at, by } => {
            (Badge::quiet("superseded"), format!("Superseded {} by deploy {by}", times::ago(*at, now)))
        }
    };
    let mails = match (incident.told.last_at, incident.state.is_resolved()) {
        (None, false) => "; nobody has been mailed yet".to_owned(),
        (Some(at), _) => format!("; last mail {}", times::at(at, now)),
        _ => String::new(),
    };
    IncidentRow {
        link: format!("/incidents/{}", incident.id),
        title: format!("{}: {}", facts.label, facts.subject),
        badge,
        lines,
        next: if incident.state.is_resolved() { Vec::new() } else { facts.next_steps.clone() },
        since: format!("{since}{mails}."),
    }
}
