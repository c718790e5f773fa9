//! The whole product in one command: a sample database, a deploy that goes wrong, a rotation that is not
//! finished, the gate's answers and the mails.

pub mod clock;
pub mod product;
pub mod provider;
