//! Each line of the list of known bugs in other systems, and the properties that must hold for all histories.

use proptest::prelude::*;

use super::*;
use crate::domain::cadence::{Plan, Slot};
use crate::domain::clock::SignedDuration;
use crate::domain::deploy::DeployState;
use crate::domain::fixtures::{at, check, deploy, plan, seen};
use crate::domain::ids::DeployId;

/// A window of 20 slots: ten of smoke, then ten of soak and the end.
fn short() -> Plan {
    Plan { smoke_seconds: 300, window_seconds: 3_300, ..plan() }
}

/// Answers the slots of a check in order with the given outcomes, the rest with `rest`.
fn history(check: &CheckPolicy, plan: &Plan, outcomes: &[Outcome], rest: Outcome) -> Vec<Observation> {
    let given = outcomes.iter().copied().chain(std::iter::repeat(rest));
    plan.slots(check).zip(given).map(|(slot, outcome)| seen(check.key.as_str(), slot.at, outcome)).collect()
}

fn scans(observations: &[Observation]) -> Vec<(Timestamp, Vec<Observation>)> {
    observations.iter().map(|o| (o.observed_at, vec![o.clone()])).collect()
}

fn end(plan: &Plan) -> Timestamp {
    plan.ends_at() + SignedDuration::from_secs(1)
}

fn verdict_of(check: &CheckPolicy, observations: &[Observation], now: Timestamp) -> Verdict {
    replay_verdict(&deploy(short()), std::slice::from_ref(check), &scans(observations), now)
}

fn codes(verdict: &Verdict) -> Vec<&str> {
    verdict.reasons.iter().map(|r| r.code.as_str()).collect()
}

use Outcome::{Error, Fail, Missed, NoData, Pass, Skipped, Warn};

#[test]
fn whole_windows_end_as_the_table_says() {
    let cases: [(&str, &[Outcome], Outcome, VerdictState); 13] = [
        ("all pass", &[], Pass, VerdictState::Passed),
        ("all error", &[], Error, VerdictState::Inconclusive),
        ("all missed", &[], Missed, VerdictState::Inconclusive),
        ("no data", &[], NoData, VerdictState::Inconclusive),
        ("one blip below fail_after", &[Pass, Fail], Pass, VerdictState::Passed),
        ("two fails in a row", &[Fail, Fail], Pass, VerdictState::Failed),
        ("failed, then errors", &[Fail, Fail], Error, VerdictState::Failed),
        ("an error between two fails resets nothing", &[Fail, Error, Fail], Pass, VerdictState::Failed),
        ("an error storm", &[Error, Error, Error, Error, Error], Pass, VerdictState::Inconclusive),
        ("a few errors are covered", &[Pass, Error, Error, Error], Pass, VerdictState::Passed),
        ("a warning that went away", &[Warn, Warn], Pass, VerdictState::Passed),
        ("a warning at the end", &[], Warn, VerdictState::PassedWithWarnings),
        ("condition never true", &[], Skipped, VerdictState::Inconclusive),
    ];
    for (name, outcomes, rest, expected) in cases {
        let mut check = check("a");
        check.min_coverage = 0.6;
        let seen = history(&check, &short(), outcomes, rest);
        assert_eq!(verdict_of(&check, &seen, end(&short())).state, expected, "{name}");
    }
}

#[test]
fn zero_checks_never_pass() {
    let verdict = fold(&deploy(short()), &[], &TargetHealth::default(), end(&short()));
    assert_eq!((verdict.state, verdict.clean), (VerdictState::Inconclusive, false));
    assert_eq!(codes(&verdict), ["no_checks"]);
    let mut shadow = check("a");
    shadow.mode = Mode::Shadow;
    let seen = history(&shadow, &short(), &[], Pass);
    assert_eq!(codes(&verdict_of(&shadow, &seen, end(&short()))), ["no_checks"]);
}

