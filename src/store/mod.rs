//! Our own database, and the only place with our SQL: one file for each aggregate, one text for each
//! query on both engines.
//!
//! SQLite is the embedded default, PostgreSQL serves several processes. Both go through sqlx's `Any`,
//! whose column types are few: instants are BIGINT microseconds, booleans BIGINT 0/1, structures TEXT JSON,
//! bytes BYTEA. Functions take a connection and only read or write; they never decide.

mod core;
pub mod dialect;
pub mod migrate;

pub mod audit;
pub mod deliveries;
pub mod idempotency;
pub mod leases;
pub mod meta;
pub mod quarantine;
pub mod rotations;
pub mod secrets;
pub mod sessions;
pub mod tokens;

pub use self::core::{Db, Engine, StoreError, Tx};
