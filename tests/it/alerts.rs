//! Signals become incidents and mails, in the transaction of their cause, on both engines.

use std::sync::Arc;

use deploywatch::domain::check::Severity;
use deploywatch::domain::clock::{ManualClock, SignedDuration, Timestamp};
use deploywatch::domain::incident::{DedupKey, Facts, IncidentKind, Member, Signal};
use deploywatch::domain::notification::{Notice, NotificationState, Stage};
use deploywatch::email::{Mail, SendError};
use deploywatch::services::context::Keys;
use deploywatch::services::{Context, alerting, outbox};
use deploywatch::settings::{EmailTransport, Settings};
use deploywatch::store::incidents::Which;
use deploywatch::store::{incidents, notifications};

use crate::on_both_engines;
use crate::support::{TestEntropy, TestStore, manual_clock};

/// A context over a clean store, with two people on call and mails kept in memory.
pub struct Desk {
    pub ctx: Context,
    pub clock: Arc<ManualClock>,
    store: TestStore,
}

impl Desk {
    pub async fn new(store: TestStore) -> Self {
        let mut settings = Settings::defaults();
        settings.email.transport = EmailTransport::Memory;
        settings.email.from = "deploywatch <alerts@example.com>".into();
        settings.email.recipients = vec!["ada@example.com".into(), "Bob <bob@example.com>".into()];
        settings.http.public_url = Some("https://watch.example.com".parse().unwrap());
        Self::with(store, settings).await
    }

    pub async fn with(store: TestStore, settings: Settings) -> Self {
        let clock = manual_clock();
        let ctx = Context::new(
            store.db().await,
            clock.clone(),
            Arc::new(TestEntropy::default()),
            Arc::new(settings),
            Keys::new([7; 32]),
        );
        Self { ctx, clock, store }
    }

