//! What docs/ALERTS.md promises, each against a server that speaks SMTP: what an outage, a storm or a stubborn mail
//! server may cost, and what it may not. Where each promise is tried:
//!
//! | # | promise | tests |
//! |---|---|---|
//! | R1 | a committed change is mailed at least once, across `kill -9` | `mail_crash`: `every_mail_is_accepted_whenever_the_sender_is_killed_*`; `mail`: `a_mail_whose_answer_was_lost_goes_out_again_as_the_same_mail` |
//! | R2 | no mail without a committed change, no RESOLVED before its FAIL was taken | `nothing_is_mailed_that_was_not_committed_or_not_told`; `mail_crash`; `domain::machine_tests` |
//! | R3 | six hours without a mail server lose nothing and stop no check | `six_hours_without_mail_lose_nothing_and_stop_no_check` |
//! | R4 | a silent or slow server costs one bounded attempt and delays no check | `a_server_that_stalls_costs_one_bounded_attempt`, `a_silent_server_delays_no_check` |
//! | R5 | one bad recipient stops nobody; a refused login or sender is seen at once | `mail`: `one_refused_recipient_does_not_stop_the_others`; `a_refused_login_or_sender_is_seen_where_people_look` |
//! | R6 | encryption that was asked for is never left out; a bad certificate gets no credentials | `mail_tls` (the certificate matrix); `mail`: `encryption_that_was_asked_for_is_never_left_out` |
//! | R7 | a database that cannot be measured is one CANNOT CHECK and no failure | `outage`: `an_outage_in_any_form_*`, `a_database_that_hangs_*`, `a_pooler_that_is_down_*` |
//! | R12 | a restart repeats nothing and sees what turned meanwhile | `a_restart_repeats_nothing_and_sees_what_turned_meanwhile`, `what_was_resolved_by_hand_and_still_fails_is_told_again` |
//! | R13 | 500 failures at once are one mail below 90 KB; thousands of rejects are a handful | `five_hundred_checks_that_fail_at_once_are_one_small_mail`, `thousands_of_refused_deliveries_are_a_handful_of_mails` |
//! | R14 | a day of flapping is at most five mails | `a_day_of_flapping_is_at_most_five_mails` |
//! | R20 | no secret leaves | `secrecy`: `no_secret_of_the_settings_is_said_anywhere` |
//! | R21 | no person of the watched rows is told | `secrecy`: `no_person_in_the_watched_rows_is_in_mails_pages_or_answers` |
//! | R22 | looking changes nothing, and a link acts once | `mail_links`: `scanners_change_nothing_and_a_person_acts_once` |
//! | R24 | text from outside is text | `inert`: `pages_and_mails_show_it_and_run_none_of_it` |
//! | R27 | the heartbeat stops when a part does; an absence is told | `heartbeat` |
//! | R31 | mails are whole, thread, and read well | `mail`: `a_mail_has_its_headers_both_bodies_and_its_thread`; `mail_rendering`; `email::prepare`: `what_stands_outside_the_brackets_is_the_incidents_alone` |
//! | R32 | from a failing run to the server's OK within ten seconds | `a_failing_run_is_with_the_mail_server_within_ten_seconds` |

use std::sync::Arc;
use std::time::Duration;

use deploywatch::domain::check::Check;
use deploywatch::domain::clock::{Clock, SignedDuration};
use deploywatch::domain::incident::{DedupKey, IncidentKind, Signal};
use deploywatch::domain::notification::FailureClass;
use deploywatch::email::Mailer;
use deploywatch::services::alerting::act::{Act, act};
use deploywatch::services::heartbeat;
use deploywatch::services::outbox::path;
use deploywatch::services::{alerting, outbox};
use deploywatch::settings::{ArmedPolicy, Settings};
use deploywatch::store::incidents::{self, Which};
use deploywatch::store::notifications;
use deploywatch::system::environment;

