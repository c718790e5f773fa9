//! The machine as a whole, from measurements to what CI is told: each known bug of other systems as a line of
//! a table, and what must hold for every history of several checks.

use proptest::prelude::*;

use super::attribution::{Span, suspects};
use super::cadence::{Plan, Slot};
use super::check::{CheckPolicy, Mode, OnNoData, Severity, Stage};
use super::check_state::{CheckState, MISSED_DOWN, TargetHealth};
use super::clock::{SignedDuration, Timestamp};
use super::deploy::{Deploy, DeployState, Override, OverrideVerdict};
use super::evaluate::{BaselineFor, SlotFacts, evaluate};
use super::fixtures::{at, check, deploy, plan, seen};
use super::gate::{FailOn, GateAnswer, GatePolicy, decide};
use super::ids::DeployId;
use super::measurement::{MeasureError, MeasureErrorCode, Measured, Measurement};
use super::observation::{Observation, Outcome};
use super::threshold::{Bound, Threshold};
use super::verdict::{Assessed, Verdict, VerdictState, fold, replay_verdict};

const SMOKE: GatePolicy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Failure };

/// Ten slots of smoke and eleven of soak, the end among them.
fn short() -> Plan {
    Plan { smoke_seconds: 300, window_seconds: 3_300, ..plan() }
}

fn over() -> Timestamp {
    short().ends_at() + SignedDuration::from_secs(1)
}

/// What a check brings back at its n-th slot; `None` where no process was there to ask.
type Script = fn(usize) -> Option<Result<f64, MeasureErrorCode>>;

const BLIND: Result<f64, MeasureErrorCode> = Err(MeasureErrorCode::Timeout);

/// A check that fails above 0, or above its baseline where it has one to be held against.
fn above_zero(key: &str) -> CheckPolicy {
    let fail = Threshold { above: Some(Bound::Number(0.0)), ..Threshold::default() };
    CheckPolicy { fail: Some(fail), ..check(key) }
}

fn measurement(check: &CheckPolicy, result: Result<f64, MeasureErrorCode>) -> Measurement {
    Measurement {
        key: check.key.clone(),
        definition_hash: check.definition_hash.clone(),
        result: match result {
            Ok(value) => Ok(Measured { value: Some(value), ..Measured::default() }),
            Err(code) => Err(MeasureError { code, message: "it did not answer".into(), hint: None }),
        },
        duration_ms: 1,
        carried: false,
        proved: None,
        isolated: false,
        statement: None,
    }
}

/// Everything that a check's script leaves behind in `slots` slots, evaluated as in production.
fn observed(
    check: &CheckPolicy,
    baseline: BaselineFor<'_>,
    slots: usize,
    script: Script,
) -> Vec<Observation> {
    let answered = |(n, slot): (usize, Slot)| match script(n) {
        Some(result) => {
            let facts = SlotFacts {
                slot_at: slot.at,
                observed_at: slot.at,
                confirm: false,
                finished_at: Some(short().opened_at),
            };
            evaluate(check, &measurement(check, result), baseline.clone(), facts)
        }
        None => {
            Observation { reason: MISSED_DOWN.into(), ..seen(check.key.as_str(), slot.at, Outcome::Missed) }
        }
    };
    short().slots(check).take(slots).enumerate().map(answered).collect()
}

fn judged(deploy: &Deploy, checks: &[CheckPolicy], made: &[Observation], now: Timestamp) -> Verdict {
    let scans: Vec<_> = made.iter().map(|o| (o.observed_at, vec![o.clone()])).collect();
    replay_verdict(deploy, checks, &scans, now)
}

