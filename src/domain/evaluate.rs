//! From a measured value to an outcome, with the resolved numbers.

use super::check::CheckPolicy;
use super::clock::Timestamp;
use super::measurement::Measurement;
use super::observation::{Observation, Outcome};

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
pub fn evaluate(
    check: &CheckPolicy,
    measurement: &Measurement,
    baseline: BaselineFor<'_>,
    slot: SlotFacts,
) -> Observation {
    let _ = baseline;
    Observation {
        key: check.key.clone(),
        slot_at: slot.slot_at,
        observed_at: slot.observed_at,
        outcome: Outcome::Error,
        reason: "error.not_built".into(),
        message: String::new(),
        value: None,
        unit: Default::default(),
        tested: None,
        baseline: None,
        threshold: None,
        carried: measurement.carried,
        proved: measurement.proved.clone(),
        confirm: slot.confirm,
        duration_ms: measurement.duration_ms,
        samples: Vec::new(),
        statement: measurement.statement.clone(),
    }
}
