//! The sender is killed again and again in the middle of its work: every mail is accepted, and what is accepted
//! twice is the same mail.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use deploywatch::domain::clock::{Clock, SignedDuration};
use deploywatch::domain::ids::Entropy;
use deploywatch::domain::notification::NotificationState;
use deploywatch::services::outbox::trial;
use deploywatch::settings::{EmailTransport, Settings, SmtpTls};
use deploywatch::store::notifications;
use deploywatch::system::SystemClock;

use crate::alerts::Desk;
use crate::support::mailbox::{Front, Mailbox, copies};
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
        .env("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com");
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
    let desk = Desk::with(store, settings).await;
    desk.clock.set(SystemClock.now());
    let chance = TestEntropy::default();

    for round in 0..rounds {
        let people: Vec<String> = (0..MAILS).map(|n| format!("p{round}-{n}@example.com")).collect();
        trial::write(&desk.ctx, &people).await.unwrap();
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
    }

    // The leases of the dead end, and what they held goes out.
    desk.clock.set(SystemClock.now() + SignedDuration::from_mins(10));
    while desk.send().await.sent > 0 {}

    let limit = u32::try_from(rounds * (MAILS + 1)).unwrap();
    let stored = notifications::list_recent(&mut desk.ctx.db.reader().await.unwrap(), limit).await.unwrap();
    assert!(stored.len() >= rounds * MAILS, "nothing that was committed is lost");
    assert!(stored.iter().all(|s| s.state == NotificationState::Sent));
    let mails = mailbox.mails();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mail_is_accepted_whenever_the_sender_is_killed_on_sqlite() {
    kill_while_sending(Engine::Sqlite, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mail_is_accepted_whenever_the_sender_is_killed_on_postgres() {
    kill_while_sending(Engine::Postgres, ROUNDS / 4).await;
}
