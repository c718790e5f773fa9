//! The sender is killed again and again in the middle of its work: every mail is accepted, and what is accepted
//! twice is the same mail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use deploywatch::domain::clock::{Clock, SignedDuration};
use deploywatch::domain::ids::Entropy;
use deploywatch::domain::incident::{DedupKey, IncidentKind, Signal};
use deploywatch::domain::notification::NotificationState;
use deploywatch::services::outbox::trial;
use deploywatch::settings::{EmailTransport, Settings, SmtpTls};
use deploywatch::store::notifications;
use deploywatch::system::{SystemClock, environment};

use mail_parser::MessageParser;

use crate::alerts::{Desk, facts, key};
use crate::support::mailbox::{Front, Mail, Mailbox, copies};
use crate::support::process::Invocation;
use crate::support::{Deploywatch, Engine, TestEntropy, TestStore};

const FROM: &str = "deploywatch <alerts@example.com>";
const ROUNDS: usize = 24;
/// Written before each round; more than are sent before the kill.
const MAILS: usize = 16;

/// `serve` in one of six rounds: it first waits for its tick. The others are the command that sends at once
/// what is due, with the same sender.
fn sender(round: usize, store_url: &str, port: u16) -> Deploywatch {
    let process = Invocation::new()
        .env("DEPLOYWATCH__STORE__URL", store_url)
        .env("DEPLOYWATCH__SECRETS__MASTER_KEY", "11".repeat(32))
        .env("DEPLOYWATCH__HTTP__LISTEN", "127.0.0.1:0")
        .env("DEPLOYWATCH__EMAIL__FROM", FROM)
        .env("DEPLOYWATCH__EMAIL__SMTP__HOST", "127.0.0.1")
        .env("DEPLOYWATCH__EMAIL__SMTP__PORT", port.to_string())
        .env("DEPLOYWATCH__EMAIL__SMTP__TLS", "none")
        .env("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com")
        .env("DEPLOYWATCH__ALERTS__MAX_MAILS_PER_10_MINUTES", "100000");
    let arguments: &[&str] = if round.is_multiple_of(6) { &["serve"] } else { &["notify", "test"] };
    process.args(arguments).spawn()
}

async fn kill_while_sending(engine: Engine, rounds: usize) {
    let mailbox = Mailbox::up_with(Front::open());
    let store = TestStore::new(engine).await;
    let store_url = store.url.clone();
    let mut settings = Settings::defaults();
    settings.email.transport = EmailTransport::Smtp;
    settings.email.from = FROM.into();
    settings.email.smtp.host = "127.0.0.1".into();
    settings.email.smtp.port = mailbox.port;
    settings.email.smtp.tls = Some(SmtpTls::None);
    settings.email.recipients = vec!["oncall@example.com".into()];
    // A storm is what this test makes; every mail is to be seen by itself.
    settings.alerts.max_mails_per_10_minutes = 100_000;
    let desk = Desk::with(store, settings).await;
    desk.clock.set(SystemClock.now());
    let chance = TestEntropy::default();

    for round in 0..rounds {
        let people: Vec<String> = (0..MAILS).map(|n| format!("p{round}-{n}@example.com")).collect();
        trial::write(&desk.ctx, &people).await.unwrap();
        let at = desk.ctx.now();
        let key = DedupKey { scope: format!("dep_{round}"), ..key(IncidentKind::ChecksFailed) };
        desk.record(Signal::Firing { key: key.clone(), at, facts: facts(&["a"], at) }).await;
        let mut bytes = [0; 2];
        chance.fill(&mut bytes);
        let wanted = mailbox.taken() + usize::from(bytes[0] % 6);
        let moment = Duration::from_micros(u64::from(bytes[1]) * 100);

        let mut process = sender(round, &store_url, mailbox.port);
        let started = Instant::now();
        while mailbox.taken() < wanted {
            process.assert_running();
            assert!(started.elapsed() < Duration::from_secs(60), "no mail in round {round}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The moment itself is random, not a guess of how long something takes.
        tokio::time::sleep(moment).await;
        process.kill9();
        // Told before the kill or not: its end is told after its beginning, or both in one mail.
        desk.record(Signal::Cleared { key, at: desk.ctx.now(), note: "it passes again".into() }).await;
    }

    // The leases of the dead end, and what they held goes out.
    desk.clock.set(SystemClock.now() + SignedDuration::from_mins(10));
    while desk.send().await.sent > 0 {}

    let limit = u32::try_from(rounds * (MAILS + 4)).unwrap();
    let stored = notifications::list_recent(&mut desk.ctx.db.reader().await.unwrap(), limit).await.unwrap();
    assert!(stored.len() >= rounds * MAILS, "nothing that was committed is lost");
    assert!(stored.iter().all(|s| s.state == NotificationState::Sent));
    let mails = mailbox.mails();
    no_end_before_its_beginning(&mails, rounds);
    let copies = copies(&mails);
    let written: BTreeSet<_> =
        stored.iter().map(|s| s.notification.content.message_id.trim_matches(['<', '>'])).collect();
    assert_eq!(written, copies.keys().copied().collect(), "every mail is accepted, and no other");
    for same in copies.values() {
        assert!(same.iter().all(|mail| mail.bytes == same[0].bytes), "a second copy is the same mail");
    }
    assert!(mails.len() - copies.len() <= rounds, "a kill doubles the one mail that it hit");
    let interrupted = stored.iter().filter(|s| s.attempts > 1).count();
    assert!(interrupted > 0, "the kills hit mails on their way");
}

/// Each incident was told, and no RESOLVED was accepted before its FAIL.
fn no_end_before_its_beginning(mails: &[Mail], rounds: usize) {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in mails {
        let parsed = MessageParser::default().parse(&mail.bytes).expect("it is a mail");
        let header = |name: &str| parsed.header_raw(name).map(|value| value.trim().to_owned());
        if let Some(incident) = header("X-Deploywatch-Incident") {
            told.entry(incident).or_default().extend(header("X-Deploywatch-Notice"));
        }
    }
    assert_eq!(told.len(), rounds, "every incident is told");
    for notices in told.values() {
        let resolved = notices.iter().position(|notice| notice == "resolved");
        let opened = notices.iter().position(|notice| notice == "opened");
        match (opened, resolved) {
            (Some(opened), Some(resolved)) => assert!(opened < resolved, "{notices:?}"),
            _ => assert!(notices.iter().all(|notice| notice == "recovered"), "{notices:?}"),
        }
    }
}

/// More rounds where somebody asks for them: `DEPLOYWATCH_TEST_KILLS=200`.
fn rounds() -> usize {
    let asked = environment().get("DEPLOYWATCH_TEST_KILLS").map(|text| text.parse());
    asked.map_or(ROUNDS, |asked| asked.expect("DEPLOYWATCH_TEST_KILLS is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mail_is_accepted_whenever_the_sender_is_killed_on_sqlite() {
    kill_while_sending(Engine::Sqlite, rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mail_is_accepted_whenever_the_sender_is_killed_on_postgres() {
    kill_while_sending(Engine::Postgres, ROUNDS / 4).await;
}
