//! The immutable measurements that a deploy is held against, and when they may be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::CheckKey;
use super::clock::{SignedDuration, Timestamp};
use super::evaluate::BaselineFor;
use super::ids::BaselineId;
use super::measurement::Measurement;

/// One scan's measurements, kept. A window never feeds its own baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub id: BaselineId,
    pub environment: String,
    pub captured_at: Timestamp,
    pub source: BaselineSource,
    pub measurements: BTreeMap<CheckKey, Measurement>,
}

/// Where a baseline came from; shown next to every number compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineSource {
    /// Captured by `start`, before the migration.
    Captured,
    /// The newest clean scan of the deploy before, since nothing announced the start.
    LatestScan,
}

impl BaselineSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::LatestScan => "latest_scan",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Captured, Self::LatestScan].into_iter().find(|s| s.as_str() == text)
    }
}

/// Whether a baseline may be used for a window that opened at `finished_at`: captured before it, and at most
/// `max_age_seconds` old then.
pub fn is_fresh(captured_at: Timestamp, finished_at: Timestamp, max_age_seconds: u32) -> bool {
    let age = finished_at.duration_since(captured_at);
    age >= SignedDuration::ZERO && age <= SignedDuration::from_secs(max_age_seconds.into())
}

/// What one check is held against. `evaluate` itself compares the definitions.
pub fn for_check<'a>(
    baseline: Option<&'a Baseline>,
    key: &CheckKey,
    finished_at: Timestamp,
    max_age_seconds: u32,
) -> BaselineFor<'a> {
    let Some(baseline) = baseline else { return BaselineFor::Missing };
    if !is_fresh(baseline.captured_at, finished_at, max_age_seconds) {
        return BaselineFor::Stale;
    }
    baseline.measurements.get(key).map_or(BaselineFor::Missing, BaselineFor::Usable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::at;

    #[test]
    fn a_baseline_is_usable_when_taken_before_finish_and_at_most_a_day_old_then() {
        for (captured, usable) in [(0, true), (-86_400, true), (-86_401, false), (1, false)] {
            assert_eq!(is_fresh(at(captured), at(0), 86_400), usable, "captured {captured} s after finish");
        }
    }

    #[test]
    fn a_baseline_without_the_check_is_missing_and_an_old_one_stale() {
        let baseline = Baseline {
            id: BaselineId::from_text("bas_1"),
            environment: "acme".into(),
            captured_at: at(-60),
            source: BaselineSource::Captured,
            measurements: BTreeMap::new(),
        };
        let key = CheckKey("a".into());
        assert_eq!(for_check(None, &key, at(0), 60), BaselineFor::Missing);
        assert_eq!(for_check(Some(&baseline), &key, at(0), 60), BaselineFor::Missing);
        assert_eq!(for_check(Some(&baseline), &key, at(1), 60), BaselineFor::Stale);
    }
}
