//! From checks to statements, without a connection: what to read, what need not be read.

pub mod carry;
pub mod columns;
pub mod prepare;
pub mod relation;
pub mod rows;
pub mod sql;
pub mod text;

mod fuse;
mod prove;

pub use fuse::{Unit, failing, several, single, units};
pub use prove::Trust;
