//! Every job in one table.

use std::pin::Pin;

use crate::services::Context;

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
    Vec::new()
}
