//! Promises of docs/ALERTS.md, each against a server or a window of 24 hours: what an outage, a storm or a
//! stubborn mail server may cost, and what it may not.

use std::sync::Arc;
use std::time::Duration;

use deploywatch::domain::check::Check;
use deploywatch::domain::clock::{Clock, SignedDuration};
use deploywatch::domain::incident::IncidentKind;
use deploywatch::domain::notification::FailureClass;
use deploywatch::email::Mailer;
use deploywatch::services::outbox::path;
use deploywatch::services::{alerting, outbox};
use deploywatch::settings::{ArmedPolicy, EmailTransport, Settings, SmtpTls};
use deploywatch::store::notifications;
use deploywatch::system::environment;

use crate::alerts::Desk;
use crate::mail::last_failure;
use crate::support::app::TestApp;
use crate::support::hook::{self, Hook, NEW};
use crate::support::signer::numbered;
use crate::support::smtp::{Behaviour, SmtpServer};
use crate::support::watch::{World, violations};
use crate::support::{Engine, TestStore, free_port, manual_clock};

fn smtp(settings: &mut Settings, port: u16) {
    settings.email.transport = EmailTransport::Smtp;
    settings.email.from = "deploywatch <alerts@example.com>".into();
    settings.email.recipients = vec!["ada@example.com".into()];
    settings.email.smtp.host = "127.0.0.1".into();
    settings.email.smtp.port = port;
    settings.email.smtp.tls = Some(SmtpTls::None);
}

impl World {
    /// The same world with mails that go this way.
    fn mailing(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = (*self.ctx.settings).clone();
        settings.email.from = "deploywatch <alerts@example.com>".into();
        settings.email.recipients = vec!["ada@example.com".into()];
        settings.email.transport = EmailTransport::Memory;
        change(&mut settings);
        self.ctx.mailer = Mailer::of(&settings.email);
        self.ctx.settings = Arc::new(settings);
        self
    }

    /// Lets time pass, with the jobs that mail run every `step`.
    async fn passes(&self, length: SignedDuration, step: SignedDuration) {
        let end = self.clock.now() + length;
        while self.clock.now() < end {
            self.pass(step).await;
            alerting::catch_up(&self.ctx).await.unwrap();
            outbox::send_due(&self.ctx).await.unwrap();
        }
    }

    fn subjects(&self) -> Vec<String> {
        let mails = self.ctx.mailer.memory().expect("mails are kept in memory").mails();
        mails.into_iter().map(|mail| mail.content.subject).collect()
    }
}

async fn world(checks: Vec<Check>) -> (World, TestStore) {
    let store = TestStore::new(Engine::Sqlite).await;
    let mut world = World::new(&store, checks).await;
    // The mail that a window has opened is counted elsewhere.
    Arc::make_mut(&mut world.ctx.settings).alerts.armed = ArmedPolicy::Never;
    (world, store)
}

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

/// R3: a mail server that is down for six hours costs no mail and no check.
#[tokio::test]
async fn six_hours_without_mail_lose_nothing_and_stop_no_check() {
    let port = free_port();
    let (world, _store) = world(vec![violations("users.email")]).await;
    let world = world.mailing(|settings| smtp(settings, port));
    world.target.script(|_, _| Ok(1.0));
    let id = world.release("v1").await;
    world.passes(SignedDuration::from_hours(6), minutes(10)).await;
    let measured = world.observations(&id).await.iter().filter(|made| made.sample == 0).count();
    // 20 slots of smoke, then one every five minutes.
    assert!(measured >= 20 + (6 * 60 - 10) / 5, "{measured} slots were answered");
    assert!(path::standing(&world.ctx).await.unwrap().starts_with("broken since"));

    let server = SmtpServer::start_on(port, Behaviour::Accept).await;
    // One step of the backoff, jitter included.
    world.passes(minutes(40), minutes(1)).await;
    let mails: Vec<String> = server.mails().into_iter().map(|m| String::from_utf8(m).unwrap()).collect();
    let failed: Vec<&String> = mails.iter().filter(|mail| mail.contains("Subject: [FAIL 1]")).collect();
    assert_eq!(failed.len(), 1, "{mails:?}");
    assert!(failed[0].contains("This mail was delayed"), "{}", failed[0]);
    assert_eq!(path::standing(&world.ctx).await.unwrap(), "ok");
}

