use super::*;
use crate::domain::cadence::Plan;
use crate::domain::check::{CheckPolicy, Stage};
use crate::domain::clock::SignedDuration;
use crate::domain::deploy::{DeployState, Override, OverrideVerdict};
use crate::domain::fixtures::{at, check, deploy, plan, seen};
use crate::domain::gate::{FailOn, GatePolicy, decide};
use crate::domain::ids::DeployId;
use crate::domain::observation::Observation;
use crate::domain::verdict::replay_verdict;

use Outcome::{Error, Fail, Pass, Warn};

const SMOKE: GatePolicy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Failure };
const WARNING: GatePolicy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Warning };

fn short() -> Plan {
    Plan { smoke_seconds: 300, window_seconds: 3_300, ..plan() }
}

fn over() -> Timestamp {
    short().ends_at() + SignedDuration::from_secs(1)
}

/// The first slots as given, the rest as the last of them.
fn history(check: &CheckPolicy, outcomes: &[Outcome]) -> Vec<(Timestamp, Vec<Observation>)> {
    let rest = std::iter::repeat(outcomes.last().copied().unwrap_or(Pass));
    let given = outcomes.iter().copied().chain(rest);
    let plan = short();
    let made = plan.slots(check).zip(given).map(|(slot, outcome)| {
        let threshold = matches!(outcome, Fail | Warn).then(|| "> 0".to_owned());
        (slot.at, vec![Observation { threshold, ..seen(check.key.as_str(), slot.at, outcome) }])
    });
    made.collect()
}

fn said(
    deploy: &Deploy,
    outcomes: &[Outcome],
    decided: Option<&Override>,
    policy: GatePolicy,
) -> Vec<String> {
    let check = CheckPolicy { min_coverage: 0.5, ..check("users.email") };
    let verdict = replay_verdict(deploy, std::slice::from_ref(&check), &history(&check, outcomes), over());
    explain(deploy, &verdict, &decide(&verdict, decided, policy, over()), over())
}

#[test]
fn a_stop_is_five_lines_that_each_say_one_thing() {
    let lines = said(&deploy(short()), &[Pass, Fail], None, SMOKE);
    let expected = [
        "STOP: deploy 7f3c2a1 in acme-production has failed: users.email",
        "  value     users.email fail; it fails if > 0",
        "  baseline  not compared (one was taken 2026-05-01T11:58:20Z)",
        "  since     2026-05-01T12:00:30Z, 30 s after the deploy, 20 of 21 runs failed",
        "  what now  roll 7f3c2a1 back or fix forward; if it is no problem: deploywatch deploy override dep_1 \
         --verdict passed --reason WHY",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_failed_check_that_reads_well_now_is_no_riddle() {
    for (outcomes, value) in [
        (
            &[Fail, Fail, Pass][..],
            "  value     users.email fail; it fails if > 0 (the last fail; it passes now)",
        ),
        (
            &[Fail, Fail, Error][..],
            "  value     users.email fail; it fails if > 0 (the last fail; it is not measured now)",
        ),
    ] {
        let lines = said(&deploy(short()), outcomes, None, SMOKE);
        assert_eq!((lines.len(), lines[1].as_str()), (5, value), "{lines:#?}");
    }
    let recovered = said(&deploy(short()), &[Fail, Fail, Pass], None, SMOKE);
    assert!(recovered[3].ends_with("; it has recovered since, the verdict stays"), "{recovered:#?}");
}

#[test]
fn every_answer_begins_with_its_word_and_says_what_to_do_where_something_is_to_be_done() {
    let by_hand = |verdict| Override {
        verdict,
        actor: "dana".into(),
        reason: "a test account".into(),
        at: over(),
        expires_at: over() + SignedDuration::from_hours(1),
    };
    let (good, bad) = (by_hand(OverrideVerdict::Passed), by_hand(OverrideVerdict::Failed));
    let mut replaced = deploy(short());
    replaced.state = DeployState::Superseded { at: at(900), by: DeployId::from_text("dep_2") };
    let open = deploy(short());
    let cases: [(&str, Vec<String>, usize, &str); 9] = [
        (
            "passed",
            said(&open, &[Pass], None, SMOKE),
            1,
            "GO: deploy 7f3c2a1 in acme-production has passed, 1 of",
        ),
        (
            "with a warning",
            said(&open, &[Warn], None, SMOKE),
            1,
            "GO: deploy 7f3c2a1 in acme-production has passed, with warnings",
        ),
        (
            "a warning that stops",
            said(&open, &[Warn], None, WARNING),
            5,
            "STOP: deploy 7f3c2a1 in acme-production has a warning",
        ),
        ("failed", said(&open, &[Fail], None, SMOKE), 5, "STOP: "),
        (
            "failed, good by hand",
            said(&open, &[Fail], Some(&good), SMOKE),
            2,
            "GO: deploy 7f3c2a1 in acme-production, by hand",
        ),
        (
            "good, failed by hand",
            said(&open, &[Pass], Some(&bad), SMOKE),
            2,
            "STOP: deploy 7f3c2a1 in acme-production, by hand",
        ),
        (
            "not measured",
            said(&open, &[Error], None, SMOKE),
            5,
            "INCONCLUSIVE: deploy 7f3c2a1 in acme-production cannot",
        ),
        (
            "replaced",
            said(&replaced, &[Pass], None, SMOKE),
            2,
            "GONE: deploy 7f3c2a1 in acme-production is superseded by dep_2",
        ),
        ("failed, then replaced", said(&replaced, &[Fail], None, SMOKE), 5, "STOP: "),
    ];
    for (name, lines, count, begins) in cases {
        assert_eq!(lines.len(), count, "{name}: {lines:#?}");
        assert!(lines[0].starts_with(begins), "{name}: {lines:#?}");
        let asks = !lines[0].starts_with("GO:") && !lines[0].contains("by hand");
        assert_eq!(lines.iter().any(|line| line.contains("what now")), asks, "{name}: {lines:#?}");
    }
    let warned = said(&open, &[Warn], None, WARNING);
    assert!(warned[1].contains("it warns if > 0"), "{warned:#?}");
}

#[test]
fn several_failing_checks_are_counted_and_the_worst_is_shown() {
    let policies = [
        CheckPolicy { severity: Severity::Warning, ..check("a") },
        CheckPolicy { title: Some("Users have an email".into()), ..check("b") },
        check("c"),
    ];
    let mut made: Vec<_> = policies.iter().flat_map(|policy| history(policy, &[Fail])).collect();
    made.sort_by_key(|(at, _)| *at);
    let deploy = deploy(short());
    let verdict = replay_verdict(&deploy, &policies, &made, over());
    let lines = explain(&deploy, &verdict, &decide(&verdict, None, SMOKE, over()), over());
    assert_eq!(
        lines[0],
        "STOP: deploy 7f3c2a1 in acme-production has failed: Users have an email [b] (and 2 more)"
    );
}
