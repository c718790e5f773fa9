//! The outbox under stress: storms, providers that count, late mails, a broken path, and a person's second try.

use deploywatch::domain::clock::SignedDuration;
use deploywatch::domain::incident::{DedupKey, IncidentKind, Signal};
use deploywatch::domain::notification::{Notice, NotificationState, Stage};
use deploywatch::email::SendError;
use deploywatch::services::outbox::admin::{Retried, retry};
use deploywatch::services::outbox::path;
use deploywatch::settings::{EmailTransport, Settings};
use deploywatch::store::incidents::{self, Which};
use deploywatch::store::notifications::Stored;
use deploywatch::store::{notifications, outbox};

use crate::alerts::{Desk, facts, key};
use crate::on_both_engines;
use crate::support::process::Invocation;
use crate::support::{Engine, TestStore};

/// One person on call, mails kept in memory.
async fn desk_with(store: TestStore, change: impl FnOnce(&mut Settings)) -> Desk {
    let mut settings = Settings::defaults();
    settings.email.transport = EmailTransport::Memory;
    settings.email.from = "deploywatch <alerts@example.com>".into();
    settings.email.recipients = vec!["ada@example.com".into()];
    change(&mut settings);
    Desk::with(store, settings).await
}

fn is_broken(line: &str) -> bool {
    line.starts_with("deploywatch_mail_path_broken{") && line.ends_with(" 1")
}

/// As many environments as asked for break at once.
async fn storm(desk: &Desk, names: std::ops::Range<usize>) {
    for n in names {
        let at = desk.ctx.clock.now();
        let key = DedupKey { environment: format!("env-{n}"), ..key(IncidentKind::ChecksFailed) };
        desk.record(Signal::Firing { key, at, facts: facts(&["a"], at) }).await;
    }
}

async fn all(desk: &Desk) -> Vec<Stored> {
    notifications::list_recent(&mut desk.ctx.db.reader().await.unwrap(), 1_000).await.unwrap()
}

on_both_engines! {
    async fn a_storm_is_ten_mails_of_which_the_last_tells_the_rest(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        storm(&desk, 0..30).await;
        assert_eq!(desk.send().await.sent, 10);
        let statuses = desk.statuses("ada");
        assert_eq!(statuses[..9], ["FAIL 1"; 9]);
        assert_eq!(statuses[9], "DIGEST 21");
        let digest = desk.taken().pop().unwrap();
        assert_eq!(digest.content.text.matches("[FAIL 1] acme-production deploy 7f3c2a1 #").count(), 21);
        assert!(digest.content.text.contains("at most 10 in 10 minutes"), "{}", digest.content.text);
        assert!(digest.content.html.len() < 90_000);

        // What comes within the ten minutes is collected, and comes as one when there is room.
        desk.wait(5);
        storm(&desk, 30..33).await;
        assert_eq!(desk.send().await.sent, 0);
        desk.wait(5);
        assert_eq!(desk.send().await.sent, 1);
        assert_eq!(desk.statuses("ada")[10..], ["DIGEST 3"]);
        // Calm again: mails are as they were.
        desk.wait(11);
        storm(&desk, 33..35).await;
        assert_eq!(desk.send().await.sent, 2);
        assert_eq!(desk.statuses("ada")[11..], ["FAIL 1", "FAIL 1"]);
        let states: Vec<_> = all(&desk).await.iter().map(|stored| stored.state).collect();
        assert_eq!(states.iter().filter(|state| **state == NotificationState::Digested).count(), 24);
        assert!(states.iter().all(|s| matches!(s, NotificationState::Sent | NotificationState::Digested)));
    }

    async fn what_a_digest_told_is_resolved_after_it(store: TestStore) {
        let desk = desk_with(store, |settings| settings.alerts.max_mails_per_10_minutes = 1).await;
        storm(&desk, 0..1).await;
        let memory = desk.ctx.mailer.memory().unwrap();
        memory.fail_next(SendError::new(Stage::Connect, None, "connection refused"));
        desk.send().await;
        assert!(desk.taken().is_empty(), "the digest itself could not be sent");
        let key = DedupKey { environment: "env-0".into(), ..key(IncidentKind::ChecksFailed) };
        desk.record(Signal::Cleared { key, at: desk.ctx.clock.now(), note: "recovered".into() }).await;
        desk.wait(1);
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["DIGEST 1"]);
        desk.wait(10);
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["DIGEST 1", "DIGEST 1"]);
        assert!(desk.taken()[1].content.text.contains("[RESOLVED]"), "{}", desk.taken()[1].content.text);
    }

    async fn a_provider_that_counts_gets_no_more_than_it_takes(store: TestStore) {
        let desk = desk_with(store, |settings| settings.email.max_per_minute = 3).await;
        storm(&desk, 0..5).await;
        assert_eq!(desk.send().await.sent, 3);
        assert_eq!(desk.send().await.sent, 0);
        desk.wait(1);
        assert_eq!(desk.send().await.sent, 2);
    }

    async fn a_late_mail_says_when_it_was_written_and_why_it_is_late(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let memory = desk.ctx.mailer.memory().unwrap();
        memory.fail_next(SendError::new(Stage::Connect, None, "connection refused"));
        desk.send().await;
        desk.wait(31);
        assert_eq!(desk.send().await.sent, 1);
        let mail = desk.taken().pop().unwrap();
        let note = "This mail was delayed: written at 2026-05-01 12:00:00 UTC, sent at 2026-05-01 12:31:00 UTC";
        assert!(mail.content.text.contains(note), "{}", mail.content.text);
        assert!(mail.content.text.contains("could not be reached"), "{}", mail.content.text);
        assert!(mail.content.html.contains(note));
        assert_eq!(mail.date, all(&desk).await[0].notification.created_at);
    }

    async fn a_mail_that_may_have_arrived_is_sent_again_word_for_word(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let memory = desk.ctx.mailer.memory().unwrap();
        memory.fail_next(SendError::new(Stage::Connect, None, "connection refused"));
        desk.send().await;
        desk.wait(10);
        memory.fail_next(SendError::new(Stage::Content, None, "dropped after DATA"));
        desk.send().await;
        let note = all(&desk).await[0].note.clone().expect("the second try was late already");
        desk.wait(60);
        desk.send().await;
        assert!(desk.taken()[0].content.text.contains(&note), "{note}");
    }

    async fn what_was_given_up_can_be_sent_again(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let memory = desk.ctx.mailer.memory().unwrap();
        memory.fail_next(SendError::new(Stage::Recipient, Some(550), "550 no such user"));
        desk.send().await;
        let mut reader = desk.ctx.db.reader().await.unwrap();
        let dead = outbox::list(&mut reader, outbox::Which::Dead, 10).await.unwrap();
        drop(reader);
        let [dead] = dead.as_slice() else { panic!("{dead:?}") };
        desk.wait(30 * 60);
        assert!(matches!(retry(&desk.ctx, &dead.notification.id, "ada").await.unwrap(), Retried::Due(_)));
        // Its 24 hours begin anew, so that a failure now is no end.
        memory.fail_next(SendError::new(Stage::Connect, None, "connection refused"));
        desk.send().await;
        desk.wait(1);
        assert_eq!(desk.send().await.sent, 1);
        assert!(desk.taken()[0].content.text.contains("This mail was delayed"));
        assert!(matches!(retry(&desk.ctx, &dead.notification.id, "ada").await.unwrap(), Retried::TooLate(_)));
    }

    async fn a_day_without_a_mail_server_ends_in_an_incident_and_not_in_silence(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let memory = desk.ctx.mailer.memory().unwrap();
        assert_eq!(path::standing(&desk.ctx).await.unwrap(), "ok");
        for minutes in (0..25 * 60).step_by(10) {
            memory.fail_next(SendError::new(Stage::Connect, None, "connection refused"));
            desk.send().await;
            if minutes == 20 {
                let standing = path::standing(&desk.ctx).await.unwrap();
                assert!(standing.starts_with("broken since 2026-05-01T12:"), "{standing}");
                assert!(desk.ctx.metrics.render().lines().any(is_broken));
            }
            desk.wait(10);
        }
        let states: Vec<_> = all(&desk).await.iter().map(|s| (s.notification.notice, s.state)).collect();
        assert!(states.contains(&(Notice::Opened, NotificationState::Dead)), "{states:?}");
        let mut reader = desk.ctx.db.reader().await.unwrap();
        let open = incidents::list(&mut reader, Which::Open, None, 10).await.unwrap();
        assert!(open.iter().any(|s| s.incident.key.kind == IncidentKind::MailBroken));
    }
}