use crate::alerts::{Desk, facts, key};
use crate::mail::last_failure;
use crate::support::app::TestApp;
use crate::support::hook::{self, Hook, NEW};
use crate::support::signer::numbered;
use crate::support::smtp::{Behaviour, SmtpServer, lead_to};
use crate::support::watch::{World, violations};
use crate::support::{Engine, TestStore, free_port, manual_clock};

impl World {
    /// The same world with mails that go this way.
    fn mailing(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = (*self.ctx.settings).clone();
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
}

/// A world that mails to a server of its own.
async fn mailed(checks: Vec<Check>) -> (World, SmtpServer, TestStore) {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let (world, store) = world(checks).await;
    (world.mailing(|settings| server.lead_here(settings)), server, store)
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

/// R2: what was rolled back is mailed to nobody, and whoever was not told of a problem is not told of its end.
#[tokio::test]
async fn nothing_is_mailed_that_was_not_committed_or_not_told() {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let mut settings = Settings::defaults();
    server.lead_here(&mut settings);
    settings.email.recipients.push("bob@example.com".into());
    let desk = Desk::with(TestStore::new(Engine::Sqlite).await, settings).await;
    let at = desk.ctx.now();
    let mut tx = desk.ctx.db.begin().await.unwrap();
    let signal = Signal::Firing { key: key(IncidentKind::StaleSecret), at, facts: facts(&["a"], at) };
    alerting::record(&desk.ctx, &mut tx, &[signal]).await.unwrap();
    tx.rollback().await.unwrap();
    desk.send().await;
    assert_eq!(server.connections(), 0, "nothing is there to send");

    server.behave(Behaviour::RefuseRecipient("ada@"));
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    while desk.send().await.failed > 0 {}
    server.behave(Behaviour::Accept);
    desk.clears(IncidentKind::ChecksFailed).await;
    desk.send().await;
    let to = |name: &str| -> Vec<String> {
        let mails = server.letters();
        let theirs = mails.iter().filter(|mail| mail.to.starts_with(name));
        theirs.map(|mail| mail.status().to_owned()).filter(|status| status != "MAIL BROKEN").collect()
    };
    assert_eq!((to("ada"), to("bob")), (Vec::new(), vec!["FAIL 1".to_owned(), "RESOLVED".to_owned()]));
}

/// R3: a mail server that is down for six hours costs no mail and no check.
#[tokio::test]
async fn six_hours_without_mail_lose_nothing_and_stop_no_check() {
    let port = free_port();
    let (world, _store) = world(vec![violations("users.email")]).await;
    let world = world.mailing(|settings| lead_to(settings, port));
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
    let mails = server.letters();
    let failed: Vec<_> = mails.iter().filter(|mail| mail.status() == "FAIL 1").collect();
    assert_eq!(failed.len(), 1, "{:?}", server.subjects());
    assert!(failed[0].text.contains("This mail was delayed"), "{}", failed[0].text);
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
        server.lead_here(&mut settings);
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
        server.lead_here(settings);
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
            server.lead_here(settings);
            settings.email.smtp.username = Some("deploywatch".into());
            settings.email.smtp.password = Some("canary-password".to_owned().into());
            settings.heartbeat.url = Some("http://127.0.0.1:1/".into());
        })
        .await;
        let ready: serde_json::Value = app.get("/readyz").await.json().await.unwrap();
        assert_eq!(ready["mail"], "ok");
        let mut tx = app.ctx().db.begin().await.unwrap();
        let at = app.ctx().now();
        let signal = Signal::Firing { key: key(IncidentKind::ChecksFailed), at, facts: facts(&["a"], at) };
        alerting::record(app.ctx(), &mut tx, &[signal]).await.unwrap();
        tx.commit().await.unwrap();
        app.app.tick().await;

