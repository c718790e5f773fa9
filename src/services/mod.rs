//! Use cases: measure, decide, record in one transaction. Every write of the product goes through here.

pub mod access;
pub mod alerting;
pub mod answers;
pub mod check_sets;
pub mod context;
pub mod gate;
pub mod heartbeat;
pub mod idempotency;
pub mod links;
pub mod oncall;
pub mod outbox;
pub mod propose;
pub mod provider;
pub mod refusals;
pub mod retention;
pub mod secrets;
pub mod signals;
pub mod silences;
pub mod suites;
pub mod targets;
pub mod triggers;
pub mod verification;
pub mod webhooks;

pub use context::Context;
