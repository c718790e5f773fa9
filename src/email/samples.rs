//! Every kind of mail with made-up facts: for `deploywatch email preview` and for the snapshots.

use super::prepare::{Desk, Letter, Links, prepare};
use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::{IncidentId, NotificationId};
use crate::domain::incident::{DedupKey, Facts, Incident, IncidentKind, Member};
use crate::domain::notification::{Content, Notice};

/// One mail before it is put into words.
#[derive(Debug, Clone)]
pub struct Sample {
    pub name: &'static str,
    pub notice: Notice,
    pub incident: Option<Incident>,
    pub facts: Facts,
    pub now: Timestamp,
}

impl Sample {
    pub fn prepare(&self, desk: &Desk) -> Content {
        let announced = self.incident.as_ref().filter(|incident| !incident.state.is_resolved());
        prepare(
            desk,
            &Letter {
                id: &NotificationId::from_text("ntf_0192f0c1d2e37f00a1b2c3d4e5f60718"),
                notice: self.notice,
                environment: "acme-production",
                incident: self.incident.as_ref(),
                facts: &self.facts,
                recipient: "oncall@example.com",
                others: 2,
                next_reminder: announced.map(|_| self.now + SignedDuration::from_hours(1)),
                links: self.links(desk),
                now: self.now,
            },
        )
    }

    /// Links as a server makes them, signed by nobody.
    fn links(&self, desk: &Desk) -> Links {
        let Some(base) = &desk.public_url else { return Links::default() };
        let act =
            |word: &str| format!("{base}/act/{word}.1746360000.ntf_0192f0c1d2e37f00a1b2c3d4e5f60718.sample");
        match &self.incident {
            Some(incident) if incident.state.is_resolved() => Links::default(),
            Some(incident) => Links {
                actions: vec![
                    ("Acknowledge", act("ack")),
                    ("Snooze 1 h", act("snooze1h")),
                    ("Snooze 4 h", act("snooze4h")),
                    ("Silence…", format!("{base}/silences/new?incident={}", incident.id)),
                ],
                ..Links::default()
            },
            None if self.notice == Notice::Report => Links {
                page: Some(("Open the deploy", format!("{base}/deploys/dep_0192f0c1d2e37f00"))),
                unsubscribe: Some(act("reports")),
                ..Links::default()
            },
            None => Links::default(),
        }
    }
}

/// All kinds, as if `now` were the moment of writing.
pub fn all(now: Timestamp) -> Vec<Sample> {
    let of = |name, notice, kind, facts: Facts| Sample {
        name,
        notice,
        incident: Some(incident(kind, &facts, notice, now)),
        facts,
        now,
    };
    let report = |name, notice, label: &str, headline: &str| Sample {
        name,
        notice,
        incident: None,
        facts: Facts {
            label: label.into(),
            headline: headline.into(),
            severity: Severity::Info,
            members: Vec::new(),
            next_steps: Vec::new(),
            ..failing(now)
        },
        now,
    };
    let mut many = failing(now);
    let again = many.members.clone();
    many.members.extend((0..12).flat_map(|_| again.clone()));
    vec![
        of("fail", Notice::Opened, IncidentKind::ChecksFailed, failing(now)),
        of("fail-many", Notice::Opened, IncidentKind::ChecksFailed, many),
        of("fail-again", Notice::Reopened, IncidentKind::ChecksFailed, failing(now)),
        of("update", Notice::Update, IncidentKind::ChecksFailed, failing(now)),
        of("escalated", Notice::Escalated, IncidentKind::ChecksFailed, failing(now)),
        of("flapping", Notice::Flapping, IncidentKind::ChecksFailed, failing(now)),
        of("reminder", Notice::Reminder, IncidentKind::ChecksFailed, failing(now)),
        of("resolved", Notice::Resolved, IncidentKind::ChecksFailed, failing(now)),
        of("recovered-before-sent", Notice::Recovered, IncidentKind::ChecksFailed, failing(now)),
        of("cannot-check", Notice::Opened, IncidentKind::CannotCheck, unreachable(now)),
        of("stale-secret", Notice::Opened, IncidentKind::StaleSecret, stale(now)),
        of("signature-failures", Notice::Opened, IncidentKind::SignatureFailures, refused(now)),
        report(
            "passed",
            Notice::Report,
            "PASSED 24h",
            "Deploy 7f3c2a1 held for 24 h: 214 of 214 slots measured, all 17 checks pass",
        ),
        report(
            "superseded",
            Notice::Report,
            "SUPERSEDED",
            "Deploy 7f3c2a1 was superseded by 9b1e004 after 3 h 20 min; nothing had failed",
        ),
        report(
            "inconclusive",
            Notice::Report,
            "INCONCLUSIVE",
            "Deploy 7f3c2a1 cannot be judged: only 61% of its slots could be measured",
        ),
        Sample {
            facts: Facts {
                subject: "deploywatch mail path".into(),
                context: Vec::new(),
                ..report("test", Notice::Test, "TEST", "Mails from deploywatch reach you").facts
            },
            ..report("test", Notice::Test, "TEST", "")
        },
    ]
}

