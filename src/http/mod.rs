//! The server's surface: the table of routes, who may use each, one file for each resource.

pub mod dashboard;
pub mod error;
pub mod routes;

pub use error::ApiError;
