//! Who may do what: every route with every scope and with none, tokens, sessions and loopback.

use deploywatch::domain::access::Scope;
use deploywatch::domain::clock::SignedDuration;
use deploywatch::domain::ids::TokenId;
use deploywatch::http::routes::{self, Access};
use deploywatch::services::access;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::support::app::TestApp;
use super::support::process::Invocation;
use crate::on_both_engines;

/// A path with something in place of each parameter.
fn concrete(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '{' => {
                inside = true;
                out.push('x');
            }
            '}' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

async fn status(app: &TestApp, route: &routes::Route, token: Option<&str>) -> StatusCode {
    let method = Method::from_bytes(route.method.as_bytes()).unwrap();
    let mut request = app.client.request(method, app.url(&concrete(route.path)));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.expect("the server answers").status()
}

/// The guard answers 401 without and 403 with the wrong scope; whatever a handler then answers, it is neither.
#[tokio::test]
async fn every_route_admits_exactly_the_scopes_of_its_line() {
    let app = TestApp::start().await;
    let mut tokens = Vec::new();
    for scope in Scope::ALL {
        tokens.push((scope, app.token(&[scope]).await));
    }
    let mut seen = std::collections::BTreeSet::new();
    for route in routes::table() {
        assert!(seen.insert((route.method, route.path)), "{} {} is there twice", route.method, route.path);
        let nobody = status(&app, &route, None).await;
        match route.access {
            Access::Public | Access::Signature | Access::ReadOrLoopback => {
                assert_ne!(nobody, StatusCode::FORBIDDEN, "{} {}", route.method, route.path);
            }
            Access::Scope(_) => {
                assert_eq!(nobody, StatusCode::UNAUTHORIZED, "{} {}", route.method, route.path);
                let forged = format!("dw_{}_{}", "0".repeat(32), "0".repeat(64));
                let forged = status(&app, &route, Some(&forged)).await;
                assert_eq!(forged, StatusCode::UNAUTHORIZED, "{} {}", route.method, route.path);
            }
        }
        for (scope, token) in &tokens {
            let Access::Scope(needed) = route.access else { continue };
            let admitted = *scope == needed || *scope == Scope::Admin;
            let got = status(&app, &route, Some(token)).await;
            let refused = matches!(got, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
            assert_eq!(admitted, !refused, "{} {} with {scope}: {got}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn loopback_is_open_until_the_first_token_and_never_for_administration() {
    let app = TestApp::start().await;
    let who: Value = app.get("/api/v1/whoami").await.json().await.unwrap();
    assert_eq!(who, serde_json::json!({ "actor": "loopback", "scopes": ["deploy", "gate", "read", "ack"] }));
    // A proxy on the same machine, or a page that made a browser ask, is not somebody at this machine.
    for (name, value) in
        [("X-Forwarded-For", "203.0.113.9"), ("Host", "evil.example"), ("Origin", "https://evil.example")]
    {
        let asked = app.client.get(app.url("/api/v1/whoami")).header(name, value).send().await.unwrap();
        assert_eq!(asked.status(), 401, "{name}: {value}");
    }
    let token = app.token(&[Scope::Gate]).await;
    assert_eq!(app.get("/api/v1/whoami").await.status(), 401);
    // Revoking the last token does not open the door again.
    let public = token.split('_').nth(1).unwrap();
    let id = TokenId::from_text(format!("tok_{public}"));
    assert!(access::revoke_token(app.ctx(), "test", &id).await.unwrap());
    assert_eq!(app.get("/api/v1/whoami").await.status(), 401);
}

on_both_engines! {
    async fn tokens_end_when_they_expire_or_are_revoked(store: TestStore) {
        let url = store.url.clone();
        let app = TestApp::start_on(store.engine, |s| s.store.url = url.into()).await;
        let ctx = app.ctx();
        let scopes: deploywatch::domain::access::Scopes = [Scope::Read].into_iter().collect();
        let expiry = ctx.now() + SignedDuration::from_hours(1);
        let new = access::create_token(ctx, "test", "short", scopes, Some(expiry)).await.unwrap();
        let text = access::reveal(&new).to_owned();
        let grant = access::authenticate(ctx, &text).await.unwrap().expect("it is live");
        assert_eq!((grant.name.as_str(), grant.scopes.to_string().as_str()), ("short", "read"));
        for wrong in ["", "dw_", "dw_x", &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase()] {
            assert_eq!(access::authenticate(ctx, wrong).await.unwrap(), None, "{wrong:?}");
        }
        app.clock.advance(SignedDuration::from_hours(1));
        assert_eq!(access::authenticate(ctx, &text).await.unwrap(), None);

        let text = app.token(&[Scope::Read]).await;
        let session = access::sign_in(ctx, &text).await.unwrap().expect("a session");
        let cookie = secrecy::ExposeSecret::expose_secret(&session.cookie).to_owned();
        assert!(access::session(ctx, &cookie).await.unwrap().is_some());
        let id = access::authenticate(ctx, &text).await.unwrap().unwrap().token;
        assert!(access::revoke_token(ctx, "test", &id).await.unwrap());
        assert!(!access::revoke_token(ctx, "test", &id).await.unwrap());
        assert_eq!(access::authenticate(ctx, &text).await.unwrap(), None);
        assert!(access::session(ctx, &cookie).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_browser_signs_in_acts_by_form_and_signs_out() {
    let app = TestApp::start().await;
    let token = app.token(&[Scope::Read]).await;
    // A page sends people to the sign-in page, a program gets a problem.
    let sent =
        app.client.get(app.url("/api/v1/whoami?x=1")).header("Accept", "text/html").send().await.unwrap();
    assert_eq!(sent.status(), 303);
    assert_eq!(sent.headers()["location"], "/sign-in?next=%2Fapi%2Fv1%2Fwhoami%3Fx%3D1");

    let page = app.get("/sign-in?next=/api/v1/whoami").await;
    assert!(page.text().await.unwrap().contains("name=\"token\""));
    let form = |body: String| {
        let request = app.client.post(app.url("/sign-in"));
        request.header("Content-Type", "application/x-www-form-urlencoded").body(body)
    };
    let wrong = form("token=dw_nonsense".into()).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let foreign =
        form(format!("token={token}")).header("Origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    let right = form(format!("token={token}&next=%2Fapi%2Fv1%2Fwhoami")).send().await.unwrap();
    assert_eq!(
        (right.status().as_u16(), right.headers()["location"].to_str().unwrap()),
        (303, "/api/v1/whoami")
    );
    let set = right.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains(&token), "the cookie is not the token");
    let cookie = set.split(';').next().unwrap().to_owned();
    let who: Value = app
        .client
        .get(app.url("/api/v1/whoami"))
        .header("Cookie", &cookie)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(who["scopes"], serde_json::json!(["read"]));

    let value = cookie.split_once('=').unwrap().1;
    let (_, csrf) = access::session(app.ctx(), value).await.unwrap().unwrap();
    let leave = |body: String| {
        let request = app.client.post(app.url("/sign-out")).header("Cookie", &cookie);
        request.header("Content-Type", "application/x-www-form-urlencoded").body(body)
    };
    assert_eq!(leave(String::new()).send().await.unwrap().status(), 403);
    assert_eq!(leave("csrf=guess".into()).send().await.unwrap().status(), 403);
    let left = leave(format!("csrf={csrf}")).send().await.unwrap();
    assert_eq!(left.status(), 303);
    let after = app.client.get(app.url("/api/v1/whoami")).header("Cookie", &cookie).send().await.unwrap();
    assert_eq!(after.status(), 401);
}

#[tokio::test]
async fn https_makes_the_cookie_secure() {
    let app = TestApp::start_on(super::support::Engine::Sqlite, |settings| {
        settings.http.public_url = Some("https://dw.example".parse().unwrap());
    })
    .await;
    let token = app.token(&[Scope::Read]).await;
    let request =
        app.client.post(app.url("/sign-in")).header("Content-Type", "application/x-www-form-urlencoded");
    let signed = request.body(format!("token={token}")).send().await.unwrap();
    assert!(signed.headers()["set-cookie"].to_str().unwrap().contains("Secure"));
    assert_eq!(signed.headers()["strict-transport-security"], "max-age=31536000");
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_on_the_command_line() {
    let folder = super::support::temp_dir();
    let run =
        async |arguments: &[&str]| Invocation::new().folder(folder.path()).args(arguments).finish().await;
    let made = run(&["token", "create", "--name", "ci", "--scope", "deploy,gate", "--expires", "90d"]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let text = made.stdout.trim();
    assert!(text.starts_with("dw_") && text.len() == 3 + 32 + 1 + 64, "{text}");
    assert!(made.stderr.contains("\"ci\" may deploy gate until 20"), "{}", made.stderr);
    let listed = run(&["token", "list"]).await;
    assert!(listed.stdout.contains("deploy gate") && listed.stdout.contains("never"), "{}", listed.stdout);
    let secret = text.rsplit('_').next().unwrap();
    assert!(!listed.stdout.contains(secret));
    let store = std::fs::read(folder.path().join("deploywatch-data/deploywatch.db")).unwrap();
    assert!(!store.windows(secret.len()).any(|window| window == secret.as_bytes()), "only the hash is kept");
    let revoked = run(&["token", "revoke", "ci"]).await;
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    assert!(run(&["token", "list"]).await.stdout.contains("revoked 20"));
    let again = run(&["token", "revoke", "ci"]).await;
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("there is no live token \"ci\""), "{}", again.stderr);
    let wrong = run(&["token", "create", "--name", "x", "--scope", "raed"]).await;
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("the scopes are deploy, gate, read, ack and admin"), "{}", wrong.stderr);
}
