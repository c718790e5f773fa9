//! What is measured beside the watched database, over HTTP: the product's user flows, and metric servers.
//!
//! A request goes only to addresses that are allowed, and to those that were judged: a name that resolves
//! anew cannot lead elsewhere. Nothing of a body leaves this module.

mod ask;
mod flow;
mod metric;

pub use ask::{Guard, Unasked};
pub use flow::{Flow, Try, run};
pub use metric::{MetricQuery, query};
