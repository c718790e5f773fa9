//! Every kind of mail with made-up facts, in the words of the real ones: for `deploywatch email preview` and for the
//! snapshots.

mod deploys;
mod webhooks;

use super::prepare::{Desk, Letter, Links, prepare};
use crate::domain::absence::{self, Unwatched};
use crate::domain::announce::End;
use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::{IncidentId, NotificationId};
use crate::domain::incident::{DedupKey, Facts, Incident, IncidentKind, Member, Signal};
use crate::domain::notification::{Content, Notice};
use crate::domain::verdict::VerdictState;
use deploys::{DEPLOY, ENVIRONMENT};

/// One mail before it is put into words.
#[derive(Debug, Clone)]
pub struct Sample {
    pub name: &'static str,
    pub notice: Notice,
    /// Empty where it is about deploywatch itself.
    pub environment: &'static str,
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
                environment: self.environment,
                incident: self.incident.as_ref(),
                facts: &self.facts,
                recipient: "oncall@example.com",
                others: 2,
                // What comes and goes is told again only when it has calmed down.
                next_reminder: announced
                    .filter(|_| self.notice != Notice::Flapping)
                    .map(|_| self.now + SignedDuration::from_hours(1)),
                links: self.links(desk),
                now: self.now,
            },
        )
    }

    fn is_about_a_deploy(&self) -> bool {
        let of_webhooks = ["NEW SECRET SIGNS", "SECRET ROTATED", "NEW EVENT"];
        self.notice == Notice::Report && !of_webhooks.contains(&self.facts.label.as_str())
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
            None if self.is_about_a_deploy() => Links {
                page: Some(("Open the deploy", format!("{base}/deploys/{DEPLOY}"))),
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
        environment: ENVIRONMENT,
        incident: Some(incident(kind, &facts, notice, now)),
        facts,
        now,
    };
    let checks = |name, notice, count| {
        of(name, notice, IncidentKind::ChecksFailed, deploys::checks_failed(now, count))
    };
    let opened = |name, kind, facts| of(name, Notice::Opened, kind, facts);
    let report = |name, facts| Sample {
        name,
        notice: Notice::Report,
        environment: ENVIRONMENT,
        incident: None,
        facts,
        now,
    };
    let window = |name, state, checks, reason: &str, end: &End| {
        report(name, deploys::report(now, state, checks, reason, end))
    };
    let closed = End::WindowClosed;
    let newer = End::SupersededBy("9b1e004".into());
    vec![
        checks("fail", Notice::Opened, 2),
        checks("fail-many", Notice::Opened, 26),
        checks("fail-again", Notice::Reopened, 2),
        checks("update", Notice::Update, 2),
        checks("worsened", Notice::Worsened, 2),
        checks("escalated", Notice::Escalated, 2),
        checks("flapping", Notice::Flapping, 2),
        checks("reminder", Notice::Reminder, 2),
        checks("resolved", Notice::Resolved, 2),
        checks("recovered-before-sent", Notice::Recovered, 2),
        opened("cannot-check", IncidentKind::CannotCheck, deploys::cannot_check(now)),
        window("passed", VerdictState::Passed, 0, "", &closed),
        window(
            "passed-with-warnings",
            VerdictState::PassedWithWarnings,
            0,
            "3 of 12,410 rows of agents have no row in organisations",
            &closed,
        ),
        window("failed-window", VerdictState::Failed, 1, "user_credits has 900 rows", &closed),
        window(
            "inconclusive",
            VerdictState::Inconclusive,
            0,
            "only 61 % of the slots of users.email.not_null could be measured",
            &closed,
        ),
        window("superseded", VerdictState::Superseded, 0, "", &newer),
        window("superseded-failed", VerdictState::Failed, 1, "user_credits has 900 rows", &newer),
        report("armed", deploys::armed(now)),
        report("checker-down", absence(now)),
        opened("stale-secret", IncidentKind::StaleSecret, webhooks::stale(now)),
        opened("signature-failures", IncidentKind::SignatureFailures, webhooks::refused(now)),
        opened("compromised-secret", IncidentKind::CompromisedSecret, webhooks::compromised(now)),
        opened("rotation-stuck", IncidentKind::RotationStuck, webhooks::stuck(now)),
        opened("product-on-another-secret", IncidentKind::StaleSecret, webhooks::other_secret(now)),
        opened("product-down", IncidentKind::ProductDown, webhooks::product_down(now)),
        opened("foreign-signature", IncidentKind::WebhookOddity, webhooks::foreign(now)),
        opened("webhook-setup", IncidentKind::WebhookSetup, webhooks::setup(now)),
        opened("webhook-silence", IncidentKind::WebhookSilence, webhooks::silence(now)),
        opened("orders-without-webhooks", IncidentKind::WebhookSilence, webhooks::orders(now)),
        report("new-secret-signs", webhooks::new_secret(now)),
        report("secret-rotated", webhooks::rotated(now)),
        report("new-event", webhooks::new_event(now)),
        opened("mail-broken", IncidentKind::MailBroken, lost_recipient(now)),
        Sample { environment: "", ..opened("channel-broken", IncidentKind::MailBroken, broken_channel(now)) },
        digest(now),
        test(now),
    ]
}

