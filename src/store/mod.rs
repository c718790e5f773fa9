//! Our own database, and the only place with our SQL: one file for each aggregate, one text for each
//! query on both engines.
//!
//! SQLite is the embedded default, PostgreSQL serves several processes. Both go through sqlx's `Any`,
//! whose column types are few: instants are BIGINT microseconds, booleans BIGINT 0/1, structures TEXT JSON,
//! bytes BYTEA. Functions take a connection and only read or write; they never decide.

mod core;
pub mod dialect;
pub mod migrate;

pub mod answers;
pub mod audit;
pub mod baselines;
pub mod deliveries;
pub mod deploys;
pub mod idempotency;
pub mod incidents;
pub mod leases;
pub mod links;
pub mod logs;
pub mod meta;
pub mod notifications;
pub mod observations;
pub mod oncall;
pub mod outbox;
pub mod products;
pub mod provider;
pub mod quarantine;
pub mod relays;
pub mod retention;
pub mod rotations;
pub mod scans;
pub mod secrets;
pub mod sessions;
pub mod silences;
pub mod tokens;
pub mod triggers;

pub use self::core::{Db, Engine, StoreError, Tx};

/// Structures are kept as JSON text.
pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("our own structures have text keys and finite numbers or null")
}

pub(crate) fn parse_json<T: serde::de::DeserializeOwned>(
    row: &sqlx::any::AnyRow,
    column: &str,
) -> Result<T, StoreError> {
    let text: String = sqlx::Row::try_get(row, column)?;
    serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
}
