//! From a measured value to an outcome, with the resolved numbers and a sentence that says them.

use super::check::{CheckPolicy, OnNoData};
use super::clock::{SignedDuration, Timestamp, humane};
use super::drift::Fingerprint;
use super::measurement::{Measured, Measurement, Unit};
use super::observation::{Observation, Outcome};
use super::threshold::{BaselineFacts, Bound, Facts, Held, Lacking, Rule, Threshold};
use super::wording::{Wording, number, percent, quantity};

/// What a comparing threshold is held against, or why there is nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum BaselineFor<'a> {
    Usable(&'a Measurement),
    Missing,
    Stale,
}

/// Which slot the measurement answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotFacts {
    pub slot_at: Timestamp,
    pub observed_at: Timestamp,
    pub confirm: bool,
    /// When the window opened, for `after`.
    pub finished_at: Option<Timestamp>,
}

/// Decides in the order: value → no_data policy → fail threshold → warn threshold → pass.
///
/// A check whose fail threshold cannot be decided, since a baseline is missing, is never a pass, even where
/// the rest of it holds; one that is broken without the baseline fails all the same.
pub fn evaluate(
    check: &CheckPolicy,
    measurement: &Measurement,
    baseline: BaselineFor<'_>,
    slot: SlotFacts,
) -> Observation {
    let mut observation = Observation {
        key: check.key.clone(),
        slot_at: slot.slot_at,
        observed_at: slot.observed_at,
        outcome: Outcome::Error,
        reason: String::new(),
        message: String::new(),
        told: None,
        value: None,
        unit: Unit::default(),
        tested: None,
        baseline: None,
        threshold: None,
        carried: measurement.carried,
        proved: measurement.proved.clone(),
        confirm: slot.confirm,
        duration_ms: measurement.duration_ms,
        samples: Vec::new(),
        statement: measurement.statement.clone(),
    };
    let decision = match &measurement.result {
        Err(error) => Decision {
            outcome: Outcome::Error,
            reason: format!("error.{}", error.code.as_str()),
            message: match &error.hint {
                Some(hint) => format!("could not be measured: {error}; {hint}"),
                None => format!("could not be measured: {error}"),
            },
        },
        Ok(measured) => {
            observation.unit = measured.unit;
            observation.tested = measured.tested;
            observation.samples.clone_from(&measured.samples);
            judge(check, measurement, measured, &baseline, slot, &mut observation)
        }
    };
    observation.outcome = decision.outcome;
    observation.reason = decision.reason;
    observation.message = decision.message;
    observation
}

struct Decision {
    outcome: Outcome,
    reason: String,
    message: String,
}

/// Why there is nothing to compare with.
#[derive(Clone, Copy)]
struct Unusable {
    outcome: Outcome,
    reason: &'static str,
    because: &'static str,
}

