//! The product's own webhook handler: verifies with the secrets it holds and remembers what it took.

use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

#[derive(Default)]
struct State {
    secrets: Vec<String>,
    taken: Vec<Taken>,
    /// What it answers to everything, instead of looking at the signature.
    always: Option<u16>,
    /// What it answers to one body.
    to_body: Option<(Vec<u8>, u16)>,
}

/// One delivery as it arrived.
#[derive(Debug, Clone)]
pub struct Taken {
    pub body: Vec<u8>,
    pub headers: Vec<(String, String)>,
}

pub struct Product {
    state: Arc<Mutex<State>>,
    port: u16,
    server: actix_web::dev::ServerHandle,
}

impl Product {
    pub async fn start(secrets: &[&str]) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = HttpServer::new(move || {
            let state = web::Data::from(Arc::clone(&shared));
            App::new().app_data(state).route("/api/webhooks", web::post().to(take))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .expect("loopback has a free port");
        let port = server.addrs()[0].port();
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        let product = Self { state, port, server: handle };
        product.hold(secrets);
        product
    }

    /// Redeploys it with these secrets.
    pub fn hold(&self, secrets: &[&str]) {
        self.state.lock().unwrap().secrets = secrets.iter().map(ToString::to_string).collect();
    }

    /// Answers this to everything; `None` is well again.
    pub fn answer(&self, status: Option<u16>) {
        self.state.lock().unwrap().always = status;
    }

    /// Answers this to one body.
    pub fn answer_to(&self, body: &[u8], status: u16) {
        self.state.lock().unwrap().to_body = Some((body.to_vec(), status));
    }

    pub fn url(&self) -> url::Url {
        format!("http://127.0.0.1:{}/api/webhooks", self.port).parse().unwrap()
    }

    /// Deliveries taken, probes aside.
    pub fn accepted(&self) -> usize {
        self.bodies().len()
    }

    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.taken().into_iter().map(|taken| taken.body).collect()
    }

    pub fn taken(&self) -> Vec<Taken> {
        let state = self.state.lock().unwrap();
        let probe = |taken: &&Taken| !String::from_utf8_lossy(&taken.body).contains("deploywatch_probe");
        state.taken.iter().filter(probe).cloned().collect()
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn take(request: HttpRequest, body: web::Bytes, state: web::Data<Mutex<State>>) -> HttpResponse {
    let text =
        |value: &actix_web::http::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<(String, String)> =
        request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let signature = headers.iter().find(|(name, _)| name == "x-signature").map(|(_, value)| value.clone());
    let signature = signature.unwrap_or_default().to_ascii_lowercase();
    let mut state = state.lock().unwrap();
    let told = state.to_body.as_ref().filter(|(only, _)| *only == body).map(|(_, status)| *status);
    if let Some(status) = state.always.or(told) {
        return HttpResponse::build(StatusCode::from_u16(status).expect("a status")).finish();
    }
    if state.secrets.iter().any(|secret| super::signer::sign(secret, &body) == signature) {
        state.taken.push(Taken { body: body.to_vec(), headers });
        return HttpResponse::Ok().finish();
    }
    HttpResponse::Unauthorized().finish()
}
