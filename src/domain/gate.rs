//! The gate decision: what CI is told, with reasons.

use serde::{Deserialize, Serialize};

use super::check::Stage;
use super::clock::Timestamp;
use super::deploy::{Override, OverrideVerdict};
use super::verdict::{Provisional, Reason, Verdict, VerdictState};

/// The answers, with their exit code and HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateAnswer {
    Go,
    Wait,
    Stop,
    Inconclusive,
    /// Superseded or cancelled.
    Gone,
    /// Unknown deploy, or none yet.
    Unknown,
}

impl GateAnswer {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Go => 0,
            Self::Stop => 1,
            Self::Inconclusive => 3,
            Self::Wait => 4,
            Self::Gone | Self::Unknown => 5,
        }
    }

    pub fn http_status(self) -> u16 {
        match self {
            Self::Go => 200,
            Self::Wait => 425,
            Self::Stop => 409,
            Self::Inconclusive => 424,
            Self::Gone => 410,
            Self::Unknown => 404,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Wait => "wait",
            Self::Stop => "stop",
            Self::Inconclusive => "inconclusive",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }
}

/// What the asker wants to be held back by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatePolicy {
    /// Smoke lets a release go on while soak is still watched; soak waits for the whole window.
    pub stage: Stage,
    pub fail_on: FailOn,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailOn {
    #[default]
    Failure,
    Warning,
}

/// One answer. `reasons` explain it, most important first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateDecision {
    pub answer: GateAnswer,
    /// The verdict that counts; none where there is no deploy.
    pub effective: Option<VerdictState>,
    pub reasons: Vec<Reason>,
}

/// The verdict that counts: a person's while it lasts, else the computed one. A deploy that ended without
/// an answer of its own (superseded, cancelled) has nothing to override.
pub fn effective(verdict: &Verdict, decided: Option<&Override>, now: Timestamp) -> VerdictState {
    let overridable = !matches!(
        verdict.state,
        VerdictState::Superseded | VerdictState::Cancelled | VerdictState::Deploying
    );
    match decided.filter(|o| overridable && o.is_active(now)).map(|o| o.verdict) {
        Some(OverrideVerdict::Passed) => VerdictState::Passed,
        Some(OverrideVerdict::Failed) => VerdictState::Failed,
        None => verdict.state,
    }
}

/// What CI is told about this verdict.
pub fn decide(
    verdict: &Verdict,
    decided: Option<&Override>,
    policy: GatePolicy,
    now: Timestamp,
) -> GateDecision {
    let effective = effective(verdict, decided, now);
    let mut reasons = verdict.reasons.clone();
    if let Some(person) = decided.filter(|o| o.is_active(now)) {
        let message = format!(
            "{} decided `{}` until {}: {}",
            person.actor,
            effective.as_str(),
            super::clock::rfc3339(person.expires_at),
            person.reason
        );
        reasons.insert(0, Reason { code: "override".into(), check: None, message });
    }
    let warned = effective == VerdictState::PassedWithWarnings
        || (effective == VerdictState::Verifying && verdict.provisional == Some(Provisional::Warnings));
    let answer = match effective {
        VerdictState::Passed | VerdictState::PassedWithWarnings => GateAnswer::Go,
        VerdictState::Failed => GateAnswer::Stop,
        VerdictState::Inconclusive => GateAnswer::Inconclusive,
        VerdictState::Superseded | VerdictState::Cancelled => GateAnswer::Gone,
        VerdictState::Deploying => GateAnswer::Wait,
        VerdictState::Verifying => verifying(verdict, policy),
    };
    let answer = match answer {
        GateAnswer::Go if warned && policy.fail_on == FailOn::Warning => GateAnswer::Stop,
        other => other,
    };
    if answer == GateAnswer::Wait && reasons.is_empty() {
        let message = match effective {
            VerdictState::Deploying => {
                "the deploy has started and not finished, so its window is not open yet"
            }
            _ if policy.stage == Stage::Soak => "the window is still open and clean so far",
            _ => "the smoke stage is still running and clean so far",
        };
        reasons.push(Reason { code: "waiting".into(), check: None, message: message.into() });
    }
    GateDecision { answer, effective: Some(effective), reasons }
}

/// What the next release is told about the one before it: the same, but that a release which was still clean
/// when a newer one took over stands in nobody's way.
pub fn decide_previous(
    verdict: &Verdict,
    decided: Option<&Override>,
    policy: GatePolicy,
    now: Timestamp,
) -> GateDecision {
    let mut decision = decide(verdict, decided, policy, now);
    if decision.effective == Some(VerdictState::Superseded) {
        let (answer, message) = if verdict.clean {
            (GateAnswer::Go, "the last release was clean for as long as it was watched")
        } else {
            (GateAnswer::Inconclusive, "the last release was replaced before anything could be said about it")
        };
        decision.answer = answer;
        decision.reasons = vec![Reason { code: "superseded".into(), check: None, message: message.into() }];
    }
    decision
}

/// A go that depends on nothing measured, with its reason: the way back is never barred, and before the first
/// release there is nothing to ask about.
pub fn unconditional(code: &str, message: &str) -> GateDecision {
    let reason = Reason { code: code.into(), check: None, message: message.into() };
    GateDecision { answer: GateAnswer::Go, effective: None, reasons: vec![reason] }
}

fn verifying(verdict: &Verdict, policy: GatePolicy) -> GateAnswer {
    let smoke = match verdict.smoke {
        VerdictState::Passed | VerdictState::PassedWithWarnings => GateAnswer::Go,
        VerdictState::Failed => GateAnswer::Stop,
        VerdictState::Inconclusive => GateAnswer::Inconclusive,
        _ => GateAnswer::Wait,
    };
    match (smoke, verdict.provisional) {
        (GateAnswer::Go, Some(Provisional::Unobservable)) => GateAnswer::Inconclusive,
        // Failing and about to be confirmed: the answer comes within seconds.
        (GateAnswer::Go, Some(Provisional::AtRisk)) => GateAnswer::Wait,
        (GateAnswer::Go, _) if policy.stage == Stage::Soak => GateAnswer::Wait,
        (answer, _) => answer,
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