fn absence(now: Timestamp) -> Facts {
    let deploy = Some((DEPLOY, "7f3c2a1".to_owned()));
    let what = Unwatched { environment: ENVIRONMENT, deploy, missed: 8 };
    match absence::signal(&what, now - SignedDuration::from_mins(42), now) {
        Signal::Report { facts, .. } => facts,
        _ => unreachable!("an absence is a report"),
    }
}

fn incident(kind: IncidentKind, facts: &Facts, notice: Notice, now: Timestamp) -> Incident {
    let scope = match kind {
        IncidentKind::ChecksFailed | IncidentKind::CannotCheck => DEPLOY,
        _ => "lemonsqueezy",
    };
    let key = DedupKey { environment: ENVIRONMENT.into(), scope: scope.into(), kind };
    let id = IncidentId::from_text("inc_0192f0c1d2e37f00a1b2c3d4e53f9a1c");
    let incident = Incident::open(id, key, facts.since, facts.clone());
    let note = "recovered by itself: user_credits keeps its rows, agents.org.join; the verdict stays failed";
    match notice {
        Notice::Resolved | Notice::Recovered => incident.resolve(now, note).0,
        _ => incident,
    }
}

/// Something that is no check of a deploy.
fn plain(label: &str, subject: &str, headline: &str, now: Timestamp) -> Facts {
    Facts {
        severity: Severity::Critical,
        label: label.into(),
        subject: subject.into(),
        headline: headline.into(),
        since: now,
        next_steps: Vec::new(),
        context: Vec::new(),
        members: Vec::new(),
    }
}

fn member(title: &str, expected: &str, observed: &str, now: Timestamp) -> Member {
    Member {
        key: title.into(),
        title: title.into(),
        severity: Severity::Critical,
        expected: expected.into(),
        observed: observed.into(),
        baseline: None,
        change: None,
        first_seen_at: now,
        count: 1,
        runs: 0,
        message: String::new(),
        runbook: None,
    }
}

/// One mail for many, when a storm guard holds back the rest.
fn digest(now: Timestamp) -> Sample {
    let line = |n: u32| Member {
        key: format!("ntf_{n}"),
        title: format!("[FAIL {}] acme-production deploy 7f3c2a1 #3f9a{n:02}", n + 1),
        severity: if n < 3 { Severity::Critical } else { Severity::Warning },
        count: 0,
        message: format!("{} checks fail since T+00:07 of deploy 7f3c2a1 in acme-production", n + 1),
        ..member("", "", "", now)
    };
    let headline = "24 messages in one: you are sent at most 10 in 10 minutes, and there were more";
    Sample {
        name: "digest",
        notice: Notice::Digest,
        environment: "",
        incident: None,
        facts: Facts {
            next_steps: vec![
                "See all that is open: https://deploywatch.example.com/".into(),
                "Start with the worst, which stand first".into(),
                "What else comes up within these ten minutes is collected as well; the cap is \
                 alerts.max_mails_per_10_minutes = 10"
                    .into(),
            ],
            members: (1..25).map(line).collect(),
            ..plain("DIGEST 24", "deploywatch mails to you", headline, now)
        },
        now,
    }
}

fn test(now: Timestamp) -> Sample {
    Sample {
        name: "test",
        notice: Notice::Test,
        environment: "",
        incident: None,
        facts: Facts {
            severity: Severity::Info,
            next_steps: vec!["Nothing: this mail only shows that the path works".into()],
            context: vec![
                ("sent through".into(), "SMTP by smtp.example.com:587".into()),
                ("watches".into(), "acme-production, acme-staging".into()),
            ],
            ..plain("TEST", "deploywatch mail path", "Mails from deploywatch reach you", now)
        },
        now,
    }
}

fn lost_recipient(now: Timestamp) -> Facts {
    let (who, about) = ("b***@example.com", ENVIRONMENT);
    Facts {
        next_steps: vec![
            format!("Check whether {who} still exists and correct the recipients of {about}"),
            "Tell that person what this mail is about; they were not told".into(),
            "Once it is mended, send again what was given up: `deploywatch outbox retry --dead`".into(),
        ],
        members: vec![member(
            who,
            "the mail server takes this recipient",
            "refused with 550 at the step `recipient`",
            now,
        )],
        ..plain(
            "MAIL BROKEN",
            &format!("{about} mail to {who}"),
            &format!("A mail about {about} to {who} was given up"),
            now,
        )
    }
}

fn broken_channel(now: Timestamp) -> Facts {
    Facts {
        next_steps: vec![
            "Correct channels.team in the settings".into(),
            "Run `deploywatch notify test --channel team` to see what it answers".into(),
        ],
        members: vec![member("channel team", "it takes a message", "refused with 404", now)],
        ..plain(
            "CHANNEL BROKEN",
            "deploywatch channel team",
            "The channel team takes no messages; mails go out as ever",
            now,
        )
    }
}