#[test]
fn terminated_early_is_not_passed() {
    let check = check("a");
    let seen = history(&check, &short(), &[], Pass);
    let verdict = verdict_of(&check, &seen[..5], at(130));
    assert_eq!(verdict.state, VerdictState::Verifying);
    let mut ended = deploy(short());
    ended.state = DeployState::Cancelled { at: at(130), reason: "stopped".into() };
    let verdict = replay_verdict(&ended, &[check], &scans(&seen[..5]), at(130));
    assert_eq!((verdict.state, verdict.clean), (VerdictState::Cancelled, false));
}

#[test]
fn the_last_slot_lost_is_not_passed() {
    let check = check("a");
    let mut seen = history(&check, &short(), &[], Pass);
    seen.last_mut().unwrap().outcome = Missed;
    let verdict = verdict_of(&check, &seen, end(&short()));
    assert_eq!((verdict.state, codes(&verdict)[0]), (VerdictState::Inconclusive, "last_slot"));
}

#[test]
fn a_confirm_sample_comes_30_seconds_after_a_first_fail() {
    let (check, plan) = (check("a"), plan());
    let slot = plan.slots(&check).nth(25).unwrap();
    let mut state = CheckState::new(&check, &plan);
    state.observe(&check, &plan, &seen("a", slot.at, Fail));
    let pending = state.pending.expect("a confirm sample is due");
    assert_eq!(pending.due, slot.at + SignedDuration::from_secs(30));
    assert!(state.at_risk());
    assert_eq!(state.due_at(), Some(pending.due));

    let mut confirm = seen("a", slot.at, Fail);
    (confirm.confirm, confirm.observed_at) = (true, pending.due);
    let mut breached = state.clone();
    breached.observe(&check, &plan, &confirm);
    assert_eq!(breached.breached_at, Some(pending.due));
    assert_eq!(breached.first_failed_at, Some(slot.at));
    assert_eq!((breached.whole.planned, breached.whole.conclusive), (1, 1), "an extra sample is not a slot");

    confirm.outcome = Pass;
    state.observe(&check, &plan, &confirm);
    assert_eq!((state.at_risk(), state.first_failed_at, state.pending), (false, None, None));
}

#[test]
fn a_slot_that_comes_as_soon_stands_in_for_the_confirm_sample() {
    let (check, plan) = (check("a"), plan());
    let mut state = CheckState::new(&check, &plan);
    state.observe(&check, &plan, &seen("a", at(0), Fail));
    assert_eq!((state.pending, state.next_slot.unwrap().at), (None, at(30)));
}

#[test]
fn a_carried_fail_proves_nothing_new() {
    let (check, plan) = (check("a"), plan());
    let mut state = CheckState::new(&check, &plan);
    state.observe(&check, &plan, &seen("a", at(0), Fail));
    let mut carried = seen("a", at(30), Fail);
    carried.carried = true;
    state.observe(&check, &plan, &carried);
    assert!(state.at_risk());
    assert_eq!((state.fails_consecutive, state.whole.conclusive), (1, 2));
}

#[test]
fn what_could_not_be_reached_is_tried_again_inside_its_slot() {
    let (check, plan) = (check("a"), plan());
    let slot = plan.slots(&check).nth(25).unwrap();
    let mut state = CheckState::new(&check, &plan);
    let mut error = seen("a", slot.at, Error);
    error.reason = "error.connect".into();
    let mut waits = Vec::new();
    loop {
        state.observe(&check, &plan, &error);
        let Some(pending) = state.pending else { break };
        waits.push(pending.due.duration_since(error.observed_at).as_secs());
        (error.confirm, error.observed_at) = (true, pending.due);
    }
    assert_eq!(waits, [10, 30, 60]);
    assert_eq!((state.whole.planned, state.whole.conclusive), (1, 0));
    let mut found = seen("a", slot.at, Pass);
    found.confirm = true;
    state.observe(&check, &plan, &found);
    assert_eq!((state.whole.planned, state.whole.conclusive, state.errors_consecutive), (1, 1, 0));

    let mut slow = CheckState::new(&check, &plan);
    slow.observe(&check, &plan, &seen("a", slot.at, Error));
    assert_eq!(slow.pending, None, "a statement that is too slow waits for its next slot");
}

