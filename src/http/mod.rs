//! The server's surface: the table of routes, who may use each, one file for each resource.

pub mod auth;
pub mod dashboard;
mod deliveries;
mod deploys;
mod envelope;
pub mod error;
mod gate;
mod health;
mod idempotent;
mod inbox;
mod incidents;
mod links;
mod logs;
mod metrics;
mod oncall;
mod outbox;
pub mod peer;
mod problem_page;
pub mod routes;
mod secrets;
pub mod server;
mod session;
mod silences;
mod triggers;
mod webhooks;

pub use auth::Caller;
pub use error::ApiError;
