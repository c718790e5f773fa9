//! Runs what is due. tokio-cron-scheduler ticks each second; a nudge runs a job at once. A job never overlaps
//! itself, and a job that panics is reported and tried again at its next activation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::jobs::{self, Job, JobReport};
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::services::Context;

/// The table of jobs with what is known of each. Cheap to clone.
#[derive(Clone)]
pub struct Ticker {
    ctx: Context,
    jobs: Arc<Vec<Entry>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

struct Entry {
    job: Job,
    /// Held while the job runs, so that it never overlaps itself.
    running: Arc<tokio::sync::Mutex<()>>,
    last: Arc<Mutex<Status>>,
}

/// The last activation of a job.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub began_at: Option<Timestamp>,
    pub report: Option<JobReport>,
}

impl Ticker {
    pub fn new(ctx: Context, stopping: CancellationToken) -> Self {
        Self::with_jobs(ctx, stopping, jobs::table())
    }

    /// With another table than the program's own, for tests.
    pub fn with_jobs(ctx: Context, stopping: CancellationToken, table: Vec<Job>) -> Self {
        let jobs = table
            .into_iter()
            .map(|job| Entry { job, running: Arc::default(), last: Arc::default() })
            .collect();
        Self { ctx, jobs: Arc::new(jobs), tasks: TaskTracker::new(), stopping }
    }

    /// Ticks each second and at each nudge until the stop.
    pub async fn start(&self) -> Result<JobScheduler, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let ticker = self.clone();
        // Only an async job survives a panic, and a length below a second would be cut to zero.
        let every_second = CronJob::new_repeated_async(Duration::from_secs(1), move |_, _| {
            let ticker = ticker.clone();
            Box::pin(async move { ticker.spawn_due() })
        })?;
        scheduler.add(every_second).await?;
        scheduler.start().await?;
        let ticker = self.clone();
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = ticker.stopping.cancelled() => return,
                    () = ticker.ctx.nudge.rung() => ticker.spawn_nudged(),
                }
            }
        });
        Ok(scheduler)
    }

    /// Starts every due job that is not running.
    fn spawn_due(&self) {
        let now = self.ctx.now();
        for entry in self.jobs.iter().filter(|entry| entry.is_due(now)) {
            self.spawn(entry);
        }
    }

    fn spawn_nudged(&self) {
        for name in self.ctx.nudge.take() {
            match self.jobs.iter().find(|entry| entry.job.name == name) {
                Some(entry) => self.spawn(entry),
                None => tracing::warn!(job = name, "a nudge names no job"),
            }
        }
    }

    fn spawn(&self, entry: &Entry) {
        if self.stopping.is_cancelled() {
            return;
        }
        let Ok(guard) = Arc::clone(&entry.running).try_lock_owned() else {
            // It is at work. What it was nudged for may have come too late for this activation, so that it
            // is due again at the next tick.
            entry.forget_start();
            return;
        };
        let work = activate(self.ctx.clone(), entry.job, entry.last.clone());
        self.tasks.spawn(async move {
            work.await;
            drop(guard);
        });
    }

    /// Runs every due job to its end, one after the other in the order of the table, and says what each
    /// reported. Tests drive the program with this under a clock of their own.
    pub async fn tick(&self) -> Vec<(&'static str, JobReport)> {
        let now = self.ctx.now();
        let nudged = self.ctx.nudge.take();
        let mut reports = Vec::new();
        for entry in self.jobs.iter() {
            if entry.is_due(now) || nudged.contains(entry.job.name) {
                let _guard = entry.running.lock().await;
                reports
                    .push((entry.job.name, activate(self.ctx.clone(), entry.job, entry.last.clone()).await));
            }
        }
        reports
    }

    /// What each job did last.
    pub fn status(&self) -> BTreeMap<&'static str, Status> {
        self.jobs.iter().map(|entry| (entry.job.name, entry.status())).collect()
    }

    /// Waits for the jobs that run. No new one starts once the stop was asked for.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Entry {
    fn status(&self) -> Status {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let every = SignedDuration::from_secs(i64::try_from(self.job.every).unwrap_or(i64::MAX));
        // Ticks come a little early or late; half a second of slack keeps a job of each second in each second.
        let slack = SignedDuration::from_millis(500);
        // A clock that was set back must not stop the jobs until it has caught up.
        self.status().began_at.is_none_or(|began| now < began || now.duration_since(began) + slack >= every)
    }

    fn forget_start(&self) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).began_at = None;
    }
}

async fn activate(ctx: Context, job: Job, last: Arc<Mutex<Status>>) -> JobReport {
    let set = |change: &dyn Fn(&mut Status)| change(&mut last.lock().unwrap_or_else(PoisonError::into_inner));
    let now = ctx.now();
    set(&|status| status.began_at = Some(now));
    let began = Instant::now();
    let (metrics, progress) = (ctx.metrics.clone(), ctx.progress.clone());
    let span = tracing::info_span!("job", job = job.name);
    let run = std::panic::AssertUnwindSafe((job.run)(ctx)).catch_unwind().instrument(span);
    let (report, outcome) = match run.await {
        Ok(report) => {
            let outcome = if report.problem.is_some() { "problem" } else { "ok" };
            (report, outcome)
        }
        Err(_) => {
            (JobReport { done: 0, problem: Some("it panicked; the log has the place".into()) }, "panic")
        }
    };
    metrics.job(job.name, outcome, began.elapsed());
    if outcome != "panic" {
        progress.ended(job.name, report.done, report.problem.is_some());
    }
    if let Some(problem) = &report.problem {
        tracing::warn!(job = job.name, done = report.done, "{problem}");
    }
    set(&|status| status.report = Some(report.clone()));
    report
}
