//! One fault, one failing check. What several checks of a scan say of the same fault is told by the one that it is
//! closest to; the others are skipped and say who tells it. Nothing is lost: what they found stands in its message.

mod rules;

use std::collections::BTreeSet;

use super::check::{Check, Mode};
use super::drift::Fingerprint;
use super::measurement::{Measured, Measurement};
use super::observation::{Observation, Outcome};
use super::problem::Problem;

use rules::{Link, Why, links};

/// How many of what another check found are told in full.
const SHOWN: usize = 5;

/// One check of a scan, as judged by itself.
#[derive(Debug)]
pub struct Case<'a> {
    pub check: &'a Check,
    pub measurement: &'a Measurement,
    pub observation: Observation,
    /// It failed before: it goes on by itself, so that it does not seem to have recovered.
    pub standing: bool,
}

impl Case<'_> {
    fn troubled(&self) -> bool {
        matches!(self.observation.outcome, Outcome::Fail | Outcome::Warn | Outcome::Error | Outcome::NoData)
    }

    /// Whether it may speak for another: it counts, and at least as much.
    fn outranks(&self, other: &Self) -> bool {
        let counts = |case: &Self| {
            let now = case.observation.observed_at;
            let muted = case.check.policy.mutes.iter().any(|mute| mute.covers(now));
            !muted
                && match case.check.policy.mode {
                    Mode::Enforce => true,
                    Mode::Shadow => false,
                    Mode::Muted { until } => until <= now,
                }
        };
        let weight = |case: &Self| match case.observation.outcome {
            Outcome::Fail => 3,
            Outcome::Error => 2,
            _ => 1,
        };
        // Only where both count is one told in place of the other.
        let severity = |case: &Self| case.check.policy.severity;
        (counts(self) || !counts(other))
            && severity(self) <= severity(other)
            && (weight(self) >= weight(other) || severity(self) < severity(other))
    }

    fn measured(&self) -> Option<&Measured> {
        self.measurement.result.as_ref().ok()
    }
}

/// Judges the checks of one scan, each by itself, and then puts each fault down to one of them; `standing` says which
/// failed before. `measurements` are those of `checks`, in their order, and so are the outcomes.
pub fn judge_all<'a>(
    checks: impl IntoIterator<Item = &'a Check>,
    measurements: &'a [Measurement],
    standing: impl Fn(&Check) -> bool,
    judge: impl Fn(usize, &Measurement) -> Observation,
) -> Vec<Observation> {
    let pairs = checks.into_iter().zip(measurements).enumerate();
    let mut cases: Vec<Case<'_>> = pairs
        .map(|(index, (check, measurement))| Case {
            check,
            measurement,
            observation: judge(index, measurement),
            standing: standing(check),
        })
        .collect();
    attribute(&mut cases, judge);
    cases.into_iter().map(|case| case.observation).collect()
}