#[test]
fn each_known_bug_of_other_systems_is_not_ours() {
    use GateAnswer::{Go, Inconclusive as Unknown, Stop, Wait};
    use VerdictState::{Failed, Inconclusive, Passed, Verifying};
    const ALL: usize = usize::MAX;
    let cases: [(&str, usize, Script, VerdictState, GateAnswer); 16] = [
        ("an all-error run is not passed", ALL, |_| Some(BLIND), Inconclusive, Unknown),
        ("a run that nobody made is not passed", ALL, |_| None, Inconclusive, Unknown),
        ("terminated before any measurement", 0, |_| Some(Ok(0.0)), Verifying, Wait),
        ("terminated early is not passed", 5, |_| Some(Ok(0.0)), Verifying, Wait),
        ("all good is passed", ALL, |_| Some(Ok(0.0)), Passed, Go),
        (
            "failed, then errors, stays failed",
            ALL,
            |n| Some(if n < 2 { Ok(1.0) } else { BLIND }),
            Failed,
            Stop,
        ),
        ("failed, then good, stays failed", ALL, |n| Some(Ok(if n < 2 { 1.0 } else { 0.0 })), Failed, Stop),
        ("failed, then nobody there, stays failed", ALL, |n| (n < 2).then_some(Ok(1.0)), Failed, Stop),
        (
            "an error storm is no failure",
            ALL,
            |n| Some(if n % 2 == 0 { BLIND } else { Ok(0.0) }),
            Inconclusive,
            Unknown,
        ),
        (
            "an error is no fail that confirms",
            ALL,
            |n| {
                Some(match n {
                    3 => Ok(1.0),
                    4 => BLIND,
                    _ => Ok(0.0),
                })
            },
            Passed,
            Go,
        ),
        (
            "one blip below fail_after does not fail",
            ALL,
            |n| Some(Ok(if n == 7 { 1.0 } else { 0.0 })),
            Passed,
            Go,
        ),
        ("two in a row do", ALL, |n| Some(Ok(if n == 7 || n == 8 { 1.0 } else { 0.0 })), Failed, Stop),
        (
            "two with an error between do",
            ALL,
            |n| {
                Some(match n {
                    7 | 9 => Ok(1.0),
                    8 => BLIND,
                    _ => Ok(0.0),
                })
            },
            Failed,
            Stop,
        ),
        (
            "the last slot lost is not passed",
            ALL,
            |n| Some(if n == 20 { BLIND } else { Ok(0.0) }),
            Inconclusive,
            Unknown,
        ),
        (
            "a restart in the middle, within coverage",
            ALL,
            |n| (!(12..15).contains(&n)).then_some(Ok(0.0)),
            Passed,
            Go,
        ),
        (
            "a restart in the middle, beyond it",
            ALL,
            |n| (!(11..19).contains(&n)).then_some(Ok(0.0)),
            Inconclusive,
            Unknown,
        ),
    ];
    let check = above_zero("a");
    assert_eq!(short().slots(&check).count(), 21, "the table counts on 21 slots");
    for (name, slots, script, state, answer) in cases {
        let made = observed(&check, BaselineFor::Missing, slots, script);
        let now = if slots == ALL { over() } else { at(130) };
        let verdict = judged(&deploy(short()), std::slice::from_ref(&check), &made, now);
        assert_eq!(verdict.state, state, "{name}: {:?}", verdict.reasons);
        assert_eq!(decide(&verdict, None, SMOKE, now).answer, answer, "{name}");
        assert!(!verdict.clean || state == Passed, "{name}");
    }
}