#[test]
fn unobservable_after_the_error_limit_and_over_with_one_conclusive_sample() {
    let check = check("a");
    let mut seen = history(&check, &short(), &[Error; 5], Pass);
    let verdict = verdict_of(&check, &seen[..5], at(121));
    assert_eq!(verdict.provisional, Some(Provisional::Unobservable));
    assert!(!verdict.checks[0].breached);
    seen.truncate(6);
    assert_eq!(verdict_of(&check, &seen, at(151)).provisional, Some(Provisional::Clean));
}

#[test]
fn a_failure_budget_breaches_a_check_that_flaps() {
    let mut check = check("a");
    check.failure_budget = Some(2);
    let seen = history(&check, &short(), &[Fail, Pass, Fail, Pass, Fail], Pass);
    assert_eq!(verdict_of(&check, &seen[..4], at(91)).state, VerdictState::Verifying);
    assert_eq!(verdict_of(&check, &seen[..5], at(121)).state, VerdictState::Failed);
}

#[test]
fn a_recovered_check_stays_failed_unless_it_does_not_latch() {
    let mut check = check("a");
    let seen = history(&check, &short(), &[Fail, Fail], Pass);
    let latched = verdict_of(&check, &seen, end(&short()));
    assert_eq!(latched.state, VerdictState::Failed);
    assert!(latched.checks[0].recovered && latched.checks[0].breached);
    check.latch = false;
    assert_eq!(
        verdict_of(&check, &seen[..3], at(61)).state,
        VerdictState::Failed,
        "one pass is not recovery"
    );
    let unlatched = verdict_of(&check, &seen, end(&short()));
    assert_eq!((unlatched.state, codes(&unlatched)), (VerdictState::PassedWithWarnings, vec!["recovered"]));
}

#[test]
fn severity_decides_what_a_breach_means() {
    for (severity, expected) in [
        (Severity::Critical, VerdictState::Failed),
        (Severity::Warning, VerdictState::PassedWithWarnings),
        (Severity::Info, VerdictState::Passed),
    ] {
        let mut check = check("a");
        check.severity = severity;
        let seen = history(&check, &short(), &[], Fail);
        assert_eq!(verdict_of(&check, &seen, end(&short())).state, expected, "{severity:?}");
    }
}

#[test]
fn a_warning_that_can_never_be_measured_counts_for_coverage() {
    let (good, mut blind) = (check("a"), check("b"));
    blind.severity = Severity::Warning;
    let mut all = history(&good, &short(), &[], Pass);
    all.extend(history(&blind, &short(), &[], Error));
    let verdict = replay_verdict(&deploy(short()), &[good, blind], &scans(&all), end(&short()));
    assert_eq!(verdict.state, VerdictState::Inconclusive);
}

#[test]
fn a_muted_critical_check_never_fails_and_never_passes_silently() {
    let mut check = check("a");
    check.mode = Mode::Muted { until: at(100_000) };
    let other = self::check("b");
    let mut all = history(&check, &short(), &[], Fail);
    all.extend(history(&other, &short(), &[], Pass));
    let verdict =
        replay_verdict(&deploy(short()), &[check.clone(), other.clone()], &scans(&all), end(&short()));
    assert_eq!((verdict.state, codes(&verdict)), (VerdictState::PassedWithWarnings, vec!["muted"]));
    check.mode = Mode::Muted { until: at(45) };
    let verdict = replay_verdict(&deploy(short()), &[check, other], &scans(&all), end(&short()));
    assert_eq!(verdict.state, VerdictState::Failed, "a mute ends, and the fails after it count");
}

#[test]
fn without_a_baseline_the_best_is_passed_with_warnings() {
    let (mut compares, other) = (check("a"), check("b"));
    compares.fail_after = 1;
    let mut all = history(&compares, &short(), &[], Skipped);
    all.iter_mut().for_each(|o| o.reason = "skipped.no_baseline".into());
    all.extend(history(&other, &short(), &[], Pass));
    let verdict = replay_verdict(&deploy(short()), &[compares, other], &scans(&all), end(&short()));
    assert_eq!((verdict.state, codes(&verdict)), (VerdictState::PassedWithWarnings, vec!["no_baseline"]));
}

