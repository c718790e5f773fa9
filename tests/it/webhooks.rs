//! Deliveries over HTTP: what is answered, what is stored, and that the one implies the other.

use std::time::Duration;

use deploywatch::domain::delivery::Delivery;
use deploywatch::services::webhooks::body_of;
use deploywatch::store::{Db, deliveries, quarantine, secrets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::on_both_engines;
use crate::support::hook::{Hook, NEW, OLD, settings};
use crate::support::signer::{captured, numbered, sign};
use crate::support::{Engine, TestStore, fixture_bytes, manual_clock};

async fn log(db: &Db) -> Vec<Delivery> {
    let filter = deliveries::Filter { limit: 10_000, ..Default::default() };
    deliveries::list(&mut db.reader().await.unwrap(), &filter).await.unwrap()
}

async fn events(db: &Db) -> i64 {
    let mut reader = db.reader().await.unwrap();
    let row = sqlx::query("SELECT count(*) AS n FROM webhook_events").fetch_one(&mut *reader).await.unwrap();
    sqlx::Row::get(&row, "n")
}

on_both_engines! {
    async fn every_vector_gets_its_answer(store: TestStore) {
        let hook = Hook::start(&store, NEW, Some(OLD)).await;
        let vectors: serde_json::Value =
            serde_json::from_slice(&fixture_bytes("lemon_squeezy/vectors.json")).unwrap();
        for (name, vector) in vectors["files"].as_object().unwrap() {
            let body = fixture_bytes(&format!("lemon_squeezy/{name}"));
            for (field, signature) in vector.as_object().unwrap() {
                let Some(signature) = signature.as_str().filter(|_| field.starts_with("sig_")) else { continue };
                let (status, text) = hook.post(Hook::with_signature(signature, &body)).await;
                let expected = match field.as_str() {
                    "sig_new" | "sig_old" => 200,
                    "sig_new_base64" => 400,
                    _ => 401,
                };
                assert_eq!(status, expected, "{name} {field}");
                if status == 401 {
                    assert_eq!(text, r#"{"error":"invalid signature"}"#);
                }
            }
        }
        let stored = log(&hook.app.context.db).await;
        assert_eq!(stored.len(), 6 * 8);
        assert_eq!(stored.iter().filter(|d| d.status == 200).count(), 12);
        assert_eq!(events(&hook.app.context.db).await, 6, "the second signature of a body is a duplicate");
    }

    async fn one_event_delivered_at_once_by_many_is_one_event(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        let body = captured("subscription_created.captured-2025");
        let sent = (0..40).map(|_| hook.deliver(NEW, &body));
        let statuses = futures_util::future::join_all(sent).await;
        assert_eq!(statuses, vec![200; 40]);
        assert_eq!(events(&hook.app.context.db).await, 1);
        let stored = log(&hook.app.context.db).await;
        assert_eq!(stored.iter().filter(|d| !d.duplicate).count(), 1);
        assert!(stored.iter().all(|d| d.event == stored[0].event && d.event.is_some()));
    }

    async fn the_same_id_with_other_content_is_kept_and_flagged(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        let body = captured("subscription_payment_success.captured-2025");
        let text = String::from_utf8(body.clone()).unwrap();
        let resent = text.replacen("expires=", "expires_=", 1).into_bytes();
        let changed = text.replace("\"id\":\"4591820\"", "\"id\":\"4591821\"").into_bytes();
        for body in [&body, &resent, &changed] {
            assert_eq!(hook.deliver(NEW, body).await, 200);
            hook.advance(1);
        }
        let stored = log(&hook.app.context.db).await;
        assert_eq!(events(&hook.app.context.db).await, 1);
        assert_eq!(stored[0].flags, ["same_id_other_content"]);
        assert!(stored[1].duplicate && stored[1].flags.is_empty(), "a new link is the same event");
        let mut reader = hook.app.context.db.reader().await.unwrap();
        let (kept, _) = deliveries::get_body(&mut reader, &stored[0].id).await.unwrap().unwrap();
        assert_eq!(kept, stored[0].id, "the other content is kept under its own delivery");
    }

    async fn no_secret_and_no_body_lies_open_in_the_store(store: TestStore) {
        let hook = Hook::start(&store, NEW, Some(OLD)).await;
        let body = captured("subscription_created.captured-2025");
        assert_eq!(hook.deliver(NEW, &body).await, 200);
        assert_eq!(hook.deliver("an-unknown-secret-0123456789", &body).await, 401);
        let mut reader = hook.app.context.db.reader().await.unwrap();
        let rows = secrets::list_sealed(&mut reader).await.unwrap();
        let kept = quarantine::list(&mut reader, "lemonsqueezy", 10).await.unwrap();
        assert_eq!((rows.len(), kept.len()), (2, 1));
        let mut bytes: Vec<u8> = rows.iter().flat_map(|r| r.sealed.clone().unwrap()).collect();
        bytes.extend(&kept[0].sealed);
        if store.engine == Engine::Sqlite {
            let path = store.url.strip_prefix("sqlite:").unwrap();
            for suffix in ["", "-wal"] {
                bytes.extend(std::fs::read(format!("{path}{suffix}")).unwrap_or_default());
            }
            assert!(bytes.len() > 50_000, "the file was read");
        }
        for canary in [NEW, OLD, "testbuyer@mail.test", "user_email"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} lies open");
        }
    }

    async fn a_refused_delivery_is_taken_in_once_its_secret_is_known(store: TestStore) {
        use deploywatch::domain::secret::{Origin, Slot, SlotMode};
        use deploywatch::services::secrets::{Keyring, Who, add};
        let hook = Hook::start(&store, OLD, None).await;
        let db = &hook.app.context.db;
        for attempt in 0..4 {
            assert_eq!(hook.deliver(NEW, &numbered(1)).await, 401, "attempt {attempt}");
            hook.advance(5);
        }
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 401);
        assert_eq!(events(db).await, 0);

        let keyring = Keyring::new(&hook.app.context.keys);
        let slot = Slot { source: "lemonsqueezy".into(), mode: SlotMode::Live };
        let who = Who { actor: "ana".into(), reason: "changed in the dashboard".into() };
        add(&hook.app.context, &keyring, &slot, NEW.as_bytes(), Origin::Cli, &who).await.unwrap();
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200, "it is accepted at once");
        hook.tick().await;
        hook.tick().await;

        assert_eq!(events(db).await, 2, "both events, once each");
        let stored = log(db).await;
        let late: Vec<&Delivery> = stored.iter().filter(|d| d.late).collect();
        assert_eq!(late.len(), 2);
        let mut reader = db.reader().await.unwrap();
        let first = late.iter().min_by_key(|d| &d.id).unwrap();
        let body = body_of(&hook.app.context, &first.id).await.unwrap().unwrap();
        assert_eq!(body, numbered(1), "byte for byte");
        assert_eq!(quarantine::count_source(&mut reader, "lemonsqueezy").await.unwrap(), 0);
    }
}