        let ready = app.get("/readyz").await;
        assert_eq!(ready.status(), 200, "mail is a detail and takes nobody away");
        let ready: serde_json::Value = ready.json().await.unwrap();
        let said = ready["mail"].as_str().unwrap();
        assert!(said.starts_with("broken since") && said.contains(code), "{said}");
        let metrics = app.get("/metrics").await.text().await.unwrap();
        app.clock.advance(minutes(1));
        let reports = app.app.tick().await;
        let beat = reports.into_iter().find(|(job, _)| *job == heartbeat::JOB).expect("it ran").1.problem;
        assert!(beat.as_ref().is_some_and(|why| why.contains("mails cannot be handed over")), "{beat:?}");
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
    let (mut world, server, store) = mailed(vec![violations("users.email")]).await;
    world.target.script(|_, _| Ok(1.0));
    world.release("v1").await;
    world.passes(minutes(20), minutes(1)).await;
    assert_eq!(server.statuses(), ["FAIL 1"]);
    world.ctx = world.another(&store).await;
    world.passes(minutes(20), minutes(1)).await;
    assert_eq!(server.statuses(), ["FAIL 1"]);
    // Nobody is there while it is mended.
    world.target.script(|_, _| Ok(0.0));
    world.clock.advance(minutes(12));
    world.ctx = world.another(&store).await;
    world.passes(minutes(12), minutes(1)).await;
    assert_eq!(server.statuses(), ["FAIL 1", "RESOLVED"]);
}

/// R12: what a person calls over is over until a scan finds it again; then that is told, once.
#[tokio::test]
async fn what_was_resolved_by_hand_and_still_fails_is_told_again() {
    let (world, server, _store) = mailed(vec![violations("users.email")]).await;
    world.target.script(|_, _| Ok(1.0));
    world.release("v1").await;
    world.passes(minutes(10), minutes(1)).await;
    let open = async || {
        let mut reader = world.ctx.db.reader().await.unwrap();
        incidents::list(&mut reader, Which::Open, None, 10).await.unwrap()
    };
    let [stored] = &open().await[..] else { panic!("one incident") };
    let done = Act::Resolve { note: "mended".into() };
    act(&world.ctx, &stored.incident.id, "token ada", done).await.unwrap();
    outbox::send_due(&world.ctx).await.unwrap();
    assert_eq!(server.statuses(), ["FAIL 1", "RESOLVED"]);
    world.passes(minutes(10), minutes(1)).await;
    assert_eq!(server.statuses(), ["FAIL 1", "RESOLVED", "FAIL AGAIN 1"]);
    assert_eq!(open().await[0].incident.id, stored.incident.id);
}

/// R13: whatever fails at once is one mail, and a small one.
#[tokio::test]
async fn five_hundred_checks_that_fail_at_once_are_one_small_mail() {
    let checks =
        (0..500).map(|n| violations(&format!("table_{n}.not_null.a_rather_long_column_name"))).collect();
    let (world, server, _store) = mailed(checks).await;
    world.target.script(|_, _| Ok(1.0));
    world.release("v1").await;
    world.passes(minutes(10), minutes(1)).await;
    let [mail] = &server.letters()[..] else { panic!("one mail: {:?}", server.subjects()) };
    assert_eq!(mail.status(), "FAIL 500");
    assert!(mail.text.contains("+ 490 more"), "{}", mail.text);
    assert!(mail.bytes.len() < 90_000, "{} bytes", mail.bytes.len());
}

/// R13: refused deliveries are one incident, however many there are. Ten thousand of them with
/// `DEPLOYWATCH_TEST_REJECTS=10000`.
#[tokio::test]
async fn thousands_of_refused_deliveries_are_a_handful_of_mails() {
    let rejects: u32 =
        environment().get("DEPLOYWATCH_TEST_REJECTS").map_or(200, |n| n.parse().expect("it is a number"));
    let store = TestStore::new(Engine::Sqlite).await;
    let mut settings = hook::settings(&store, Some(NEW), None);
    let server = SmtpServer::start(Behaviour::Accept).await;
    server.lead_here(&mut settings);
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
    let statuses = server.statuses();
    // One about the secret, which grows to a page, and one about the address that is slowed down.
    let news: Vec<&String> = statuses.iter().filter(|status| !status.starts_with("REMINDER")).collect();
    assert!((1..=3).contains(&news.len()), "{statuses:?}");
}

