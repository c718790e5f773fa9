//! Many open windows on one PostgreSQL store, driven by the real code of claiming, deciding and recording; only the
//! watched databases are missing: their measurements come at once. See README.md beside this file.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]

mod floor;
mod report;
mod stub;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deploywatch::domain::deploy::DeployKind;
use deploywatch::services::Context;
use deploywatch::services::context::Keys;
use deploywatch::services::verification::{self, Announcement, Attempt};
use deploywatch::settings::Settings;
use deploywatch::store::{Db, migrate};
use deploywatch::system::{SystemClock, SystemEntropy};
use futures_util::{StreamExt, stream};

/// What is asked for: `--store URL --windows 10000 --checks 10 --every 60 --seconds 90 --processes 2`.
#[derive(Debug, Clone)]
pub struct Asked {
    pub store: String,
    pub windows: usize,
    pub checks: usize,
    pub every: u32,
    pub seconds: u64,
    pub processes: usize,
}

impl Asked {
    fn read() -> (String, Self) {
        let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
        let mode = arguments.first().cloned().unwrap_or_default();
        let value = |name: &str, default: &str| {
            let place = arguments.iter().position(|a| a == &format!("--{name}"));
            place.and_then(|i| arguments.get(i + 1).cloned()).unwrap_or_else(|| default.to_owned())
        };
        let number = |name: &str, default: &str| value(name, default).parse::<u32>().expect("a number");
        let asked = Self {
            store: value("store", ""),
            windows: number("windows", "10000") as usize,
            checks: number("checks", "10") as usize,
            every: number("every", "60"),
            seconds: number("seconds", "90").into(),
            processes: number("processes", "2") as usize,
        };
        (mode, asked)
    }

    /// As it is handed on to a worker.
    fn arguments(&self, mode: &str) -> Vec<String> {
        let mut all = vec![mode.to_owned(), "--store".into(), self.store.clone()];
        let numbers: [(&str, u64); 3] =
            [("windows", self.windows as u64), ("checks", self.checks as u64), ("every", self.every.into())];
        for (name, value) in numbers {
            all.extend([format!("--{name}"), value.to_string()]);
        }
        all
    }
}

fn main() {
    let (mode, asked) = Asked::read();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match mode.as_str() {
        "run" => runtime.block_on(run(&asked)),
        "worker" => runtime.block_on(work(&asked)),
        "floor" => runtime.block_on(floor::run(&asked)),
        // `cargo test --benches` and the like run it without a mode; there is nothing to measure then.
        _ => println!(
            "fleet run|floor --store postgres://… [--windows N] [--every SECONDS]; see benches/fleet/README.md"
        ),
    }
}

async fn context(asked: &Asked) -> Context {
    let db = Db::connect(&asked.store).await.expect("the store can be opened");
    migrate::run(&db).await.expect("its schema is up to date");
    let mut settings = Settings::defaults();
    let verification = &mut settings.verification;
    (verification.smoke_every_seconds, verification.soak_every_seconds) = (asked.every, asked.every);
    for n in 0..asked.windows {
        let environment = serde_json::json!({ "database_url": "postgres://nowhere.invalid/db" });
        let environment = serde_json::from_value(environment).expect("the settings are complete");
        settings.environments.insert(stub::environment(n), environment);
    }
    let keys = Keys::new([7; 32]);
    let mut ctx = Context::new(db, Arc::new(SystemClock), Arc::new(SystemEntropy), Arc::new(settings), keys);
    ctx.prober = Arc::new(stub::Instant::new(asked));
    ctx
}

/// One process of the fleet: what is due, each second, as the ticker does it, until its standard input ends.
async fn work(asked: &Asked) {
    let ctx = context(asked).await;
    let stop = ctx.stopping.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stop.cancel();
    });
    let mut ticker = tokio::time::interval(Duration::from_secs(1));
    let (mut served, mut problems) = (0, 0);
    while !ctx.stopping.is_cancelled() {
        ticker.tick().await;
        match verification::run_due(&ctx).await {
            Ok(done) => served += done,
            Err(_) => problems += 1,
        }
    }
    println!("{served} {problems} {:.1}", report::cpu_seconds());
}

async fn run(asked: &Asked) {
    let ctx = context(asked).await;
    // The windows open over one cadence, so that their slots are spread as those of a real fleet are.
    let opening = Duration::from_secs(u64::from(asked.every).clamp(30, 60));
    let settle = Duration::from_secs(15);
    let workers: Vec<Child> = (0..asked.processes)
        .map(|_| {
            Command::new(std::env::current_exe().expect("this program has a path"))
                .args(asked.arguments("worker"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a worker can be started")
        })
        .collect();
    let began = Instant::now();
    let pace = opening / u32::try_from(asked.windows).expect("not that many");
    let ctx_ref = &ctx;
    stream::iter(0..asked.windows)
        .map(|n| async move {
            tokio::time::sleep_until((began + pace * u32::try_from(n).expect("not that many")).into()).await;
            open(ctx_ref, n).await;
        })
        .buffer_unordered(16)
        .count()
        .await;
    println!("{} windows opened in {:.1} s", asked.windows, began.elapsed().as_secs_f64());
    tokio::time::sleep(settle).await;
    let before = report::Snapshot::take(&asked.store).await;
    tokio::time::sleep(Duration::from_secs(asked.seconds)).await;
    let after = report::Snapshot::take(&asked.store).await;
    report::measured(asked, &before, &after).await;
    for worker in workers {
        let output = worker.wait_with_output().expect("a worker ends by itself");
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        println!("worker: served, problems, CPU seconds in {:.0} s: {text}", began.elapsed().as_secs_f64());
    }
    report::explain(&asked.store, &after).await;
}

async fn open(ctx: &Context, n: usize) {
    let announcement = Announcement {
        environment: Some(stub::environment(n)),
        version: "v1".into(),
        commit: None,
        kind: DeployKind::Normal,
        actor: None,
        link: None,
        attempt: Attempt::Same,
        smoke_seconds: Some(1),
        window_seconds: Some(86_400),
    };
    verification::finish_version(ctx, &announcement).await.expect("the window opens");
}