on_both_engines! {
    async fn old_deliveries_are_forgotten_and_recent_ones_are_not(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        hook.advance(89 * 24 * 3600);
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200);
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200, "a resend is still recognised");
        hook.advance(2 * 24 * 3600);
        let ctx = &hook.app.context;
        deploywatch::services::webhooks::forget(ctx).await.unwrap();
        assert_eq!((log(&ctx.db).await.len(), events(&ctx.db).await), (2, 2));
        hook.advance(90 * 24 * 3600);
        deploywatch::services::webhooks::forget(ctx).await.unwrap();
        assert_eq!((log(&ctx.db).await.len(), events(&ctx.db).await), (0, 0));
    }
}

#[tokio::test]
async fn on_call_learns_the_cause_and_the_caller_does_not() {
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, NEW, None).await;
    let body = captured("subscription_created.captured-2025");
    let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let rewritten = serde_json::to_vec(&parsed).unwrap();
    let (status, answer) = hook.post(Hook::with_signature(&sign(NEW, &body), &rewritten)).await;
    assert_eq!((status, answer.as_str()), (401, r#"{"error":"invalid signature"}"#));
    hook.advance(1);
    let with_newline = format!("{NEW}\n");
    assert_eq!(hook.deliver(&with_newline, &body).await, 401);
    hook.advance(1);
    assert_eq!(hook.deliver("somebody-elses-secret", &body).await, 401);
    hook.tick().await;
    let classes: Vec<String> = log(&hook.app.context.db).await.into_iter().map(|d| d.class).collect();
    assert_eq!(classes, ["unknown_secret", "newline_in_secret", "reserialised"]);
}

#[tokio::test]
async fn odd_requests_get_their_answer() {
    let store = TestStore::new(Engine::Sqlite).await;
    let mut settings = settings(&store, Some(NEW), None);
    settings.webhooks.max_body_bytes = 4096;
    settings.webhooks.body_seconds = 1;
    let hook = Hook::start_with(&store, &settings, manual_clock()).await;
    let body = captured("subscription_created.captured-2025");
    let good = sign(NEW, &body);
    let with = |headers: Vec<(&'static str, String)>, body: &[u8]| crate::support::hook::Post {
        source: "lemonsqueezy",
        body: body.to_vec(),
        headers,
    };
    let gzip_magic = [0x1f, 0x8b, 0x08, 0x00, 0xff];
    let not_an_event = br#"{"hello":"world"}"#;
    let table = vec![
        ("no signature", with(vec![], &body), 401),
        (
            "two that agree",
            with(vec![("x-signature", good.clone()), ("x-signature", good.clone())], &body),
            200,
        ),
        (
            "two that differ",
            with(vec![("x-signature", good.clone()), ("x-signature", "0".repeat(64))], &body),
            400,
        ),
        ("a list", with(vec![("x-signature", format!("{good}, {good}"))], &body), 400),
        ("upper case", with(vec![("x-signature", good.to_uppercase())], &body), 200),
        ("GitHub's", with(vec![("x-signature", format!("sha256={good}"))], &body), 400),
        ("Stripe's", with(vec![("x-signature", format!("t=1,v1={good}"))], &body), 400),
        ("too large", with(vec![("x-signature", "0".repeat(64))], &vec![b'x'; 4097]), 413),
        ("an empty body", with(vec![("x-signature", sign(NEW, b""))], b""), 400),
        ("invalid UTF-8", with(vec![("x-signature", sign(NEW, b"\xff\xfe\x00"))], b"\xff\xfe\x00"), 400),
        ("signed but no event", with(vec![("x-signature", sign(NEW, not_an_event))], not_an_event), 400),
        (
            "the bytes count, whatever the encoding says",
            with(vec![("x-signature", good.clone()), ("content-encoding", "gzip".into())], &body),
            200,
        ),
        (
            "what only looks compressed is not inflated",
            with(
                vec![("x-signature", sign(NEW, &gzip_magic)), ("content-encoding", "gzip".into())],
                &gzip_magic,
            ),
            400,
        ),
    ];
    for (what, post, expected) in table {
        assert_eq!(hook.post(post).await.0, expected, "{what}");
    }
    let client = crate::support::http::client();
    let url = format!("http://{}/webhooks/lemonsqueezy", hook.address);
    let before = log(&hook.app.context.db).await.len();
    for method in
        [reqwest::Method::GET, reqwest::Method::HEAD, reqwest::Method::PUT, reqwest::Method::OPTIONS]
    {
        let answer = client.request(method.clone(), &url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 405, "{method}");
        assert_eq!(answer.headers()["allow"], "POST");
    }
    assert_eq!(log(&hook.app.context.db).await.len(), before, "other methods are not deliveries");
    let unknown = crate::support::hook::Post { source: "nobody", ..Hook::signed(NEW, &body) };
    assert_eq!(hook.post(unknown).await.0, 400);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_and_recorded() {
    let store = TestStore::new(Engine::Sqlite).await;
    let mut settings = settings(&store, Some(NEW), None);
    settings.webhooks.body_seconds = 1;
    let hook = Hook::start_with(&store, &settings, manual_clock()).await;
    let mut slow = tokio::net::TcpStream::connect(hook.address).await.unwrap();
    let head = format!(
        "POST /webhooks/lemonsqueezy HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nX-Signature: {}\r\n\r\nabc",
        "0".repeat(64)
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection is closed");
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408"), "{answer:?}");
    let stored = log(&hook.app.context.db).await;
    assert_eq!((stored[0].status, stored[0].body_bytes), (408, 3));
}

#[tokio::test]
async fn many_slow_clients_do_not_stop_a_healthy_one() {
    // Both ends of each connection are this process's.
    deploywatch::system::raise_open_files();
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, NEW, None).await;
    let mut slow = Vec::new();
    for number in 0..500 {
        let mut stream = tokio::net::TcpStream::connect(hook.address).await.unwrap();
        let text = if number % 2 == 0 {
            "POST /webhooks/lemonsqueezy HTTP/1.1\r\nHost: x\r\n"
        } else {
            "POST /webhooks/lemonsqueezy HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"
        };
        stream.write_all(text.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for number in 0..20 {
        let body = numbered(number);
        let delivered = tokio::time::timeout(Duration::from_secs(3), hook.deliver(NEW, &body));
        assert_eq!(delivered.await.expect("a healthy client is not held up"), 200);
    }
}

#[tokio::test]
async fn a_source_without_a_secret_is_unavailable() {
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start_with(&store, &settings(&store, None, None), manual_clock()).await;
    assert_eq!(hook.deliver(NEW, &numbered(1)).await, 503);
}

#[tokio::test]
async fn only_senders_of_refused_requests_are_slowed_down() {
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, NEW, None).await;
    let refused = || async { hook.post(Hook::with_signature(&"0".repeat(64), b"{}")).await.0 };
    assert_eq!(refused().await, 401);
    // Many at once, since a busy machine answers one after the other no faster than patience grows back.
    let mut slowed_down = false;
    for _ in 0..100 {
        let statuses = futures_util::future::join_all((0..50).map(|_| refused())).await;
        assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
        slowed_down |= statuses.contains(&429);
        if slowed_down {
            break;
        }
    }
    assert!(slowed_down, "a flood of refused requests is answered 429");
    assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200, "a right signature is never slowed down");
}

#[tokio::test]
async fn a_locked_store_is_answered_503_and_never_200() {
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, NEW, None).await;
    assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
    let other = Db::connect(&store.url).await.unwrap();
    let lock = other.begin().await.unwrap();
    assert_eq!(hook.deliver(NEW, &numbered(2)).await, 503);
    lock.rollback().await.unwrap();
    assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200);
    assert_eq!(events(&hook.app.context.db).await, 2);
}
