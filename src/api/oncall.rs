//! On-call on the wire. Addresses are masked; people are named as the settings name them.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/oncall`. Instants are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnCallView {
    pub at: String,
    pub environments: Vec<OnDutyView>,
    pub rotations: Vec<RotationView>,
    pub overrides: Vec<OverrideView>,
}

/// Whom one environment tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDutyView {
    pub environment: String,
    pub critical: Vec<CalledView>,
    pub warning: Vec<CalledView>,
    /// Told when nobody has acknowledged for `escalate_after_seconds`.
    pub second: Vec<CalledView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_after_seconds: Option<i64>,
    /// Warnings wait until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_until: Option<String>,
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalledView {
    /// The name, or the masked address of whoever has none.
    pub name: String,
    pub address: String,
    /// The rotation whose turn it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
}

/// The turns of one rotation, the present one first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationView {
    pub name: String,
    pub shifts: Vec<ShiftView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShiftView {
    pub from: String,
    pub until: String,
    pub person: String,
    /// Whose turn it would have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

/// Somebody who stands in, beyond the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideView {
    pub id: String,
    pub rotation: String,
    pub person: String,
    pub from: String,
    pub until: String,
    pub reason: String,
    pub created_by: String,
}

/// `POST /api/v1/oncall/overrides`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    pub rotation: String,
    /// The person's name in the settings.
    pub person: String,
    pub from: String,
    pub until: String,
    #[serde(default)]
    pub reason: String,
}
