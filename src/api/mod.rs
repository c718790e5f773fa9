//! Wire types shared by the server and the client, and the error-code table.

pub mod deploys;
pub mod gate;
pub mod incidents;
pub mod length;
pub mod oncall;
pub mod outbox;
pub mod problem;
pub mod silences;
pub mod triggers;
