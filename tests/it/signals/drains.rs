//! `POST /logs/{source}` as Vercel, Supabase and anybody else sends, over real HTTP.

use std::io::Write;

use deploywatch::domain::clock::SignedDuration;
use deploywatch::domain::logs::LogFormat;
use deploywatch::domain::observation::Outcome;
use hmac::{Hmac, KeyInit, Mac};

use super::{DRAIN_SECRET, checks, drain, measure, seen};
use crate::support::Engine;
use crate::support::app::TestApp;

/// HMAC-SHA1 in hex, as Vercel signs.
fn sha1(body: &[u8]) -> String {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(DRAIN_SECRET.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(body).unwrap();
    packer.finish().unwrap()
}

async fn app(engine: Engine) -> TestApp {
    TestApp::start_on(engine, |settings| {
        let mut vercel = drain(LogFormat::Vercel);
        vercel.verify = Some("verify-4711".into());
        settings.signals.logs.insert("vercel".into(), vercel);
        settings.signals.logs.insert("supabase".into(), drain(LogFormat::Supabase));
        settings.signals.logs.insert("any".into(), drain(LogFormat::Ndjson));
    })
    .await
}

async fn post(app: &TestApp, source: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
    let mut request = app.client.post(app.url(&format!("/logs/{source}"))).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("the server answers");
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The check of a pattern in a drain, counted from now on.
async fn counting(app: &TestApp, source: &str, pattern: &str) -> deploywatch::domain::check::Check {
    let yaml = format!(
        "suite: t\nsignals:\n  - key: n\n    log_count: {{ source: {source}, pattern: {pattern} }}\n    fail: {{ above: 0 }}\n"
    );
    let check = checks(&yaml).remove(0);
    measure(app.ctx(), &check, None).await;
    check
}

async fn lines(app: &TestApp, check: &deploywatch::domain::check::Check) -> Option<f64> {
    measure(app.ctx(), check, None).await.result.unwrap().value
}

#[tokio::test]
async fn what_providers_send_is_verified_counted_and_not_kept() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let app = app(engine).await;
        let unauthorised = counting(&app, "vercel", "Unauthorised").await;
        let columns = counting(&app, "supabase", "does not exist").await;
        let credits = counting(&app, "any", "Insufficient credits").await;
        app.clock.advance(SignedDuration::from_mins(2));

        let array = br#"[{"id":"1","message":"Unauthorised canary-line","level":"error"},{"id":"2","message":"fine"}]"#;
        let signature = sha1(array);
        let signed = [("x-vercel-signature", signature.as_str())];
        let counted = post(&app, "vercel", &signed, array.to_vec()).await;
        assert_eq!(counted, (200, r#"{"status":"counted","lines":2}"#.to_owned()));
        // The provider did not hear the answer and sends again.
        let again = post(&app, "vercel", &signed, array.to_vec()).await;
        assert_eq!(again, (200, r#"{"status":"repeated"}"#.to_owned()));
        assert_eq!(lines(&app, &unauthorised).await, Some(1.0));
        let ndjson =
            b"{\"id\":\"3\",\"message\":\"Unauthorised\"}\n{\"id\":\"4\",\"message\":\"Unauthorised\"}\n";
        let signature = sha1(ndjson);
        assert_eq!(post(&app, "vercel", &[("x-vercel-signature", &signature)], ndjson.to_vec()).await.0, 200);
        assert_eq!(lines(&app, &unauthorised).await, Some(3.0));

        let event = br#"[{"event_message":"column \"plan\" does not exist","timestamp":1}]"#;
        let bearer = format!("Bearer {DRAIN_SECRET}");
        let packed = [("authorization", bearer.as_str()), ("content-encoding", "gzip")];
        assert_eq!(post(&app, "supabase", &packed, gzip(event)).await.0, 200);
        let other = br#"[{"event_message":"relation \"x\" does not exist","timestamp":2}]"#;
        assert_eq!(
            post(&app, "supabase", &[("x-deploywatch-token", DRAIN_SECRET)], other.to_vec()).await.0,
            200
        );
        assert_eq!(lines(&app, &columns).await, Some(2.0));

        // Equal bodies of anybody are equal lines, not repeated requests.
        for _ in 0..2 {
            let text = b"Insufficient credits\n".to_vec();
            assert_eq!(post(&app, "any", &[("authorization", &bearer)], text).await.0, 200);
        }
        assert_eq!(lines(&app, &credits).await, Some(2.0));
    }
}

#[tokio::test]
async fn what_is_not_signed_is_refused_and_counts_nothing() {
    let app = app(Engine::Sqlite).await;
    let check = counting(&app, "vercel", "Unauthorised").await;
    app.clock.advance(SignedDuration::from_mins(2));
    let body = br#"[{"message":"Unauthorised"}]"#;
    let good = sha1(body);
    let wrong = format!("00{}", &good[2..]);
    for (source, headers, body, status) in [
        ("vercel", vec![("x-vercel-signature", wrong.as_str())], body.to_vec(), 401),
        ("vercel", vec![("x-vercel-signature", "")], body.to_vec(), 401),
        ("vercel", vec![("x-vercel-signature", good.as_str())], [body.as_slice(), b" "].concat(), 401),
        ("supabase", vec![], body.to_vec(), 401),
        ("supabase", vec![("authorization", "Bearer wrong")], body.to_vec(), 401),
        ("any", vec![], body.to_vec(), 401),
        ("nobody", vec![], body.to_vec(), 404),
        ("supabase", vec![("content-encoding", "br")], body.to_vec(), 415),
        ("vercel", vec![("x-vercel-signature", &sha1(b"[{") as &str)], b"[{".to_vec(), 400),
        ("vercel", vec![], vec![b'a'; (5 << 20) + 1], 413),
    ] {
        let headers: Vec<(&str, &str)> = headers;
        let length = body.len();
        assert_eq!(post(&app, source, &headers, body).await.0, status, "{source} {headers:?} {length}");
    }
    assert_eq!(lines(&app, &check).await, None, "a drain that never verified is silent");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_and_a_flood_of_guesses_is_slowed_down() {
    let app = TestApp::start_on(Engine::Sqlite, |settings| {
        settings.webhooks.body_seconds = 1;
        settings.signals.logs.insert("any".into(), drain(LogFormat::Ndjson));
    })
    .await;
    let bearer = format!("Bearer {DRAIN_SECRET}");
    let drip = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        Some((Ok::<_, std::io::Error>("line\n"), ()))
    });
    let request = app.client.post(app.url("/logs/any")).header("authorization", &bearer);
    let answer = request.body(reqwest::Body::wrap_stream(drip)).send().await.expect("the server answers");
    assert_eq!(answer.status(), 408);

    let mut slowed = false;
    for _ in 0..2_000 {
        match post(&app, "any", &[("authorization", "Bearer wrong")], b"line\n".to_vec()).await.0 {
            401 => {}
            429 => {
                slowed = true;
                break;
            }
            other => panic!("unexpected answer {other}"),
        }
    }
    assert!(slowed, "a flood is answered 429");
    let counted = post(&app, "any", &[("authorization", &bearer)], b"line\n".to_vec()).await;
    assert_eq!(counted.0, 200, "the right token is never slowed down");
}

#[tokio::test]
async fn vercel_learns_that_the_endpoint_is_ours() {
    let app = app(Engine::Sqlite).await;
    let check = counting(&app, "vercel", "Unauthorised").await;
    for request in [
        app.client.get(app.url("/logs/vercel")),
        app.client.post(app.url("/logs/vercel")),
        app.client.post(app.url("/logs/vercel")).body(r#"[{"message":"Unauthorised"}]"#),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-vercel-verify"], "verify-4711");
    }
    assert_eq!(app.get("/logs/any").await.status(), 404, "only Vercel asks");
    assert_eq!(lines(&app, &check).await, None, "nothing was counted");
}

#[tokio::test]
async fn a_silent_drain_has_no_data_and_is_never_zero() {
    let app = app(Engine::Sqlite).await;
    let check = counting(&app, "any", "Unauthorised").await;
    let never = seen(app.ctx(), &check).await;
    assert_eq!(never.outcome, Outcome::NoData);
    assert!(never.message.contains("the log drain any has never sent anything"), "{}", never.message);
    app.clock.advance(SignedDuration::from_mins(1));
    let bearer = format!("Bearer {DRAIN_SECRET}");
    post(&app, "any", &[("authorization", &bearer)], b"fine\n".to_vec()).await;
    assert_eq!(seen(app.ctx(), &check).await.outcome, Outcome::Pass);
    app.clock.advance(SignedDuration::from_mins(16));
    let silent = seen(app.ctx(), &check).await;
    assert_eq!(silent.outcome, Outcome::NoData);
    assert!(silent.message.contains("has sent nothing for 16 min"), "{}", silent.message);
}
