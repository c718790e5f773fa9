//! From a provider's webhook to the verdict on its own page, and everything that can go wrong between.

use deploywatch::domain::access::Scope;
use deploywatch::domain::clock::SignedDuration;
use deploywatch::domain::deploy::{DeployState, Override, OverrideVerdict};
use deploywatch::domain::verdict::VerdictState;
use deploywatch::services::{access, answers, triggers, verification};
use deploywatch::settings::Trigger;
use deploywatch::store::deploys::{self, DeployRow};
use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::forge::{self, Forge};
use crate::support::served::Served;
use crate::support::watch::{ENVIRONMENT, announcement, violations};
use crate::support::{Engine, TestStore, signer};

const SECRET: &str = "It's a Secret to Everybody";
const SHA: &str = "7f3c2a1d9b8e4c6f7f3c2a1d9b8e4c6f7f3c2a1d";

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

const DAY: SignedDuration = SignedDuration::from_secs(86_400 + 60);

fn app_key() -> secrecy::SecretString {
    String::from_utf8(crate::support::fixture_bytes("github/app.pkcs1.pem")).unwrap().into()
}

/// A GitHub App that may do everything.
fn github(forge: &Forge) -> Trigger {
    Trigger {
        secret: Some(SECRET.into()),
        api_url: Some(forge.url()),
        app_id: Some("123456".into()),
        private_key: Some(app_key()),
        deployment_status: true,
        allow_during_soak: true,
        ..Trigger::default()
    }
}

async fn served(store: &TestStore, triggers: Vec<(&str, Trigger)>) -> Served {
    Served::start(store, vec![violations("users.email"), violations("orders.total")], |settings| {
        settings.triggers = triggers.into_iter().map(|(name, trigger)| (name.to_owned(), trigger)).collect();
        settings.http.public_url = Some("https://watch.example.com".parse().unwrap());
    })
    .await
}