async fn mails_of_a_day(fail_after: u32, recover_after: u32) -> Vec<String> {
    let mut check = violations("users.email");
    (check.policy.fail_after, check.policy.recover_after) = (fail_after, recover_after);
    let (world, server, _store) = mailed(vec![check]).await;
    // Every run answers the opposite of the one before, confirming ones included.
    let runs = std::sync::atomic::AtomicU64::new(0);
    world.target.script(move |_, _| {
        let run = runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(if run.is_multiple_of(2) { 0.0 } else { 1.0 })
    });
    world.release("v1").await;
    world.passes(SignedDuration::from_hours(24) + minutes(10), minutes(5)).await;
    server.subjects()
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
    let (world, server, _store) = mailed(vec![violations("users.email")]).await;
    world.target.script(|_, _| Ok(1.0));
    world.release("v1").await;
    world.passes(minutes(10), minutes(1)).await;
    let first = server.subjects().remove(0);
    let number = first.rsplit('#').next().unwrap().to_owned();
    world.release("v2").await;
    world.passes(minutes(10), minutes(1)).await;
    let subjects = server.subjects();
    assert!(!subjects.iter().any(|subject| subject.starts_with("[RESOLVED]")), "{subjects:?}");
    let failed: Vec<&String> = subjects.iter().filter(|subject| subject.starts_with("[FAIL ")).collect();
    assert_eq!(failed.len(), 2, "{subjects:?}");
    assert!(failed[1].contains("v2"), "{subjects:?}");
    let second = server.letters().into_iter().find(|mail| mail.subject == *failed[1]).unwrap();
    assert!(second.text.contains(&format!("incident #{number}")), "{}", second.text);
    let stored = notifications::list_recent(&mut world.ctx.db.reader().await.unwrap(), 50).await.unwrap();
    assert!(stored.iter().any(|s| s.notification.content.subject.starts_with("[SUPERSEDED]")));
}

/// R32: from the instant of the run that fails to the server's OK, by the clock of the program and at the pace of its
/// own jobs: no wall time, so that a busy machine changes nothing.
#[tokio::test]
async fn a_failing_run_is_with_the_mail_server_within_ten_seconds() {
    const INCIDENTS: usize = 100;
    let server = SmtpServer::start(Behaviour::Accept).await;
    let app = TestApp::start_on(Engine::Sqlite, |settings| {
        server.lead_here(settings);
        settings.alerts.max_mails_per_10_minutes = 1_000;
    })
    .await;
    app.app.tick().await;
    for n in 0..INCIDENTS {
        // Somewhere between two seconds, and between two turns of the jobs.
        app.clock.advance(SignedDuration::from_millis(i64::try_from(n * 37 % 1000).unwrap()));
        let at = app.ctx().now();
        let key = DedupKey { environment: format!("env-{n}"), ..key(IncidentKind::ChecksFailed) };
        let mut tx = app.ctx().db.begin().await.unwrap();
        let signal = Signal::Firing { key, at, facts: facts(&["a"], at) };
        alerting::record(app.ctx(), &mut tx, &[signal]).await.unwrap();
        tx.commit().await.unwrap();
        let taken = server.mails().len();
        for _ in 0..10 {
            if server.mails().len() > taken {
                break;
            }
            app.clock.advance(SignedDuration::from_secs(1));
            app.app.tick().await;
        }
    }
    assert_eq!(server.mails().len(), INCIDENTS, "each was taken within ten seconds");
    let text = app.ctx().metrics.render();
    let within = |bucket: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("deploywatch_alert_delay_seconds_bucket") && line.contains(bucket))
            .unwrap_or_else(|| panic!("{text}"));
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!((within("le=\"10\""), within("le=\"+Inf\"")), (INCIDENTS, INCIDENTS));
}