#[test]
fn the_smoke_stage_is_judged_by_itself_and_the_worst_stage_wins() {
    let check = check("a");
    let clean = history(&check, &short(), &[], Pass);
    let early = verdict_of(&check, &clean[..9], at(241));
    assert_eq!((early.smoke, early.stage), (VerdictState::Verifying, Stage::Smoke));
    let over = verdict_of(&check, &clean[..10], at(271));
    assert_eq!((over.smoke, over.stage), (VerdictState::Passed, Stage::Soak), "its last slot is answered");

    let blind = history(&check, &short(), &[Error; 10], Pass);
    let verdict = verdict_of(&check, &blind[..15], at(2_000));
    assert_eq!((verdict.state, verdict.smoke), (VerdictState::Verifying, VerdictState::Inconclusive));
    let mut lenient = check.clone();
    lenient.min_coverage = 0.1;
    assert_eq!(verdict_of(&lenient, &blind, end(&short())).state, VerdictState::Inconclusive);

    let late = history(&check, &short(), &[Pass; 12], Fail);
    let verdict = verdict_of(&check, &late, end(&short()));
    assert_eq!((verdict.state, verdict.smoke), (VerdictState::Failed, VerdictState::Passed));
}

#[test]
fn retries_go_on_after_smoke_but_smoke_does_not_wait_for_them() {
    let check = check("a");
    let mut seen = history(&check, &short(), &[Pass; 9], Error);
    seen.truncate(10);
    let last = seen.last_mut().unwrap();
    last.reason = "error.connect".into();
    let mut late = short();
    // The soak slot right after smoke would take the place of its last retries.
    late.soak_every = 1_000;
    let verdict_of = |seen: &[Observation], now: i64| {
        let mut check = check.clone();
        check.every = 1_000;
        replay_verdict(&deploy(late.clone()), &[check], &scans(seen), at(now)).smoke
    };
    assert_eq!(verdict_of(&seen, 271), VerdictState::Verifying, "tried again within smoke");
    let mut again = seen[9].clone();
    (again.confirm, again.observed_at) = (true, at(280));
    seen.push(again.clone());
    assert_eq!(verdict_of(&seen, 299), VerdictState::Verifying);
    assert_eq!(verdict_of(&seen, 300), VerdictState::Inconclusive, "nothing can come in smoke any more");
    (again.outcome, again.observed_at) = (Pass, at(310));
    seen.push(again);
    assert_eq!(verdict_of(&seen, 310), VerdictState::Passed, "its last slot is answered after all");
}

#[test]
fn a_superseded_deploy_is_a_reference_only_when_it_was_clean_so_far() {
    let check = check("a");
    let mut replaced = deploy(short());
    replaced.state = DeployState::Superseded { at: at(1_000), by: DeployId::from_text("dep_2") };
    let cases: [(&[Outcome], usize, VerdictState, bool); 5] = [
        (&[], 12, VerdictState::Superseded, true),
        (&[], 5, VerdictState::Superseded, false),
        (&[Pass, Error, Error, Error, Error, Error], 12, VerdictState::Superseded, false),
        (
            &[Pass, Pass, Pass, Pass, Pass, Pass, Pass, Pass, Pass, Pass, Pass, Warn],
            12,
            VerdictState::Superseded,
            false,
        ),
        (&[Fail, Fail], 12, VerdictState::Failed, false),
    ];
    for (outcomes, answered, state, clean) in cases {
        let seen = history(&check, &short(), outcomes, Pass);
        let verdict =
            replay_verdict(&replaced, std::slice::from_ref(&check), &scans(&seen[..answered]), at(1_001));
        assert_eq!((verdict.state, verdict.clean), (state, clean), "{outcomes:?} {answered}");
    }
}

