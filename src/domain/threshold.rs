//! Thresholds: the bounds a measured value is held against.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::measurement::{Measured, Unit};
use super::wording::{number, percent, quantity, seconds};

/// All bounds that are present must hold. `above`/`below`/`outside`/`equals` look at the value;
/// `drop_above`, `rise_above` and `new_above` compare it with the baseline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<(Bound, Bound)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_above: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rise_above: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_above: Option<Bound>,
    /// Not held against the value until this many seconds after `finish` (backfills).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u32>,
}

/// A number, a percentage (of the tested rows, or of the baseline) or a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    Number(f64),
    Percent(f64),
    Seconds(f64),
}

/// The numbers that a threshold is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    pub value: f64,
    pub unit: Unit,
    /// Rows looked at, the hundred percent of a percentage of violations.
    pub tested: Option<f64>,
    pub baseline: Option<BaselineFacts>,
    /// Below this baseline, percentages are taken of this instead: see `Rule::allowance`.
    pub min_baseline: f64,
}

/// The same check before the deploy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BaselineFacts {
    pub value: f64,
    /// Failing keys that were not failing then, where both sides know all of theirs.
    pub new_keys: Option<f64>,
}

impl BaselineFacts {
    /// Failing keys count only where neither list was cut off; a list of the values is never kept.
    pub fn new(value: f64, before: &Measured, now: &Measured) -> Self {
        let known = |m: &Measured| !m.digests_capped && (!m.digests.is_empty() || m.value == Some(0.0));
        let new_keys = (known(before) && known(now)).then(|| {
            let old: BTreeSet<&String> = before.digests.iter().collect();
            #[expect(clippy::cast_precision_loss, reason = "at most 10,000 digests")]
            let new = now.digests.iter().filter(|digest| !old.contains(digest)).count() as f64;
            new
        });
        Self { value, new_keys }
    }
}

/// One bound with its word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    Above(Bound),
    Below(Bound),
    Outside(Bound, Bound),
    Equals(Bound),
    DropAbove(Bound),
    RiseAbove(Bound),
    NewAbove(Bound),
}

/// Whether a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Holds,
    Broken,
    /// A number that the rule needs is not there.
    Unknown(Lacking),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    Tested,
    Baseline,
}

impl Threshold {
    /// Whether any bound needs a baseline.
    pub fn compares(&self) -> bool {
        self.drop_above.is_some() || self.rise_above.is_some() || self.new_above.is_some()
    }

    /// The bounds that need no baseline.
    pub fn absolute(&self) -> Self {
        Self { drop_above: None, rise_above: None, new_above: None, ..self.clone() }
    }

    /// Whether it bounds nothing.
    pub fn is_empty(&self) -> bool {
        self.rules().is_empty()
    }

