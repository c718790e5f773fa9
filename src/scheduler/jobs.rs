//! Every job in one table.

use std::pin::Pin;

use crate::services::heartbeat::{self, Beat};
use crate::services::{
    Context, alerting, answers, outbox, provider, retention, secrets, signals, silences, triggers,
    verification, webhooks,
};
use crate::store::StoreError;

/// What a job says of one activation, for logs and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReport {
    /// Things done: scans made, mails sent.
    pub done: u64,
    /// A sentence when something went wrong; the next activation tries again.
    pub problem: Option<String>,
}

pub type JobFuture = Pin<Box<dyn Future<Output = JobReport> + Send>>;

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Job {
    pub name: &'static str,
    /// Seconds between activations.
    pub every: u64,
    pub run: fn(Context) -> JobFuture,
}

/// All jobs.
pub fn table() -> Vec<Job> {
    vec![
        Job {
            name: "verification",
            every: 1,
            run: |ctx| Box::pin(async move { report(verification::run_due(&ctx).await) }),
        },
        Job {
            name: triggers::JOB,
            every: 2,
            run: |ctx| Box::pin(async move { report(triggers::run_due(&ctx).await) }),
        },
        Job {
            name: answers::JOB,
            every: 2,
            run: |ctx| Box::pin(async move { report(answers::send_due(&ctx).await) }),
        },
        Job {
            name: "secrets",
            every: 5,
            run: |ctx| Box::pin(async move { report(secrets::upkeep(&ctx).await) }),
        },
        Job {
            name: "relay",
            every: 1,
            run: |ctx| Box::pin(async move { report(webhooks::pass_on(&ctx).await) }),
        },
        Job {
            name: "forget_webhooks",
            every: 600,
            run: |ctx| Box::pin(async move { report(webhooks::forget(&ctx).await) }),
        },
        Job {
            name: "webhooks",
            every: 2,
            run: |ctx| Box::pin(async move { report(webhooks::upkeep(&ctx).await) }),
        },
        Job {
            name: "provider",
            every: 30,
            run: |ctx| Box::pin(async move { report(provider::upkeep(&ctx).await) }),
        },
        Job {
            name: "logs",
            every: 60,
            run: |ctx| Box::pin(async move { report(signals::upkeep(&ctx).await) }),
        },
        Job {
            name: "retention",
            every: 600,
            run: |ctx| Box::pin(async move { report(retention::forget(&ctx).await) }),
        },
        Job { name: alerting::OUTBOX_JOB, every: 2, run: |ctx| Box::pin(send(ctx)) },
        Job { name: "channels", every: 1, run: |ctx| Box::pin(send_to_channels(ctx)) },
        Job { name: heartbeat::JOB, every: 60, run: |ctx| Box::pin(beat(ctx)) },
        Job {
            name: "alerts",
            every: 15,
            run: |ctx| Box::pin(async move { report(alerting::catch_up(&ctx).await) }),
        },
        Job {
            name: silences::JOB,
            every: 5,
            run: |ctx| Box::pin(async move { report(silences::catch_up(&ctx).await) }),
        },
    ]
}

/// A count of things done, or the error's chain as one sentence.
fn report<E: std::error::Error>(result: Result<u64, E>) -> JobReport {
    match result {
        Ok(done) => JobReport { done, problem: None },
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            JobReport { done: 0, problem: Some(text) }
        }
    }
}

/// Sends the mails that are due; a broken path is a problem although the store answered.
async fn send(ctx: Context) -> JobReport {
    sent(outbox::send_due(&ctx).await)
}

/// The same for second channels.
async fn send_to_channels(ctx: Context) -> JobReport {
    sent(outbox::second::send_due(&ctx).await)
}

fn sent(outcome: Result<outbox::Sending, StoreError>) -> JobReport {
    match outcome {
        Ok(sending) => JobReport { done: sending.sent, problem: sending.problem },
        Err(error) => report(Err::<u64, _>(error)),
    }
}

/// Says to the outside that all is well, if it is.
async fn beat(ctx: Context) -> JobReport {
    match heartbeat::beat(&ctx).await {
        Ok(Beat::Sent) => JobReport { done: 1, problem: None },
        Ok(Beat::Off | Beat::Starting) => JobReport { done: 0, problem: None },
        Ok(Beat::Withheld(why)) => JobReport { done: 0, problem: Some(why) },
        Err(error) => report(Err::<u64, _>(error)),
    }
}
