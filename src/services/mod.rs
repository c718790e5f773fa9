//! Use cases: measure, decide, record in one transaction. Every write of the product goes through here.

pub mod alerting;
pub mod context;

pub use context::Context;
