//! Time and randomness that a test decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deploywatch::domain::clock::ManualClock;
use deploywatch::domain::ids::Entropy;

/// A clock that stands at noon of the first of May 2026 until the test moves it.
pub fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-05-01T12:00:00Z".parse().expect("the instant is well-formed")))
}

/// Bytes that differ on each call and are the same in each run.
#[derive(Debug, Default)]
pub struct TestEntropy(AtomicU64);

impl Entropy for TestEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // SplitMix64: any two calls differ, which is all that identifiers and tokens of tests need.
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}
