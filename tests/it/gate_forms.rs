//! The gate in each of its forms, as each kind of asker sees it.

use deploywatch::domain::access::Scope;
use deploywatch::domain::clock::SignedDuration;
use deploywatch::services::access;
use reqwest::Method;
use serde_json::Value;

use crate::on_both_engines;
use crate::support::process::{Finished, Invocation};
use crate::support::served::Served;
use crate::support::watch::violations;
use crate::support::{Engine, TestStore};

const GATE: &str = "/api/v1/environments/acme-production/gate";
const ROLLBACK: &str = "/api/v1/environments/acme-production/gate/rollback";
const VERDICT: &str = "/api/v1/environments/acme-production/verdict";

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

async fn served(store: &TestStore) -> Served {
    Served::start(store, vec![violations("users.email"), violations("orders.total")], |_| {}).await
}

/// From now on one check fails.
async fn breaks(served: &Served) {
    served.world.target.script(|key, _| Ok(if key == "users.email" { 3.0 } else { 0.0 }));
    served.world.pass(minutes(6)).await;
}

async fn status(served: &Served, path: &str) -> u16 {
    served.get(path).await.0
}

on_both_engines! {
    async fn the_status_code_says_it_and_202_is_never_one(store: TestStore) {
        let served = served(&store).await;
        let previous = format!("{GATE}?previous=true");
        assert_eq!(status(&served, GATE).await, 404);
        assert_eq!(status(&served, ROLLBACK).await, 409, "nothing to roll back");
        let (code, view) = served.get(VERDICT).await;
        assert_eq!((code, view["state"].as_str(), view["answer"].as_str()), (200, Some("unknown"), Some("unknown")));
        assert_eq!(status(&served, &previous).await, 200, "the first release has nothing before it");

        served.world.release("v1").await;
        assert_eq!(status(&served, GATE).await, 425);
        assert_eq!(status(&served, &previous).await, 425, "the last one is in its first minutes");
        served.world.pass(minutes(11)).await;
        assert_eq!((status(&served, GATE).await, status(&served, &previous).await), (200, 200));
        assert_eq!(status(&served, &format!("{previous}&stage=soak")).await, 425, "not during its soak");
        assert_eq!(status(&served, ROLLBACK).await, 409);

        breaks(&served).await;
        assert_eq!((status(&served, GATE).await, status(&served, &previous).await), (409, 409));
        assert_eq!(status(&served, &format!("{previous}&kind=rollback")).await, 200, "the way back is never barred");
        assert_eq!(status(&served, ROLLBACK).await, 200);
        // Flagger's hooks are POSTs.
        let posted = served.request(Method::POST, GATE).json(&serde_json::json!({"phase": "Progressing"}));
        assert_eq!(posted.send().await.unwrap().status(), 409);
        assert_eq!(served.request(Method::POST, ROLLBACK).send().await.unwrap().status(), 200);
        assert_eq!(status(&served, &format!("{previous}&version=v1")).await, 400);

        served.world.target.set_down(false);
        served.world.target.script(|_, _| Ok(0.0));
        served.world.release("v2").await;
        served.world.release("v3").await;
        assert_eq!(status(&served, &format!("{GATE}?version=v2")).await, 410);
        served.world.target.set_down(true);
        served.world.pass(minutes(25)).await;
        assert_eq!(status(&served, GATE).await, 424, "it could not be measured");
        assert_eq!(status(&served, ROLLBACK).await, 409, "which is no reason to roll back");
    }

    async fn the_verdict_is_one_flat_object_that_changes_its_etag_with_the_answer(store: TestStore) {
        let served = served(&store).await;
        served.world.release("v1").await;
        served.world.pass(minutes(11)).await;
        let first = served.request(Method::GET, VERDICT).send().await.unwrap();
        let etag = first.headers()["etag"].to_str().unwrap().to_owned();
        let view: Value = first.json().await.unwrap();
        for field in ["state", "provisional", "effective", "stage", "since", "ends_at", "coverage", "counts", "etag"] {
            assert!(!view[field].is_null(), "{field} in {view:#}");
        }
        let again = served.request(Method::GET, VERDICT).header("If-None-Match", &etag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        let waiting = served.request(Method::GET, &format!("{VERDICT}?wait=30s")).header("If-None-Match", &etag);
        let waiting = tokio::spawn(waiting.send());
        breaks(&served).await;
        let woken: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
        assert_ne!(woken["answer"], "go", "{woken:#}");
        let (_, view) = served.get(VERDICT).await;
        assert_eq!((view["state"].as_str(), view["answer"].as_str()), (Some("failed"), Some("stop")));
        let failing = &view["failing"][0];
        for field in ["key", "value", "threshold", "reason", "first_failed_at"] {
            assert!(!failing[field].is_null(), "{field} in {failing:#}");
        }
    }
}

#[tokio::test]
async fn a_token_may_come_as_the_password_of_an_address() {
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store).await;
    let scopes = [Scope::Gate].into_iter().collect();
    let token = access::create_token(&served.world.ctx, "test", "flagger", scopes, None).await.unwrap();
    let token = access::reveal(&token).to_owned();
    let asked =
        |password: String| served.request(Method::POST, GATE).basic_auth("flagger", Some(password)).send();
    assert_eq!(asked(token.clone()).await.unwrap().status(), 404, "let in: there is no deploy yet");
    assert_eq!(asked("wrong".into()).await.unwrap().status(), 401);
    let from_a_page = served.request(Method::POST, GATE).basic_auth("flagger", Some(token));
    let from_a_page = from_a_page.header("Origin", "https://evil.example").send().await.unwrap();
    assert_eq!(from_a_page.status(), 401, "a browser sends a remembered password for anybody");
}

