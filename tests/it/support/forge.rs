//! GitHub's and Vercel's APIs as far as verdicts are told there: what was called, and answers of their shape.

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

/// One call as it arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// `POST /repos/acme/shop/check-runs`
    pub line: String,
    pub query: String,
    pub token: String,
    pub body: Value,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// Check runs that were made, each with its id.
    runs: Vec<Value>,
    checks: Vec<Value>,
    /// Answered to everything.
    status: Option<u16>,
    /// Does what it is asked and loses the answer, so often.
    lose: u32,
}

pub struct Forge {
    state: Arc<Mutex<State>>,
    port: u16,
    server: actix_web::dev::ServerHandle,
}

impl Forge {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::from(Arc::clone(&shared))).default_service(web::to(answer))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .expect("loopback has a free port");
        let port = server.addrs()[0].port();
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { state, port, server: handle }
    }

    pub fn url(&self) -> url::Url {
        format!("http://127.0.0.1:{}", self.port).parse().expect("an address of loopback")
    }

    /// From now on every call is answered with this status.
    pub fn fails_with(&self, status: Option<u16>) {
        self.state.lock().unwrap().status = status;
    }

    /// The next check run is made and answered with 502.
    pub fn loses_an_answer(&self) {
        self.state.lock().unwrap().lose = 1;
    }

    /// Calls whose line contains `text`, those that were refused too.
    pub fn calls(&self, text: &str) -> Vec<Call> {
        let state = self.state.lock().unwrap();
        state.calls.iter().filter(|call| call.line.contains(text)).cloned().collect()
    }

    /// The check runs that exist.
    pub fn runs(&self) -> usize {
        self.state.lock().unwrap().runs.len()
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn answer(request: HttpRequest, body: web::Bytes, state: web::Data<Mutex<State>>) -> HttpResponse {
    let path = request.path().to_owned();
    let line = format!("{} {path}", request.method());
    let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut state = state.lock().unwrap();
    let query = request.query_string().to_owned();
    state.calls.push(Call { line, query, token, body: body.clone() });
    if let Some(status) = state.status {
        let status = actix_web::http::StatusCode::from_u16(status).unwrap();
        return HttpResponse::build(status).json(json!({ "message": "not today" }));
    }
    let method = request.method().as_str();
    let answer = match method {
        "POST" if path.ends_with("/access_tokens") => json!({ "token": "ghs_forge" }),
        "GET" if path.ends_with("/installation") => json!({ "id": 7 }),
        "POST" if path.ends_with("/check-runs") => {
            let id = state.runs.len() as u64 + 1;
            let mut run = body;
            run["id"] = if path.starts_with("/v2/") { json!(format!("run_{id}")) } else { json!(id) };
            state.runs.push(run.clone());
            run
        }
        "GET" if path.ends_with("/check-runs") => json!({ "check_runs": state.runs, "runs": state.runs }),
        "POST" if path.ends_with("/checks") => {
            let mut check = body;
            check["id"] = json!(format!("chk_{}", state.checks.len() + 1));
            state.checks.push(check.clone());
            check
        }
        "GET" if path.ends_with("/checks") => json!({ "checks": state.checks }),
        "PATCH" => json!({ "id": path.rsplit('/').next().and_then(|id| id.parse::<u64>().ok()) }),
        _ => Value::Null,
    };
    if state.lose > 0 && method == "POST" && path.ends_with("/check-runs") {
        state.lose -= 1;
        return HttpResponse::BadGateway().finish();
    }
    HttpResponse::Ok().json(answer)
}

/// A `deployment_status` event.
pub fn deployment_status(state: &str, sha: &str, environment: &str) -> Vec<u8> {
    let body = json!({
        "action": "created",
        "deployment_status": {
            "id": 1, "state": state, "description": "", "environment": environment,
            "target_url": "", "log_url": "https://github.example/acme/shop/actions/runs/42",
            "creator": { "login": "dana" },
            "created_at": "2026-05-01T00:00:00Z",
        },
        "deployment": {
            "id": 99, "sha": sha, "ref": "main", "task": "deploy", "environment": environment,
            "creator": { "login": "dana" },
        },
        "repository": { "id": 5, "full_name": "acme/shop" },
        "installation": { "id": 7 },
        "sender": { "login": "dana" },
    });
    serde_json::to_vec(&body).unwrap()
}

/// A `deployment_protection_rule` event.
pub fn protection_rule(callback: &str, environment: &str) -> Vec<u8> {
    let body = json!({
        "action": "requested",
        "environment": environment,
        "event": "push",
        "deployment_callback_url": callback,
        "deployment": { "id": 100, "task": "deploy", "sha": "c".repeat(40) },
        "pull_requests": [],
        "repository": { "full_name": "acme/shop" },
        "installation": { "id": 7 },
    });
    serde_json::to_vec(&body).unwrap()
}

/// A webhook of Vercel.
pub fn vercel(id: &str, kind: &str, target: Value, sha: &str) -> Vec<u8> {
    let body = json!({
        "id": id,
        "type": kind,
        "createdAt": 1_777_593_600_000_u64,
        "region": "iad1",
        "payload": {
            "team": { "id": "team_1" },
            "user": { "id": "user_1" },
            "target": target,
            "project": { "id": "prj_1" },
            "deployment": {
                "id": "dpl_1", "name": "shop", "url": "shop-1.vercel.example",
                "meta": { "githubCommitSha": sha, "githubCommitAuthorLogin": "dana" },
            },
            "links": { "deployment": "https://vercel.example/d/1", "project": "https://vercel.example/p/1" },
            "plan": "pro",
            "regions": ["iad1"],
        },
    });
    serde_json::to_vec(&body).unwrap()
}

/// Hex HMAC-SHA1 over the exact bytes, as Vercel signs.
pub fn sha1(secret: &str, body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac =
        Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}
