use proptest::prelude::*;

use super::*;
use crate::domain::fixtures::{at, check, opened, plan};

fn offsets(plan: &Plan, check: &CheckPolicy) -> Vec<i64> {
    plan.slots(check).map(|slot| slot.at.duration_since(plan.opened_at).as_secs()).collect()
}

#[test]
fn a_window_is_dense_in_smoke_and_sparser_in_soak() {
    let slots = offsets(&plan(), &check("a"));
    assert_eq!(slots[..4], [0, 30, 60, 90]);
    assert_eq!(slots[18..23], [540, 570, 600, 900, 1_200]);
    assert_eq!(*slots.last().unwrap(), 86_400);
    assert_eq!(slots.len(), 20 + 287);
}

#[test]
fn a_stage_list_an_initial_delay_and_an_own_cadence_are_followed() {
    let mut soak_only = check("a");
    soak_only.stages = vec![Stage::Soak];
    assert_eq!(offsets(&plan(), &soak_only)[..3], [0, 300, 600]);

    let mut smoke_only = check("a");
    smoke_only.stages = vec![Stage::Smoke];
    assert_eq!(offsets(&plan(), &smoke_only).len(), 20);

    let mut delayed = check("a");
    delayed.initial_delay = 100;
    assert_eq!(offsets(&plan(), &delayed)[..2], [120, 150], "the delay is rounded up to the shared grid");

    let mut dense = check("a");
    dense.every = 10;
    assert_eq!(offsets(&plan(), &dense)[..3], [0, 10, 20]);

    let mut odd = check("a");
    odd.every = 50_000;
    assert_eq!(offsets(&plan(), &odd)[20..], [50_000, 86_400], "the end is always a slot");
}

#[test]
fn all_checks_of_an_environment_share_one_grid() {
    let mut plan = plan();
    plan.jitter_ms = jitter_ms("acme-production", 30);
    assert_eq!(plan.jitter_ms, jitter_ms("acme-production", 30));
    assert!(plan.jitter_ms < LONGEST_JITTER_MS);
    assert_eq!(plan.first_slot(&check("a")), plan.first_slot(&check("b")));
}

#[test]
fn after_downtime_elapsed_slots_are_listed_and_one_is_current() {
    let (plan, check) = (plan(), check("a"));
    let due = plan.due(&check, plan.first_slot(&check), at(100));
    assert_eq!(due.elapsed.len(), 3);
    assert_eq!(due.current.unwrap().at, at(90));
    assert_eq!(plan.due(&check, plan.slot_after(&check, at(90)), at(100)), DueSlots::default());
}

#[test]
fn the_last_slot_may_be_answered_within_a_grace_of_one_interval() {
    let (plan, check) = (plan(), check("a"));
    let last = plan.slots(&check).last();
    assert_eq!(plan.due(&check, last, at(86_400 + 299)).current, last);
    let late = plan.due(&check, last, at(86_400 + 300));
    assert_eq!((late.current, late.elapsed.len()), (None, 1));
}

#[test]
fn the_newest_slot_gone_by_is_caught_up_for_as_long_as_the_window_is_open() {
    let plan = Plan { smoke_seconds: 6, smoke_every: 2, ..plan() };
    let (both, mut smoke_only) = (check("a"), check("a"));
    smoke_only.stages = vec![Stage::Smoke];
    let mut sparse = check("a");
    sparse.every = 20_000;
    let cases = [
        ("smoke ended meanwhile", &both, 24, 2, Some(4)),
        ("until soak begins", &both, 299, 2, Some(4)),
        ("and then its slot", &both, 300, 3, Some(300)),
        ("no slot is left", &smoke_only, 50_000, 2, Some(4)),
        ("the next slot is hours away", &sparse, 39_000, 3, Some(20_000)),
        ("the window is over", &smoke_only, 86_401, 3, None),
    ];
    for (name, check, now, elapsed, current) in cases {
        let due = plan.due(check, plan.first_slot(check), at(now));
        assert_eq!(
            (due.elapsed.len(), due.current.map(|slot| slot.at)),
            (elapsed, current.map(at)),
            "{name}"
        );
    }
}

#[test]
fn a_window_is_extended_once_by_at_most_a_quarter() {
    let mut plan = plan();
    let granted = extension(&plan, 50_000, at(90_000)).unwrap();
    assert_eq!(granted, Extension { from: at(90_000), seconds: 21_600 });
    plan.extension = Some(granted);
    assert_eq!(extension(&plan, 50_000, at(90_000)), None);
    let slots = offsets(&plan, &check("a"));
    assert_eq!(slots.iter().filter(|s| **s > 86_400).count(), 73);
    assert_eq!(*slots.last().unwrap(), 90_000 + 21_600);
    assert_eq!(plan.ends_at(), at(90_000 + 21_600));
}

#[test]
fn slots_are_instants_so_a_change_of_daylight_saving_does_not_move_them() {
    let mut plan = plan();
    plan.opened_at = "2026-03-29T00:30:00Z".parse().unwrap();
    let gaps: Vec<i64> = offsets(&plan, &check("a")).windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.iter().all(|gap| *gap == 30 || *gap == 300));
}

proptest! {
    #[test]
    fn walking_slot_by_slot_and_asking_for_what_is_due_agree(
        every in 1_u32..4_000, delay in 0_u32..2_000, smoke in 0_u32..1_000, jitter in 0_u32..3_000,
        window in 1_000_u32..20_000, now in 0_i64..30_000,
    ) {
        let mut check = check("a");
        (check.every, check.initial_delay) = (every, delay);
        let plan = Plan { smoke_seconds: smoke, window_seconds: window, jitter_ms: jitter, ..plan() };
        let all: Vec<Slot> = plan.slots(&check).collect();
        prop_assert!(all.windows(2).all(|w| w[0].at < w[1].at));
        let end = plan.ends_at() + SignedDuration::from_millis(jitter.into());
        prop_assert!(all.iter().all(|s| s.at >= opened() && s.at <= end));
        prop_assert!(all.iter().all(|s| plan.stage_of(s.at) == s.stage));
        let due = plan.due(&check, plan.first_slot(&check), at(now));
        let mut listed = due.elapsed.clone();
        listed.extend(due.current);
        let expected: Vec<Slot> = all.into_iter().filter(|s| s.at <= at(now)).collect();
        prop_assert_eq!(listed, expected);
    }
}
