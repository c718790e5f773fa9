use super::*;
use crate::domain::clock::SignedDuration;
use crate::domain::fixtures::at;
use crate::domain::verdict::Counts;

fn verdict(state: VerdictState, smoke: VerdictState, provisional: Option<Provisional>) -> Verdict {
    Verdict {
        state,
        provisional,
        smoke,
        stage: Stage::Soak,
        clean: false,
        coverage: 1.0,
        counts: Counts::default(),
        shadow: Counts::default(),
        reasons: Vec::new(),
        checks: Vec::new(),
    }
}

const SMOKE: GatePolicy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Failure };
const SOAK: GatePolicy = GatePolicy { stage: Stage::Soak, fail_on: FailOn::Failure };
const STRICT: GatePolicy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Warning };

#[test]
fn every_state_has_its_answer() {
    use GateAnswer::{Go, Gone, Inconclusive, Stop, Wait};
    use Provisional::{AtRisk, Clean, Unobservable, Warnings};
    use VerdictState as S;
    let cases = [
        (S::Deploying, S::Verifying, None, SMOKE, Wait),
        (S::Verifying, S::Verifying, Some(Clean), SMOKE, Wait),
        (S::Verifying, S::Verifying, Some(Unobservable), SMOKE, Wait),
        (S::Verifying, S::Passed, Some(Clean), SMOKE, Go),
        (S::Verifying, S::PassedWithWarnings, Some(Warnings), SMOKE, Go),
        (S::Verifying, S::Passed, Some(Warnings), STRICT, Stop),
        (S::Verifying, S::Passed, Some(AtRisk), SMOKE, Wait),
        (S::Verifying, S::Passed, Some(Unobservable), SMOKE, Inconclusive),
        (S::Verifying, S::Inconclusive, Some(Clean), SMOKE, Inconclusive),
        (S::Verifying, S::Passed, Some(Clean), SOAK, Wait),
        (S::Passed, S::Passed, None, SOAK, Go),
        (S::PassedWithWarnings, S::Passed, None, SMOKE, Go),
        (S::PassedWithWarnings, S::Passed, None, STRICT, Stop),
        (S::Failed, S::Passed, None, SMOKE, Stop),
        (S::Inconclusive, S::Passed, None, SMOKE, Inconclusive),
        (S::Superseded, S::Passed, Some(Clean), SMOKE, Gone),
        (S::Cancelled, S::Passed, None, SMOKE, Gone),
    ];
    for (state, smoke, provisional, policy, expected) in cases {
        let decision = decide(&verdict(state, smoke, provisional), None, policy, at(0));
        assert_eq!(decision.answer, expected, "{state:?} {smoke:?} {provisional:?} {policy:?}");
        assert!(decision.answer != Wait || !decision.reasons.is_empty(), "waiting is explained");
    }
}

#[test]
fn the_next_release_asks_about_the_last_one() {
    let superseded = |clean| Verdict {
        clean,
        ..verdict(VerdictState::Superseded, VerdictState::Passed, Some(Provisional::Clean))
    };
    for (last, policy, expected) in [
        (superseded(true), SMOKE, GateAnswer::Go),
        (superseded(false), SMOKE, GateAnswer::Inconclusive),
        (verdict(VerdictState::Failed, VerdictState::Failed, None), SMOKE, GateAnswer::Stop),
        (verdict(VerdictState::Passed, VerdictState::Passed, None), SOAK, GateAnswer::Go),
        (
            verdict(VerdictState::Verifying, VerdictState::Passed, Some(Provisional::Clean)),
            SMOKE,
            GateAnswer::Go,
        ),
        (
            verdict(VerdictState::Verifying, VerdictState::Passed, Some(Provisional::Clean)),
            SOAK,
            GateAnswer::Wait,
        ),
    ] {
        let decision = decide_previous(&last, None, policy, at(0));
        assert_eq!(decision.answer, expected, "{last:?} {policy:?}");
        assert!(
            decision.answer == GateAnswer::Stop
                || decision.answer == GateAnswer::Go
                || !decision.reasons.is_empty()
        );
    }
    assert_eq!(unconditional("rollback", "why").answer, GateAnswer::Go);
}

#[test]
fn exit_codes_and_statuses_are_those_that_ci_and_hooks_expect() {
    use GateAnswer::{Go, Gone, Inconclusive, Stop, Unknown, Wait};
    let table: Vec<(u8, u16)> = [Go, Stop, Inconclusive, Wait, Gone, Unknown]
        .into_iter()
        .map(|answer| (answer.exit_code(), answer.http_status()))
        .collect();
    assert_eq!(table, [(0, 200), (1, 409), (3, 424), (4, 425), (5, 410), (5, 404)]);
}

#[test]
fn an_override_counts_until_it_ends_and_never_rewrites_the_verdict() {
    let failed = verdict(VerdictState::Failed, VerdictState::Failed, None);
    let person = Override {
        verdict: OverrideVerdict::Passed,
        actor: "dana".into(),
        reason: "the row was a test account".into(),
        at: at(0),
        expires_at: at(3_600),
    };
    assert_eq!(person.validate(), Ok(()));
    let during = decide(&failed, Some(&person), SMOKE, at(10));
    assert_eq!((during.answer, during.effective), (GateAnswer::Go, Some(VerdictState::Passed)));
    assert!(during.reasons[0].message.contains("dana") && during.reasons[0].message.contains("test account"));
    assert_eq!(failed.state, VerdictState::Failed);
    assert_eq!(decide(&failed, Some(&person), SMOKE, at(3_600)).answer, GateAnswer::Stop, "it has expired");

    let rejected = Override { verdict: OverrideVerdict::Failed, ..person.clone() };
    let passed = verdict(VerdictState::Passed, VerdictState::Passed, None);
    assert_eq!(decide(&passed, Some(&rejected), SMOKE, at(10)).answer, GateAnswer::Stop);
    let gone = verdict(VerdictState::Superseded, VerdictState::Passed, None);
    assert_eq!(decide(&gone, Some(&person), SMOKE, at(10)).answer, GateAnswer::Gone);
}

#[test]
fn an_override_needs_an_actor_a_reason_and_an_end_within_seven_days() {
    use crate::domain::deploy::OverrideError;
    let good = Override {
        verdict: OverrideVerdict::Passed,
        actor: "dana".into(),
        reason: "why".into(),
        at: at(0),
        expires_at: at(7 * 86_400),
    };
    assert_eq!(good.validate(), Ok(()));
    let late = Override { expires_at: good.expires_at + SignedDuration::from_secs(1), ..good.clone() };
    assert_eq!(late.validate(), Err(OverrideError::Expiry));
    assert_eq!(Override { expires_at: at(0), ..good.clone() }.validate(), Err(OverrideError::Expiry));
    assert_eq!(Override { actor: " ".into(), ..good.clone() }.validate(), Err(OverrideError::NoActor));
    assert_eq!(Override { reason: String::new(), ..good }.validate(), Err(OverrideError::NoReason));
}
