//! Every kind of mail with made-up facts: for `deploywatch email preview` and for the snapshots.

use super::prepare::{Desk, Letter, Links, prepare};
use crate::domain::absence::{self, Unwatched};
use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::{IncidentId, NotificationId};
use crate::domain::incident::{DedupKey, Facts, Incident, IncidentKind, Member, Signal};
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
                unsubscribe: (!matches!(self.name, "armed" | "checker-down")).then(|| act("reports")),
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
            // What the gate says now has no place in a report of the whole window.
            context: deploy().into_iter().filter(|(label, _)| label != "gate").collect(),
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
        report(
            "passed-with-warnings",
            Notice::Report,
            "PASSED 24h WITH WARNINGS",
            "Deploy 7f3c2a1 passed with warnings after 24 h: 3 of 12,410 rows of agents have no organisation",
        ),
        report(
            "failed-window",
            Notice::Report,
            "FAILED 24h",
            "The window of deploy 7f3c2a1 is over and it has failed: user_credits has 900 rows",
        ),
        report(
            "armed",
            Notice::Report,
            "ARMED",
            "Deploy 7f3c2a1 in acme-production is watched for 24 h from now: 17 checks, compared with the baseline \
             taken before it",
        ),
        Sample { notice: Notice::Report, ..of_signal("checker-down", absence(now), now) },
        of("compromised-secret", Notice::Opened, IncidentKind::CompromisedSecret, compromised(now)),
        of("rotation-stuck", Notice::Opened, IncidentKind::RotationStuck, stuck(now)),
        of("mail-broken", Notice::Opened, IncidentKind::MailBroken, lost_recipient(now)),
        digest(now),
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

/// What a signal tells, without an incident.
fn of_signal(name: &'static str, signal: Signal, now: Timestamp) -> Sample {
    let facts = match signal {
        Signal::Report { facts, .. } | Signal::Firing { facts, .. } => facts,
        _ => failing(now),
    };
    Sample { name, notice: Notice::Report, incident: None, facts, now }
}

fn absence(now: Timestamp) -> Signal {
    let deploy = Some(("dep_0192f0c1d2e37f00", "7f3c2a1".to_owned()));
    let what = Unwatched { environment: "acme-production", deploy, missed: 8 };
    absence::signal(&what, now - SignedDuration::from_mins(42), now)
}

/// One mail for many, when a storm guard holds back the rest.
fn digest(now: Timestamp) -> Sample {
    let line = |n: u32| Member {
        key: format!("ntf_{n}"),
        title: format!("[FAIL {n}] acme-production deploy 7f3c2a1 #3f9a{n:02}"),
        severity: if n < 3 { Severity::Critical } else { Severity::Warning },
        expected: String::new(),
        observed: String::new(),
        baseline: None,
        change: None,
        first_seen_at: now,
        count: 0,
        runs: 0,
        message: format!("{n} checks fail since T+00:07 of deploy 7f3c2a1 in acme-production"),
        runbook: None,
    };
    Sample {
        name: "digest",
        notice: Notice::Digest,
        incident: None,
        facts: Facts {
            label: "DIGEST 24".into(),
            subject: "deploywatch mails to you".into(),
            headline:
                "24 messages in one mail: you are sent at most 10 mails in 10 minutes, and there were more"
                    .into(),
            next_steps: vec!["Start with the worst, which stand first".into()],
            context: Vec::new(),
            members: (1..25).map(line).collect(),
            ..failing(now)
        },
        now,
    }
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

fn compromised(now: Timestamp) -> Facts {
    Facts {
        label: "COMPROMISED SECRET".into(),
        headline: "A delivery was signed with secret 3c9d…e1, which is marked compromised".into(),
        next_steps: vec![
            "Treat it as forged: look at the delivery, and at what the product did with it".into(),
        ],
        ..stale(now)
    }
}

fn stuck(now: Timestamp) -> Facts {
    Facts {
        severity: Severity::Warning,
        label: "ROTATION STUCK".into(),
        headline: "The rotation of lemonsqueezy waits for the product since 1 d: it still holds 3c9d…e1"
            .into(),
        next_steps: vec!["Deploy the product with the secret whose fingerprint is 81fe…07".into()],
        ..stale(now)
    }
}

fn lost_recipient(now: Timestamp) -> Facts {
    Facts {
        label: "MAIL BROKEN".into(),
        subject: "acme-production mail to b***@example.com".into(),
        headline: "A mail about acme-production to b***@example.com was given up".into(),
        next_steps: vec![
            "Check whether b***@example.com still exists and correct the recipients of acme-production"
                .into(),
            "Tell that person what this mail is about; they were not told".into(),
        ],
        context: Vec::new(),
        members: vec![Member {
            key: "b***@example.com".into(),
            title: "b***@example.com".into(),
            severity: Severity::Critical,
            expected: "the mail server takes this recipient".into(),
            observed: "refused with 550 at the step `recipient`".into(),
            baseline: None,
            change: None,
            first_seen_at: now,
            count: 1,
            runs: 0,
            message: String::new(),
            runbook: None,
        }],
        ..failing(now)
    }
}
