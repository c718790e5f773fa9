//! Slows down strangers: an address that sends one refused request after the other is answered 429 for a while.
//! Who proves who they are is never counted.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota};

/// Refused requests of one address: this many at once, then this many a second.
pub const AT_ONCE: NonZeroU32 = NonZeroU32::new(200).expect("200 is not zero");
const A_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");
/// After so many refusals those addresses are forgotten that have been silent for long.
const TIDY_EVERY: u32 = 10_000;

/// Refused requests by address.
#[derive(Debug)]
pub struct Refusals {
    senders: DefaultKeyedRateLimiter<IpAddr>,
    counted: AtomicU32,
}

impl Default for Refusals {
    fn default() -> Self {
        let quota = Quota::per_second(A_SECOND).allow_burst(AT_ONCE);
        Self { senders: DefaultKeyedRateLimiter::keyed(quota), counted: AtomicU32::new(0) }
    }
}

impl Refusals {
    /// Counts a request that was refused; whether there are too many of this sender.
    pub fn too_many(&self, sender: IpAddr) -> bool {
        // A botnet's addresses would be kept for ever otherwise.
        if self.counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIDY_EVERY) {
            self.senders.retain_recent();
        }
        self.senders.check_key(&sender).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_patience() {
        let refusals = Refusals::default();
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let refused = (0..AT_ONCE.get() * 2).filter(|_| refusals.too_many(one)).count();
        assert!(refused > 0, "a flood is slowed down");
        assert!(!refusals.too_many(other), "and costs nobody else");
    }
}
