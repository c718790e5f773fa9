//! PostgreSQL and what speaks it.

mod catalog;
mod engine;
mod errors;
mod explain;
mod fingerprint;
mod inspect;
mod objects;
mod open;
mod reader;
mod session;

pub use engine::scan;
pub use explain::explain;
pub use inspect::inspect;