fn judge(
    check: &CheckPolicy,
    measurement: &Measurement,
    measured: &Measured,
    baseline: &BaselineFor<'_>,
    slot: SlotFacts,
    observation: &mut Observation,
) -> Decision {
    if let Some(condition) = &measured.skipped {
        return Decision {
            outcome: Outcome::Skipped,
            reason: "skipped.condition".to_owned(),
            message: format!("skipped: {condition}"),
        };
    }
    let before = usable(measurement, baseline);
    let (value, detail) = match (&measured.fingerprint, &before) {
        (Some(now), Ok(before)) => match drifted(now, before) {
            Some(changes) => changes,
            None => return no_value(check, "its fingerprint cannot be read"),
        },
        (Some(_), Err(_)) => (Some(0.0), None),
        (None, _) => (measured.value, measured.detail.clone()),
    };
    let Some(value) = value else {
        return no_value(check, detail.as_deref().unwrap_or("the measurement gave no value"));
    };
    let before_value = match (&measured.fingerprint, &before) {
        (Some(_), Ok(_)) => Some(BaselineFacts { value: 0.0, new_keys: None }),
        (None, Ok(then)) => then.value.map(|was| BaselineFacts::new(was, then, measured)),
        (_, Err(_)) => None,
    };
    let facts = Facts {
        value,
        unit: measured.unit,
        tested: measured.tested,
        baseline: before_value,
        min_baseline: check.min_baseline,
    };
    observation.value = Some(value);
    observation.baseline = before_value.map(|before| before.value);
    observation.threshold = check.fail.as_ref().or(check.warn.as_ref()).map(|t| t.text(&facts));

    let fact = Sentence { check, facts: &facts, measurement, detail: detail.as_deref() };
    let (mut waiting, mut undecided) = (None, None);
    for (outcome, threshold) in [(Outcome::Fail, &check.fail), (Outcome::Warn, &check.warn)] {
        let Some(threshold) = threshold else { continue };
        let held = hold(threshold, &facts);
        if let Some(wait) = remaining_grace(threshold, slot) {
            if matches!(held, Decided::Broken(_)) {
                waiting = waiting.or(Some((outcome, wait)));
            }
            continue;
        }
        match held {
            Decided::Holds => {}
            Decided::Broken(rule) => {
                observation.threshold = Some(rule.text(&facts));
                return Decision {
                    outcome,
                    reason: format!("{}.{}", outcome.as_str(), rule.word()),
                    message: fact.broken(rule),
                };
            }
            Decided::Unknown(Lacking::Tested) => {
                return no_value(check, "the number of tested rows, which a percentage needs, is not known");
            }
            Decided::Unknown(Lacking::Baseline) => {
                let why = before.as_ref().err().copied().unwrap_or(Unusable {
                    outcome: Outcome::NoData,
                    reason: "no_data.baseline_empty",
                    because: "the baseline has no value for this check",
                });
                // The other threshold may be broken all the same.
                undecided = undecided.or(Some(Decision {
                    outcome: why.outcome,
                    reason: why.reason.to_owned(),
                    message: match &measured.fingerprint {
                        Some(_) => format!("not compared: {}", why.because),
                        None => format!("{}; not compared: {}", fact.plain(), why.because),
                    },
                }));
            }
        }
    }
    if let Some(decision) = undecided {
        return decision;
    }
    let message = match waiting {
        Some((outcome, wait)) => {
            let verb = if outcome == Outcome::Fail { "fails" } else { "warns" };
            format!("{}; {verb} if it is still so in {}", fact.plain(), humane(wait))
        }
        None => fact.plain(),
    };
    if waiting.is_none() && !measured.notes.is_empty() {
        let noted = measured.notes.join("; ");
        // "0 problems" before a problem would only be misread.
        let nothing_else = facts.unit == Unit::Violations && facts.value == 0.0;
        return Decision {
            outcome: Outcome::Warn,
            reason: "warn.noted".to_owned(),
            message: if nothing_else { noted } else { format!("{message}; {noted}") },
        };
    }
    let reason = if waiting.is_some() { "pass.grace" } else { "pass" };
    Decision { outcome: Outcome::Pass, reason: reason.to_owned(), message }
}

/// What an empty value means is the check's own choice.
fn no_value(check: &CheckPolicy, because: &str) -> Decision {
    let (outcome, reason) = match check.on_no_data {
        OnNoData::Inconclusive => (Outcome::NoData, "no_data.no_value"),
        OnNoData::Pass => (Outcome::Pass, "pass.no_value"),
        OnNoData::Fail => (Outcome::Fail, "fail.no_value"),
    };
    Decision { outcome, reason: reason.to_owned(), message: format!("no value: {because}") }
}

fn usable<'a>(now: &Measurement, baseline: &BaselineFor<'a>) -> Result<&'a Measured, Unusable> {
    let no_data = |reason, because| Err(Unusable { outcome: Outcome::NoData, reason, because });
    match baseline {
        BaselineFor::Missing => Err(Unusable {
            outcome: Outcome::Skipped,
            reason: "skipped.no_baseline",
            because: "there is no baseline",
        }),
        BaselineFor::Stale => no_data("no_data.baseline_stale", "the baseline is too old"),
        BaselineFor::Usable(before) if before.definition_hash != now.definition_hash => no_data(
            "no_data.definition_changed",
            "the check's definition has changed since the baseline was captured",
        ),
        BaselineFor::Usable(before) => match &before.result {
            Ok(before) => Ok(before),
            Err(_) => {
                no_data("no_data.baseline_error", "it could not be measured when the baseline was captured")
            }
        },
    }
}

