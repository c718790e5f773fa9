//! What must hold when everything around goes wrong: a store that is full or gone, clients that send too much or
//! too slowly, files that change, and secrets that must lie open nowhere.

use std::time::Duration;

use sqlx::Executor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::hook::{Hook, NEW, OLD, settings};
use crate::support::process::Invocation;
use crate::support::signer::{captured, deliver, numbered, sign};
use crate::support::{Deploywatch, Engine, PgCluster, TestStore, eventually, fixture_bytes, manual_clock};

#[tokio::test]
async fn a_full_store_is_answered_503_until_there_is_room() {
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, NEW, None).await;
    let db = &hook.app.context.db;
    assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
    // The one writing connection keeps the limit; the smallest that SQLite takes is what is in use.
    let limit = async |pages: u32| {
        let mut tx = db.begin().await.unwrap();
        let text = format!("PRAGMA max_page_count = {pages}");
        tx.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text))).await.unwrap();
        tx.commit().await.unwrap();
    };
    // A failure costs the connection its limit, so it is set anew each time.
    let mut statuses = Vec::new();
    for number in 2..30 {
        limit(1).await;
        statuses.push(hook.deliver(NEW, &numbered(number)).await);
    }
    assert_eq!(statuses.last(), Some(&503), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert_eq!(stored(&store).await, 1 + statuses.iter().filter(|status| **status == 200).count() as i64);
    assert_eq!(hook.deliver(NEW, &numbered(40)).await, 200, "there is room again, without a restart");
}

#[tokio::test]
async fn a_store_that_is_gone_is_answered_503_until_it_is_back() {
    let store = TestStore::new(Engine::Postgres).await;
    let hook = Hook::start(&store, NEW, None).await;
    assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
    let name = store.url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let admin = PgCluster::shared().create_database("elsewhere").await;
    let run = async |sql: String| PgCluster::shared().execute(&admin, &sql).await;
    run(format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS false")).await;
    run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    assert_eq!(hook.deliver(NEW, &numbered(2)).await, 503);
    run(format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS true")).await;
    eventually("the store is back", Duration::from_secs(20), async || {
        (hook.deliver(NEW, &numbered(2)).await == 200).then_some(())
    })
    .await;
    assert_eq!(stored(&store).await, 2);
}

async fn stored(store: &TestStore) -> i64 {
    let db = deploywatch::store::Db::connect(&store.url).await.unwrap();
    let mut reader = db.reader().await.unwrap();
    let text = "SELECT count(*) AS n FROM webhook_deliveries WHERE status = 200";
    let row = sqlx::query(text).fetch_one(&mut *reader).await.unwrap();
    sqlx::Row::get(&row, "n")
}

/// Sends a body that never ends until the server closes; the answer, and how much was sent before it came.
async fn flood(hook: &Hook, head: &str, chunk: &[u8]) -> (String, usize) {
    let mut stream = tokio::net::TcpStream::connect(hook.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let sent = std::cell::Cell::new(0);
    let sending = async {
        while writer.write_all(chunk).await.is_ok() {
            sent.set(sent.get() + chunk.len());
        }
    };
    let reading = async {
        let mut answer = vec![0; 4096];
        let read = reader.read(&mut answer).await.unwrap();
        answer.truncate(read);
        (String::from_utf8_lossy(&answer).into_owned(), sent.get())
    };
    let both = async { tokio::join!(sending, reading).1 };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("the server closes the connection")
}

#[tokio::test]
async fn a_body_of_a_gibibyte_is_refused_at_the_cap() {
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, NEW, None).await;
    let zeros = vec![b'0'; 1 << 20];
    let head = "POST /webhooks/lemonsqueezy HTTP/1.1\r\nHost: x\r\nX-Signature: 00\r\n";
    let known = format!("{head}Content-Length: {}\r\n\r\n", 1_u64 << 40);
    let (answer, sent) = flood(&hook, &known, &zeros).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(sent < 64 << 20, "{sent} bytes were taken");

    let chunk = [format!("{:x}\r\n", zeros.len()).as_bytes(), &zeros, b"\r\n"].concat();
    let (answer, sent) = flood(&hook, &format!("{head}Transfer-Encoding: chunked\r\n\r\n"), &chunk).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
}

#[tokio::test]
async fn a_bomb_stays_packed() {
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, NEW, None).await;
    // Ten MiB of zeros in ten KiB: above the cap if anything inflated it.
    let bomb = fixture_bytes("lemon_squeezy/bomb.gz");
    assert!(bomb.len() < 20_000);
    for (signature, expected) in [(sign(NEW, &bomb), 400), ("0".repeat(64), 401)] {
        let mut post = Hook::with_signature(&signature, &bomb);
        post.headers.push(("content-encoding", "gzip".into()));
        assert_eq!(hook.post(post).await.0, expected);
    }
    let body = captured("subscription_created.captured-2025");
    let with_nul = [body.as_slice(), b"\0"].concat();
    assert_eq!(hook.deliver(NEW, &with_nul).await, 400, "signed, but no JSON");
    let escaped =
        String::from_utf8(numbered(7)).unwrap().replace("\"event_name\":\"", "\"event_name\":\"\\u0000");
    assert_eq!(hook.deliver(NEW, escaped.as_bytes()).await, 400, "a NUL in a name is no event");
    assert_eq!(hook.deliver(NEW, &body).await, 200);
}

fn server(store: &TestStore) -> Invocation {
    Invocation::new()
        .env("DEPLOYWATCH__STORE__URL", &store.url)
        .env("DEPLOYWATCH__SECRETS__MASTER_KEY", "11".repeat(32))
        .env("DEPLOYWATCH__EMAIL__TRANSPORT", "directory")
        .env("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com")
}

#[tokio::test]
async fn a_changed_file_is_staged_at_sighup_and_overwrites_nothing() {
    let store = TestStore::new(Engine::Sqlite).await;
    let folder = crate::support::temp_dir();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{OLD}\n")).unwrap();
    let with_file = |invocation: Invocation| invocation.env("LEMONSQUEEZY_WEBHOOK_SECRET_FILE", &file);
    let (process, address) = Deploywatch::serve(with_file(server(&store))).await;
    assert_eq!(deliver(address, numbered(1), &sign(OLD, &numbered(1))).await.status(), 200);

    // As a mounted secret changes: another file takes its name.
    let next = folder.path().join("next");
    std::fs::write(&next, format!("{NEW}\n")).unwrap();
    std::fs::rename(&next, &file).unwrap();
    process.signal(nix::sys::signal::Signal::SIGHUP);
    let db = store.db().await;
    let states = async || {
        let versions = deploywatch::store::secrets::list(&mut db.reader().await.unwrap()).await.unwrap();
        versions.iter().map(|v| v.state.name().as_str()).collect::<Vec<_>>().join(" ")
    };
    eventually("the new secret is staged", Duration::from_secs(20), async || {
        (states().await == "active staged").then_some(())
    })
    .await;
    assert_eq!(deliver(address, numbered(2), &sign(OLD, &numbered(2))).await.status(), 200);
    assert_eq!(deliver(address, numbered(3), &sign(NEW, &numbered(3))).await.status(), 200);
    assert_eq!(states().await, "retiring active", "the first delivery that it signed made it active");

    // A file that is being written, or is gone, changes nothing.
    std::fs::write(&file, "").unwrap();
    process.signal(nix::sys::signal::Signal::SIGHUP);
    assert_eq!(deliver(address, numbered(4), &sign(NEW, &numbered(4))).await.status(), 200);
    assert_eq!(states().await, "retiring active");
    process.terminate().await;
}

#[tokio::test]
async fn nothing_secret_reaches_a_file_or_the_log() {
    let folder = crate::support::temp_dir();
    let store = format!("sqlite:{}", folder.path().join("store.db").display());
    let invocation = Invocation::new()
        .folder(folder.path())
        .env("DEPLOYWATCH__STORE__URL", &store)
        .env("DEPLOYWATCH__EMAIL__TRANSPORT", "directory")
        .env("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com")
        .env("DEPLOYWATCH__TELEMETRY__LOG", "trace")
        .env("LEMONSQUEEZY_WEBHOOK_SECRET", NEW)
        .env("LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS", OLD)
        .env("DEPLOYWATCH__SECRETS__OVERLAP_SECONDS", "0");
    let (mut process, address) = Deploywatch::serve(invocation).await;
    let body = captured("subscription_created.captured-2025");
    for (secret, expected) in [(OLD, 200), (NEW, 200), ("somebody-elses-secret-01", 401)] {
        assert_eq!(deliver(address, body.clone(), &sign(secret, &body)).await.status(), expected);
    }
    // The stale secret's mail is written to the folder.
    let mails = folder.path().join("deploywatch-data/mail");
    eventually("on-call is told", Duration::from_secs(30), async || {
        std::fs::read_dir(&mails).ok()?.next().map(drop)
    })
    .await;
    process.kill9();
    let mut bytes = [process.stdout(), process.stderr()].concat().into_bytes();
    assert!(bytes.len() > 2_000, "it logged at the finest level");
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                bytes.extend(std::fs::read(path).unwrap());
            }
        }
    }
    for canary in [NEW, OLD, "somebody-elses-secret-01", "testbuyer@mail.test", "user_email"] {
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{canary} lies open");
    }
}

