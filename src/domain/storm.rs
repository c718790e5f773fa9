//! The storm guard: how many mails a person gets in ten minutes, and what happens to the rest.

use super::clock::{SignedDuration, Timestamp};

/// The cap counts over this long.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// What to do with the next mail to a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As it is.
    Send,
    /// All that waits for the recipient, in one mail that says so.
    Digest,
    /// No more mail to this recipient before that instant.
    Hold(Timestamp),
}

/// Decides from what the recipient got within the window, oldest first. The last mail that the cap allows is
/// always a digest, so that nobody is cut off without being told. `waited` is for a mail that was held before:
/// what a storm has piled up comes as one, not as the next burst.
pub fn pace(sent: &[Timestamp], cap: u32, waited: bool, now: Timestamp) -> Pace {
    let within: Vec<Timestamp> = sent.iter().copied().filter(|at| now.duration_since(*at) < WINDOW).collect();
    let cap = usize::try_from(cap.max(1)).unwrap_or(usize::MAX);
    match within.len() {
        n if n >= cap => Pace::Hold(within[n - cap] + WINDOW),
        n if waited || n + 1 == cap => Pace::Digest,
        _ => Pace::Send,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        "2026-05-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn nine_mails_go_out_the_tenth_is_a_digest_and_the_rest_waits_for_room() {
        let mut sent = Vec::new();
        for n in 0..9 {
            assert_eq!(pace(&sent, 10, false, at(n)), Pace::Send);
            sent.push(at(n));
        }
        assert_eq!(pace(&sent, 10, false, at(9)), Pace::Digest);
        sent.push(at(9));
        assert_eq!(pace(&sent, 10, false, at(10)), Pace::Hold(at(600)));
        assert_eq!(pace(&sent, 10, true, at(599)), Pace::Hold(at(600)));
        assert_eq!(pace(&sent, 10, true, at(600)), Pace::Digest);
    }

    #[test]
    fn what_was_held_comes_as_one_even_when_there_is_room_for_more() {
        assert_eq!(pace(&[], 10, true, at(0)), Pace::Digest);
        assert_eq!(pace(&[], 10, false, at(0)), Pace::Send);
    }

    #[test]
    fn a_cap_of_one_makes_every_mail_a_digest_and_never_stops_for_good() {
        assert_eq!(pace(&[], 1, false, at(0)), Pace::Digest);
        assert_eq!(pace(&[at(0)], 1, false, at(1)), Pace::Hold(at(600)));
        assert_eq!(pace(&[at(0)], 0, false, at(600)), Pace::Digest);
    }

    #[test]
    fn a_lowered_cap_waits_until_enough_mails_are_past() {
        let sent: Vec<Timestamp> = (0..10).map(at).collect();
        assert_eq!(pace(&sent, 3, false, at(20)), Pace::Hold(at(607)));
    }

    #[test]
    fn no_ten_minutes_ever_hold_more_than_the_cap() {
        // A mail every second for an hour: replayed, then counted over every window.
        let (mut sent, mut held_until): (Vec<Timestamp>, Timestamp) = (Vec::new(), at(0));
        for second in 0..3_600 {
            let now = at(second);
            if now < held_until {
                continue;
            }
            match pace(&sent, 10, held_until > at(0), now) {
                Pace::Send | Pace::Digest => sent.push(now),
                Pace::Hold(until) => held_until = until,
            }
        }
        assert!(sent.len() > 20, "{}", sent.len());
        for from in &sent {
            let within = sent.iter().filter(|at| **at >= *from && at.duration_since(*from) < WINDOW).count();
            assert!(within <= 10, "{within} from {from}");
        }
    }
}
