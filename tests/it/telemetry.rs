//! Export over OTLP: off without an endpoint, real spans and numbers with one, and no delay at a stop.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::eventually;
use super::support::process::{Deploywatch, Invocation};

/// Path and body of each request, in order.
type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Takes everything that is posted and answers 200: path and body of each request.
struct Collector {
    address: String,
    seen: Seen,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    let mut chunk = [0_u8; 8192];
                    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
                        bytes.extend_from_slice(&chunk[..n]);
                        while let Some((path, body, used)) = request(&bytes) {
                            kept.lock().unwrap().push((path, body));
                            bytes.drain(..used);
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    fn bodies(&self, path: &str) -> Vec<u8> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(p, _)| p == path).flat_map(|(_, body)| body.clone()).collect()
    }
}

/// One whole request at the front of `bytes`: its path, its body, and how long it is.
fn request(bytes: &[u8]) -> Option<(String, Vec<u8>, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length: usize = head.lines().find_map(|l| l.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let body = bytes.get(end..end + length)?.to_vec();
    Some((head.split(' ').nth(1)?.to_owned(), body, end + length))
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn spans_and_metrics_reach_a_collector_with_the_callers_trace() {
    let collector = Collector::start().await;
    let (server, address) = Deploywatch::serve(
        Invocation::new().env("DEPLOYWATCH__TELEMETRY__OTLP_ENDPOINT", &collector.address),
    )
    .await;
    let client = super::support::http::client();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let asked =
        client.get(format!("http://{address}/api/v1/whoami")).header("traceparent", parent).send().await;
    assert!(asked.unwrap().status().is_success());
    assert!(server.terminate().await.success(), "the stop flushes what is left");
    eventually("the spans", Duration::from_secs(10), async || {
        holds(&collector.bodies("/v1/traces"), "GET /api/v1/whoami").then_some(())
    })
    .await;
    let trace = hex::decode("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
    assert!(
        collector.bodies("/v1/traces").windows(16).any(|window| window == trace),
        "the caller's trace goes on"
    );
    assert!(holds(&collector.bodies("/v1/metrics"), "deploywatch_http_requests"));
}

#[tokio::test]
async fn a_collector_that_is_gone_delays_a_stop_by_little() {
    let gone = format!("http://127.0.0.1:{}", super::support::free_port());
    let (server, _) =
        Deploywatch::serve(Invocation::new().env("DEPLOYWATCH__TELEMETRY__OTLP_ENDPOINT", gone)).await;
    let began = Instant::now();
    assert!(server.terminate().await.success());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
