//! Signing secrets: a slot (source and mode) has numbered versions, each in one state, and every change of
//! state carries its evidence.
//!
//! Lemon Squeezy holds one secret for each webhook and offers no overlap, so the overlap is ours: a staged,
//! the active and a retiring version are all accepted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::{SignedDuration, Timestamp, humane};
use super::ids::SecretVersionId;

pub mod format;
pub mod plan;

pub use format::{FormatWarning, inspect};

/// Live and test deliveries of one source are signed with two secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotMode {
    Live,
    Test,
}

impl SlotMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Live, Self::Test].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// One signing secret of a source and mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot {
    pub source: String,
    pub mode: SlotMode,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.mode.as_str())
    }
}

/// Where a version came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Environment,
    Cli,
    Api,
}

impl Origin {
    pub const ALL: [Self; 3] = [Self::Environment, Self::Cli, Self::Api];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Cli => "cli",
            Self::Api => "api",
        }
    }
}

/// The name of a state, as the store, the API and people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    Staged,
    Active,
    Retiring,
    Overdue,
    Retired,
    Compromised,
    Purged,
}

impl StateName {
    pub const ALL: [Self; 7] = [
        Self::Staged,
        Self::Active,
        Self::Retiring,
        Self::Overdue,
        Self::Retired,
        Self::Compromised,
        Self::Purged,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Overdue => "overdue",
            Self::Retired => "retired",
            Self::Compromised => "compromised",
            Self::Purged => "purged",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A state with its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SecretState {
    /// Known to us, not yet seen signing. After the deadline its rotation is stuck.
    Staged { since: Timestamp, deadline: Timestamp },
    /// The one the provider is expected to sign with.
    Active { since: Timestamp },
    /// Replaced, still accepted until the overlap ends.
    Retiring { since: Timestamp, overlap_until: Timestamp },
    /// The overlap ended and it still signed afterwards.
    Overdue { since: Timestamp },
    /// Not accepted; kept to recognise who still uses it.
    Retired { since: Timestamp, detect_until: Timestamp },
    /// Not accepted, and a match is a security alert.
    Compromised { since: Timestamp, detect_until: Timestamp, reason: String },
    /// The key is deleted; fingerprint and history stay.
    Purged { since: Timestamp },
}

impl SecretState {
    pub fn name(&self) -> StateName {
        match self {
            Self::Staged { .. } => StateName::Staged,
            Self::Active { .. } => StateName::Active,
            Self::Retiring { .. } => StateName::Retiring,
            Self::Overdue { .. } => StateName::Overdue,
            Self::Retired { .. } => StateName::Retired,
            Self::Compromised { .. } => StateName::Compromised,
            Self::Purged { .. } => StateName::Purged,
        }
    }

    pub fn since(&self) -> Timestamp {
        match self {
            Self::Staged { since, .. }
            | Self::Active { since }
            | Self::Retiring { since, .. }
            | Self::Overdue { since }
            | Self::Retired { since, .. }
            | Self::Compromised { since, .. }
            | Self::Purged { since } => *since,
        }
    }

    /// The instant that this state waits for, if it waits for one.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Staged { deadline, .. } => Some(*deadline),
            Self::Retiring { overlap_until, .. } => Some(*overlap_until),
            Self::Retired { detect_until, .. } | Self::Compromised { detect_until, .. } => {
                Some(*detect_until)
            }
            Self::Active { .. } | Self::Overdue { .. } | Self::Purged { .. } => None,
        }
    }

    /// Whether the key may still decide that a delivery is genuine.
    pub fn is_live(&self) -> bool {
        matches!(
            self.name(),
            StateName::Staged | StateName::Active | StateName::Retiring | StateName::Overdue
        )
    }

    /// Whether a match is a stale secret.
    pub fn is_stale(&self) -> bool {
        matches!(self.name(), StateName::Overdue | StateName::Retired)
    }

    /// Smaller is preferred where two versions of different slots hold the same value.
    pub fn preference(&self) -> u8 {
        match self.name() {
            StateName::Active => 0,
            StateName::Staged => 1,
            StateName::Retiring => 2,
            StateName::Overdue => 3,
            StateName::Retired => 4,
            StateName::Compromised => 5,
            StateName::Purged => 6,
        }
    }
}

/// How often a version verified a delivery, in all and since its last change of state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub matches: u64,
    pub first_match_at: Option<Timestamp>,
    pub last_match_at: Option<Timestamp>,
    pub state_matches: u64,
    pub state_first_match_at: Option<Timestamp>,
}

/// One version, without its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    pub id: SecretVersionId,
    pub slot: Slot,
    /// 1, 2, 3 … within the slot: people say `v3`.
    pub number: u32,
    /// The first 12 hex digits of a keyed hash: the same here and after a restart, useless elsewhere.
    pub fingerprint: String,
    pub length: u32,
    pub warnings: Vec<FormatWarning>,
    pub origin: Origin,
    pub added_at: Timestamp,
    pub state: SecretState,
    pub usage: Usage,
    /// When on-call was told that this version is stale; `None` while there is nothing to tell.
    pub stale_since: Option<Timestamp>,
}

impl SecretVersion {
    /// `v3 (1f0c3a9be21d)`, the only way in which a secret is ever named.
    pub fn label(&self) -> String {
        format!("v{} ({})", self.number, self.fingerprint)
    }

    /// `retired 6 d ago`, for a person.
    pub fn describe_state(&self, now: Timestamp) -> String {
        let ago = humane(now.duration_since(self.state.since()));
        match &self.state {
            SecretState::Retiring { overlap_until, .. } if *overlap_until > now => {
                format!("retiring, accepted for another {}", humane(overlap_until.duration_since(now)))
            }
            SecretState::Retiring { .. } => {
                "retiring, its overlap is over but nothing proves that it is unused".to_owned()
            }
            state => format!("{} for {ago}", state.name().as_str()),
        }
    }
}

/// The lengths of time that govern transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub overlap: SignedDuration,
    pub quiet: SignedDuration,
    pub detection: SignedDuration,
    pub stage_deadline: SignedDuration,
}

/// Why a change of state was made: goes into the audit log with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "evidence")]
pub enum Evidence {
    /// A delivery verified with a version: its own first one, or one after its overlap.
    Delivery { delivery: String },
    /// Quiet since then, while the newer version went on to match.
    Quiet { last_match_at: Option<Timestamp>, newer_matched_at: Timestamp },
    /// A person said so.
    Operator { actor: String, reason: String },
    /// The environment held it at start.
    Environment,
    /// A length of time ran out.
    Elapsed,
}

/// One change of state to be written by compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub version: SecretVersionId,
    pub from: StateName,
    pub to: SecretState,
    pub evidence: Evidence,
}
