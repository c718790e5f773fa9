//! The process is killed under load: every delivery that was answered 200 is in the store.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deploywatch::store::{Db, deliveries};

use crate::support::hook::NEW;
use crate::support::process::Invocation;
use crate::support::signer::{deliver, numbered, sign};
use crate::support::{Deploywatch, Engine, TestStore};

fn server(store: &TestStore) -> Invocation {
    Invocation::new()
        .env("DEPLOYWATCH__STORE__URL", &store.url)
        .env("DEPLOYWATCH__SECRETS__MASTER_KEY", "11".repeat(32))
        .env("LEMONSQUEEZY_WEBHOOK_SECRET", NEW)
        .env("DEPLOYWATCH__EMAIL__TRANSPORT", "directory")
        .env("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com")
}

/// How often the process is killed; `DEPLOYWATCH_TEST_KILLS` makes it more.
fn kills(usual: u32) -> u32 {
    let wanted = deploywatch::system::environment().remove("DEPLOYWATCH_TEST_KILLS");
    wanted.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Kills the server `times` times, each at another moment of its work, and compares what was answered 200 with
/// what is in the store.
async fn kill_under_load(store: &TestStore, times: u32) {
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let answers = Arc::new(AtomicUsize::new(0));
    for round in 0..times {
        let invocation = server(store).env("DEPLOYWATCH__HTTP__LISTEN", "127.0.0.1:0").args(["serve"]);
        let mut process = invocation.spawn();
        let address = process.address().await;
        let before = answers.load(Ordering::Relaxed);
        let senders: Vec<_> = (0..6_u32)
            .map(|sender| {
                let (acknowledged, answers) = (Arc::clone(&acknowledged), Arc::clone(&answers));
                tokio::spawn(async move {
                    let client = crate::support::http::client();
                    for count in 0.. {
                        let body = numbered(round * 100_000 + sender * 10_000 + count);
                        let sent = client
                            .post(format!("http://{address}/webhooks/lemonsqueezy"))
                            .header("X-Signature", sign(NEW, &body))
                            .body(body.clone())
                            .send()
                            .await;
                        match sent {
                            Ok(answer) if answer.status() == 200 => {
                                let digest = deploywatch::domain::signature::digest(&body);
                                acknowledged.lock().unwrap().insert(digest);
                                answers.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(answer) => panic!("unexpected answer {}", answer.status()),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        let wanted = before + 8 + 7 * (round % 8) as usize;
        crate::support::eventually("deliveries flow", Duration::from_secs(60), async || {
            process.assert_running();
            (answers.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
        process.kill9();
        for sender in senders {
            sender.await.unwrap();
        }
    }
    let db = Db::connect(&store.url).await.unwrap();
    let filter = deliveries::Filter { limit: 10_000_000, ..Default::default() };
    let stored: BTreeSet<String> = deliveries::list(&mut db.reader().await.unwrap(), &filter)
        .await
        .unwrap()
        .into_iter()
        .filter(|delivery| delivery.status == 200)
        .map(|delivery| delivery.body_digest)
        .collect();
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged deliveries are lost", lost.len(), acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_200_survives_50_kills_on_sqlite() {
    kill_under_load(&TestStore::new(Engine::Sqlite).await, kills(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_200_survives_kills_on_postgres() {
    kill_under_load(&TestStore::new(Engine::Postgres).await, kills(8)).await;
}

#[tokio::test]
async fn the_commands_tell_the_story_of_a_stale_secret() {
    use crate::support::hook::OLD;
    let store = TestStore::new(Engine::Sqlite).await;
    let environment = |invocation: Invocation| {
        invocation
            .env("LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS", OLD)
            .env("DEPLOYWATCH__SECRETS__OVERLAP_SECONDS", "0")
    };
    let (_process, address) = Deploywatch::serve(environment(server(&store))).await;
    // The old secret first: once the new one matched, a silent old one is retired in the next seconds.
    let url = format!("http://{address}/webhooks/lemonsqueezy");
    let sent =
        environment(server(&store)).args(["webhook", "send", "--previous", "--url", &url]).finish().await;
    assert_eq!((sent.code, sent.stdout.trim()), (0, r#"200 {"status":"stored"}"#), "{}", sent.stderr);
    assert_eq!(deliver(address, numbered(1), &sign(NEW, &numbered(1))).await.status(), 200);

    let status = environment(server(&store)).args(["secret", "status"]).finish().await;
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("stale"), "{}", status.stdout);
    assert!(status.stdout.contains("overdue"), "{}", status.stdout);
    let list = server(&store).args(["webhook", "list"]).finish().await;
    assert!(
        list.stdout.contains("overdue_secret") && list.stdout.contains("subscription_created"),
        "{}",
        list.stdout
    );
    let refused = server(&store).args(["secret", "promote"]).finish().await;
    assert_eq!((refused.code, refused.stderr.trim()), (2, "error: there is no such version in this slot"));
    for output in [&sent, &status, &list, &refused] {
        for secret in [NEW, OLD] {
            assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret));
        }
    }
}