fn incident(kind: IncidentKind, facts: &Facts, notice: Notice, now: Timestamp) -> Incident {
    let scope = if kind == IncidentKind::ChecksFailed { "dep_0192f0c1d2e37f00" } else { "lemonsqueezy" };
    let key = DedupKey { environment: "acme-production".into(), scope: scope.into(), kind };
    let id = IncidentId::from_text("inc_0192f0c1d2e37f00a1b2c3d4e53f9a1c");
    let incident = Incident::open(id, key, facts.since, facts.clone());
    match notice {
        Notice::Resolved | Notice::Recovered => incident.resolve(now, "every check passes again").0,
        _ => incident,
    }
}

fn failing(now: Timestamp) -> Facts {
    let first = now - SignedDuration::from_mins(5);
    Facts {
        severity: Severity::Critical,
        label: "FAIL".into(),
        subject: "acme-production deploy 7f3c2a1".into(),
        headline: "2 checks fail on acme-production since 7 min after deploy 7f3c2a1".into(),
        since: first,
        next_steps: vec![
            "Look at the failing rows with the statement on the incident's page".into(),
            "Roll back to 5d0c9ee, which passed, or deploy a fix".into(),
            "If this is meant to be so: deploywatch deploy override --reason".into(),
        ],
        context: deploy(),
        members: vec![
            Member {
                key: "user_credits.row_count".into(),
                title: "user_credits keeps its rows".into(),
                severity: Severity::Critical,
                expected: "drop at most 1% (990)".into(),
                observed: "900 rows".into(),
                baseline: Some("1,000 rows".into()),
                change: Some("-100 (-10%)".into()),
                first_seen_at: first,
                count: 2,
                runs: 4,
                message: "user_credits has 900 rows, 10% fewer than the 1,000 before the deploy".into(),
                runbook: Some("https://runbooks.example.com/user-credits".into()),
            },
            Member {
                key: "agents.org.join".into(),
                title: "agents.org.join".into(),
                severity: Severity::Warning,
                expected: "0".into(),
                observed: "3 of 12,410 rows".into(),
                baseline: Some("0".into()),
                change: Some("+3".into()),
                first_seen_at: first,
                count: 2,
                runs: 4,
                message: "3 of 12,410 rows of agents have no row in organisations".into(),
                runbook: None,
            },
        ],
    }
}

fn deploy() -> Vec<(String, String)> {
    [
        ("environment", "acme-production"),
        ("version", "7f3c2a1"),
        ("commit", "7f3c2a1e9d0b44c1 Move credits to the ledger"),
        ("started by", "ada (GitHub Actions)"),
        ("CI run", "https://ci.example.com/acme/runs/4711"),
        ("last good deploy", "5d0c9ee"),
        ("gate", "stop"),
    ]
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .to_vec()
}

fn unreachable(now: Timestamp) -> Facts {
    Facts {
        label: "CANNOT CHECK".into(),
        headline: "acme-production cannot be measured: the database refuses connections".into(),
        since: now - SignedDuration::from_mins(6),
        next_steps: vec![
            "See whether the database is up; this says nothing of the deploy itself".into(),
            "deploywatch doctor names what is in the way".into(),
        ],
        members: vec![Member {
            key: "target".into(),
            title: "connection to the target".into(),
            severity: Severity::Critical,
            expected: "answers".into(),
            observed: "connection refused".into(),
            baseline: None,
            change: None,
            first_seen_at: now - SignedDuration::from_mins(6),
            count: 3,
            runs: 3,
            message: String::new(),
            runbook: None,
        }],
        ..failing(now)
    }
}

fn stale(now: Timestamp) -> Facts {
    Facts {
        label: "STALE SECRET".into(),
        subject: "acme-production lemonsqueezy webhook".into(),
        headline: "Lemon Squeezy still signs with the retired secret 3c9d…e1, rotated 2 d ago".into(),
        next_steps: vec![
            "Open Settings > Webhooks at Lemon Squeezy and set the secret whose fingerprint is 81fe…07"
                .into(),
            "The 4 refused deliveries are kept and verified again once the right secret is known".into(),
        ],
        context: vec![
            ("source".into(), "lemonsqueezy (live)".into()),
            ("refused".into(), "4 deliveries".into()),
        ],
        members: vec![Member {
            key: "3c9de1".into(),
            title: "secret 3c9d…e1 (retired)".into(),
            severity: Severity::Critical,
            expected: "no delivery since 2026-04-29".into(),
            observed: "4 deliveries, the last one 20 s ago".into(),
            baseline: None,
            change: None,
            first_seen_at: now - SignedDuration::from_mins(5),
            count: 4,
            runs: 0,
            message: String::new(),
            runbook: None,
        }],
        ..failing(now)
    }
}

fn refused(now: Timestamp) -> Facts {
    Facts {
        label: "SIGNATURE FAILURES".into(),
        headline: "Every delivery of lemonsqueezy fails since 10 min: no known secret signs them".into(),
        next_steps: vec!["Compare the secret at Lemon Squeezy with LEMONSQUEEZY_WEBHOOK_SECRET".into()],
        ..stale(now)
    }
}
