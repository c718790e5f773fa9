//! The load of the webhook benchmark: real Lemon Squeezy bodies of 2 KB, each another event, signed as it goes,
//! over keep-alive connections, to loopback alone.
//!
//! `webhook_load PORT --secret S [--path P] [--connections 64] [--seconds 10] [--rate R]` prints one line of JSON.
//! Without `--rate` each connection sends as soon as it is answered. With it, requests are due at fixed instants
//! and a latency counts from then, so that a stall of the server is not hidden by a client that waits.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BODY: &str =
    include_str!("../../tests/fixtures/lemon_squeezy/subscription_payment_success.captured-2025.wire.json");
const LONGEST_RUN: u64 = 300;

struct Plan {
    port: u16,
    path: String,
    mac: Hmac<Sha256>,
    connections: u32,
    seconds: u64,
    rate: Option<f64>,
    run: u32,
}

#[derive(Default)]
struct Seen {
    micros: Vec<u32>,
    statuses: BTreeMap<u16, u64>,
    broken: u64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, run(Rc::new(plan())));
}

fn plan() -> Plan {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let of = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, default: u64| of(name).map_or(default, |text| text.parse().expect("a number"));
    let secret = of("--secret").expect("--secret SECRET");
    Plan {
        port: arguments.first().and_then(|text| text.parse().ok()).expect("the first argument is a port"),
        path: of("--path").unwrap_or_else(|| "/webhooks/lemonsqueezy".into()),
        mac: Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length"),
        connections: u32::try_from(number("--connections", 64)).expect("few connections"),
        seconds: number("--seconds", 10).min(LONGEST_RUN),
        rate: of("--rate").map(|text| text.parse().expect("--rate takes requests a second")),
        run: std::process::id(),
    }
}

async fn run(plan: Rc<Plan>) {
    let began = Instant::now();
    let workers: Vec<_> = (0..plan.connections)
        .map(|number| tokio::task::spawn_local(connection(Rc::clone(&plan), number, began)))
        .collect();
    let mut all = Seen::default();
    for worker in workers {
        let seen = worker.await.expect("a connection does not panic");
        all.micros.extend(seen.micros);
        all.broken += seen.broken;
        for (status, count) in seen.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
    }
    let took = began.elapsed().as_secs_f64();
    all.micros.sort_unstable();
    let at = |share: f64| {
        let last = all.micros.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position in a list")]
        let position = (last as f64 * share) as usize;
        all.micros.get(position).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    };
    let line = serde_json::json!({
        "requests": all.micros.len(), "per_second": (all.micros.len() as f64 / took).round(),
        "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1.0),
        "statuses": all.statuses, "broken": all.broken, "connections": plan.connections, "rate": plan.rate,
    });
    #[expect(clippy::print_stdout, reason = "the figures are what it is for")]
    {
        println!("{line}");
    }
}

async fn connection(plan: Rc<Plan>, number: u32, began: Instant) -> Seen {
    let mut seen = Seen::default();
    let end = began + Duration::from_secs(plan.seconds);
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", plan.port)).await else {
        seen.broken += 1;
        return seen;
    };
    stream.set_nodelay(true).expect("a socket takes options");
    // As in production; what is only a test is stored but not passed on.
    let live = BODY.replace("\"test_mode\":true", "\"test_mode\":false");
    let id = live.find("\"webhook_id\":\"").expect("the body has an id") + "\"webhook_id\":\"".len();
    let mut body = live.into_bytes();
    let mut request = Vec::with_capacity(4096);
    let mut answer = Vec::with_capacity(4096);
    for count in 0_u32.. {
        let mut due = Instant::now();
        if let Some(rate) = plan.rate {
            let position = f64::from(count) * f64::from(plan.connections) + f64::from(number);
            due = began + Duration::from_secs_f64(position / rate);
            tokio::time::sleep_until(due.into()).await;
        }
        if due >= end {
            break;
        }
        body[id..id + 8].copy_from_slice(format!("{count:08x}").as_bytes());
        body[id + 24..id + 36].copy_from_slice(format!("{number:04x}{:08x}", plan.run).as_bytes());
        write_request(&plan, &body, &mut request);
        let sent = stream.write_all(&request).await;
        let status = match sent {
            Ok(()) => read_answer(&mut stream, &mut answer).await,
            Err(_) => None,
        };
        let Some(status) = status else {
            seen.broken += 1;
            break;
        };
        seen.micros.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        *seen.statuses.entry(status).or_default() += 1;
    }
    seen
}

fn write_request(plan: &Plan, body: &[u8], request: &mut Vec<u8>) {
    let mut mac = plan.mac.clone();
    mac.update(body);
    request.clear();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: LemonSqueezy-Hookshot\r\n\
         Content-Type: application/json\r\nX-Event-Name: subscription_payment_success\r\nX-Signature: {}\r\n\
         Content-Length: {}\r\n\r\n",
        plan.path,
        hex::encode(mac.finalize().into_bytes()),
        body.len()
    );
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(body);
}

/// Reads one whole answer; its status.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Option<u16> {
    answer.clear();
    let head = loop {
        if stream.read_buf(answer).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&answer[..head]).ok()?.to_ascii_lowercase();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length: usize = match text.split_once("content-length:") {
        Some((_, rest)) => rest.split("\r\n").next()?.trim().parse().ok()?,
        None => 0,
    };
    while answer.len() < head + length {
        if stream.read_buf(answer).await.ok()? == 0 {
            return None;
        }
    }
    Some(status)
}
