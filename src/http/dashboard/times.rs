//! Instants as people read them on a page: always UTC, exact and relative.

use crate::domain::clock::{SignedDuration, Timestamp, humane};

/// `12:04` today, `30 Apr 12:04` on another day.
pub fn at(instant: Timestamp, now: Timestamp) -> String {
    let same_day = instant.strftime("%F").to_string() == now.strftime("%F").to_string();
    instant.strftime(if same_day { "%H:%M" } else { "%-d %b %H:%M" }).to_string()
}

/// `12:04, 3 h ago`.
pub fn ago(instant: Timestamp, now: Timestamp) -> String {
    format!("{}, {}", at(instant, now), relative(instant, now))
}

/// `3 h ago`, `in 3 h`, `just now`.
pub fn relative(instant: Timestamp, now: Timestamp) -> String {
    let past = now.duration_since(instant);
    if past.abs() < SignedDuration::from_secs(2) {
        return "just now".to_owned();
    }
    if past.is_negative() { format!("in {}", humane(past)) } else { format!("{} ago", humane(past)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_exact_and_relative() {
        let now: Timestamp = "2026-05-01T15:24:00Z".parse().unwrap();
        for (instant, text) in [
            ("2026-05-01T12:04:00Z", "12:04, 3 h 20 min ago"),
            ("2026-04-30T12:04:00Z", "30 Apr 12:04, 1 d 3 h ago"),
            ("2026-05-01T15:23:59Z", "15:23, just now"),
            ("2026-05-01T16:24:00Z", "16:24, in 1 h"),
        ] {
            assert_eq!(ago(instant.parse().unwrap(), now), text);
        }
    }
}
