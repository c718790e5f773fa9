//! Problems with a dedup key: what a service reports ([`Signal`]) and what on-call is told about it.
//!
//! A signal is a *transition decided elsewhere* (a check breached, a stale secret was seen); this module
//! only decides what it means for an incident: open, update, resolve, re-open, or nothing.

use serde::{Deserialize, Serialize};

use super::check::Severity;
use super::clock::Timestamp;

/// What went wrong, one incident for each (environment, scope, kind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// Checks of a deploy are breached.
    ChecksFailed,
    /// The target cannot be measured. Inhibits `ChecksFailed` of the same environment.
    CannotCheck,
    /// A delivery was signed by an overdue or retired secret version.
    StaleSecret,
    /// A delivery was signed by a version marked compromised.
    CompromisedSecret,
    /// Every delivery since a moment fails.
    SignatureFailures,
    /// A rotation did not reach its next phase in time.
    RotationStuck,
    /// The mail path itself is broken.
    MailBroken,
    /// We were down and slots were missed.
    CheckerDown,
}

impl IncidentKind {
    pub const ALL: [Self; 8] = [
        Self::ChecksFailed,
        Self::CannotCheck,
        Self::StaleSecret,
        Self::CompromisedSecret,
        Self::SignatureFailures,
        Self::RotationStuck,
        Self::MailBroken,
        Self::CheckerDown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChecksFailed => "checks_failed",
            Self::CannotCheck => "cannot_check",
            Self::StaleSecret => "stale_secret",
            Self::CompromisedSecret => "compromised_secret",
            Self::SignatureFailures => "signature_failures",
            Self::RotationStuck => "rotation_stuck",
            Self::MailBroken => "mail_broken",
            Self::CheckerDown => "checker_down",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// Two signals with the same key speak of the same incident.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DedupKey {
    pub environment: String,
    /// The deploy's id for checks, the source's name for webhooks, empty where neither applies.
    pub scope: String,
    pub kind: IncidentKind,
}

/// What a service reports, inside the transaction that records its cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// The problem is there. `members` is the *whole* current set, not a difference.
    Firing { key: DedupKey, at: Timestamp, facts: Facts },
    /// The problem is gone. `note` says how: recovered by itself, accepted, superseded by, window closed.
    Cleared { key: DedupKey, at: Timestamp, note: String },
    /// Not a problem: a report that a window closed (PASSED 24h, SUPERSEDED, INCONCLUSIVE), sent once for each
    /// (environment, scope).
    Report { environment: String, scope: String, at: Timestamp, facts: Facts },
}

/// What on-call reads. Counts and names only: never row values, secrets, bodies or addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub severity: Severity,
    /// The changeable word in the subject's brackets: `FAIL`, `CANNOT CHECK`, `STALE SECRET`, `PASSED 24h`.
    pub label: String,
    /// The stable identity in the subject, outside the brackets: `acme-production deploy 7f3c2a1`.
    pub subject: String,
    /// One sentence: what is wrong, where, since when relative to the deploy.
    pub headline: String,
    pub since: Timestamp,
    /// What to do, in order, each one step.
    pub next_steps: Vec<String>,
    /// Label and value, in the order to show: environment, version, commit, started by, CI run, last good time.
    pub context: Vec<(String, String)>,
    pub members: Vec<Member>,
}

/// One failing check or one secret version of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub key: String,
    pub title: String,
    pub severity: Severity,
    pub expected: String,
    pub observed: String,
    pub baseline: Option<String>,
    pub change: Option<String>,
    pub first_seen_at: Timestamp,
    /// Times failed of times run.
    pub count: u32,
    pub runs: u32,
    pub message: String,
    pub runbook: Option<String>,
}
