//! Ready-made values for the unit tests of this layer.

use super::cadence::Plan;
use super::check::{BaselineMode, CheckKey, CheckPolicy, Mode, OnNoData, Severity, Stage};
use super::clock::{SignedDuration, Timestamp};
use super::deploy::{Deploy, DeployKind, DeployState};
use super::ids::DeployId;
use super::measurement::Unit;
use super::observation::{Observation, Outcome};

/// When the windows of the tests open.
pub fn opened() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

/// Seconds after the window opened.
pub fn at(seconds: i64) -> Timestamp {
    opened() + SignedDuration::from_secs(seconds)
}

/// Ten minutes of smoke every 30 s, 24 h in all, no jitter.
pub fn plan() -> Plan {
    Plan {
        opened_at: opened(),
        smoke_seconds: 600,
        window_seconds: 86_400,
        smoke_every: 30,
        soak_every: 300,
        confirm_after: 30,
        jitter_ms: 0,
        extension: None,
    }
}

/// A critical check every five minutes with the defaults of a query.
pub fn check(key: &str) -> CheckPolicy {
    CheckPolicy {
        key: CheckKey(key.into()),
        suite: "test".into(),
        kind: "not_null".into(),
        subject: "users".into(),
        title: None,
        severity: Severity::Critical,
        mode: Mode::Enforce,
        stages: vec![Stage::Smoke, Stage::Soak],
        every: 300,
        initial_delay: 0,
        timeout: 10,
        warn: None,
        fail: None,
        fail_after: 2,
        fail_within: 0,
        recover_after: 2,
        failure_budget: None,
        min_coverage: 0.8,
        on_no_data: OnNoData::Inconclusive,
        latch: true,
        error_limit: 4,
        baseline: BaselineMode::PreDeploy,
        min_baseline: 100.0,
        definition_hash: "d".into(),
        settle: 0,
        owner: None,
        runbook: None,
        tags: Vec::new(),
        wording: Default::default(),
        mutes: Vec::new(),
    }
}

/// An observation of a slot, made on time.
pub fn seen(key: &str, slot_at: Timestamp, outcome: Outcome) -> Observation {
    Observation {
        key: CheckKey(key.into()),
        slot_at,
        observed_at: slot_at,
        outcome,
        reason: match outcome {
            Outcome::Error => "error.timeout".into(),
            other => other.as_str().into(),
        },
        message: format!("{key} {}", outcome.as_str()),
        told: None,
        value: outcome.is_conclusive().then_some(1.0),
        unit: Unit::Violations,
        tested: None,
        baseline: None,
        threshold: None,
        carried: false,
        proved: None,
        confirm: false,
        duration_ms: 1,
        samples: Vec::new(),
        statement: None,
    }
}

/// A deploy whose window opened at [`opened`].
pub fn deploy(plan: Plan) -> Deploy {
    Deploy {
        id: DeployId::from_text("dep_1"),
        environment: "acme-production".into(),
        version: "7f3c2a1".into(),
        commit: None,
        kind: DeployKind::Normal,
        attempt: 1,
        actor: None,
        link: None,
        started_at: at(-120),
        baseline_id: None,
        baseline_at: Some(at(-100)),
        finished_at: Some(plan.opened_at),
        released_at: None,
        reverifies: None,
        plan,
        state: DeployState::Verifying,
    }
}