/// R4: a server that stalls costs one bounded attempt.
#[tokio::test]
async fn a_server_that_stalls_costs_one_bounded_attempt() {
    for behaviour in [
        Behaviour::Silent,
        Behaviour::StallAfterEhlo,
        Behaviour::StallAfterData,
        Behaviour::StallAfterDot,
        Behaviour::Trickle,
    ] {
        let server = SmtpServer::start(behaviour).await;
        let mut settings = Settings::defaults();
        smtp(&mut settings, server.port);
        settings.email.smtp.connect_seconds = 1;
        settings.email.smtp.attempt_seconds = 1;
        let desk = Desk::with(TestStore::new(Engine::Sqlite).await, settings).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let sending = tokio::time::timeout(Duration::from_secs(60), desk.send()).await;
        assert_eq!(sending.expect("the attempt ends").failed, 1, "{behaviour:?}");
        assert_eq!(last_failure(&desk).await.1, Some(FailureClass::Transient), "{behaviour:?}");
        server.behave(Behaviour::Accept);
        desk.wait(1);
        assert_eq!(desk.send().await.sent, 1, "{behaviour:?}");
    }
}

/// R4: while the sender waits for a silent server, an hour of checks is made on time.
#[tokio::test]
async fn a_silent_server_delays_no_check() {
    let server = SmtpServer::start(Behaviour::Silent).await;
    let (world, _store) = world(vec![violations("users.email")]).await;
    let world = world.mailing(|settings| {
        smtp(settings, server.port);
        settings.email.smtp.attempt_seconds = 600;
    });
    world.target.script(|_, _| Ok(1.0));
    let id = world.release("v1").await;
    world.pass(minutes(2)).await;
    let ctx = world.ctx.clone();
    let sending = tokio::spawn(async move { outbox::send_due(&ctx).await });
    let begun = async || !server.lines().is_empty() || server.connections() > 0;
    crate::support::eventually("the sender is at work", Duration::from_secs(30), async || {
        begun().await.then_some(())
    })
    .await;
    world.pass(minutes(60)).await;
    assert!(!sending.is_finished(), "it still waits");
    sending.abort();
    for made in world.observations(&id).await {
        assert!(
            made.observation.observed_at.duration_since(made.observation.slot_at)
                < SignedDuration::from_secs(61)
        );
    }
}

/// R5: a refused login or sender is on the page, in the metrics and in the detail of `/readyz` at once.
#[tokio::test]
async fn a_refused_login_or_sender_is_seen_where_people_look() {
    for (behaviour, code) in [(Behaviour::RefuseLogin, "535"), (Behaviour::RefuseSender, "550")] {
        let server = SmtpServer::start(behaviour).await;
        let app = TestApp::start_on(Engine::Sqlite, |settings| {
            smtp(settings, server.port);
            settings.email.smtp.username = Some("deploywatch".into());
            settings.email.smtp.password = Some("canary-password".to_owned().into());
        })
        .await;
        let ready: serde_json::Value = app.get("/readyz").await.json().await.unwrap();
        assert_eq!(ready["mail"], "ok");
        let mut tx = app.ctx().db.begin().await.unwrap();
        let at = app.ctx().now();
        let signal = deploywatch::domain::incident::Signal::Firing {
            key: crate::alerts::key(IncidentKind::ChecksFailed),
            at,
            facts: crate::alerts::facts(&["a"], at),
        };
        alerting::record(app.ctx(), &mut tx, &[signal]).await.unwrap();
        tx.commit().await.unwrap();
        outbox::send_due(app.ctx()).await.unwrap();

        let ready = app.get("/readyz").await;
        assert_eq!(ready.status(), 200, "mail is a detail and takes nobody away");
        let ready: serde_json::Value = ready.json().await.unwrap();
        let said = ready["mail"].as_str().unwrap();
        assert!(said.starts_with("broken since") && said.contains(code), "{said}");
        let metrics = app.get("/metrics").await.text().await.unwrap();
        let broken = |line: &str| line.starts_with("deploywatch_mail_path_broken{") && line.ends_with(" 1");
        assert!(metrics.lines().any(broken), "{metrics}");
        let page = app.get("/").await.text().await.unwrap();
        assert!(page.contains("MAIL BROKEN"), "{page}");
        for text in [said, &metrics, &page] {
            assert!(!text.contains("canary-password") && !text.contains("ada@example.com"), "{text}");
        }
    }
}

