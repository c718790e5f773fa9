//! Shared parts of the tests: real databases, the real binary, real browsers, each owned by the test that
//! asked for it and gone when the test is, however it ends.

#![allow(dead_code, unused_imports, reason = "each capability uses the parts that it needs")]

pub mod agentzero;
pub mod app;
pub mod browser;
pub mod certificates;
pub mod clock;
pub mod forge;
pub mod hook;
pub mod http;
pub mod mailbox;
pub mod pg;
pub mod pooler;
pub mod process;
pub mod product;
pub mod provider_api;
pub mod reaper;
pub mod receiver;
pub mod served;
pub mod signer;
pub mod site;
pub mod smtp;
pub mod store;
pub mod trail;
pub mod wait;
pub mod watch;

pub use agentzero::AgentZero;
pub use clock::{TestEntropy, manual_clock};
pub use pg::PgCluster;
pub use process::{Deploywatch, cli};
pub use store::{Engine, TestStore};
pub use wait::{eventually, wait_until};

use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// A loopback port that was free a moment ago. Prefer port 0 wherever the program can say what it got.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// A directory that is removed with the value.
pub fn temp_dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("deploywatch-test-").tempdir().expect("a temporary directory can be made")
}

/// A file below `tests/fixtures`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

/// The exact bytes of a fixture.
pub fn fixture_bytes(path: &str) -> Vec<u8> {
    let path = fixture(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