#[test]
fn a_baseline_that_cannot_be_used_is_never_a_pass() {
    let compares = |drop: Bound| CheckPolicy {
        fail: Some(Threshold { drop_above: Some(drop), ..Threshold::default() }),
        ..check("a")
    };
    let rises = CheckPolicy {
        fail: Some(Threshold { rise_above: Some(Bound::Percent(50.0)), ..Threshold::default() }),
        ..check("a")
    };
    let before = |value: f64| measurement(&check("a"), Ok(value));
    let changed = Measurement { definition_hash: "another".into(), ..before(1_000.0) };
    let blind = measurement(&check("a"), Err(MeasureErrorCode::Timeout));
    let (zero, thousand) = (before(0.0), before(1_000.0));
    use BaselineFor::{Missing, Stale, Usable};
    use VerdictState::{Failed, Inconclusive, Passed, PassedWithWarnings};
    let steady: Script = |_| Some(Ok(1_000.0));
    let none: Script = |_| Some(Ok(0.0));
    let one: Script = |_| Some(Ok(1.0));
    let percent = compares(Bound::Percent(1.0));
    let cases: [(&str, &CheckPolicy, BaselineFor<'_>, Script, VerdictState); 9] = [
        ("the same as before", &percent, Usable(&thousand), steady, Passed),
        ("all rows gone", &percent, Usable(&thousand), none, Failed),
        ("percent from zero: still none", &percent, Usable(&zero), none, Passed),
        ("percent from zero: some now, where a drop is feared", &percent, Usable(&zero), one, Passed),
        ("percent from zero: some now, where a rise is feared", &rises, Usable(&zero), one, Failed),
        ("a changed definition", &percent, Usable(&changed), steady, Inconclusive),
        ("not measured when it was taken", &percent, Usable(&blind), steady, Inconclusive),
        ("too old", &percent, Stale, steady, Inconclusive),
        ("none at all, as for the first deploy", &percent, Missing, steady, PassedWithWarnings),
    ];
    let vouches = above_zero("b");
    for (name, policy, baseline, script, state) in cases {
        let mut made = observed(policy, baseline, usize::MAX, script);
        made.extend(observed(&vouches, Missing, usize::MAX, none));
        let checks = [policy.clone(), vouches.clone()];
        let verdict = judged(&deploy(short()), &checks, &made, over());
        assert_eq!(verdict.state, state, "{name}: {:?}", verdict.reasons);
    }
}

/// What a database refuses, told by its code: a batch with one broken column, rows that row-level security would
/// hide (never counted as 0), a statement that would write (`SET TRANSACTION READ WRITE` among them), a probe that
/// gives no number.
#[test]
fn what_the_database_refuses_is_an_error_of_that_check_alone_and_never_a_zero() {
    use MeasureErrorCode::{Rls, Shape, Sql};
    let refusals: [(&str, Script, &str); 4] = [
        ("one column of the batch is broken", |_| Some(Err(Sql)), "error.sql"),
        ("row-level security hides the table", |_| Some(Err(Rls)), "error.rls"),
        ("SET TRANSACTION READ WRITE", |_| Some(Err(Sql)), "error.sql"),
        ("what an advisory-lock probe gives is no number", |_| Some(Err(Shape)), "error.shape"),
    ];
    let (good, refused) = (above_zero("good"), above_zero("refused"));
    for (name, script, reason) in refusals {
        let made = observed(&refused, BaselineFor::Missing, usize::MAX, script);
        assert!(
            made.iter().all(|o| o.outcome == Outcome::Error && o.reason == reason),
            "{name}: {:?}",
            made[0]
        );
        assert!(made.iter().all(|o| o.value.is_none()), "{name}: nothing was counted");
        let mut both = made;
        both.extend(observed(&good, BaselineFor::Missing, usize::MAX, |_| Some(Ok(0.0))));
        let checks = [good.clone(), refused.clone()];
        let verdict = judged(&deploy(short()), &checks, &both, over());
        assert_eq!(verdict.state, VerdictState::Inconclusive, "{name}");
        assert_eq!(decide(&verdict, None, SMOKE, over()).answer, GateAnswer::Inconclusive, "{name}");
        let blamed: Vec<&str> =
            verdict.reasons.iter().filter_map(|r| r.check.as_ref()).map(|key| key.as_str()).collect();
        assert!(!blamed.is_empty() && blamed.iter().all(|key| *key == "refused"), "{name}: {blamed:?}");
        let standing = &verdict.checks[0];
        assert_eq!((standing.key.as_str(), standing.conclusive), ("good", 21), "{name}");
    }
}

/// An extra sample comes when it was planned, whatever the rest of the window does, and what was carried over
/// from an earlier scan is none.
#[test]
fn the_confirm_sample_has_its_time_and_nothing_stands_in_for_it() {
    let check = above_zero("a");
    let plan = short();
    let slot = plan.slots(&check).nth(12).expect("the window has 21 slots");
    let seconds = |n| SignedDuration::from_secs(n);
    let at_slot = |outcome| seen("a", slot.at, outcome);
    let confirm = |outcome, after| Observation {
        confirm: true,
        observed_at: slot.at + seconds(after),
        ..seen("a", slot.at, outcome)
    };
    let unreached = Observation { reason: "error.connect".into(), ..confirm(Outcome::Error, 30) };
    let carried = Observation { carried: true, ..confirm(Outcome::Fail, 30) };
    use Outcome::{Fail, Pass};
    let cases: [(&str, Vec<Observation>, Option<i64>, bool); 6] = [
        ("after a first fail", vec![at_slot(Fail)], Some(30), false),
        ("it confirms", vec![at_slot(Fail), confirm(Fail, 30)], None, true),
        ("it does not", vec![at_slot(Fail), confirm(Pass, 30)], None, false),
        ("it could not be measured, so it is tried again", vec![at_slot(Fail), unreached], Some(60), false),
        ("a carried one proves nothing", vec![at_slot(Fail), carried], None, false),
        ("after a pass there is none", vec![at_slot(Pass)], None, false),
    ];
    for (name, made, due, breached) in cases {
        let mut state = CheckState::new(&check, &plan);
        made.iter().for_each(|seen| state.observe(&check, &plan, seen));
        if let Some(due) = due {
            let pending = state.pending.unwrap_or_else(|| panic!("{name}: an extra sample is due"));
            assert!(pending.due >= slot.at + seconds(due), "{name}: {pending:?}");
            assert!(pending.due <= slot.at + seconds(due + 3), "{name}: {pending:?}");
            assert_eq!(pending.slot, slot, "{name}");
        }
        assert_eq!(state.breached_at.is_some(), breached, "{name}");
    }
}

#[test]
fn overlapping_deploys_keep_their_own_verdicts_and_share_the_blame() {
    let check = above_zero("a");
    let broken: Script = |n| Some(Ok(if n >= 11 { 1.0 } else { 0.0 }));
    let made = observed(&check, BaselineFor::Missing, 13, broken);
    let mut older = deploy(short());
    older.state = DeployState::Superseded { at: at(1_100), by: DeployId::from_text("dep_2") };
    let checks = std::slice::from_ref(&check);
    let cases = [
        ("clean until it was replaced", 11, VerdictState::Superseded, true, GateAnswer::Gone),
        ("failing once, not confirmed", 12, VerdictState::Superseded, false, GateAnswer::Gone),
        ("failed before it was replaced", 13, VerdictState::Failed, false, GateAnswer::Stop),
    ];
    for (name, answered, state, clean, answer) in cases {
        let verdict = judged(&older, checks, &made[..answered], at(1_100));
        assert_eq!((verdict.state, verdict.clean), (state, clean), "{name}");
        assert_eq!(decide(&verdict, None, SMOKE, at(1_100)).answer, answer, "{name}");
    }
    let verdict = judged(&older, checks, &made, at(1_100));
    let first = verdict.checks[0].first_failed_at.expect("it failed");
    let span = |id: &str, start: i64| Span {
        id: DeployId::from_text(id),
        label: id.into(),
        started_at: at(start),
        until: at(start + 3_300),
    };
    let blamed = suspects(first, &[span("dep_0", -3_000), span("dep_1", -120), span("dep_2", 1_050)]);
    let named: Vec<(&str, bool)> = blamed.iter().map(|s| (s.version.as_str(), s.prime)).collect();
    assert_eq!(named, [("dep_1", true)], "the one before is over, the one after had not begun");
}

#[test]
fn an_override_stands_beside_the_evidence_until_it_ends() {
    let check = above_zero("a");
    let checks = std::slice::from_ref(&check);
    let bad = judged(
        &deploy(short()),
        checks,
        &observed(&check, BaselineFor::Missing, usize::MAX, |_| Some(Ok(1.0))),
        over(),
    );
    let good = judged(
        &deploy(short()),
        checks,
        &observed(&check, BaselineFor::Missing, usize::MAX, |_| Some(Ok(0.0))),
        over(),
    );
    let by_hand = |verdict| Override {
        verdict,
        actor: "dana".into(),
        reason: "a test account".into(),
        at: over(),
        expires_at: over() + SignedDuration::from_hours(1),
    };
    use OverrideVerdict::{Failed, Passed};
    for (name, verdict, decision, minutes, answer) in [
        ("good by hand", &bad, Passed, 59, GateAnswer::Go),
        ("good by hand, over", &bad, Passed, 60, GateAnswer::Stop),
        ("bad by hand", &good, Failed, 59, GateAnswer::Stop),
        ("bad by hand, over", &good, Failed, 60, GateAnswer::Go),
    ] {
        let now = over() + SignedDuration::from_mins(minutes);
        let before = verdict.clone();
        assert_eq!(decide(verdict, Some(&by_hand(decision)), SMOKE, now).answer, answer, "{name}");
        assert_eq!(*verdict, before, "{name}: the computed verdict is untouched");
    }
}

#[test]
fn a_warning_that_nobody_minds_missing_does_not_count_for_coverage() {
    let good = above_zero("a");
    for (min_coverage, state) in [(0.8, VerdictState::Inconclusive), (0.0, VerdictState::Passed)] {
        let blind = CheckPolicy { severity: Severity::Warning, min_coverage, ..above_zero("b") };
        let mut made = observed(&good, BaselineFor::Missing, usize::MAX, |_| Some(Ok(0.0)));
        made.extend(observed(&blind, BaselineFor::Missing, usize::MAX, |_| Some(BLIND)));
        let verdict = judged(&deploy(short()), &[good.clone(), blind], &made, over());
        assert_eq!(verdict.state, state, "min_coverage {min_coverage}");
    }
}

#[test]
fn checks_in_shadow_are_counted_apart_and_decide_nothing() {
    let (good, mut shadow) = (above_zero("a"), above_zero("b"));
    shadow.mode = Mode::Shadow;
    let mut made = observed(&good, BaselineFor::Missing, usize::MAX, |_| Some(Ok(0.0)));
    made.extend(observed(&shadow, BaselineFor::Missing, usize::MAX, |_| Some(Ok(1.0))));
    let verdict = judged(&deploy(short()), &[good, shadow], &made, over());
    assert_eq!(verdict.state, VerdictState::Passed);
    assert_eq!((verdict.counts.checks, verdict.counts.fail), (1, 0));
    assert_eq!((verdict.shadow.checks, verdict.shadow.fail), (1, 1));
}

#[test]
fn attempts_at_a_slot_are_spread_a_little_and_a_replay_plans_the_same() {
    let check = check("a");
    let mut waits = std::collections::BTreeSet::new();
    for jitter_ms in 1..200 {
        let plan = Plan { jitter_ms, ..plan() };
        let slot = plan.slots(&check).nth(25).unwrap();
        let error = Observation { reason: "error.connect".into(), ..seen("a", slot.at, Outcome::Error) };
        let planned = || {
            let mut state = CheckState::new(&check, &plan);
            state.observe(&check, &plan, &error);
            state.pending.expect("it is tried again").due.duration_since(slot.at).as_millis()
        };
        let wait = planned();
        assert!((10_000..11_000).contains(&wait), "{wait} ms with {jitter_ms}");
        assert_eq!(wait, planned());
        waits.insert(wait);
    }
    assert!(waits.len() > 100, "one wait for each environment, not {} for 199", waits.len());
}

// Histories of several checks with all kinds of options.

fn policies() -> impl Strategy<Value = Vec<CheckPolicy>> {
    let one = (
        prop_oneof![3 => Just(Severity::Critical), 1 => Just(Severity::Warning), 1 => Just(Severity::Info)],
        prop_oneof![
            4 => Just(Mode::Enforce), 1 => Just(Mode::Shadow),
            1 => (0_i64..4_000).prop_map(|until| Mode::Muted { until: at(until) })
        ],
        prop_oneof![Just(0.0), Just(0.5), Just(0.8), Just(1.0)],
        (1_u32..4, 1_u32..4, 0_u32..6, prop::option::of(0_u32..4)),
        prop_oneof![Just(OnNoData::Inconclusive), Just(OnNoData::Fail)],
        any::<bool>(),
        prop_oneof![Just(vec![Stage::Smoke, Stage::Soak]), Just(vec![Stage::Soak]), Just(vec![Stage::Smoke])],
    );
    let built = one.prop_map(|(severity, mode, min_coverage, counts, on_no_data, latch, stages)| {
        let (fail_after, recover_after, error_limit, failure_budget) = counts;
        CheckPolicy {
            severity,
            mode,
            min_coverage,
            fail_after,
            recover_after,
            error_limit,
            failure_budget,
            on_no_data,
            latch,
            stages,
            ..check("?")
        }
    });
    prop::collection::vec(built, 1..4).prop_map(|mut all| {
        for (n, policy) in all.iter_mut().enumerate() {
            policy.key.0 = format!("check_{n}");
        }
        all
    })
}

fn any_outcome() -> impl Strategy<Value = Outcome> + Clone {
    use Outcome::{Error, Fail, Missed, NoData, Pass, Skipped, Warn};
    prop_oneof![
        5 => Just(Pass), 1 => Just(Warn), 3 => Just(Fail), 2 => Just(Error), 1 => Just(NoData),
        1 => Just(Missed), 1 => Just(Skipped),
    ]
}

fn blind_outcome() -> impl Strategy<Value = Outcome> + Clone {
    use Outcome::{Error, Missed, NoData, Skipped};
    prop_oneof![Just(Error), Just(NoData), Just(Missed), Just(Skipped)]
}

/// For each check and slot an outcome, whether it was carried, and perhaps an extra sample.
type Told = Vec<(Outcome, bool, Option<Outcome>)>;

fn told(outcome: impl Strategy<Value = Outcome> + Clone + 'static) -> impl Strategy<Value = Told> {
    let extra = prop::option::weighted(0.2, outcome.clone());
    prop::collection::vec((outcome, prop::bool::weighted(0.1), extra), 63)
}

/// The observations in the order in which a scheduler makes them.
fn history(checks: &[CheckPolicy], told: &Told) -> Vec<Observation> {
    let mut made = Vec::new();
    for (n, policy) in checks.iter().enumerate() {
        for (slot, (outcome, carried, extra)) in short().slots(policy).zip(told.iter().skip(n * 21)) {
            let first = seen(policy.key.as_str(), slot.at, *outcome);
            made.push(Observation { carried: *carried && outcome.is_conclusive(), ..first });
            if let Some(extra) = extra {
                let mut again = seen(policy.key.as_str(), slot.at, *extra);
                (again.confirm, again.observed_at) = (true, slot.at + SignedDuration::from_secs(10));
                made.push(again);
            }
        }
    }
    made.sort_by_key(|o| o.observed_at);
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_history_without_a_conclusive_sample_passes(
        checks in policies(), told in told(blind_outcome()), cut in 0_usize..100, now in 0_i64..10_000,
    ) {
        let mut made = history(&checks, &told);
        made.truncate(cut);
        for now in [at(now), over()] {
            let verdict = judged(&deploy(short()), &checks, &made, now);
            prop_assert!(!verdict.state.is_passed() && !verdict.smoke.is_passed() && !verdict.clean);
            prop_assert_ne!(verdict.state, VerdictState::Failed, "could-not-measure is never a failure");
            prop_assert_ne!(decide(&verdict, None, SMOKE, now).answer, GateAnswer::Go);
        }
    }

    #[test]
    fn a_breach_once_latched_is_in_every_later_answer(checks in policies(), told in told(any_outcome())) {
        let checks: Vec<CheckPolicy> = checks.into_iter().map(|c| CheckPolicy { latch: true, ..c }).collect();
        let made = history(&checks, &told);
        let mut failed = false;
        for n in 1..=made.len() {
            let now = made[n - 1].observed_at;
            let verdict = judged(&deploy(short()), &checks, &made[..n], now);
            failed |= verdict.state == VerdictState::Failed;
            if failed {
                prop_assert_eq!(verdict.state, VerdictState::Failed, "after {} samples", n);
                prop_assert_eq!(decide(&verdict, None, SMOKE, now).answer, GateAnswer::Stop);
                prop_assert!(verdict.checks.iter().any(|c| c.breached));
            }
        }
        let mut ended = deploy(short());
        for state in [
            DeployState::Closed { at: over() },
            DeployState::Superseded { at: over(), by: DeployId::from_text("dep_2") },
            DeployState::Cancelled { at: over(), reason: "enough".into() },
        ] {
            ended.state = state;
            let verdict = judged(&ended, &checks, &made, over());
            prop_assert!(!failed || verdict.state == VerdictState::Failed);
        }
    }

    #[test]
    fn adding_what_could_not_be_measured_never_turns_failed_into_anything_else(
        checks in policies(),
        told in told(any_outcome()),
        noise in prop::collection::vec((0_usize..120, blind_outcome()), 0..12),
    ) {
        let made = history(&checks, &told);
        let before = judged(&deploy(short()), &checks, &made, over());
        let mut noisy = made.clone();
        for (index, outcome) in noise {
            let Some(near) = made.get(index % made.len().max(1)) else { continue };
            let place = noisy.iter().position(|o| o == near).expect("what was made stays");
            let mut extra = seen(near.key.as_str(), near.slot_at, outcome);
            (extra.confirm, extra.observed_at) = (true, near.observed_at);
            noisy.insert(place + 1, extra);
        }
        let after = judged(&deploy(short()), &checks, &noisy, over());
        prop_assert!(before.state != VerdictState::Failed || after.state == VerdictState::Failed);
    }

    #[test]
    fn what_is_kept_between_two_scans_is_the_replay_of_the_observations(
        checks in policies(), told in told(any_outcome()), cut in 0_usize..130,
    ) {
        let mut made = history(&checks, &told);
        made.truncate(cut);
        let (deploy, plan) = (deploy(short()), short());
        let mut kept: Vec<CheckState> = checks.iter().map(|check| CheckState::new(check, &plan)).collect();
        let mut target = TargetHealth::default();
        for seen in &made {
            target.observe(seen.observed_at, std::slice::from_ref(seen));
            for (policy, state) in checks.iter().zip(&mut kept).filter(|(policy, _)| policy.key == seen.key) {
                state.observe(policy, &plan, seen);
                // As the store keeps it.
                *state = serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap();
            }
        }
        let now = made.last().map_or(at(0), |last| last.observed_at);
        let assessed: Vec<Assessed<'_>> =
            checks.iter().zip(&kept).map(|(policy, state)| Assessed { policy, state }).collect();
        let verdict = fold(&deploy, &assessed, &target, now);
        prop_assert_eq!(&verdict, &judged(&deploy, &checks, &made, now));
        let stored: Verdict = serde_json::from_str(&serde_json::to_string(&verdict).unwrap()).unwrap();
        prop_assert_eq!(stored, verdict);
    }
}