#[tokio::test]
async fn the_time_to_an_alert_is_measured() {
    let desk = desk_with(TestStore::new(Engine::Sqlite).await, |_| {}).await;
    storm(&desk, 0..5).await;
    desk.clock.advance(SignedDuration::from_secs(3));
    desk.send().await;
    let text = desk.ctx.metrics.render();
    let count = |line: &str| {
        text.lines().any(|l| l.starts_with("deploywatch_alert_delay_seconds") && l.contains(line))
    };
    assert!(count("le=\"2.5\"} 0") && count("le=\"5\"} 5"), "{text}");
}

#[tokio::test]
async fn the_command_lists_shows_and_retries() {
    let desk = desk_with(TestStore::new(Engine::Sqlite).await, |_| {}).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    let memory = desk.ctx.mailer.memory().unwrap();
    memory.fail_next(SendError::new(Stage::Recipient, Some(550), "550 no such user"));
    desk.send().await;
    let run = async |arguments: &[&str]| {
        Invocation::new()
            .args(["outbox"])
            .args(arguments)
            .env("DEPLOYWATCH__STORE__URL", desk.ctx_store_url())
            .env("DEPLOYWATCH__SECRETS__MASTER_KEY", "11".repeat(32))
            .finish()
            .await
    };
    let nothing = run(&["list"]).await;
    assert!(nothing.stderr.contains("nothing waits"), "{}{}", nothing.stdout, nothing.stderr);
    let dead = run(&["list", "--dead"]).await;
    assert!(dead.stdout.contains("given up (recipient)"), "{}{}", dead.stdout, dead.stderr);
    assert!(!dead.stdout.contains("ada@example.com"), "addresses are masked");
    let id = dead.stdout.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let shown = run(&["show", &id]).await;
    assert!(shown.stdout.contains("550 no such user"), "{}{}", shown.stdout, shown.stderr);
    let again = run(&["retry", "--dead"]).await;
    assert_eq!(
        (again.code, again.stdout.trim()),
        (0, format!("{id} is due now").as_str()),
        "{}",
        again.stderr
    );
    let waiting = run(&["list", "--format", "json"]).await;
    let waiting: serde_json::Value = serde_json::from_str(&waiting.stdout).unwrap();
    assert_eq!(waiting[0]["state"], "pending");
    let unknown = run(&["retry", "zzzzzz"]).await;
    assert_eq!(unknown.code, 2, "{}", unknown.stderr);
}
