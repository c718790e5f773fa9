//! What may be written beside a check's kind: the mirror of the file's options, from which the JSON Schema
//! is made.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::amount::{Amount, Length, Share, Votes};
use super::read::At;
use crate::domain::check::{BaselineMode, OnNoData, Severity, Stage};
use crate::domain::threshold::Threshold;

/// The head of a suite; its checks are read one by one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The suite's name, shown beside its checks
    pub suite: At<String>,
    /// Who is asked about it
    pub owner: Option<String>,
    /// What the suite is for
    #[serde(rename = "description")]
    pub _description: Option<String>,
    /// Options that hold for every check of the file unless it says otherwise
    #[serde(default)]
    pub defaults: Defaults,
}

/// Options that make sense for a whole file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// How much a failing check matters: only critical ones can fail a deploy
    pub severity: Option<Severity>,
    /// `shadow` measures without counting
    pub mode: Option<At<ModeWord>>,
    /// When a mute ends: an instant such as `2026-05-01T12:00:00Z`
    pub until: Option<At<String>>,
    /// The stages of a deploy in which it runs
    pub stages: Option<At<Vec<Stage>>>,
    /// How often it runs in soak
    pub every: Option<At<Length>>,
    /// How long after the deploy it runs first
    pub initial_delay: Option<Length>,
    /// How long its statement may take
    pub timeout: Option<At<Length>>,
    /// Fails until the check counts as breached: `2` in a row, or `2 of 3` runs
    pub fail_after: Option<At<Votes>>,
    /// Consecutive passes until it counts as recovered
    pub recover_after: Option<At<u32>>,
    /// Breached when more slots than this fail in all
    pub failure_budget: Option<u32>,
    /// The share of its slots that must be conclusive
    pub min_coverage: Option<Share>,
    /// What a measured but empty value means
    pub on_no_data: Option<OnNoData>,
    /// Which baseline a comparing threshold is held against
    pub baseline: Option<BaselineMode>,
    /// Below this baseline, a percentage is taken of this number instead
    pub min_baseline: Option<f64>,
    /// Whether a recovered check still fails the deploy
    pub latch: Option<bool>,
    /// Consecutive errors until the check counts as unobservable
    pub error_limit: Option<u32>,
    /// Constraints that are believed without reading the table
    pub trust: Option<Trust>,
    /// Words to select checks by
    pub tags: Option<Vec<String>>,
    /// Who is asked about it
    pub owner: Option<String>,
    /// A link that says what to do when it fails
    pub runbook: Option<String>,
    /// How long after a deploy a failure is shown and nobody is told
    pub settle: Option<Length>,
}

/// Options of one check: those of [`Defaults`], and what is its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// A stable name; without one it is derived: `users.not_null.email`
    pub key: Option<At<String>>,
    /// What the check says, for people
    pub title: Option<String>,
    /// Only these rows are looked at: a SQL condition
    #[serde(rename = "where")]
    pub filter: Option<At<String>>,
    /// Skipped where this does not hold: `table_exists(jobs)`, `column_exists(users.slug)`, `may_act_as(authenticated)`
    pub when: Option<At<String>>,
    /// Read in a transaction of its own: heavy, not consistent with the rest of the scan
    pub isolated: Option<bool>,
    /// Key columns of failing rows to show
    pub samples: Option<SamplesSpec>,
    /// The number of rows looked at, for percentages of `failed_rows`: a SELECT that gives one number
    pub tested_rows: Option<At<String>>,
    /// Beyond this the check warns
    pub warn: Option<At<ThresholdSpec>>,
    /// Beyond this the check fails
    pub fail: Option<At<ThresholdSpec>>,
}

/// `enforce` counts, `shadow` is shown only, `muted` needs `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeWord {
    Enforce,
    Shadow,
    Muted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Nothing, the default
    Nothing,
    /// Foreign keys, which the replication role and disabled triggers bypass
    ForeignKeys,
}

/// Bounds that must all hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThresholdSpec {
    /// More than this breaks it
    pub above: Option<Amount>,
    /// Less than this breaks it
    pub below: Option<Amount>,
    /// Anything outside of these two breaks it
    pub outside: Option<At<(Amount, Amount)>>,
    /// Anything but this breaks it
    pub equals: Option<Amount>,
    /// A larger drop than this since the baseline breaks it
    pub drop_above: Option<Amount>,
    /// A larger rise than this since the baseline breaks it
    pub rise_above: Option<Amount>,
    /// More new violations than this since the baseline break it
    pub new_above: Option<Amount>,
    /// Only held against the value from this long after a deploy
    pub after: Option<Length>,
}

impl ThresholdSpec {
    pub fn threshold(&self) -> Threshold {
        let bound = |amount: Option<Amount>| amount.map(|amount| amount.0);
        Threshold {
            above: bound(self.above),
            below: bound(self.below),
            outside: self.outside.as_ref().map(|range| (range.value.0.0, range.value.1.0)),
            equals: bound(self.equals),
            drop_above: bound(self.drop_above),
            rise_above: bound(self.rise_above),
            new_above: bound(self.new_above),
            after: self.after.map(|length| length.0),
        }
    }
}

/// `samples: [id]`, or with the values themselves: `samples: {columns: [id], reveal: true}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplesSpec {
    pub columns: Vec<String>,
    pub reveal: bool,
}

/// The long form.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SamplesBody {
    /// Key columns of the failing rows
    columns: Vec<String>,
    /// Shows the values themselves instead of keyed digests
    #[serde(default)]
    reveal: bool,
}

impl<'de> Deserialize<'de> for SamplesSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = SamplesSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of columns, or `{columns: […], reveal: true}`")
            }

            fn visit_str<E>(self, column: &str) -> Result<SamplesSpec, E> {
                Ok(SamplesSpec { columns: vec![column.to_owned()], reveal: false })
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<SamplesSpec, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = items.next_element()? {
                    columns.push(column);
                }
                Ok(SamplesSpec { columns, reveal: false })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<SamplesSpec, A::Error> {
                let body = SamplesBody::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(SamplesSpec { columns: body.columns, reveal: body.reveal })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for SamplesSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Samples".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let body = generator.subschema_for::<SamplesBody>();
        schemars::json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }, body]
        })
    }
}

/// One name, or a list of names.
#[derive(Debug, Clone, PartialEq)]
pub struct Names(pub Vec<At<String>>);

impl Names {
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|name| name.value.clone()).collect()
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> serde::de::Visitor<'de> for OneOrMany {
            type Value = Vec<At<String>>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name, or a list of names")
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(vec![At { at: Default::default(), value: name.to_owned() }])
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                if names.is_empty() {
                    return Err(serde::de::Error::custom("expected at least one name, found an empty list"));
                }
                Ok(names)
            }
        }

        // A single name takes the place of the whole node.
        let At { at, mut value } = At::<Inner>::deserialize(deserializer)?;
        struct Inner(Vec<At<String>>);
        impl<'de> Deserialize<'de> for Inner {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(OneOrMany).map(Self)
            }
        }
        for name in &mut value.0 {
            if name.at == Default::default() {
                name.at = at;
            }
        }
        Ok(Self(value.0))
    }
}

impl JsonSchema for Names {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
        })
    }
}

/// A mapping of one name to one or several: `{agents: [policy, …]}`.
pub type NamesByTable = BTreeMap<String, Names>;
