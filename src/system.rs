//! What a process asks of the machine: the real clock, the real randomness, the environment, open files. Only here.

use std::collections::BTreeMap;

use crate::domain::clock::{Clock, Timestamp, truncate};
use crate::domain::ids::Entropy;

/// The process's environment. A variable that is not Unicode is read with replacement characters, which its
/// field then refuses.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the real environment")]
pub fn environment() -> BTreeMap<String, String> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Takes as many open files as this process may have. A login's soft limit of 1,024 is for programs of the last
/// century; it would be reached by that many slow senders, and then no honest one would be let in.
pub fn raise_open_files() {
    // Where it cannot be raised it stays as it was, and what was possible still is.
    let _ = rlimit::increase_nofile_limit(rlimit::INFINITY);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the real clock")]
    fn now(&self) -> Timestamp {
        truncate(Timestamp::now())
    }
}

/// The operating system's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system hands out random numbers");
    }
}
