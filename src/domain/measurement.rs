//! What a scan brings back for one check: a value, or the reason why there is none.

use serde::{Deserialize, Serialize};

use super::check::CheckKey;
use super::problem::Problem;

/// How many problems are named in a sentence.
const NAMED: usize = 20;

/// The outcome of measuring one check once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub key: CheckKey,
    pub definition_hash: String,
    pub result: Result<Measured, MeasureError>,
    pub duration_ms: u64,
    /// Taken over from the last scan, since nothing has written to the tables it reads.
    pub carried: bool,
    /// The constraint that makes a violation impossible, so that nothing was read.
    pub proved: Option<String>,
    /// Read in a transaction of its own, not in the scan's snapshot.
    pub isolated: bool,
    /// The statement to rerun by hand.
    pub statement: Option<String>,
}

/// A value in the unit of its kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// `None` where the statement gave NULL or no row.
    #[serde(with = "exact")]
    pub value: Option<f64>,
    pub unit: Unit,
    /// Rows looked at, the hundred percent of a percentage.
    #[serde(with = "exact", default)]
    pub tested: Option<f64>,
    /// Keyed digests of the failing rows' keys, at most 10,000, for `new_above`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
    /// There were more failing keys than `digests` holds.
    #[serde(default)]
    pub digests_capped: bool,
    /// A few failing rows' keys to show, digested unless revealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<String>,
    /// A sentence that says more than the number: which policies, which migrations.
    #[serde(default)]
    pub detail: Option<String>,
    /// What was found one by one, where the value counts it; `detail` says all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// What is worth a warning although every threshold holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// A structure to compare with the baseline's: a [`super::drift::Fingerprint`], whose differences are
    /// then the value.
    #[serde(default)]
    pub fingerprint: Option<serde_json::Value>,
    /// `skipped`: the check's `when` condition was false.
    #[serde(default)]
    pub skipped: Option<String>,
}

impl Measured {
    /// As many violations as problems were found, and which.
    pub fn of_problems<P: Into<Problem>>(problems: impl IntoIterator<Item = P>) -> Self {
        let problems: Vec<Problem> = problems.into_iter().map(Into::into).collect();
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 problems")]
        let value = Some(problems.len() as f64);
        let mut named: Vec<String> =
            problems.iter().take(NAMED).map(|problem| problem.text.clone()).collect();
        if problems.len() > NAMED {
            named.push(format!("and {} more", problems.len() - NAMED));
        }
        Self { value, detail: (!named.is_empty()).then(|| named.join("; ")), problems, ..Self::default() }
    }
}

/// How a value reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Rows that break the rule.
    #[default]
    Violations,
    Rows,
    Seconds,
    Percent,
    Number,
}

/// Why there is no value. `code` is stable, `message` is for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct MeasureError {
    pub code: MeasureErrorCode,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasureErrorCode {
    /// The target could not be reached or refused us.
    Connect,
    Timeout,
    /// A lock was not free within the lock timeout.
    Lock,
    /// The statement is wrong for this schema: missing table, missing column, syntax.
    Sql,
    /// Row-level security would hide rows from this role.
    Rls,
    /// The statement gave something that is not a number.
    Shape,
    /// The table was truncated or rewritten during the scan.
    Rewritten,
    /// The plan is costlier than allowed.
    Cost,
    /// The scan's time was used up before this check's turn.
    Budget,
    /// Something beside the database could not be asked: a name that does not resolve, an address that is
    /// not allowed, a metric server or a log drain that is silent.
    Signal,
}

impl MeasureErrorCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Lock => "lock",
            Self::Sql => "sql",
            Self::Rls => "rls",
            Self::Shape => "shape",
            Self::Rewritten => "rewritten",
            Self::Cost => "cost",
            Self::Budget => "budget",
            Self::Signal => "signal",
        }
    }
}

/// Numbers as text: a JSON parser may be off by the last bit, and then an unchanged value would seem to have
/// dropped below its own baseline.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value.to_string()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::Measured;

    #[test]
    fn a_value_comes_back_to_the_last_bit() {
        for value in [0.925_081_433_224_755_7, 1.0 / 3.0, 1e300, -0.1, 9_007_199_254_740_991.0] {
            let kept = Measured { value: Some(value), ..Measured::default() };
            let text = serde_json::to_string(&kept).unwrap();
            assert_eq!(serde_json::from_str::<Measured>(&text).unwrap().value, Some(value));
        }
    }
}