/// R12: a restart tells nobody again, and what turned meanwhile is told once.
#[tokio::test]
async fn a_restart_repeats_nothing_and_sees_what_turned_meanwhile() {
    let (mut world, store) = world(vec![violations("users.email")]).await;
    world = world.mailing(|_| {});
    world.target.script(|_, _| Ok(1.0));
    world.release("v1").await;
    world.passes(minutes(20), minutes(1)).await;
    assert_eq!(world.subjects().len(), 1, "{:?}", world.subjects());
    world.ctx = world.another(&store).await;
    world.passes(minutes(20), minutes(1)).await;
    assert_eq!(world.subjects().len(), 1, "{:?}", world.subjects());
    // Nobody is there while it is mended.
    world.target.script(|_, _| Ok(0.0));
    world.clock.advance(minutes(12));
    world.ctx = world.another(&store).await;
    world.passes(minutes(12), minutes(1)).await;
    let subjects = world.subjects();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(subjects[1].starts_with("[RESOLVED]"), "{subjects:?}");
}

/// R13: whatever fails at once is one mail, and a small one.
#[tokio::test]
async fn five_hundred_checks_that_fail_at_once_are_one_small_mail() {
    let checks =
        (0..500).map(|n| violations(&format!("table_{n}.not_null.a_rather_long_column_name"))).collect();
    let (world, _store) = world(checks).await;
    let world = world.mailing(|_| {});
    world.target.script(|_, _| Ok(1.0));
    world.release("v1").await;
    world.passes(minutes(10), minutes(1)).await;
    let mails = world.ctx.mailer.memory().unwrap().mails();
    assert_eq!(mails.len(), 1, "{:?}", world.subjects());
    let content = &mails[0].content;
    assert!(content.subject.starts_with("[FAIL 500]"), "{}", content.subject);
    assert!(content.text.contains("+ 490 more"));
    assert!(
        content.text.len() + content.html.len() < 90_000,
        "{} bytes",
        content.text.len() + content.html.len()
    );
}

/// R13: refused deliveries are one incident, however many there are. Ten thousand of them with
/// `DEPLOYWATCH_TEST_REJECTS=10000`.
#[tokio::test]
async fn thousands_of_refused_deliveries_are_a_handful_of_mails() {
    let rejects: u32 =
        environment().get("DEPLOYWATCH_TEST_REJECTS").map_or(200, |n| n.parse().expect("it is a number"));
    let store = TestStore::new(Engine::Sqlite).await;
    let mut settings = hook::settings(&store, Some(NEW), None);
    settings.email.transport = EmailTransport::Memory;
    settings.email.recipients = vec!["ada@example.com".into()];
    let hook = Hook::start_with(&store, &settings, manual_clock()).await;
    assert_eq!(hook.deliver(NEW, &numbered(0)).await, 200);
    for n in 0..rejects {
        let status = hook.deliver("another-secret", &numbered(n + 1)).await;
        assert!(status == 401 || status == 429, "{status}");
        if n % 20 == 0 {
            hook.tick().await;
        }
    }
    hook.tick().await;
    let mails = hook.app.context.mailer.memory().unwrap().mails();
    let subjects: Vec<&str> = mails.iter().map(|mail| mail.content.subject.as_str()).collect();
    let news = subjects.iter().filter(|subject| !subject.starts_with("[REMINDER"));
    assert!((1..=2).contains(&news.count()), "{subjects:?}");
}

