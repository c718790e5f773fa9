//! tokio-cron-scheduler as the ticker: each tick runs the jobs that are due. Jobs take no input, are
//! idempotent and report a status; the next activation is the retry.

pub mod jobs;
mod ticker;

pub use ticker::{Status, Ticker};
