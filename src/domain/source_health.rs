//! Whether a source's deliveries verify: opens after the first distinct failure, grows to a page, closes
//! when they verify again. The four attempts at one event count once.

use serde::{Deserialize, Serialize};

use super::clock::{SignedDuration, Timestamp};

/// Distinct failing bodies that page.
const PAGE_DISTINCT: u32 = 3;
/// Failing for this long pages, however few there are.
const PAGE_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// Good deliveries in a row that end a failure.
const GOOD_IN_A_ROW: u32 = 5;
/// Or this long without a failure, with at least one good delivery.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(15);

/// How loud a failing source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Warn,
    Page,
}

/// A source that fails, since when and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The first failure after the last good delivery before it.
    pub since: Timestamp,
    pub last_bad_at: Timestamp,
    pub last_good_before: Option<Timestamp>,
    /// Distinct bodies, so that retries count once.
    pub distinct: u32,
    pub total: u32,
    /// Deliveries that verified meanwhile: more than none means that two senders disagree.
    pub good_meanwhile: u32,
    pub good_in_a_row: u32,
    pub last_class: String,
    /// What on-call was told, if anything.
    pub told: Option<Level>,
}

impl Failing {
    /// All deliveries fail, or only some of them.
    pub fn is_mixed(&self) -> bool {
        self.good_meanwhile > 0
    }

    /// How loud it is by now.
    pub fn level(&self, now: Timestamp) -> Level {
        let long = now.duration_since(self.since) >= PAGE_AFTER;
        if self.distinct >= PAGE_DISTINCT || (long && !self.is_mixed()) { Level::Page } else { Level::Warn }
    }
}

/// What a source's health means for on-call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Nothing,
    /// Firing, at this level: new, louder, or the same with new facts.
    Tell(Level),
    /// It works again.
    Recovered,
}

/// The health of one source; `None` while everything verifies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceHealth {
    pub last_good_at: Option<Timestamp>,
    pub failing: Option<Failing>,
}

impl SourceHealth {
    /// A delivery that should have verified did not. `new_body` is false for a retry of a body seen failing.
    pub fn bad(&mut self, at: Timestamp, class: &str, new_body: bool) {
        let last_good = self.last_good_at;
        let failing = self.failing.get_or_insert_with(|| Failing {
            since: at,
            last_bad_at: at,
            last_good_before: last_good,
            distinct: 0,
            total: 0,
            good_meanwhile: 0,
            good_in_a_row: 0,
            last_class: class.to_owned(),
            told: None,
        });
        failing.last_bad_at = at.max(failing.last_bad_at);
        class.clone_into(&mut failing.last_class);
        failing.total = failing.total.saturating_add(1);
        failing.distinct = failing.distinct.saturating_add(u32::from(new_body || failing.distinct == 0));
        failing.good_in_a_row = 0;
    }

    /// A delivery verified.
    pub fn good(&mut self, at: Timestamp) {
        self.last_good_at = Some(self.last_good_at.map_or(at, |last| last.max(at)));
        if let Some(failing) = &mut self.failing {
            failing.good_meanwhile = failing.good_meanwhile.saturating_add(1);
            failing.good_in_a_row = failing.good_in_a_row.saturating_add(1);
        }
    }

    /// Decides what on-call hears now; called after deliveries and from time to time.
    pub fn review(&mut self, now: Timestamp) -> Change {
        let Some(failing) = &mut self.failing else { return Change::Nothing };
        let quiet = now.duration_since(failing.last_bad_at) >= GOOD_FOR && failing.good_in_a_row > 0;
        if failing.good_in_a_row >= GOOD_IN_A_ROW || quiet {
            self.failing = None;
            return Change::Recovered;
        }
        let level = failing.level(now);
        match failing.told {
            Some(told) if told >= level => Change::Nothing,
            _ => {
                failing.told = Some(level);
                Change::Tell(level)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        "2026-05-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn one_failure_warns_three_distinct_ones_page_and_retries_count_once() {
        let mut health = SourceHealth::default();
        health.good(at(0));
        assert_eq!(health.review(at(0)), Change::Nothing);
        health.bad(at(10), "unknown_secret", true);
        assert_eq!(health.review(at(10)), Change::Tell(Level::Warn));
        for retry in [15, 40] {
            health.bad(at(retry), "unknown_secret", false);
            assert_eq!(health.review(at(retry)), Change::Nothing);
        }
        health.bad(at(50), "unknown_secret", true);
        health.bad(at(51), "unknown_secret", true);
        assert_eq!(health.review(at(51)), Change::Tell(Level::Page));
        let failing = health.failing.clone().unwrap();
        assert_eq!((failing.distinct, failing.total), (3, 5));
        assert_eq!((failing.since, failing.last_good_before), (at(10), Some(at(0))));
    }

    #[test]
    fn failing_for_two_minutes_pages() {
        let mut health = SourceHealth::default();
        health.bad(at(0), "unknown_secret", true);
        assert_eq!(health.review(at(0)), Change::Tell(Level::Warn));
        assert_eq!(health.review(at(119)), Change::Nothing);
        assert_eq!(health.review(at(120)), Change::Tell(Level::Page));
    }

    #[test]
    fn it_recovers_after_five_good_ones_in_a_row_or_a_quarter_of_an_hour() {
        let mut health = SourceHealth::default();
        health.bad(at(0), "unknown_secret", true);
        for second in 1..=4 {
            health.good(at(second));
        }
        assert_eq!(health.review(at(5)), Change::Tell(Level::Warn));
        assert!(health.failing.as_ref().unwrap().is_mixed());
        health.bad(at(6), "unknown_secret", true);
        health.good(at(7));
        assert_eq!(health.review(at(8)), Change::Nothing, "a failure starts the count anew");
        assert_eq!(health.review(at(6 + 900)), Change::Recovered);
        assert_eq!(health, SourceHealth { last_good_at: Some(at(7)), failing: None });
    }
}
