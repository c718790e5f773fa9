//! How long a source may stay silent, learned from its own pauses, and whether it has been silent for longer.

use super::clock::{SignedDuration, Timestamp};

/// Fewer pauses than this are no rhythm.
const FEWEST: usize = 20;
/// What comes within a minute of something else is of the same moment.
const MOMENT: SignedDuration = SignedDuration::from_mins(1);
/// Nor is less time than this a history.
const SHORTEST_HISTORY: SignedDuration = SignedDuration::from_hours(72);
/// A history this long has seen each weekday twice, so that its longest pause may be left out as an outage.
const TWO_WEEKS: SignedDuration = SignedDuration::from_hours(24 * 14);
/// A pause below this never alarms.
const FLOOR: SignedDuration = SignedDuration::from_hours(6);
/// A source this slow has nothing to say by being silent.
const CEILING: SignedDuration = SignedDuration::from_hours(24 * 7);

/// What a source's own history says about its silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// Too few events, or too slow ones: silence proves nothing.
    Unknown,
    Known {
        /// Pauses that were looked at.
        pauses: usize,
        /// The longest pause that is usual.
        usual: SignedDuration,
        /// A longer silence than this is told.
        limit: SignedDuration,
    },
}

/// Learns from the instants at which events arrived, in any order.
///
/// The limit is half as much again as the longest usual pause and three times the pause that only one in
/// twenty exceeds, at least six hours. Nights and weekends are pauses like others, so that they are learned.
pub fn rhythm(arrivals: &[Timestamp]) -> Rhythm {
    let mut arrivals = arrivals.to_vec();
    arrivals.sort_unstable();
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else { return Rhythm::Unknown };
    let history = last.duration_since(*first);
    let mut pauses: Vec<SignedDuration> = arrivals
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]))
        .filter(|pause| *pause >= MOMENT)
        .collect();
    if pauses.len() < FEWEST || history < SHORTEST_HISTORY {
        return Rhythm::Unknown;
    }
    pauses.sort_unstable();
    let from_the_end = if history >= TWO_WEEKS { 2 } else { 1 };
    let usual = pauses[pauses.len() - from_the_end];
    let one_in_twenty = pauses[pauses.len() * 19 / 20];
    let limit = (usual * 3 / 2).max(one_in_twenty * 3).max(FLOOR);
    if limit > CEILING {
        return Rhythm::Unknown;
    }
    Rhythm::Known { pauses: pauses.len(), usual, limit }
}

/// For how long a source has been silent beyond its limit, if it has.
pub fn overdue(rhythm: Rhythm, last: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    let Rhythm::Known { limit, .. } = rhythm else { return None };
    let silent = now.duration_since(last);
    (silent > limit).then_some(silent)
}

/// What is known about orders in the watched database, beside the webhooks that tell of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Orders {
    /// The newest webhook when `counted` was read.
    pub received_at: Option<Timestamp>,
    pub counted: Option<f64>,
    pub latest: Option<f64>,
    /// Since when there are orders that no webhook told of.
    pub grown_at: Option<Timestamp>,
}

/// An order may be written before its webhook is sent.
const HEAD_START: SignedDuration = SignedDuration::from_mins(15);

impl Orders {
    /// What a new count means, given the newest webhook.
    pub fn count(self, value: f64, newest: Option<Timestamp>, now: Timestamp) -> Self {
        if newest > self.received_at || self.counted.is_none() {
            return Self { received_at: newest, counted: Some(value), latest: Some(value), grown_at: None };
        }
        let grown = self.counted.is_some_and(|counted| value > counted);
        Self { latest: Some(value), grown_at: if grown { self.grown_at.or(Some(now)) } else { None }, ..self }
    }

    /// How many orders no webhook told of, once that is certain.
    pub fn untold(&self, now: Timestamp) -> Option<f64> {
        let grown_at = self.grown_at?;
        (now.duration_since(grown_at) >= HEAD_START)
            .then(|| self.latest.unwrap_or(0.0) - self.counted.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-05-04T00:00:00Z".parse().unwrap()
    }

    fn hours(n: i64) -> SignedDuration {
        SignedDuration::from_hours(n)
    }

    /// One event an hour from nine to five, on weekdays, for this many weeks.
    fn office(weeks: i64) -> Vec<Timestamp> {
        let hour = |n: &i64| (n / 24) % 7 < 5 && (9..17).contains(&(n % 24));
        (0..weeks * 7 * 24).filter(hour).map(|n| start() + hours(n)).collect()
    }

    #[test]
    fn a_rhythm_needs_a_history() {
        assert_eq!(rhythm(&[]), Rhythm::Unknown);
        assert_eq!(rhythm(&[start()]), Rhythm::Unknown);
        let burst: Vec<Timestamp> = (0..500).map(|n| start() + SignedDuration::from_secs(n)).collect();
        assert_eq!(rhythm(&burst), Rhythm::Unknown, "ten minutes say nothing about nights");
        let weekly: Vec<Timestamp> = (0..50).map(|n| start() + hours(24 * 6 * n)).collect();
        assert_eq!(rhythm(&weekly), Rhythm::Unknown, "two orders in a fortnight are no rhythm");
    }

    #[test]
    fn nights_and_weekends_are_learned_and_an_old_outage_is_not() {
        let three_weeks = office(3);
        let Rhythm::Known { usual, limit, pauses } = rhythm(&three_weeks) else { panic!("it has a rhythm") };
        assert_eq!((usual, limit, pauses), (hours(65), hours(65) * 3 / 2, 119));
        let last = *three_weeks.last().unwrap();
        assert_eq!(overdue(rhythm(&three_weeks), last, last + hours(65)), None);
        assert_eq!(overdue(rhythm(&three_weeks), last, last + hours(98)), Some(hours(98)));

        let hourly = |skip: std::ops::Range<i64>| -> Vec<Timestamp> {
            (0..24 * 21).filter(|n| !skip.contains(n)).map(|n| start() + hours(n)).collect()
        };
        for skip in [0..0, 100..160] {
            let Rhythm::Known { limit, .. } = rhythm(&hourly(skip.clone())) else {
                panic!("it has a rhythm")
            };
            assert_eq!(limit, hours(6), "{skip:?}");
        }
    }

    #[test]
    fn orders_without_a_webhook_are_told_after_a_while_and_forgotten_with_the_next_one() {
        let minutes = |n| start() + SignedDuration::from_mins(n);
        let first = Orders::default().count(10.0, Some(start()), minutes(1));
        assert_eq!(first.untold(minutes(600)), None);
        let grown = first.count(13.0, Some(start()), minutes(20));
        assert_eq!(grown.untold(minutes(30)), None, "the webhook may be on its way");
        let still = grown.count(15.0, Some(start()), minutes(36));
        assert_eq!(still.untold(minutes(36)), Some(5.0));
        let told = still.count(15.0, Some(minutes(37)), minutes(40));
        assert_eq!((told.untold(minutes(600)), told.counted), (None, Some(15.0)));
        // Deleted orders are no new ones.
        assert_eq!(still.count(9.0, Some(start()), minutes(50)).grown_at, None);
        // Nothing has ever come, and still orders grow.
        let never = Orders::default().count(0.0, None, minutes(0)).count(1.0, None, minutes(1));
        assert_eq!(never.untold(minutes(20)), Some(1.0));
    }
}
