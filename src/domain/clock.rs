//! Time as a parameter: instants in UTC with microsecond precision, and the clock that hands them out.

use std::sync::atomic::{AtomicI64, Ordering};

pub use jiff::{SignedDuration, Timestamp};

/// Hands out the current instant. Services take one; only `system` implements it over the real clock.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// A clock that a test sets and advances by hand.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_microsecond()))
    }

    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_microsecond(), Ordering::SeqCst);
    }

    pub fn advance(&self, by: SignedDuration) {
        let micros = i64::try_from(by.as_micros()).expect("a test advances by less than 292,000 years");
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Microseconds since the epoch, the form in which the store keeps an instant.
pub fn to_micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The inverse of [`to_micros`]. A value outside jiff's range (year ±9999) saturates.
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Drops what the store cannot keep, so that a value read back equals the one written.
pub fn truncate(at: Timestamp) -> Timestamp {
    from_micros(at.as_microsecond())
}

/// RFC 3339 in UTC with seconds: `2026-05-01T12:04:31Z`, the form used in mails and on pages.
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A length of time as a person says it: `42 s`, `7 min`, `3 h 20 min`, `2 d 4 h`.
pub fn humane(length: SignedDuration) -> String {
    let seconds = length.as_secs().unsigned_abs();
    let (d, h, m, s) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, _) => format!("{m} min"),
        (0, _, 0) => format!("{h} h"),
        (0, _, _) => format!("{h} h {m} min"),
        (_, 0, _) => format!("{d} d"),
        _ => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let start: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
        let clock = ManualClock::at(start);
        assert_eq!(clock.now(), start);
        clock.advance(SignedDuration::from_hours(24));
        assert_eq!(rfc3339(clock.now()), "2026-05-02T00:00:00Z");
    }

    #[test]
    fn lengths_read_as_a_person_says_them() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")]
        {
            assert_eq!(humane(SignedDuration::from_secs(seconds)), text);
        }
    }
}
