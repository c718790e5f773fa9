//! The product's own webhook handler: verifies with the secrets it holds and remembers what it took.

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

#[derive(Default)]
struct State {
    secrets: Vec<String>,
    taken: Vec<Vec<u8>>,
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

    pub fn url(&self) -> url::Url {
        format!("http://127.0.0.1:{}/api/webhooks", self.port).parse().unwrap()
    }

    /// Deliveries taken, probes aside.
    pub fn accepted(&self) -> usize {
        self.bodies().len()
    }

    pub fn bodies(&self) -> Vec<Vec<u8>> {
        let state = self.state.lock().unwrap();
        let probe = |body: &Vec<u8>| String::from_utf8_lossy(body).contains("deploywatch_probe");
        state.taken.iter().filter(|body| !probe(body)).cloned().collect()
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn take(request: HttpRequest, body: web::Bytes, state: web::Data<Mutex<State>>) -> HttpResponse {
    let signature = request.headers().get("x-signature").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut state = state.lock().unwrap();
    if state.secrets.iter().any(|secret| super::signer::sign(secret, &body) == signature) {
        state.taken.push(body.to_vec());
        return HttpResponse::Ok().finish();
    }
    HttpResponse::Unauthorized().finish()
}