    /// The bounds that are present, the ones that need no baseline first.
    pub fn rules(&self) -> Vec<Rule> {
        [
            self.above.map(Rule::Above),
            self.below.map(Rule::Below),
            self.outside.map(|(low, high)| Rule::Outside(low, high)),
            self.equals.map(Rule::Equals),
            self.drop_above.map(Rule::DropAbove),
            self.rise_above.map(Rule::RiseAbove),
            self.new_above.map(Rule::NewAbove),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The resolved bounds for a table cell: `> 0`, `< 1, drop > 1% (990)`.
    pub fn text(&self, facts: &Facts) -> String {
        self.rules().iter().map(|rule| rule.text(facts)).collect::<Vec<_>>().join(", ")
    }
}

impl Bound {
    /// The plain number, without its unit.
    pub fn amount(self) -> f64 {
        match self {
            Self::Number(amount) | Self::Percent(amount) | Self::Seconds(amount) => amount,
        }
    }

    fn text(self, unit: Unit) -> String {
        match self {
            Self::Number(amount) => quantity(amount, unit),
            Self::Percent(amount) => percent(amount),
            Self::Seconds(amount) => seconds(amount),
        }
    }
}

impl Rule {
    /// The word in a suite.
    pub fn word(self) -> &'static str {
        match self {
            Self::Above(_) => "above",
            Self::Below(_) => "below",
            Self::Outside(..) => "outside",
            Self::Equals(_) => "equals",
            Self::DropAbove(_) => "drop_above",
            Self::RiseAbove(_) => "rise_above",
            Self::NewAbove(_) => "new_above",
        }
    }

    pub fn held(self, facts: &Facts) -> Held {
        let limit = |bound: Bound| Self::limit(bound, facts).ok_or(Lacking::Tested);
        let before = facts.baseline.ok_or(Lacking::Baseline);
        let value = facts.value;
        let broken = match self {
            Self::Above(bound) => limit(bound).map(|limit| exceeds(value, limit)),
            Self::Below(bound) => limit(bound).map(|limit| exceeds(limit, value)),
            Self::Outside(low, high) => {
                limit(low).and_then(|low| limit(high).map(|high| exceeds(low, value) || exceeds(value, high)))
            }
            Self::Equals(bound) => limit(bound).map(|limit| exceeds(value, limit) || exceeds(limit, value)),
            Self::DropAbove(bound) => before.map(|before| {
                // Nothing can drop below none at all, so a drop from zero never breaks a percentage.
                before.value != 0.0
                    && exceeds(before.value - value, Self::allowance(bound, before.value, facts))
                    || before.value == 0.0 && exceeds(-value, bound.amount())
            }),
            Self::RiseAbove(bound) => {
                before.map(|before| Self::rises(bound, value - before.value, before.value, facts))
            }
            Self::NewAbove(bound) => before.map(|before| {
                let more = (value - before.value).max(before.new_keys.unwrap_or(0.0));
                Self::rises(bound, more, before.value, facts)
            }),
        };
        match broken {
            Ok(true) => Held::Broken,
            Ok(false) => Held::Holds,
            Err(lacking) => Held::Unknown(lacking),
        }
    }

    /// Any rise from zero is without bounds in percent.
    fn rises(bound: Bound, by: f64, from: f64, facts: &Facts) -> bool {
        match bound {
            Bound::Percent(_) if from == 0.0 => by > 0.0,
            _ => exceeds(by, Self::allowance(bound, from, facts)),
        }
    }

    /// How far the value may move from the baseline. A percentage of a small baseline would fail for a single
    /// row, so below `min_baseline` it is a percentage of `min_baseline`: a fixed number.
    fn allowance(bound: Bound, baseline: f64, facts: &Facts) -> f64 {
        match bound {
            Bound::Percent(amount) => amount / 100.0 * baseline.abs().max(facts.min_baseline),
            Bound::Number(amount) | Bound::Seconds(amount) => amount,
        }
    }

    /// An absolute bound in the value's own unit. Of violations, a percentage is one of the tested rows.
    fn limit(bound: Bound, facts: &Facts) -> Option<f64> {
        match (bound, facts.unit) {
            (Bound::Percent(amount), Unit::Violations | Unit::Rows) => {
                match facts.tested {
                    Some(tested) => Some(amount / 100.0 * tested),
                    // None of however many: a proved check counts no rows, and a share of them is not needed.
                    None if facts.value == 0.0 && facts.unit == Unit::Violations && amount >= 0.0 => {
                        Some(0.0)
                    }
                    None => None,
                }
            }
            (bound, _) => Some(bound.amount()),
        }
    }

    /// What breaks it, resolved: `> 0.1% (1)`, `drop > 1% (990)`.
    pub fn text(self, facts: &Facts) -> String {
        let unit = facts.unit;
        let absolute = |bound: Bound| match (bound, Self::limit(bound, facts)) {
            (Bound::Percent(_), Some(limit)) if matches!(unit, Unit::Violations | Unit::Rows) => {
                format!("{} ({})", bound.text(unit), number(limit.floor()))
            }
            _ => bound.text(unit),
        };
        let compared = |word: &str, bound: Bound, sign: f64| match facts.baseline {
            Some(before) => {
                let at = before.value + sign * Self::allowance(bound, before.value, facts);
                format!("{word} > {} ({})", bound.text(unit), quantity(at.max(0.0), unit))
            }
            None => format!("{word} > {}", bound.text(unit)),
        };
        match self {
            Self::Above(bound) => format!("> {}", absolute(bound)),
            Self::Below(bound) => format!("< {}", absolute(bound)),
            Self::Outside(low, high) => format!("outside {} to {}", absolute(low), absolute(high)),
            Self::Equals(bound) => format!("not {}", absolute(bound)),
            Self::DropAbove(bound) => compared("drop", bound, -1.0),
            Self::RiseAbove(bound) => compared("rise", bound, 1.0),
            Self::NewAbove(bound) => compared("new", bound, 1.0),
        }
    }

    /// What is asked for, as the end of a sentence: `at most 2 h is allowed`.
    pub fn demand(self, facts: &Facts) -> String {
        let unit = facts.unit;
        let text = |bound: Bound| bound.text(unit);
        let moved = |noun: &str, bound: Bound| match bound.amount() {
            0.0 => format!("no {noun} is allowed"),
            _ => format!("a {noun} of at most {} is allowed", text(bound)),
        };
        match self {
            Self::Above(bound) if bound.amount() == 0.0 => "none is allowed".to_owned(),
            Self::Above(bound) => format!("at most {} is allowed", text(bound)),
            Self::Below(bound) => format!("at least {} is required", text(bound)),
            Self::Outside(low, high) if low == high => format!("exactly {} is required", text(low)),
            Self::Outside(low, high) => format!("between {} and {} is required", text(low), text(high)),
            Self::Equals(bound) => format!("exactly {} is required", text(bound)),
            Self::DropAbove(bound) => moved("drop", bound),
            Self::RiseAbove(bound) => moved("rise", bound),
            Self::NewAbove(bound) if bound.amount() == 0.0 => "no new one is allowed".to_owned(),
            Self::NewAbove(bound) => format!("at most {} new ones are allowed", text(bound)),
        }
    }
}

/// Greater, but not by a rounding error: 29 is not above 29% of 100.
fn exceeds(value: f64, limit: f64) -> bool {
    value - limit > 1e-9 * limit.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(rule: Rule, value: f64, unit: Unit, tested: Option<f64>, baseline: Option<f64>) -> Held {
        let baseline = baseline.map(|value| BaselineFacts { value, new_keys: None });
        let min_baseline = if matches!(unit, Unit::Rows | Unit::Violations) { 100.0 } else { 0.0 };
        rule.held(&Facts { value, unit, tested, baseline, min_baseline })
    }

    #[test]
    fn absolute_words() {
        use Bound::{Number, Percent, Seconds};
        use Held::{Broken, Holds, Unknown};
        use Unit::{Percent as Pct, Rows, Seconds as Secs, Violations};
        for (rule, value, unit, tested, expected) in [
            (Rule::Above(Number(0.0)), 0.0, Violations, None, Holds),
            (Rule::Above(Number(0.0)), 1.0, Violations, None, Broken),
            (Rule::Below(Number(1.0)), 1.0, Rows, None, Holds),
            (Rule::Below(Number(1.0)), 0.0, Rows, None, Broken),
            (Rule::Outside(Number(2.0), Number(4.0)), 2.0, Rows, None, Holds),
            (Rule::Outside(Number(2.0), Number(4.0)), 1.0, Rows, None, Broken),
            (Rule::Outside(Number(2.0), Number(4.0)), 5.0, Rows, None, Broken),
            (Rule::Equals(Number(3.0)), 3.0, Rows, None, Holds),
            (Rule::Equals(Number(3.0)), 4.0, Rows, None, Broken),
            (Rule::Above(Percent(0.1)), 1.0, Violations, Some(1000.0), Holds),
            (Rule::Above(Percent(0.1)), 2.0, Violations, Some(1000.0), Broken),
            (Rule::Above(Percent(29.0)), 29.0, Violations, Some(100.0), Holds),
            (Rule::Above(Percent(1.0)), 0.0, Violations, Some(0.0), Holds),
            (Rule::Above(Percent(1.0)), 1.0, Violations, None, Unknown(Lacking::Tested)),
            (Rule::Above(Percent(70.0)), 71.0, Pct, None, Broken),
            (Rule::Above(Seconds(7200.0)), 7201.0, Secs, None, Broken),
        ] {
            assert_eq!(held(rule, value, unit, tested, None), expected, "{rule:?} on {value}");
        }
    }

    #[test]
    fn comparing_words() {
        use Bound::{Number, Percent};
        use Held::{Broken, Holds, Unknown};
        use Unit::{Number as Plain, Rows, Violations};
        for (rule, value, unit, baseline, expected) in [
            (Rule::DropAbove(Number(0.0)), 999.0, Rows, Some(1000.0), Broken),
            (Rule::DropAbove(Number(0.0)), 1001.0, Rows, Some(1000.0), Holds),
            (Rule::DropAbove(Percent(1.0)), 990.0, Rows, Some(1000.0), Holds),
            (Rule::DropAbove(Percent(1.0)), 989.0, Rows, Some(1000.0), Broken),
            // Below min_baseline the allowance is 1% of 100: one row.
            (Rule::DropAbove(Percent(1.0)), 49.0, Rows, Some(50.0), Holds),
            (Rule::DropAbove(Percent(1.0)), 48.0, Rows, Some(50.0), Broken),
            // Ratios have no such floor.
            (Rule::DropAbove(Percent(10.0)), 2.8, Plain, Some(3.2), Broken),
            // Percent from zero.
            (Rule::DropAbove(Percent(1.0)), 0.0, Rows, Some(0.0), Holds),
            (Rule::DropAbove(Percent(1.0)), 5.0, Rows, Some(0.0), Holds),
            (Rule::RiseAbove(Percent(50.0)), 0.0, Rows, Some(0.0), Holds),
            (Rule::RiseAbove(Percent(50.0)), 1.0, Rows, Some(0.0), Broken),
            (Rule::RiseAbove(Percent(50.0)), 301.0, Rows, Some(200.0), Broken),
            (Rule::RiseAbove(Percent(50.0)), 300.0, Rows, Some(200.0), Holds),
            (Rule::NewAbove(Number(0.0)), 3.0, Violations, Some(3.0), Holds),
            (Rule::NewAbove(Number(0.0)), 4.0, Violations, Some(3.0), Broken),
            (Rule::NewAbove(Number(0.0)), 4.0, Violations, None, Unknown(Lacking::Baseline)),
        ] {
            assert_eq!(
                held(rule, value, unit, None, baseline),
                expected,
                "{rule:?}: {baseline:?} to {value}"
            );
        }
    }

    #[test]
    fn the_ratchet_sees_a_swap_of_failing_keys() {
        let measured = |value: f64, digests: &[&str], digests_capped| Measured {
            value: Some(value),
            digests: digests.iter().map(|&d| d.to_owned()).collect(),
            digests_capped,
            ..Measured::default()
        };
        let before = measured(2.0, &["a", "b"], false);
        for (now, new_keys) in [
            (measured(2.0, &["a", "b"], false), Some(0.0)),
            (measured(2.0, &["a", "c"], false), Some(1.0)),
            (measured(0.0, &[], false), Some(0.0)),
            (measured(2.0, &[], false), None),
            (measured(20_000.0, &["c"], true), None),
        ] {
            assert_eq!(BaselineFacts::new(2.0, &before, &now).new_keys, new_keys);
        }
        let swapped = BaselineFacts::new(2.0, &before, &measured(2.0, &["a", "c"], false));
        let facts = Facts {
            value: 2.0,
            unit: Unit::Violations,
            tested: None,
            baseline: Some(swapped),
            min_baseline: 100.0,
        };
        assert_eq!(Rule::NewAbove(Bound::Number(0.0)).held(&facts), Held::Broken);
    }

    #[test]
    fn thresholds_show_their_resolved_numbers() {
        let rows = Facts {
            value: 0.0,
            unit: Unit::Rows,
            tested: None,
            baseline: Some(BaselineFacts { value: 1000.0, new_keys: None }),
            min_baseline: 100.0,
        };
        let both = Threshold {
            below: Some(Bound::Number(1.0)),
            drop_above: Some(Bound::Percent(1.0)),
            ..Threshold::default()
        };
        assert_eq!(both.text(&rows), "< 1, drop > 1% (990)");
        assert_eq!(Rule::DropAbove(Bound::Number(0.0)).demand(&rows), "no drop is allowed");
        let violations = Facts { unit: Unit::Violations, tested: Some(1000.0), baseline: None, ..rows };
        assert_eq!(Rule::Above(Bound::Percent(0.1)).text(&violations), "> 0.1% (1)");
        let age = Facts { unit: Unit::Seconds, ..violations };
        assert_eq!(Rule::Above(Bound::Seconds(7200.0)).text(&age), "> 2 h");
    }
}