/// The number of changes between two fingerprints, and the changes; `None` where either cannot be read.
fn drifted(now: &serde_json::Value, before: &Measured) -> Option<(Option<f64>, Option<String>)> {
    let now: Fingerprint = serde_json::from_value(now.clone()).ok()?;
    let before: Fingerprint = serde_json::from_value(before.fingerprint.clone()?).ok()?;
    let changes = now.since(&before);
    #[expect(clippy::cast_precision_loss, reason = "a schema has fewer than 2^52 objects")]
    let count = changes.len() as f64;
    Some((Some(count), (!changes.is_empty()).then(|| changes.join("; "))))
}

enum Decided {
    Holds,
    Broken(Rule),
    Unknown(Lacking),
}

/// A broken rule wins over one that cannot be decided.
fn hold(threshold: &Threshold, facts: &Facts) -> Decided {
    let mut unknown = None;
    for rule in threshold.rules() {
        match rule.held(facts) {
            Held::Holds => {}
            Held::Broken => return Decided::Broken(rule),
            Held::Unknown(lacking) => unknown = unknown.or(Some(lacking)),
        }
    }
    unknown.map_or(Decided::Holds, Decided::Unknown)
}

/// How long the threshold is not yet held against the value. Without a deploy there is no grace.
fn remaining_grace(threshold: &Threshold, slot: SlotFacts) -> Option<SignedDuration> {
    let from = slot.finished_at? + SignedDuration::from_secs(threshold.after?.into());
    (slot.observed_at < from).then(|| slot.observed_at.duration_until(from))
}

/// Says the value for a person.
struct Sentence<'a> {
    check: &'a CheckPolicy,
    facts: &'a Facts,
    measurement: &'a Measurement,
    detail: Option<&'a str>,
}

impl Sentence<'_> {
    fn fact(&self) -> String {
        let facts = self.facts;
        let said = self.check.wording.say(facts.value, facts.unit, facts.tested);
        match self.detail {
            Some(detail) => format!("{said}: {detail}"),
            None => said,
        }
    }

    fn plain(&self) -> String {
        let mut text = self.fact();
        if let Some(constraint) = &self.measurement.proved {
            text.push_str(&format!(", proved by {constraint} without reading the table"));
        }
        if let Some(before) = self.facts.baseline
            && before.value != self.facts.value
        {
            text.push_str(&self.before(before));
        }
        text
    }

    fn broken(&self, rule: Rule) -> String {
        let mut text = self.fact();
        if let Some(before) = self.facts.baseline {
            text.push_str(&self.before(before));
            if let (Rule::NewAbove(_), Some(new)) = (rule, before.new_keys)
                && new > 0.0
                && before.value > 0.0
            {
                text.push_str(&format!(", {} of them new", number(new)));
            }
        }
        // "None is allowed" goes without saying where rows break a rule.
        let obvious = matches!(self.check.wording, Wording::Counted { .. })
            && matches!(rule, Rule::Above(Bound::Number(0.0)) | Rule::NewAbove(Bound::Number(0.0)));
        if !obvious {
            text.push_str("; ");
            text.push_str(&rule.demand(self.facts));
        }
        text
    }

    /// The baseline beside the value: `; none before the deploy`, `, 10 (1%) fewer than before the deploy`.
    fn before(&self, before: BaselineFacts) -> String {
        let Facts { value, unit, .. } = *self.facts;
        let change = value - before.value;
        match unit {
            Unit::Rows if change == 0.0 => ", as many as before the deploy".to_owned(),
            Unit::Rows => {
                let direction = if change < 0.0 { "fewer" } else { "more" };
                let share = match before.value {
                    0.0 => String::new(),
                    was => format!(" ({})", percent(change.abs() / was * 100.0)),
                };
                let amount = number(change.abs());
                format!(", {amount}{share} {direction} than the {} before the deploy", number(before.value))
            }
            _ if matches!(&self.measurement.result, Ok(Measured { fingerprint: Some(_), .. })) => {
                String::new()
            }
            Unit::Violations if before.value == 0.0 => "; none before the deploy".to_owned(),
            Unit::Violations if change == 0.0 => "; as many before the deploy".to_owned(),
            Unit::Violations => format!("; {} before the deploy", quantity(before.value, unit)),
            _ => format!("; before the deploy it was {}", quantity(before.value, unit)),
        }
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