    pub async fn record(&self, signal: Signal) {
        let mut tx = self.ctx.db.begin().await.unwrap();
        alerting::record(&self.ctx, &mut tx, &[signal]).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn fires(&self, kind: IncidentKind, members: &[&str]) {
        let at = self.ctx.clock.now();
        self.record(Signal::Firing { key: key(kind), at, facts: facts(members, at) }).await;
    }

    pub async fn clears(&self, kind: IncidentKind) {
        let at = self.ctx.clock.now();
        self.record(Signal::Cleared { key: key(kind), at, note: "every check passes again".into() }).await;
    }

    pub async fn send(&self) -> outbox::Sending {
        outbox::send_due(&self.ctx).await.unwrap()
    }

    /// For a command on the same store.
    pub fn ctx_store_url(&self) -> String {
        self.store.url.clone()
    }

    pub fn wait(&self, minutes: i64) {
        self.clock.advance(SignedDuration::from_mins(minutes));
    }

    /// Mails taken so far, by recipient's first letter and subject.
    pub fn taken(&self) -> Vec<Mail> {
        self.ctx.mailer.memory().unwrap().mails()
    }

    pub fn statuses(&self, recipient: &str) -> Vec<String> {
        let mails = self.taken();
        let theirs = mails.iter().filter(|mail| mail.to.contains(recipient));
        theirs
            .map(|mail| mail.content.subject.split(']').next().unwrap().trim_start_matches('[').to_owned())
            .collect()
    }
}

pub fn key(kind: IncidentKind) -> DedupKey {
    DedupKey { environment: "acme-production".into(), scope: "dep_1".into(), kind }
}

pub fn facts(members: &[&str], at: Timestamp) -> Facts {
    Facts {
        severity: Severity::Critical,
        label: "FAIL".into(),
        subject: "acme-production deploy 7f3c2a1".into(),
        headline: "1 check fails on acme-production, 7 min after deploy 7f3c2a1".into(),
        since: at,
        next_steps: vec!["Look at the rows".into()],
        context: vec![("version".into(), "7f3c2a1".into())],
        members: members.iter().map(|key| member(key, at)).collect(),
    }
}

pub fn member(key: &str, at: Timestamp) -> Member {
    Member {
        key: key.into(),
        title: key.into(),
        severity: Severity::Critical,
        expected: "drop at most 1% (990)".into(),
        observed: "900".into(),
        baseline: Some("1,000".into()),
        change: Some("-10%".into()),
        first_seen_at: at,
        count: 2,
        runs: 3,
        message: "user_credits has 900 rows".into(),
        runbook: None,
    }
}

on_both_engines! {
    async fn a_problem_is_told_once_to_everybody_and_its_end_too(store: TestStore) {
        let desk = Desk::new(store).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        assert_eq!(desk.send().await.sent, 2);
        desk.wait(1);
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        assert_eq!(desk.send().await.sent, 0);
        desk.wait(1);
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.clears(IncidentKind::ChecksFailed).await;
        assert_eq!(desk.send().await.sent, 2);
        assert_eq!(desk.statuses("ada"), ["FAIL 1", "RESOLVED"]);
        assert_eq!(desk.statuses("bob"), ["FAIL 1", "RESOLVED"]);
        let mails = desk.taken();
        let outside: Vec<&str> = mails.iter().map(|m| m.content.subject.split_once("] ").unwrap().1).collect();
        assert!(outside.iter().all(|text| *text == outside[0]), "{outside:?}");
        let ada: Vec<&Mail> = mails.iter().filter(|mail| mail.to.contains("ada")).collect();
        let reply_to = ada[1].content.headers.iter().find(|(name, _)| name == "In-Reply-To").unwrap();
        assert_eq!(reply_to.1, ada[0].content.message_id);
    }

    async fn new_members_are_an_update_and_silence_brings_reminders(store: TestStore) {
        let desk = Desk::new(store).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.wait(1);
        desk.fires(IncidentKind::ChecksFailed, &["a", "b"]).await;
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1"]);
        desk.wait(5);
        assert_eq!(alerting::catch_up(&desk.ctx).await.unwrap(), 1);
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1", "UPDATE 2"]);
        desk.wait(61);
        assert_eq!(alerting::catch_up(&desk.ctx).await.unwrap(), 1);
        assert_eq!(alerting::catch_up(&desk.ctx).await.unwrap(), 0);
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1", "UPDATE 2", "REMINDER 2"]);
    }

    async fn an_unreachable_target_holds_back_the_mails_of_its_checks(store: TestStore) {
        let desk = Desk::new(store).await;
        let at = desk.ctx.clock.now();
        let mut tx = desk.ctx.db.begin().await.unwrap();
        let firing = |kind| Signal::Firing { key: key(kind), at, facts: facts(&["a"], at) };
        let both = [firing(IncidentKind::ChecksFailed), firing(IncidentKind::CannotCheck)];
        alerting::record(&desk.ctx, &mut tx, &both).await.unwrap();
        tx.commit().await.unwrap();
        desk.send().await;
        let kinds: Vec<String> = desk.taken().iter().map(kind_of).collect();
        assert_eq!(kinds, ["cannot_check", "cannot_check"]);
        desk.wait(10);
        desk.clears(IncidentKind::CannotCheck).await;
        desk.send().await;
        let kinds: Vec<String> = desk.taken().iter().skip(2).map(kind_of).collect();
        assert_eq!(kinds.iter().filter(|kind| *kind == "checks_failed").count(), 2);
        assert_eq!(kinds.iter().filter(|kind| *kind == "cannot_check").count(), 2);
    }

    async fn a_problem_that_returns_soon_stays_in_its_thread(store: TestStore) {
        let desk = Desk::new(store).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.wait(5);
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.wait(20);
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.send().await;
        desk.wait(1);
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["RESOLVED", "FAIL AGAIN 1", "RESOLVED"]);
        let mut reader = desk.ctx.db.reader().await.unwrap();
        assert_eq!(incidents::list(&mut reader, Which::All, None, 10).await.unwrap().len(), 1);
        drop(reader);
        desk.wait(31);
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let mut reader = desk.ctx.db.reader().await.unwrap();
        assert_eq!(incidents::list(&mut reader, Which::All, None, 10).await.unwrap().len(), 2);
    }

