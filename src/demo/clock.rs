//! A clock that always ticks and can leap ahead: a day of watching passes in seconds, and the story ends at
//! the real present.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::clock::{Clock, SignedDuration, Timestamp};
use crate::system::SystemClock;

/// The real clock, set back by an amount that only shrinks.
#[derive(Debug)]
pub struct LeapingClock {
    behind_micros: AtomicI64,
}

impl LeapingClock {
    /// Starts `length` in the past.
    pub fn behind(length: SignedDuration) -> Self {
        Self { behind_micros: AtomicI64::new(micros(length)) }
    }

    /// Leaps ahead, at most to the present.
    pub fn advance(&self, by: SignedDuration) {
        let by = micros(by);
        let update = |behind: i64| Some((behind - by).max(0));
        let _ = self.behind_micros.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update);
    }

    /// How far it is behind the present.
    pub fn left(&self) -> SignedDuration {
        SignedDuration::from_micros(self.behind_micros.load(Ordering::SeqCst))
    }
}

impl Clock for LeapingClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() - self.left()
    }
}

fn micros(length: SignedDuration) -> i64 {
    i64::try_from(length.as_micros()).expect("the demo spans days, not centuries")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leaps_at_most_to_the_present() {
        let clock = LeapingClock::behind(SignedDuration::from_hours(2));
        clock.advance(SignedDuration::from_hours(1));
        assert_eq!(clock.left(), SignedDuration::from_hours(1));
        clock.advance(SignedDuration::from_hours(24));
        assert_eq!(clock.left(), SignedDuration::ZERO);
        assert!(clock.now() <= SystemClock.now());
    }
}