#[tokio::test]
async fn the_quarantine_of_one_address_leaves_room_for_others() {
    let store = TestStore::new(Engine::Sqlite).await;
    let mut settings = settings(&store, Some(NEW), None);
    settings.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let hook = Hook::start_with(&store, &settings, manual_clock()).await;
    let from = |address: &str, number: u32| {
        let mut post = Hook::signed("an-unknown-secret-0123456789", &numbered(number));
        post.headers.push(("x-forwarded-for", address.to_owned()));
        post
    };
    // An address that fills its share is slowed down before it can push out what others sent.
    for number in 0..600 {
        let status = hook.post(from("198.51.100.7", number)).await.0;
        assert!([401, 429].contains(&status), "{status}");
    }
    assert_eq!(hook.post(from("203.0.113.9", 9_000)).await.0, 401);
    let mut reader = hook.app.context.db.reader().await.unwrap();
    let kept = deploywatch::store::quarantine::list(&mut reader, "lemonsqueezy", 2_000).await.unwrap();
    let mut senders: Vec<&str> = kept.iter().map(|kept| kept.sender.as_str()).collect();
    senders.sort_unstable();
    senders.dedup();
    assert_eq!(senders.len(), 2);
    assert!(kept.len() <= 501, "{}", kept.len());
    drop(reader);
    hook.advance(8 * 24 * 3600);
    hook.tick().await;
    let mut reader = hook.app.context.db.reader().await.unwrap();
    let count = deploywatch::store::quarantine::count_source(&mut reader, "lemonsqueezy").await.unwrap();
    assert_eq!(count, 0, "what nobody claims is deleted after a week");
}
