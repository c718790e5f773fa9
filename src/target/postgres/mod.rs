//! PostgreSQL and what speaks it.

mod catalog;
mod engine;
mod errors;
mod objects;
mod session;

pub use engine::scan;
