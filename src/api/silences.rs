//! Silences on the wire.

use serde::{Deserialize, Serialize};

use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::silence::Silence;

/// `POST /api/v1/silences`: what is given must all fit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    pub environment: Option<String>,
    /// An id or a version.
    pub deploy: Option<String>,
    /// A check's key; `*` stands for any letters.
    pub check: Option<String>,
    /// A kind of incident, such as `checks_failed`.
    pub kind: Option<String>,
    /// Who asks; the caller's name where absent.
    pub owner: Option<String>,
    pub reason: String,
    /// How long from now, such as `4h`; or `ends_at`.
    pub length: Option<String>,
    pub ends_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SilenceView {
    pub id: String,
    /// The matchers in words.
    pub what: String,
    pub environment: Option<String>,
    pub deploy: Option<String>,
    pub check: Option<String>,
    pub kind: Option<String>,
    pub owner: String,
    pub reason: String,
    pub starts_at: String,
    pub ends_at: String,
    pub active: bool,
    pub created_by: String,
    pub ended_by: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SilenceList {
    pub silences: Vec<SilenceView>,
}

impl SilenceView {
    pub fn of(silence: &Silence, now: Timestamp) -> Self {
        let matchers = &silence.matchers;
        Self {
            id: silence.id.to_string(),
            what: matchers.in_words(),
            environment: matchers.environment.clone(),
            deploy: matchers.deploy.clone(),
            check: matchers.check.clone(),
            kind: matchers.kind.map(|kind| kind.as_str().to_owned()),
            owner: silence.owner.clone(),
            reason: silence.reason.clone(),
            starts_at: rfc3339(silence.starts_at),
            ends_at: rfc3339(silence.ends_at),
            active: silence.is_active(now),
            created_by: silence.created_by.clone(),
            ended_by: silence.ended_by.clone(),
        }
    }
}
