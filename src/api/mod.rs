//! Wire types shared by the server and the client, and the error-code table.

pub mod problem;