async fn gate(served: &Served, arguments: &[&str], summary: Option<&std::path::Path>) -> Finished {
    let mut command = Invocation::new().env("DEPLOYWATCH_URL", served.url("")).args(["gate"]).args(arguments);
    if let Some(path) = summary {
        command = command.env("GITHUB_STEP_SUMMARY", path);
    }
    command.finish().await
}

#[tokio::test]
async fn the_command_says_a_stop_in_five_lines_and_in_each_format() {
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store).await;
    let first = gate(&served, &["--previous"], None).await;
    assert_eq!(
        (first.code, first.stdout.starts_with("GO: nothing was released before")),
        (0, true),
        "{}",
        first.stdout
    );
    assert_eq!(gate(&served, &[], None).await.code, 5);
    served.world.release("v1").await;
    assert_eq!(gate(&served, &[], None).await.code, 4);
    served.world.pass(minutes(11)).await;
    assert_eq!(gate(&served, &["--previous", "--stage", "smoke"], None).await.code, 0);
    assert_eq!(gate(&served, &["--previous", "--stage", "soak"], None).await.code, 4);
    breaks(&served).await;

    let stop = gate(&served, &["--version", "v1"], None).await;
    assert_eq!(stop.code, 1);
    let lines: Vec<&str> = stop.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", stop.stdout);
    assert!(
        lines[0].starts_with("STOP: deploy v1 in acme-production has failed: users.email"),
        "{}",
        lines[0]
    );
    for (line, word) in lines[1..].iter().zip(["value", "baseline", "since", "what now"]) {
        assert!(line.trim_start().starts_with(word), "{line}");
    }
    assert_eq!(gate(&served, &["--previous"], None).await.code, 1);
    assert_eq!(gate(&served, &["--previous", "--kind", "rollback"], None).await.code, 0);
    assert_eq!(gate(&served, &["--previous", "--version", "v1"], None).await.code, 2);

    let junit = gate(&served, &["--format", "junit"], None).await;
    assert!(
        junit.stdout.contains("<testsuite name=\"v1 in acme-production\" tests=\"2\" failures=\"1\""),
        "{}",
        junit.stdout
    );
    let folder = crate::support::temp_dir();
    let summary = folder.path().join("summary.md");
    let github = gate(&served, &["--format", "github"], Some(&summary)).await;
    assert!(
        github.stdout.lines().any(|line| line.starts_with("::error title=users.email::")),
        "{}",
        github.stdout
    );
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("### deploywatch: stop") && text.contains("| users.email |"), "{text}");
}
