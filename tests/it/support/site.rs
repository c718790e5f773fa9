//! A product's web site that a test makes slow or breaks, with a metric server beside it; and a site behind
//! TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificates::Issued;

/// What the site answers.
#[derive(Debug, Clone)]
pub struct Answers {
    pub status: u16,
    pub body: String,
    pub delay: Duration,
    /// What the metric server gives, as `vector` or whatever else.
    pub metric: String,
}

#[derive(Default)]
struct Seen {
    requests: Vec<String>,
}

struct State {
    answers: Mutex<Answers>,
    seen: Mutex<Seen>,
}

pub struct Site {
    state: Arc<State>,
    pub address: SocketAddr,
    server: actix_web::dev::ServerHandle,
}

pub const HEALTHY: &str = r#"{"title":"Sign in","status":"ok","queue":0}"#;

impl Site {
    pub async fn start() -> Self {
        let answers =
            Answers { status: 200, body: HEALTHY.into(), delay: Duration::ZERO, metric: vector(&["0.01"]) };
        let state = Arc::new(State { answers: Mutex::new(answers), seen: Mutex::default() });
        let shared = Arc::clone(&state);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::from(Arc::clone(&shared)))
                .route("/api/v1/query", web::get().to(metric))
                .route("/to", web::route().to(redirect))
                .default_service(web::route().to(page))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .bind(("127.0.0.1", 0))
        .expect("loopback has a free port");
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { state, address, server: handle }
    }

    pub fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.state.answers.lock().unwrap());
    }

    /// `GET /path authorization` of each request.
    pub fn requests(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().requests.clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

/// Prometheus' answer with one series for each value.
pub fn vector(values: &[&str]) -> String {
    let series: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(i, value)| format!(r#"{{"metric":{{"instance":"host-{i}"}},"value":[1.5,"{value}"]}}"#))
        .collect();
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, series.join(","))
}

fn note(request: &HttpRequest, state: &State) {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let line = format!("{} {} {}", request.method(), request.path(), header("authorization"));
    state.seen.lock().unwrap().requests.push(line.trim().to_owned());
}

async fn page(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    note(&request, &state);
    let answers = state.answers.lock().unwrap().clone();
    tokio::time::sleep(answers.delay).await;
    HttpResponse::build(StatusCode::from_u16(answers.status).unwrap()).body(answers.body)
}

async fn metric(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    note(&request, &state);
    let answers = state.answers.lock().unwrap().clone();
    HttpResponse::Ok().content_type("application/json").body(answers.metric)
}

/// `/to?url` answers a redirect to `url`.
async fn redirect(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    note(&request, &state);
    HttpResponse::Found().insert_header(("location", request.query_string())).finish()
}

/// Answers every request with `200 ok` behind TLS.
pub struct TlsSite {
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TlsSite {
    pub fn start(issued: &Issued) -> Self {
        let chain = CertificateDer::pem_file_iter(&issued.certificate)
            .expect("the certificate can be read")
            .collect::<Result<Vec<_>, _>>()
            .expect("it is a certificate");
        let key = PrivateKeyDer::from_pem_file(&issued.key).expect("the key can be read");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key fits the certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    answer(stream, Arc::clone(&config));
                }
            }
        });
        Self { address, stopping, thread: Some(thread) }
    }
}

fn answer(stream: TcpStream, config: Arc<rustls::ServerConfig>) {
    // A client that goes away must not hold the site.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let Ok(connection) = rustls::ServerConnection::new(config) else { return };
    let mut stream = rustls::StreamOwned::new(connection, stream);
    let mut head = [0; 4096];
    if stream.read(&mut head).is_ok_and(|read| read > 0) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        let _ = stream.flush();
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}

impl Drop for TlsSite {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // The listener is woken to see it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