async fn mails_of_a_day(fail_after: u32, recover_after: u32) -> Vec<String> {
    let mut check = violations("users.email");
    (check.policy.fail_after, check.policy.recover_after) = (fail_after, recover_after);
    let (world, _store) = world(vec![check]).await;
    let world = world.mailing(|_| {});
    // Every run answers the opposite of the one before, confirming ones included.
    let runs = std::sync::atomic::AtomicU64::new(0);
    world.target.script(move |_, _| {
        let run = runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(if run.is_multiple_of(2) { 0.0 } else { 1.0 })
    });
    world.release("v1").await;
    world.passes(SignedDuration::from_hours(24) + minutes(10), minutes(5)).await;
    world.subjects()
}

/// R14: what alternates with every run for a day is at most five mails about it, and the day's report.
#[tokio::test]
async fn a_day_of_flapping_is_at_most_five_mails() {
    // By the defaults a check must fail twice in a row, so nothing is told at all.
    for (fail_after, recover_after, most) in [(2, 2, 0), (1, 2, 2), (1, 1, 5)] {
        let subjects = mails_of_a_day(fail_after, recover_after).await;
        let report = |subject: &&String| {
            ["[PASSED", "[FAILED", "[INCONCLUSIVE"].iter().any(|word| subject.starts_with(word))
        };
        let reports = subjects.iter().filter(report).count();
        assert_eq!(reports, 1, "{fail_after}/{recover_after}: {subjects:?}");
        assert!(subjects.len() - reports <= most, "{fail_after}/{recover_after}: {subjects:?}");
        if fail_after == 1 {
            assert!(subjects.iter().any(|subject| subject.starts_with("[FLAPPING")), "{subjects:?}");
        }
    }
}

/// A newer deploy takes over what still fails: its own mail tells it, and no RESOLVED says otherwise.
#[tokio::test]
async fn a_problem_that_outlives_its_deploy_is_told_once_more_and_not_twice() {
    let (world, _store) = world(vec![violations("users.email")]).await;
    let world = world.mailing(|_| {});
    world.target.script(|_, _| Ok(1.0));
    world.release("v1").await;
    world.passes(minutes(10), minutes(1)).await;
    let first = world.subjects().remove(0);
    let number = first.rsplit('#').next().unwrap().to_owned();
    world.release("v2").await;
    world.passes(minutes(10), minutes(1)).await;
    let subjects = world.subjects();
    assert!(!subjects.iter().any(|subject| subject.starts_with("[RESOLVED]")), "{subjects:?}");
    let failed: Vec<&String> = subjects.iter().filter(|subject| subject.starts_with("[FAIL ")).collect();
    assert_eq!(failed.len(), 2, "{subjects:?}");
    assert!(failed[1].contains("v2"), "{subjects:?}");
    let mails = world.ctx.mailer.memory().unwrap().mails();
    let second = mails.iter().find(|mail| mail.content.subject == *failed[1]).unwrap();
    assert!(second.content.text.contains(&format!("incident #{number}")), "{}", second.content.text);
    let stored = notifications::list_recent(&mut world.ctx.db.reader().await.unwrap(), 50).await.unwrap();
    assert!(stored.iter().any(|s| s.notification.content.subject.starts_with("[SUPERSEDED]")));
}

/// An outage silences the checks of the database and leaves a report of the gap.
#[tokio::test]
async fn an_outage_is_one_mail_and_its_end_tells_the_gap() {
    let (world, _store) = world(vec![violations("users.email"), violations("users.name")]).await;
    let world = world.mailing(|_| {});
    world.release("v1").await;
    world.passes(minutes(12), minutes(1)).await;
    world.target.set_down(true);
    world.passes(minutes(30), minutes(1)).await;
    world.target.set_down(false);
    world.passes(minutes(10), minutes(1)).await;
    let subjects = world.subjects();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(
        subjects[0].starts_with("[CANNOT CHECK]") && subjects[1].starts_with("[RESOLVED]"),
        "{subjects:?}"
    );
    let text = &world.ctx.mailer.memory().unwrap().mails()[1].content.text;
    assert!(text.contains("the gap: nothing is known of the"), "{text}");
}
