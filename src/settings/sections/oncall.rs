//! `[oncall]`: who is told of what, who takes turns with whom, and when nobody wants to hear of warnings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// `[oncall]`. Who is told is a list of rotations, people and mail addresses.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnCall {
    /// The clock of handovers and quiet hours, by its IANA name: `Europe/Berlin`.
    pub time_zone: String,
    /// Only critical matters are told in these hours, the rest waits for their end: `22:00-07:00`.
    pub quiet_hours: Option<String>,
    /// A critical incident that nobody acknowledged for this long is told to `second`.
    pub escalate_after_seconds: u32,
    /// Who is told of critical matters, where an environment names nobody; email.recipients where empty.
    pub critical: Vec<String>,
    /// Who is told of warnings; those of `critical` where empty.
    pub warning: Vec<String>,
    /// Who gets reports such as PASSED 24h; those of `warning` where empty.
    pub info: Vec<String>,
    /// The second step: who is told when nobody acknowledged. Nobody where empty.
    pub second: Vec<String>,
    /// Who can be told, by the name that rotations use.
    #[serde(default)]
    pub people: BTreeMap<String, OnCallPerson>,
    /// Who takes turns, by the name that lists use.
    #[serde(default)]
    pub rotations: BTreeMap<String, OnCallRotation>,
}

/// `[oncall.people.NAME]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnCallPerson {
    /// As pages and mails show it; the name in the settings where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Where the mails go.
    pub email: String,
}

/// `[oncall.rotations.NAME]`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnCallRotation {
    /// Names of people, in the order of their turns.
    pub people: Vec<String>,
    /// A day: the first handover on or after it is to the first of the people.
    pub starts: String,
    /// The weekday and time at which turns change: `monday 09:00`.
    #[serde(default)]
    pub handover: Option<String>,
    /// How many weeks a turn lasts.
    #[serde(default)]
    pub weeks: Option<u32>,
    /// The clock of the handover; oncall.time_zone where absent.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Who stands in when: `2026-12-24T09:00 to 2026-12-27T09:00: bob`. The later ones win.
    #[serde(default)]
    pub overrides: Vec<String>,
}

/// `[environments.NAME.oncall]`: what differs from `[oncall]` for one environment.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentOnCall {
    /// Who is told of critical matters.
    #[serde(default)]
    pub critical: Vec<String>,
    /// Who is told of warnings.
    #[serde(default)]
    pub warning: Vec<String>,
    /// Who gets reports.
    #[serde(default)]
    pub info: Vec<String>,
    /// The second step.
    #[serde(default)]
    pub second: Vec<String>,
    /// After how long the second step is told.
    #[serde(default)]
    pub escalate_after_seconds: Option<u32>,
    /// Quiet hours of its own, or `none`.
    #[serde(default)]
    pub quiet_hours: Option<String>,
}