/// Puts each fault down to one check. `again` judges a check by another measurement.
pub fn attribute(cases: &mut [Case<'_>], again: impl Fn(usize, &Measurement) -> Observation) {
    let links: Vec<Vec<Link>> = links(cases);
    let all_told: Vec<bool> =
        (0..cases.len()).map(|index| told_wholly(&cases[index], &links[index])).collect();
    let root = |from: usize| {
        let (mut at, mut seen) = (from, BTreeSet::new());
        while all_told[at] {
            if !seen.insert(at) {
                return None;
            }
            at = links[at].first()?.to;
        }
        Some(at)
    };
    let mut additions: Vec<Additions> = cases.iter().map(|_| Additions::default()).collect();
    let mut changes = Vec::new();
    for (index, own) in links.iter().enumerate().filter(|(_, own)| !own.is_empty()) {
        let case = &cases[index];
        let Some(roots) = own.iter().map(|link| root(link.to)).collect::<Option<Vec<usize>>>() else {
            continue;
        };
        for (link, root) in own.iter().zip(&roots) {
            additions[*root].take(case, link);
        }
        let by: BTreeSet<&str> = roots.iter().map(|root| cases[*root].check.key().as_str()).collect();
        let by = by.into_iter().collect::<Vec<_>>().join(" and ");
        changes.push((index, if all_told[index] { None } else { Some(without(case.measurement, own)) }, by));
    }
    for (index, reduced, by) in changes {
        match reduced {
            None => skip(&mut cases[index].observation, &by),
            Some(reduced) => {
                cases[index].observation = again(index, &reduced);
                cases[index].observation.message.push_str(&format!("; {by} tells the rest"));
            }
        }
    }
    for (case, additions) in cases.iter_mut().zip(additions) {
        if let Some(told) = additions.text() {
            case.observation.message.push_str(&told);
            case.observation.told = Some(told);
        }
    }
    drifts(cases, &again);
}

/// What a comparison of the catalog finds is told, for the most part, by the check that looks after it.
fn drifts(cases: &mut [Case<'_>], again: impl Fn(usize, &Measurement) -> Observation) {
    for index in 0..cases.len() {
        let case = &cases[index];
        if !case.troubled() || case.standing {
            continue;
        }
        let print = case.measured().and_then(|measured| measured.fingerprint.clone());
        let Some(print) = print.and_then(|print| serde_json::from_value::<Fingerprint>(print).ok()) else {
            continue;
        };
        let without = |told: Vec<Problem>| {
            let print = Fingerprint { told, ..print.clone() };
            let mut measurement = case.measurement.clone();
            if let Ok(measured) = &mut measurement.result {
                measured.fingerprint = serde_json::to_value(&print).ok();
            }
            again(index, &measurement)
        };
        let (mut told, mut by) = (Vec::new(), Vec::new());
        for other in cases.iter().filter(|other| other.check.key() != case.check.key()) {
            // What is told by a third one is told all the same.
            let speaks = other.observation.reason == TOLD || (other.troubled() && other.outranks(case));
            if !speaks {
                continue;
            }
            let found = rules::found(other);
            if !found.is_empty() && without(found.clone()).value < case.observation.value {
                by.push(other.check.key().to_string());
                told.extend(found);
            }
        }
        if by.is_empty() {
            continue;
        }
        let less = without(told);
        let observation = &mut cases[index].observation;
        if less.outcome == Outcome::Pass {
            skip(observation, &some(&by, ", "));
        } else {
            *observation = less;
        }
    }
}

/// Why a check was skipped in favour of another one.
pub const TOLD: &str = "skipped.told";

fn skip(observation: &mut Observation, by: &str) {
    observation.outcome = Outcome::Skipped;
    TOLD.clone_into(&mut observation.reason);
    observation.message = format!("skipped: {by} tells it: {}", observation.message);
    observation.samples.clear();
}

fn told_wholly(case: &Case<'_>, links: &[Link]) -> bool {
    let problems = case.measured().map_or(0, |measured| measured.problems.len());
    let told: BTreeSet<usize> = links.iter().filter_map(|link| link.problem).collect();
    !links.is_empty() && (links.iter().any(|link| link.problem.is_none()) || told.len() == problems)
}

/// The measurement without the problems that others tell.
fn without(measurement: &Measurement, links: &[Link]) -> Measurement {
    let mut reduced = measurement.clone();
    if let Ok(measured) = &mut reduced.result {
        let told = |index: &usize| links.iter().any(|link| link.problem == Some(*index));
        let left = measured.problems.iter().enumerate().filter(|(index, _)| !told(index));
        let left: Vec<_> = left.map(|(_, problem)| problem.clone()).collect();
        let Measured { value, detail, problems, .. } = Measured::of_problems(left);
        *measured = Measured { value, detail, problems, ..measured.clone() };
    }
    reduced
}

/// What one check tells for others.
#[derive(Debug, Default)]
struct Additions {
    causes: Vec<String>,
    effects: Vec<String>,
    unmeasured: Vec<String>,
}

impl Additions {
    fn take(&mut self, from: &Case<'_>, link: &Link) {
        let text = match link.problem.zip(from.measured()) {
            Some((index, measured)) => measured.problems[index].text.clone(),
            None => from.observation.message.clone(),
        };
        match link.why {
            Why::Same => {}
            Why::Cause => self.causes.push(text),
            Why::Effect if from.observation.outcome == Outcome::Fail => self.effects.push(text),
            Why::Effect if from.observation.outcome == Outcome::Error => {
                self.unmeasured.push(from.check.key().to_string());
            }
            Why::Effect => {}
        }
    }

    fn text(&self) -> Option<String> {
        let mut text = String::new();
        if !self.causes.is_empty() {
            text.push_str(&format!("; cause: {}", some(&self.causes, "; ")));
        }
        if !self.effects.is_empty() {
            text.push_str(&format!("; with it, {}", some(&self.effects, "; ")));
        }
        match self.unmeasured.as_slice() {
            [] => {}
            [one] => text.push_str(&format!("; {one} cannot be measured without it")),
            many => text.push_str(&format!(
                "; {} checks cannot be measured without it: {}",
                many.len(),
                some(many, ", ")
            )),
        }
        (!text.is_empty()).then_some(text)
    }
}

fn some(texts: &[String], between: &str) -> String {
    let mut shown = texts.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(between);
    if texts.len() > SHOWN {
        shown.push_str(&format!("{between}and {} more", texts.len() - SHOWN));
    }
    shown
}

#[cfg(test)]
mod tests;
