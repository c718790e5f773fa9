//! From the measurements of one scan to observations: each check against the baselines it asks for.

use crate::domain::baseline::{Baseline, for_check};
use crate::domain::check::{BaselineMode, CheckPolicy};
use crate::domain::clock::Timestamp;
use crate::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use crate::domain::measurement::Measurement;
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

impl Baselines {
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