#[test]
fn three_unmeasured_scans_or_five_minutes_are_cannot_check() {
    let error = |t: i64| vec![seen("a", at(t), Error), seen("b", at(t), Error)];
    let mut target = TargetHealth::default();
    for (t, expected) in [(0, false), (10, false), (40, true)] {
        target.observe(at(t), &error(t));
        assert_eq!(target.cannot_check(), expected, "after {t} s");
    }
    target.observe(at(70), &[seen("a", at(70), Error), seen("b", at(70), Pass)]);
    assert!(!target.cannot_check(), "one measured check is enough");
    target.observe(at(300), &error(300));
    target.observe(at(600), &error(600));
    assert!(target.cannot_check(), "five minutes");
    target.observe(at(700), &[seen("a", at(650), Missed)]);
    assert!(target.cannot_check(), "a missed slot says nothing about the target");
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Pass), 2 => Just(Warn), 3 => Just(Fail), 2 => Just(Error), 1 => Just(NoData),
        1 => Just(Missed), 1 => Just(Skipped),
    ]
}

fn inconclusive() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Error), Just(NoData), Just(Missed), Just(Skipped)]
}

fn timed(slots: &[Slot], outcomes: &[Outcome]) -> Vec<Observation> {
    slots.iter().zip(outcomes).map(|(slot, outcome)| seen("a", slot.at, *outcome)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_measured_never_passes(outcomes in prop::collection::vec(inconclusive(), 0..21), now in 0_i64..10_000) {
        let check = check("a");
        let slots: Vec<Slot> = short().slots(&check).collect();
        let verdict = verdict_of(&check, &timed(&slots, &outcomes), at(now));
        prop_assert!(!verdict.state.is_passed() && !verdict.smoke.is_passed() && !verdict.clean);
        prop_assert_ne!(verdict.state, VerdictState::Failed, "could-not-measure is never a failure");
    }

    #[test]
    fn a_latched_breach_is_in_every_later_answer(outcomes in prop::collection::vec(outcome(), 21)) {
        let check = check("a");
        let slots: Vec<Slot> = short().slots(&check).collect();
        let seen = timed(&slots, &outcomes);
        let mut failed = false;
        for n in 0..=seen.len() {
            let now = n.checked_sub(1).map_or(at(0), |i| seen.get(i).map_or(at(0), |o| o.slot_at));
            let state = verdict_of(&check, &seen[..n], now).state;
            prop_assert!(!failed || state == VerdictState::Failed);
            failed |= state == VerdictState::Failed;
        }
        prop_assert!(!failed || verdict_of(&check, &seen, end(&short())).state == VerdictState::Failed);
    }

    #[test]
    fn adding_errors_never_turns_failed_into_anything_else(
        outcomes in prop::collection::vec(outcome(), 21),
        extra in prop::collection::vec((0_usize..21, inconclusive()), 0..8),
    ) {
        let check = check("a");
        let slots: Vec<Slot> = short().slots(&check).collect();
        let seen = timed(&slots, &outcomes);
        if verdict_of(&check, &seen, end(&short())).state == VerdictState::Failed {
            let mut noisy = seen.clone();
            for (index, outcome) in extra {
                let mut error = self::seen("a", seen[index].slot_at, outcome);
                error.confirm = true;
                noisy.insert(index + 1, error);
            }
            prop_assert_eq!(verdict_of(&check, &noisy, end(&short())).state, VerdictState::Failed);
        }
    }

    #[test]
    fn the_state_kept_beside_the_observations_is_their_replay(outcomes in prop::collection::vec(outcome(), 21)) {
        let check = check("a");
        let plan = short();
        let slots: Vec<Slot> = plan.slots(&check).collect();
        let seen = timed(&slots, &outcomes);
        let mut kept = CheckState::new(&check, &plan);
        for observation in &seen {
            kept.observe(&check, &plan, observation);
            // As the store keeps it between two ticks.
            kept = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        }
        prop_assert_eq!(&kept, &replay(&check, &plan, &seen));
        prop_assert!(kept.whole.conclusive <= kept.whole.planned);
    }
}