    async fn a_rolled_back_cause_leaves_no_incident_and_no_mail(store: TestStore) {
        let desk = Desk::new(store).await;
        let at = desk.ctx.clock.now();
        let mut tx = desk.ctx.db.begin().await.unwrap();
        let signal = Signal::Firing { key: key(IncidentKind::StaleSecret), at, facts: facts(&["a"], at) };
        alerting::record(&desk.ctx, &mut tx, &[signal]).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(desk.send().await.sent, 0);
        let mut reader = desk.ctx.db.reader().await.unwrap();
        assert!(incidents::list(&mut reader, Which::All, None, 10).await.unwrap().is_empty());
    }

    async fn a_report_is_sent_once(store: TestStore) {
        let desk = Desk::new(store).await;
        let at = desk.ctx.clock.now();
        let mut passed = facts(&[], at);
        passed.label = "PASSED 24h".into();
        for _ in 0..2 {
            desk.record(Signal::Report {
                environment: "acme-production".into(),
                scope: "dep_1".into(),
                at,
                facts: passed.clone(),
            })
            .await;
        }
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["PASSED 24h"]);
        assert_eq!(desk.taken()[0].content.subject, "[PASSED 24h] acme-production deploy 7f3c2a1");
    }

    async fn what_ended_before_it_could_be_told_is_one_mail(store: TestStore) {
        let desk = Desk::new(store).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let memory = desk.ctx.mailer.memory().unwrap();
        memory.fail_next(SendError::new(Stage::Connect, None, "connection refused"));
        desk.send().await;
        desk.wait(15);
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["RESOLVED"]);
        assert!(desk.taken()[0].content.text.contains("this mail replaces that one"));
    }

    async fn a_mail_that_may_have_arrived_is_not_rewritten(store: TestStore) {
        let desk = Desk::new(store).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let memory = desk.ctx.mailer.memory().unwrap();
        memory.fail_next(SendError::new(Stage::Content, None, "dropped after DATA"));
        desk.send().await;
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.wait(1);
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1", "RESOLVED"]);
    }

    async fn a_dead_recipient_stops_nobody_and_the_others_hear_of_it(store: TestStore) {
        let desk = Desk::new(store).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let memory = desk.ctx.mailer.memory().unwrap();
        memory.fail_next(SendError::new(Stage::Recipient, Some(550), "550 no such user"));
        desk.send().await;
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.send().await;
        assert!(desk.statuses("ada").is_empty(), "no RESOLVED without its FAIL");
        // The two problems are of the same moment here, so only each one's own order is fixed.
        let bob = desk.statuses("bob");
        assert!(bob.iter().any(|status| status == "MAIL BROKEN"), "{bob:?}");
        let of_the_check: Vec<_> = bob.iter().filter(|status| *status != "MAIL BROKEN").collect();
        assert_eq!(of_the_check, ["FAIL 1", "RESOLVED"]);
        let mut reader = desk.ctx.db.reader().await.unwrap();
        let dead = notifications::list_recent(&mut reader, 10).await.unwrap();
        assert_eq!(dead.iter().filter(|s| s.state == NotificationState::Dead).count(), 1);
        assert!(dead.iter().all(|s| s.notification.notice != Notice::Resolved || s.notification.recipient.contains("bob")));
    }
}

fn kind_of(mail: &Mail) -> String {
    let header = mail.content.headers.iter().find(|(name, _)| name == "X-Deploywatch-Kind");
    header.map(|(_, value)| value.clone()).unwrap_or_default()
}
