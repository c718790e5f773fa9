//! Thresholds: the bounds a measured value is held against.

use serde::{Deserialize, Serialize};

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

impl Threshold {
    pub fn compares(&self) -> bool {
        self.drop_above.is_some() || self.rise_above.is_some() || self.new_above.is_some()
    }
}

/// A number, a percentage (of the tested rows, or of the baseline) or a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    Number(f64),
    Percent(f64),
    Seconds(f64),
}