async fn post(served: &Served, name: &str, headers: &[(&str, String)], body: Vec<u8>) -> (u16, Value) {
    let mut request = served.request(Method::POST, &format!("/triggers/{name}"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.body(body).send().await.expect("the server answers");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// As GitHub sends it.
async fn from_github(served: &Served, event: &str, delivery: &str, body: Vec<u8>) -> (u16, Value) {
    let headers = [
        ("x-github-event", event.to_owned()),
        ("x-github-delivery", delivery.to_owned()),
        ("x-hub-signature-256", format!("sha256={}", signer::sign(SECRET, &body))),
    ];
    post(served, "github", &headers, body).await
}

async fn from_vercel(served: &Served, body: Vec<u8>) -> (u16, Value) {
    let signature = forge::sha1(SECRET, &body);
    post(served, "vercel", &[("x-vercel-signature", signature)], body).await
}

/// Carries out what was taken in, and tells what is to be told.
async fn work(served: &Served) {
    triggers::run_due(&served.world.ctx).await.unwrap();
    answers::send_due(&served.world.ctx).await.unwrap();
}

async fn newest(served: &Served) -> DeployRow {
    let mut c = served.world.ctx.db.reader().await.unwrap();
    deploys::get_newest(&mut c, ENVIRONMENT).await.unwrap().expect("a deploy was announced")
}

fn breaks(served: &Served) {
    served.world.target.script(|key, _| Ok(if key == "users.email" { 3.0 } else { 0.0 }));
}

/// The conclusion of each call that says something of a check run, in order.
fn conclusions(forge: &Forge) -> Vec<String> {
    let said = |body: &Value| body["conclusion"].as_str().or(body["status"].as_str()).map(str::to_owned);
    let calls = forge.calls("check-runs");
    calls.iter().filter(|call| !call.line.starts_with("GET")).filter_map(|call| said(&call.body)).collect()
}

on_both_engines! {
    async fn a_deployment_at_github_is_watched_and_its_check_run_says_what_came_of_it(store: TestStore) {
        let forge = Forge::start().await;
        let served = served(&store, vec![("github", github(&forge))]).await;
        let event = |state| forge::deployment_status(state, SHA, "Production");
        let (status, answer) = from_github(&served, "deployment_status", "d1", event("in_progress")).await;
        let expected = json!({ "status": "accepted", "action": "start", "environment": ENVIRONMENT, "version": "7f3c2a1d9b8e" });
        assert_eq!((status, answer), (202, expected));
        work(&served).await;
        let row = newest(&served).await;
        assert_eq!((row.deploy.version.as_str(), row.deploy.commit.as_deref()), ("7f3c2a1d9b8e", Some(SHA)));
        assert_eq!((row.deploy.state.clone(), row.deploy.actor.as_deref()), (DeployState::Deploying, Some("dana")));
        assert!(row.deploy.baseline_id.is_some(), "measured before the release");

        let (status, answer) = from_github(&served, "deployment_status", "d1", event("in_progress")).await;
        assert_eq!((status, answer["status"].as_str()), (200, Some("duplicate")));
        assert_eq!(from_github(&served, "deployment_status", "d2", event("success")).await.0, 202);
        work(&served).await;
        assert_eq!(newest(&served).await.deploy.state, DeployState::Verifying);
        served.world.pass(minutes(11)).await;
        breaks(&served);
        served.world.pass(minutes(6)).await;
        work(&served).await;
        assert_eq!(newest(&served).await.verdict.state, VerdictState::Failed);

        let said = conclusions(&forge);
        assert_eq!((said.first().map(String::as_str), said.last().map(String::as_str)), (Some("in_progress"), Some("failure")));
        assert_eq!(forge.runs(), 1, "one check run, changed as things change");
        let first = &forge.calls("POST /repos/acme/shop/check-runs")[0];
        assert_eq!((first.body["head_sha"].as_str(), first.token.as_str()), (Some(SHA), "ghs_forge"));
        let token = &forge.calls("POST /app/installations/7/access_tokens")[0];
        assert_eq!((token.token.split('.').count(), &token.body), (3, &json!({ "repositories": ["shop"] })));
        let last = forge.calls("PATCH /repos/acme/shop/check-runs/1").pop().unwrap();
        let details = last.body["details_url"].as_str().unwrap();
        assert_eq!(details, format!("https://watch.example.com/deploys/{}", row.deploy.id));
        let summary = last.body["output"]["summary"].as_str().unwrap();
        assert!(summary.contains("| users.email |") && summary.contains("deploy override"), "{summary}");
        let deployment = forge.calls("POST /repos/acme/shop/deployments/99/statuses");
        assert_eq!(deployment.len(), 1, "said once, in the end");
        assert_eq!(deployment[0].body["state"], "failure");

        // GitHub tells us of our own status as well.
        let ours = String::from_utf8(event("failure")).unwrap().replace(r#""description":"""#, r#""description":"deploywatch: Failed""#);
        let (status, answer) = from_github(&served, "deployment_status", "d3", ours.into_bytes()).await;
        assert_eq!((status, answer["status"].as_str()), (200, Some("ignored")));

        // A person decides otherwise, for a time.
        let now = served.world.ctx.now();
        let decided = Override {
            verdict: OverrideVerdict::Passed,
            actor: "dana".into(),
            reason: "test accounts".into(),
            at: now,
            expires_at: now + minutes(30),
        };
        verification::decide_by_hand(&served.world.ctx, &row.deploy.id, decided).await.unwrap();
        work(&served).await;
        assert_eq!(conclusions(&forge).last().map(String::as_str), Some("success"));
        served.world.pass(minutes(31)).await;
        work(&served).await;
        assert_eq!(conclusions(&forge).last().map(String::as_str), Some("failure"), "the override has ended");
        let (_, shown) = served.get(&format!("/api/v1/deploys/{}/answers", row.deploy.id)).await;
        assert_eq!(shown["answers"].as_array().map(Vec::len), Some(2), "{shown:#}");
        let page = served.request(Method::GET, &format!("/deploys/{}", row.deploy.id)).send().await.unwrap();
        let page = page.text().await.unwrap();
        for part in ["Told elsewhere", &format!("check run of acme/shop@{SHA}"), "GitHub, deployment acme/shop#99", "failure"] {
            assert!(page.contains(part), "{part} is not on {page}");
        }
    }

    async fn who_guesses_signatures_is_slowed_down_and_who_signs_is_not(store: TestStore) {
        let forge = Forge::start().await;
        let served = served(&store, vec![("github", github(&forge))]).await;
        let body = forge::deployment_status("in_progress", SHA, "Production");
        let guess = async || {
            let headers = [
                ("x-github-event", "deployment_status".to_owned()),
                ("x-hub-signature-256", format!("sha256={}", "0".repeat(64))),
            ];
            post(&served, "github", &headers, body.clone()).await.0
        };
        let first = guess().await;
        assert_eq!(first, 401);
        let mut slowed = false;
        for _ in 0..2_000 {
            match guess().await {
                401 => {}
                429 => { slowed = true; break; }
                other => panic!("unexpected answer {other}"),
            }
        }
        assert!(slowed, "a flood is answered 429");
        let (status, _) = from_github(&served, "deployment_status", "d1", body.clone()).await;
        assert_eq!(status, 202, "the right signature is never slowed down");
    }

    async fn a_release_that_failed_to_go_out_is_cancelled_and_one_that_is_out_is_not(store: TestStore) {
        let forge = Forge::start().await;
        let served = served(&store, vec![("github", github(&forge))]).await;
        let event = |state| forge::deployment_status(state, SHA, "production");
        from_github(&served, "deployment_status", "1", event("in_progress")).await;
        // Both are there before the first is carried out: they are in order.
        from_github(&served, "deployment_status", "2", event("failure")).await;
        work(&served).await;
        let mut c = served.world.ctx.db.reader().await.unwrap();
        let row = deploys::get_version(&mut c, ENVIRONMENT, "7f3c2a1d9b8e").await.unwrap().unwrap();
        drop(c);
        let DeployState::Cancelled { reason, .. } = &row.deploy.state else { panic!("{:?}", row.deploy.state) };
        assert_eq!(reason, "GitHub says failure");
        assert_eq!(conclusions(&forge).last().map(String::as_str), Some("cancelled"));
        from_github(&served, "deployment_status", "3", event("success")).await;
        work(&served).await;
        assert_eq!(newest(&served).await.deploy.attempt, 2, "it went out after all");
        from_github(&served, "deployment_status", "4", event("error")).await;
        work(&served).await;
        assert_eq!(newest(&served).await.deploy.state, DeployState::Verifying);
        let (_, listed) = served.get("/api/v1/triggers").await;
        let outcomes: Vec<&str> = listed["events"].as_array().unwrap().iter().filter_map(|e| e["outcome"].as_str()).collect();
        assert_eq!(outcomes.len(), 4, "{listed:#}");
        assert!(outcomes[0].contains("nothing was done"), "{outcomes:?}");
    }

    async fn an_hour_without_the_provider_ends_with_one_call_of_the_newest(store: TestStore) {
        let forge = Forge::start().await;
        let served = served(&store, vec![("github", github(&forge))]).await;
        forge.fails_with(Some(503));
        from_github(&served, "deployment_status", "1", forge::deployment_status("success", SHA, "Production")).await;
        work(&served).await;
        served.world.pass(minutes(11)).await;
        work(&served).await;
        breaks(&served);
        served.world.pass(minutes(20)).await;
        work(&served).await;
        assert_eq!(forge.runs(), 0);
        let row = newest(&served).await;
        let (_, shown) = served.get(&format!("/api/v1/deploys/{}/answers", row.deploy.id)).await;
        let commit = &shown["answers"][0];
        assert_eq!(commit["failure"], "GitHub answered 503 not today", "{shown:#}");
        assert!(commit["attempts"].as_array().unwrap().len() >= 3, "each try is kept");

        forge.fails_with(None);
        // It is made there, and we do not hear of it.
        forge.loses_an_answer();
        served.world.clock.advance(minutes(16));
        work(&served).await;
        served.world.clock.advance(minutes(16));
        work(&served).await;
        assert_eq!(forge.runs(), 1, "found again, not made twice");
        let made: Vec<_> = forge.calls("POST /repos/acme/shop/check-runs");
        assert_eq!(made.last().unwrap().body["conclusion"], "failure", "only the newest is said");
        assert_eq!(forge.calls("PATCH /repos/acme/shop/check-runs/1").len(), 1);
    }

    async fn a_protection_rule_asks_about_the_last_release(store: TestStore) {
        let forge = Forge::start().await;
        let served = served(&store, vec![("github", github(&forge))]).await;
        let path = |run: u32| format!("/repos/acme/shop/actions/runs/{run}/deployment_protection_rule");
        let asks = async |run: u32| {
            let callback = format!("{}{}", forge.url().as_str().trim_end_matches('/'), path(run));
            let body = forge::protection_rule(&callback, "Production");
            let (status, answer) = from_github(&served, "deployment_protection_rule", &format!("r{run}"), body).await;
            assert_eq!((status, answer["action"].as_str()), (202, Some("permit")), "{answer}");
            work(&served).await;
        };
        let said = |run: u32| -> Vec<Option<String>> {
            let calls = forge.calls(&path(run));
            calls.iter().map(|call| call.body["state"].as_str().map(str::to_owned)).collect()
        };
        asks(1).await;
        assert_eq!(said(1), [Some("approved".to_owned())], "nothing was released before");

        served.world.release("v1").await;
        asks(2).await;
        work(&served).await;
        assert_eq!(said(2), [None], "told to wait, once");
        served.world.pass(minutes(11)).await;
        work(&served).await;
        assert_eq!(said(2), [None, Some("approved".to_owned())]);

        breaks(&served);
        served.world.pass(minutes(6)).await;
        asks(3).await;
        assert_eq!(said(3), [Some("rejected".to_owned())]);
        let call = &forge.calls(&path(3))[0];
        let comment = call.body["comment"].as_str().unwrap();
        assert!(comment.contains("users.email") && comment.contains("https://watch.example.com/deploys/"), "{comment}");
        assert_eq!(call.body["environment_name"], "Production");
        // The same run again, after somebody decided.
        let callback = format!("{}{}", forge.url().as_str().trim_end_matches('/'), path(3));
        from_github(&served, "deployment_protection_rule", "again", forge::protection_rule(&callback, "Production")).await;
        work(&served).await;
        assert_eq!(said(3).len(), 2, "a new request is a new question");
        // Our token goes to the API of the settings alone.
        let elsewhere = forge::protection_rule("http://127.0.0.2:1/steal", "Production");
        from_github(&served, "deployment_protection_rule", "evil", elsewhere).await;
        work(&served).await;
        assert!(forge.calls("steal").is_empty());
    }

    async fn a_deployment_at_vercel_is_watched_if_it_is_production(store: TestStore) {
        let forge = Forge::start().await;
        let vercel = Trigger {
            secret: Some("another secret".into()),
            secret_previous: Some(SECRET.into()),
            api_url: Some(forge.url()),
            token: Some("vercel-token".into()),
            environments: vec![format!("shop={ENVIRONMENT}")],
            ..Trigger::default()
        };
        let served = served(&store, vec![("vercel", vercel)]).await;
        let event = |id: &str, kind: &str| forge::vercel(id, kind, json!("production"), SHA);
        let (status, answer) = from_vercel(&served, forge::vercel("e0", "deployment.created", Value::Null, SHA)).await;
        assert_eq!((status, answer["status"].as_str()), (200, Some("ignored")), "a preview");
        assert_eq!(from_vercel(&served, forge::vercel("e0", "project.created", Value::Null, SHA)).await.0, 200);
        assert_eq!(from_vercel(&served, event("e1", "deployment.created")).await.0, 202);
        work(&served).await;
        assert_eq!(newest(&served).await.deploy.state, DeployState::Deploying);
        assert_eq!(from_vercel(&served, event("e2", "deployment.succeeded")).await.0, 202);
        assert_eq!(from_vercel(&served, event("e2", "deployment.succeeded")).await.1["status"], "duplicate");
        assert_eq!(from_vercel(&served, event("e3", "deployment.promoted")).await.0, 202);
        work(&served).await;
        let row = newest(&served).await;
        assert_eq!((row.deploy.version.as_str(), row.deploy.attempt), ("7f3c2a1d9b8e", 1));
        assert_eq!(row.deploy.link.as_deref(), Some("https://vercel.example/d/1"));
        served.world.pass(DAY).await;
        work(&served).await;
        assert_eq!(conclusions(&forge).last().map(String::as_str), Some("succeeded"));
        assert_eq!(forge.runs(), 1);
        let check = &forge.calls("POST /v2/projects/prj_1/checks")[0];
        assert_eq!((check.body["blocks"].as_str(), check.query.as_str()), (Some("none"), "teamId=team_1"));
        assert_eq!(check.token, "vercel-token");
        let told = forge.calls("PATCH /v2/deployments/dpl_1/check-runs/run_1").pop().unwrap();
        assert_eq!(told.body["status"], "completed", "{:#}", told.body);
    }
}

#[tokio::test]
async fn a_release_whose_baseline_cannot_be_captured_does_not_stay_in_progress() {
    let forge = Forge::start().await;
    let trigger = Trigger { repositories: vec!["acme/shop".into()], ..github(&forge) };
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store, vec![("github", trigger)]).await;
    let mut announced = announcement("v1");
    announced.commit = Some(SHA.into());
    served.world.target.set_down(true);
    assert!(verification::start(&served.world.ctx, &announced).await.is_err());
    work(&served).await;
    assert!(forge.calls("check-runs").is_empty(), "nobody heard of it");

    // Taken back by another process after GitHub heard of it.
    served.world.target.set_down(false);
    let id = verification::start(&served.world.ctx, &announced).await.unwrap().row.deploy.id;
    work(&served).await;
    let mut tx = served.world.ctx.db.begin().await.unwrap();
    sqlx::query("DELETE FROM deploys WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await.unwrap();
    deploywatch::store::answers::touch(&mut tx, &id, ENVIRONMENT, served.world.ctx.now()).await.unwrap();
    tx.commit().await.unwrap();
    work(&served).await;
    assert_eq!(conclusions(&forge), ["in_progress", "cancelled"]);
}

#[tokio::test]
async fn what_is_not_signed_or_not_meant_changes_nothing() {
    let forge = Forge::start().await;
    let github = Trigger { repositories: vec!["acme/shop".into()], ..github(&forge) };
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store, vec![("github", github)]).await;
    let body = forge::deployment_status("success", SHA, "Production");
    let signed = |secret: &str, body: &[u8]| format!("sha256={}", signer::sign(secret, body));
    let headers = |signature: String| {
        [
            ("x-github-event", "deployment_status".to_owned()),
            ("x-github-delivery", "x".to_owned()),
            ("x-hub-signature-256", signature),
        ]
    };
    let mut changed = body.clone();
    changed.push(b' ');
    for (name, signature, body) in [
        ("none", String::new(), &body),
        ("another secret", signed("guess-guess", &body), &body),
        ("an empty secret", signed("", &body), &body),
        ("another body", signed(SECRET, &body), &changed),
        ("SHA-1", format!("sha1={}", forge::sha1(SECRET, &body)), &body),
    ] {
        assert_eq!(post(&served, "github", &headers(signature), body.clone()).await.0, 401, "{name}");
    }
    // Nothing is parsed before it is verified.
    assert_eq!(post(&served, "github", &headers(signed("guess", b"{")), b"{".to_vec()).await.0, 401);
    assert_eq!(from_github(&served, "deployment_status", "x", b"{".to_vec()).await.0, 400);
    assert_eq!(post(&served, "gitlab", &headers(signed(SECRET, &body)), body.clone()).await.0, 404);
    assert_eq!(post(&served, "github", &[], body.clone()).await.0, 401);
    assert_eq!(from_github(&served, "deployment_status", "x", vec![b'x'; 262_145]).await.0, 413);
    let other = String::from_utf8(body.clone()).unwrap().replace("acme/shop", "acme/other").into_bytes();
    for (event, body) in [
        ("ping", b"{}".to_vec()),
        ("push", b"{}".to_vec()),
        ("deployment_status", other),
        ("deployment_status", forge::deployment_status("success", SHA, "Preview")),
        ("deployment_status", forge::deployment_status("inactive", SHA, "Production")),
    ] {
        let (status, answer) = from_github(&served, event, "y", body).await;
        assert_eq!((status, answer["status"].as_str()), (200, Some("ignored")), "{event} {answer}");
        assert!(answer["reason"].as_str().is_some_and(|why| !why.is_empty()), "{event} says why");
    }
    work(&served).await;
    let mut c = served.world.ctx.db.reader().await.unwrap();
    assert!(deploys::list_deploys(&mut c, None, 10).await.unwrap().is_empty());
    assert!(forge.calls("").is_empty());
}

#[tokio::test]
async fn any_system_may_tell_of_a_release_by_signature_or_token() {
    let generic = Trigger { secret: Some(SECRET.into()), ..Trigger::default() };
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store, vec![("generic", generic)]).await;
    let say =
        |action: &str| json!({ "id": action, "action": action, "version": "v7" }).to_string().into_bytes();
    let signed = async |action: &str| {
        let body = say(action);
        let signature = format!("sha256={}", signer::sign(SECRET, &body));
        post(&served, "generic", &[("x-deploywatch-signature", signature)], body).await
    };
    assert_eq!(signed("start").await.0, 202);
    assert_eq!(signed("start").await.1["status"], "duplicate");
    work(&served).await;
    assert_eq!(newest(&served).await.deploy.state, DeployState::Deploying);

    let ctx = &served.world.ctx;
    let token = async |scope: Scope| {
        let scopes = [scope].into_iter().collect();
        let new = access::create_token(ctx, "test", "ci", scopes, None).await.unwrap();
        format!("Bearer {}", access::reveal(&new))
    };
    let (deploy, read) = (token(Scope::Deploy).await, token(Scope::Read).await);
    assert_eq!(post(&served, "generic", &[("authorization", read)], say("finish")).await.0, 403);
    assert_eq!(post(&served, "generic", &[("authorization", "Bearer x".into())], say("finish")).await.0, 401);
    let (status, answer) = post(&served, "generic", &[("authorization", deploy)], say("finish")).await;
    assert_eq!((status, answer["environment"].as_str()), (202, Some(ENVIRONMENT)), "{answer}");
    work(&served).await;
    assert_eq!(newest(&served).await.deploy.state, DeployState::Verifying);
    assert_eq!(signed("cancel").await.0, 202);
    work(&served).await;
    assert_eq!(newest(&served).await.deploy.state, DeployState::Verifying, "it is out");
    assert_eq!(signed("explode").await.0, 400);
}

#[tokio::test]
async fn a_release_that_ci_announces_shows_on_its_commit_by_a_token_too() {
    let forge = Forge::start().await;
    let trigger = Trigger {
        secret: Some(SECRET.into()),
        api_url: Some(forge.url()),
        token: Some("github_pat_x".into()),
        repositories: vec!["acme/shop".into()],
        ..Trigger::default()
    };
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store, vec![("github", trigger)]).await;
    let mut announced = announcement(SHA);
    announced.commit = Some(SHA.into());
    let id = verification::start(&served.world.ctx, &announced).await.unwrap().row.deploy.id;
    verification::finish(&served.world.ctx, &id).await.unwrap();
    work(&served).await;
    // The webhook of the same release means the same deploy.
    from_github(&served, "deployment_status", "1", forge::deployment_status("success", SHA, "Production"))
        .await;
    work(&served).await;
    assert_eq!(newest(&served).await.deploy.id, id);
    served.world.pass(DAY).await;
    work(&served).await;
    let states: Vec<_> = forge.calls(&format!("POST /repos/acme/shop/statuses/{SHA}"));
    assert_eq!(states.first().unwrap().body["state"], "pending");
    let last = states.last().unwrap();
    assert_eq!((last.body["state"].as_str(), last.token.as_str()), (Some("success"), "github_pat_x"));
    assert_eq!(last.body["context"], format!("deploywatch ({ENVIRONMENT})"));
    assert!(last.body["description"].as_str().unwrap().chars().count() <= 140);
    assert_eq!(forge.calls("check-runs").len(), 0, "a token cannot make them");
}
