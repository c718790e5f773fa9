//! The ticker: due work each second, no overlap, nudges, and a stop that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deploywatch::domain::clock::SignedDuration;
use deploywatch::scheduler::Ticker;
use deploywatch::scheduler::jobs::{self, Job, JobReport};
use tokio_util::sync::CancellationToken;

use super::support::app::TestApp;
use super::support::eventually;

fn done(done: u64) -> JobReport {
    JobReport { done, problem: None }
}

#[test]
fn jobs_have_names_of_their_own_and_a_rhythm() {
    let table = jobs::table();
    let names: std::collections::BTreeSet<&str> = table.iter().map(|job| job.name).collect();
    assert_eq!(names.len(), table.len());
    assert!(table.iter().all(|job| job.every >= 1), "a tick is a second");
}

#[tokio::test]
async fn a_tick_by_hand_runs_what_is_due_under_the_tests_clock() {
    let app = TestApp::start().await;
    let table = vec![
        Job { name: "often", every: 1, run: |_| Box::pin(async { done(1) }) },
        Job { name: "seldom", every: 60, run: |_| Box::pin(async { done(2) }) },
        Job { name: "broken", every: 60, run: |_| Box::pin(async { panic!("on purpose") }) },
    ];
    let ticker = Ticker::with_jobs(app.ctx().clone(), CancellationToken::new(), table);
    let names =
        |reports: Vec<(&'static str, JobReport)>| reports.into_iter().map(|(n, _)| n).collect::<Vec<_>>();
    assert_eq!(names(ticker.tick().await), ["often", "seldom", "broken"]);
    assert_eq!(names(ticker.tick().await), [""; 0], "no time has passed");
    app.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(names(ticker.tick().await), ["often"]);
    app.ctx().nudge.job("seldom");
    assert_eq!(names(ticker.tick().await), ["seldom"]);
    app.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(names(ticker.tick().await), ["often", "seldom", "broken"], "a panic is tried again");
    // A clock that is set back stops nothing.
    app.clock.advance(SignedDuration::from_hours(-2));
    assert_eq!(names(ticker.tick().await), ["often", "seldom", "broken"]);
    let broken = ticker.status()["broken"].report.clone().unwrap();
    assert!(broken.problem.unwrap().contains("panicked"));
    let text = app.ctx().metrics.render();
    assert!(text.contains("job=\"broken\",outcome=\"panic\""), "{text}");
}

static RUNNING: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

/// Real ticks: a job that takes longer than its rhythm never runs twice at once, and a stop waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_job_never_overlaps_itself_and_is_finished_at_the_stop() {
    let app = TestApp::start().await;
    let mut ctx = app.ctx().clone();
    ctx.clock = Arc::new(deploywatch::system::SystemClock);
    let slow = Job {
        name: "slow",
        every: 1,
        run: |_| {
            Box::pin(async {
                STARTED.fetch_add(1, Ordering::SeqCst);
                MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                RUNNING.fetch_sub(1, Ordering::SeqCst);
                ENDED.fetch_add(1, Ordering::SeqCst);
                done(1)
            })
        },
    };
    let stopping = CancellationToken::new();
    let ticker = Ticker::with_jobs(ctx.clone(), stopping.clone(), vec![slow]);
    let mut scheduler = ticker.start().await.unwrap();
    eventually("the third activation", Duration::from_secs(20), async || {
        ctx.nudge.job("slow");
        (STARTED.load(Ordering::SeqCst) >= 3).then_some(())
    })
    .await;
    stopping.cancel();
    scheduler.shutdown().await.unwrap();
    ticker.drain().await;
    assert_eq!(MOST.load(Ordering::SeqCst), 1);
    assert_eq!(STARTED.load(Ordering::SeqCst), ENDED.load(Ordering::SeqCst), "the stop waited");
}
