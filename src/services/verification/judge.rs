//! From the measurements of one scan to observations: each check against the baselines it asks for.

use std::sync::Arc;

use crate::domain::baseline::{Baseline, for_check};
use crate::domain::blame::{Case, attribute};
use crate::domain::check::{BaselineMode, Check, CheckPolicy};
use crate::domain::check_state::CheckState;
use crate::domain::clock::Timestamp;
use crate::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use crate::domain::measurement::{Measured, Measurement};
use crate::domain::observation::{Observation, Outcome};

/// What the checks of a deploy are held against.
#[derive(Debug, Clone)]
pub struct Baselines {
    pub pre_deploy: Option<Baseline>,
    pub last_clean: Option<Baseline>,
    /// The deploy before was not clean, so every comparison is made with both.
    pub force_both: bool,
    /// When the release went out: a baseline must be older, and not much older.
    pub deployed_at: Timestamp,
    pub max_age_seconds: u32,
}

/// A check that was looked at, for which slot, and how it stood before.
pub struct Seen<'a> {
    pub check: Arc<Check>,
    pub measurement: &'a Measurement,
    pub slot: SlotFacts,
    pub state: &'a CheckState,
}

impl Baselines {
    /// The outcomes of one scan, each fault put down to one check. `aside` are those that were not looked at: what
    /// was wrong with their rows is taken to be so still, and not told a second time by what should have kept it out.
    pub fn judge_all(&self, seen: &[Seen<'_>], aside: &[(&Check, &CheckState)]) -> Vec<Observation> {
        let failing = |state: &CheckState| state.at_risk() || state.is_breached();
        let last_failed = |(check, state): &(&Check, &CheckState)| {
            let last =
                state.last.as_deref().filter(|last| last.outcome == Outcome::Fail && failing(state))?;
            let measurement = Measurement {
                key: check.policy.key.clone(),
                definition_hash: check.policy.definition_hash.clone(),
                result: Ok(Measured { value: last.value, ..Measured::default() }),
                duration_ms: 0,
                carried: true,
                proved: None,
                isolated: false,
                statement: None,
            };
            Some(((*check).clone(), measurement, last.clone()))
        };
        let aside: Vec<_> = aside.iter().filter_map(last_failed).collect();
        let due = seen.iter().map(|seen| Case {
            check: &seen.check,
            measurement: seen.measurement,
            observation: self.judge(&seen.check.policy, seen.measurement, seen.slot),
            standing: failing(seen.state),
        });
        let others = aside.iter().map(|(check, measurement, last)| Case {
            check,
            measurement,
            observation: last.clone(),
            standing: true,
        });
        let mut cases: Vec<Case<'_>> = due.chain(others).collect();
        attribute(&mut cases, |index, measurement| {
            self.judge(&seen[index].check.policy, measurement, seen[index].slot)
        });
        let mut observations: Vec<Observation> =
            cases.into_iter().take(seen.len()).map(|case| case.observation).collect();
        for (observation, seen) in observations.iter_mut().zip(seen) {
            remember(observation, seen.state.last.as_deref());
        }
        observations
    }

    /// The outcome of a measurement: the worse one where both baselines are asked for.
    pub fn judge(&self, check: &CheckPolicy, measurement: &Measurement, slot: SlotFacts) -> Observation {
        let pre_deploy =
            || for_check(self.pre_deploy.as_ref(), &check.key, self.deployed_at, self.max_age_seconds);
        // A clean reference does not age: it is what the data looked like when all was well.
        let last_clean = || match self.last_clean.as_ref().and_then(|b| b.measurements.get(&check.key)) {
            Some(found) if found.definition_hash == check.definition_hash => BaselineFor::Usable(found),
            _ => pre_deploy(),
        };
        let both = self.force_both && self.last_clean.is_some() && check.compares();
        match check.baseline {
            BaselineMode::PreDeploy if !both => evaluate(check, measurement, pre_deploy(), slot),
            BaselineMode::LastClean if !both => evaluate(check, measurement, last_clean(), slot),
            _ => {
                let first = evaluate(check, measurement, pre_deploy(), slot);
                let second = evaluate(check, measurement, last_clean(), slot);
                if badness(second.outcome) > badness(first.outcome) { second } else { first }
            }
        }
    }
}

/// An extra sample is taken of one check alone, and its sentence still says what the slot's scan found around it.
fn remember(observation: &mut Observation, last: Option<&Observation>) {
    let of_slot = last.filter(|last| {
        observation.confirm && last.slot_at == observation.slot_at && last.outcome == observation.outcome
    });
    if let Some(told) = of_slot.and_then(|last| last.told.clone())
        && observation.told.is_none()
    {
        observation.message.push_str(&told);
        observation.told = Some(told);
    }
}

fn badness(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Fail => 5,
        Outcome::Error => 4,
        Outcome::Warn => 3,
        Outcome::Pass => 2,
        Outcome::NoData => 1,
        Outcome::Missed | Outcome::Skipped => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::blame::TOLD;
    use crate::domain::check::Measure;
    use crate::domain::fixtures::{at, check, opened, plan, seen};
    use crate::domain::measure::{Catalog, RowAggregate, TableName, What};
    use crate::domain::problem::{Object, ObjectKind, Problem};
    use crate::domain::threshold::{Bound, Threshold};

    fn watched(key: &str, what: What) -> Arc<Check> {
        let fail = Threshold { above: Some(Bound::Number(0.0)), ..Threshold::default() };
        let policy = CheckPolicy { fail: Some(fail), ..check(key) };
        Arc::new(Check { policy, measure: Measure::of(what) })
    }

    fn mails() -> Arc<Check> {
        let table = TableName::parse("users").unwrap();
        let aggregate = RowAggregate::Unique { columns: vec!["email".to_owned()] };
        watched("mails", What::Rows { table, filter: None, aggregate })
    }

    fn indexes() -> Arc<Check> {
        watched(
            "indexes",
            What::Catalog(Catalog::IndexesValid { schema: "public".into(), require: Vec::new() }),
        )
    }

    fn measurement(key: &str, measured: Measured) -> Measurement {
        Measurement {
            key: crate::domain::check::CheckKey(key.to_owned()),
            definition_hash: "d".into(),
            result: Ok(measured),
            duration_ms: 1,
            carried: false,
            proved: None,
            isolated: false,
            statement: None,
        }
    }

    fn doubled() -> Measurement {
        measurement("mails", Measured { value: Some(2.0), ..Measured::default() })
    }

    fn no_index() -> Measurement {
        let about = Object::new(ObjectKind::Index, "users_email_key").gone();
        let problem = Problem::about("index users_email_key does not exist".to_owned(), about);
        measurement("indexes", Measured::of_problems([problem]))
    }

    /// A check that has seen these outcomes, one a minute.
    fn after(check: &Check, outcomes: &[Outcome]) -> CheckState {
        let mut state = CheckState::new(&check.policy, &plan());
        for (minute, outcome) in (0..).zip(outcomes) {
            state.observe(&check.policy, &plan(), &seen(check.key().as_str(), at(60 * minute), *outcome));
        }
        state
    }

    fn judged(seen: &[Seen<'_>], aside: &[(&Check, &CheckState)]) -> Vec<Observation> {
        let none = Baselines {
            pre_deploy: None,
            last_clean: None,
            force_both: false,
            deployed_at: opened(),
            max_age_seconds: 3600,
        };
        none.judge_all(seen, aside)
    }

    fn slot(confirm: bool) -> SlotFacts {
        SlotFacts { slot_at: at(600), observed_at: at(600), confirm, finished_at: None }
    }

    #[test]
    fn a_check_that_failed_before_does_not_seem_to_recover() {
        let (mails, indexes, lost) = (mails(), indexes(), no_index());
        for (before, outcome) in [(Outcome::Pass, Outcome::Skipped), (Outcome::Fail, Outcome::Fail)] {
            let (first, second) = (after(&mails, &[Outcome::Pass]), after(&indexes, &[before]));
            let doubled = doubled();
            let look = |check: &Arc<Check>, measurement, state| Seen {
                check: Arc::clone(check),
                measurement,
                slot: slot(false),
                state,
            };
            let said = judged(&[look(&mails, &doubled, &first), look(&indexes, &lost, &second)], &[]);
            assert_eq!((said[0].outcome, said[1].outcome), (Outcome::Fail, outcome));
        }
    }

    #[test]
    fn rows_that_were_wrong_a_moment_ago_speak_for_what_let_them_in() {
        let (mails, indexes, lost) = (mails(), indexes(), no_index());
        let state = after(&indexes, &[Outcome::Pass]);
        let look =
            || [Seen { check: Arc::clone(&indexes), measurement: &lost, slot: slot(false), state: &state }];
        for (outcome, expected) in [(Outcome::Fail, TOLD), (Outcome::Pass, "fail.above")] {
            let aside = after(&mails, &[outcome]);
            assert_eq!(judged(&look(), &[(&*mails, &aside)])[0].reason, expected);
        }
    }

    #[test]
    fn an_extra_sample_says_the_cause_that_its_slot_found() {
        let (mails, doubled) = (mails(), doubled());
        let mut state = after(&mails, &[]);
        let first = Observation { told: Some("; cause: it".into()), ..seen("mails", at(600), Outcome::Fail) };
        state.observe(&mails.policy, &plan(), &first);
        let look = |confirm| {
            [Seen { check: Arc::clone(&mails), measurement: &doubled, slot: slot(confirm), state: &state }]
        };
        assert!(judged(&look(true), &[])[0].message.ends_with("; cause: it"));
        assert!(!judged(&look(false), &[])[0].message.contains("cause"));
    }
}
