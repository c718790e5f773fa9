//! The server as a process and in one: start, limits, errors in one form, health, and stop.

use std::time::{Duration, Instant};

use deploywatch::domain::access::Scope;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::app::TestApp;
use super::support::process::{Deploywatch, Invocation};
use super::support::{PgCluster, temp_dir};

#[tokio::test]
async fn every_error_is_a_problem_with_the_requests_id() {
    let app = TestApp::start().await;
    let post = |path: &str| app.client.post(app.url(path));
    for (request, status, code) in [
        (app.client.get(app.url("/nowhere")), 404, "not_found"),
        (post("/livez"), 405, "method_not_allowed"),
        (post("/api/v1/whoami"), 405, "method_not_allowed"),
        (app.client.get(app.url("/api/v1/whoami")).bearer_auth("nonsense"), 401, "unauthenticated"),
        (post("/sign-in").body("x"), 400, "invalid_request"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{}", answer.url());
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let allow = answer.headers().get("allow").map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(allow.as_deref(), (status == 405).then_some("GET, HEAD"));
        let problem: Value = answer.json().await.unwrap();
        assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(status.into()), Some(code)));
        assert_eq!(problem["request_id"], id);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

/// Monitors ask with HEAD: they get what GET would say, and no body.
#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let app = TestApp::start().await;
    let read = app.token(&[Scope::Read]).await;
    let own = ["/", "/livez", "/readyz", "/sign-in", "/deliveries", "/silences", "/inbox", "/api/v1/whoami"];
    for path in own.into_iter().chain(["/metrics", "/nowhere", "/incidents/inc_1", "/deploys/dep_1"]) {
        for token in [None, Some(&read)] {
            let ask = async |method: reqwest::Method| {
                let request = app.client.request(method, app.url(path)).header("accept", "text/html");
                let request = token.map_or(request.try_clone().unwrap(), |token| request.bearer_auth(token));
                request.send().await.unwrap()
            };
            let (get, head) = (ask(reqwest::Method::GET).await, ask(reqwest::Method::HEAD).await);
            assert_eq!(head.status(), get.status(), "{path}");
            for name in ["content-type", "cache-control", "location"] {
                assert_eq!(head.headers().get(name), get.headers().get(name), "{name} of {path}");
            }
            assert!(head.headers().contains_key("content-length"), "{path} says how long its page is");
            assert_eq!(head.text().await.unwrap(), "", "{path}");
        }
    }
    let webhook = app.client.head(app.url("/webhooks/lemonsqueezy")).send().await.unwrap();
    assert_eq!(webhook.status(), 405, "what only takes POST takes no HEAD");
}

