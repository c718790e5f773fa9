//! PostgreSQL and what speaks it.

mod catalog;
mod engine;
mod errors;
mod fingerprint;
mod inspect;
mod objects;
mod reader;
mod session;

pub use engine::scan;
pub use inspect::inspect;