#[tokio::test]
async fn every_answer_keeps_browsers_strict() {
    let app = TestApp::start().await;
    for path in ["/livez", "/sign-in", "/nowhere"] {
        let answer = app.get(path).await;
        let header = |name: &str| {
            answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "same-origin");
        assert_eq!(header("strict-transport-security"), "", "not without https");
    }
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_need_read_from_afar() {
    let app = TestApp::start().await;
    app.get("/livez").await;
    app.get("/nowhere/1").await;
    let text = app.get("/metrics").await.text().await.unwrap();
    assert!(text.contains("route=\"/livez\"") && text.contains("route=\"unmatched\""), "{text}");
    assert!(!text.contains("nowhere"), "a caller's path is no label");
    let afar = |token: Option<String>| {
        let request = app.client.get(app.url("/metrics")).header("X-Forwarded-For", "203.0.113.9");
        token.map_or_else(|| request.try_clone().unwrap(), |t| request.try_clone().unwrap().bearer_auth(t))
    };
    assert_eq!(afar(None).send().await.unwrap().status(), 401);
    let gate = app.token(&[Scope::Gate]).await;
    assert_eq!(afar(Some(gate)).send().await.unwrap().status(), 403);
    let read = app.token(&[Scope::Read]).await;
    assert_eq!(afar(Some(read)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_headers_is_cut_off() {
    let app = TestApp::start().await;
    let mut slow = tokio::net::TcpStream::connect(app.app.address.unwrap()).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await.unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(15));
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408"), "{answer:?}");
}

#[tokio::test]
async fn each_start_up_mistake_is_one_sentence_and_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = temp_dir();
    std::fs::write(folder.path().join("a-file"), "x").unwrap();
    std::fs::write(folder.path().join("not-a-database.db"), "this is no database, it is a text".repeat(50))
        .unwrap();
    std::fs::write(folder.path().join("short.key"), "abc").unwrap();
    let cases = [
        (
            "DEPLOYWATCH__HTTP__LISTEN",
            taken.as_str(),
            "cannot be listened on (DEPLOYWATCH__HTTP__LISTEN chooses another)",
        ),
        (
            "DEPLOYWATCH__HTTP__LISTEN",
            "192.0.2.1:8080",
            "is reachable from other machines and no token exists",
        ),
        (
            "DEPLOYWATCH__STORE__URL",
            "sqlite:a-file/dw.db",
            "the store sqlite:a-file/dw.db is not usable: it cannot be opened",
        ),
        ("DEPLOYWATCH__STORE__URL", "sqlite:not-a-database.db", "file is not a database"),
        (
            "DEPLOYWATCH__STORE__URL",
            "sqlite:short.db",
            "the key file short.key does not hold 32 bytes as hex",
        ),
        (
            "DEPLOYWATCH__STORE__URL",
            "postgres://nobody@127.0.0.1:1/dw",
            "it cannot be reached: Connection refused",
        ),
        ("DEPLOYWATCH_CONFIG", "nowhere.toml", "nowhere.toml: the settings file cannot be read"),
    ];
    for (name, value, sentence) in cases {
        let finished =
            Invocation::new().folder(folder.path()).args(["serve"]).env(name, value).finish().await;
        assert_eq!(finished.code, 2, "{name}={value}: {}", finished.stderr);
        assert!(finished.stderr.contains(sentence), "{name}={value}: {}", finished.stderr);
        assert_eq!(finished.stderr.matches("error:").count(), 1, "{}", finished.stderr);
    }
}

#[tokio::test]
async fn a_wrong_password_for_the_store_is_said_without_the_password() {
    let url = PgCluster::shared().create_database("wrong_password").await;
    let mut url: url::Url = url.parse().unwrap();
    url.set_username("nobody_here").unwrap();
    url.set_password(Some("canary-password")).unwrap();
    let finished =
        Invocation::new().args(["serve"]).env("DEPLOYWATCH__STORE__URL", url.as_str()).finish().await;
    assert_eq!(finished.code, 2);
    assert!(
        finished.stderr.contains("nobody_here") || finished.stderr.contains("authentication"),
        "{}",
        finished.stderr
    );
    assert!(!finished.stderr.contains("canary"), "{}", finished.stderr);
}

#[tokio::test]
async fn it_stops_gracefully_when_asked() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut server, address) = Deploywatch::serve(Invocation::new()).await;
        let client = super::support::http::client();
        let ready: Value =
            client.get(format!("http://{address}/readyz")).send().await.unwrap().json().await.unwrap();
        assert_eq!(
            ready,
            serde_json::json!({ "ready": true, "store": "ok", "mail": "ok", "stopping": false })
        );
        server.signal(signal);
        let status = server.exit(Duration::from_secs(25)).await;
        assert!(status.success(), "{status}: {}", server.stderr());
        assert!(server.stderr().contains("asked to stop"), "{}", server.stderr());
    }
}

#[tokio::test]
async fn the_key_of_an_embedded_store_is_private_and_must_stay_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let folder = temp_dir();
    let (server, _) = Deploywatch::serve(Invocation::new().folder(folder.path())).await;
    let key = folder.path().join("deploywatch-data/deploywatch.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server.terminate().await.success());
    std::fs::write(&key, "11".repeat(32)).unwrap();
    let finished = Invocation::new().folder(folder.path()).args(["serve"]).finish().await;
    assert_eq!(finished.code, 2);
    assert!(
        finished.stderr.contains("is not the one that this store was written with"),
        "{}",
        finished.stderr
    );
}
