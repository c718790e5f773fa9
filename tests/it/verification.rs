//! The window of 24 hours: every slot accounted for, on both engines, whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use deploywatch::domain::check::Stage;
use deploywatch::domain::clock::{Clock, SignedDuration, Timestamp};
use deploywatch::domain::deploy::DeployState;
use deploywatch::domain::gate::{FailOn, GateAnswer, GatePolicy};
use deploywatch::domain::ids::DeployId;
use deploywatch::domain::measurement::MeasureErrorCode;
use deploywatch::domain::observation::Outcome;
use deploywatch::domain::verdict::{Provisional, VerdictState};
use deploywatch::services::gate::{Question, ask};
use deploywatch::services::verification::{self, Announcement, Attempt, VerificationError};

use crate::on_both_engines;
use crate::support::watch::{ENVIRONMENT, World, announcement, violations};

/// A day, and the jitter of its last slot.
const DAY: SignedDuration = SignedDuration::from_secs(86_400 + 60);

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

async fn gate(world: &World) -> GateAnswer {
    let policy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Failure };
    let question = Question::Newest { environment: ENVIRONMENT.into() };
    ask(&world.ctx, &question, policy).await.unwrap().decision.answer
}

fn checks() -> Vec<deploywatch::domain::check::Check> {
    vec![violations("users.email"), violations("orders.total")]
}

on_both_engines! {
    async fn a_healthy_deploy_is_watched_for_a_day_and_passes(store: TestStore) {
        let world = World::new(&store, checks()).await;
        assert_eq!(gate(&world).await, GateAnswer::Unknown);
        let id = world.start("v1").await;
        assert_eq!(gate(&world).await, GateAnswer::Wait);
        world.clock.advance(minutes(2));
        verification::finish(&world.ctx, &id).await.unwrap();
        world.pass(minutes(9)).await;
        assert_eq!(gate(&world).await, GateAnswer::Wait, "smoke is not over");
        world.pass(minutes(1)).await;
        assert_eq!(gate(&world).await, GateAnswer::Go);
        world.pass(DAY).await;
        let row = world.row(&id).await;
        assert_eq!(row.verdict.state, VerdictState::Passed, "{:?}", row.verdict.reasons);
        assert!(matches!(row.deploy.state, DeployState::Closed { .. }) && row.verdict.clean);
        world.assert_every_slot_answered(&id).await;
        assert_eq!(world.replayed(&id, world.clock.now()).await, row.verdict);
        assert_eq!(world.observations(&id).await.len(), 2 * (20 + 287));
        // The baseline, and one scan for both checks at each slot.
        assert_eq!(world.target.scans.load(Ordering::SeqCst), 1 + 20 + 287);
    }

    async fn a_breach_stops_the_gate_within_a_minute_and_stays(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let id = world.release("v1").await;
        world.pass(minutes(60)).await;
        let broken: Timestamp = world.clock.now() + minutes(1);
        let healed = broken + minutes(60);
        world.target.script(move |key, now| {
            Ok(if key == "users.email" && now >= broken && now < healed { 1.0 } else { 0.0 })
        });
        world.pass(minutes(5) + seconds(5)).await;
        assert_eq!(gate(&world).await, GateAnswer::Wait, "failed once, about to be confirmed");
        world.pass(seconds(31)).await;
        assert_eq!(gate(&world).await, GateAnswer::Stop);
        let row = world.row(&id).await;
        let failing = row.verdict.checks.iter().find(|c| c.breached).unwrap();
        assert_eq!((failing.value, failing.fails, failing.title.as_str()), (Some(1.0), 2, "users.email"));
        assert_eq!(row.announced.breached.len(), 1, "on-call was told");
        world.pass(DAY).await;
        let row = world.row(&id).await;
        assert_eq!(row.verdict.state, VerdictState::Failed);
        assert!(row.verdict.checks.iter().any(|c| c.breached && c.recovered));
        assert!(row.announced.breached.is_empty(), "and told that it is over");
        world.assert_every_slot_answered(&id).await;
        assert_eq!(world.replayed(&id, world.clock.now()).await, row.verdict);
    }

    async fn a_target_that_is_down_is_cannot_check_and_never_a_failure(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let id = world.release("v1").await;
        world.pass(minutes(15)).await;
        assert_eq!(gate(&world).await, GateAnswer::Go);
        world.target.set_down(true);
        world.pass(minutes(6)).await;
        let row = world.row(&id).await;
        assert!(row.announced.cannot_check, "three scans in a row could not measure");
        assert_eq!(row.verdict.provisional, Some(Provisional::Unobservable));
        assert_eq!(gate(&world).await, GateAnswer::Inconclusive);
        world.target.set_down(false);
        world.pass(minutes(5)).await;
        assert_eq!(gate(&world).await, GateAnswer::Go);
        assert!(!world.row(&id).await.announced.cannot_check);
        world.target.set_down(true);
        world.pass(DAY).await;
        let row = world.row(&id).await;
        assert_eq!(row.verdict.state, VerdictState::Inconclusive);
        assert_eq!(row.verdict.checks[0].fails, 0);
        world.assert_every_slot_answered(&id).await;
        assert_eq!(world.replayed(&id, world.clock.now()).await, row.verdict);
    }

    async fn after_downtime_slots_are_missed_one_scan_catches_up_and_the_window_goes_on(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let id = world.release("v1").await;
        world.pass(SignedDuration::from_hours(8)).await;
        let scans = world.target.scans.load(Ordering::SeqCst);
        world.clock.advance(SignedDuration::from_hours(6));
        verification::run_due(&world.ctx).await.unwrap();
        assert_eq!(world.target.scans.load(Ordering::SeqCst), scans + 1, "exactly one scan catches up");
        let missed = world.observations(&id).await.iter().filter(|m| m.observation.outcome == Outcome::Missed).count();
        assert_eq!(missed, 2 * 71);
        world.pass(SignedDuration::from_hours(11)).await;
        let row = world.row(&id).await;
        assert!(row.deploy.plan.extension.is_some(), "coverage was short only because we were down");
        assert_eq!(row.verdict.state, VerdictState::Verifying);
        world.pass(SignedDuration::from_hours(7)).await;
        let row = world.row(&id).await;
        assert_eq!(row.verdict.state, VerdictState::Passed, "{:?}", row.verdict.reasons);
        world.assert_every_slot_answered(&id).await;
        assert_eq!(world.replayed(&id, world.clock.now()).await, row.verdict);
    }

    async fn a_failing_check_is_decided_at_once_when_smoke_ended_during_downtime(store: TestStore) {
        let (world, id) = short_smoke(&store, 6).await;
        world.target.script(|key, _| Ok(if key == "users.email" { 1.0 } else { 0.0 }));
        world.pass(SignedDuration::from_millis(500)).await;
        assert_eq!(world.row(&id).await.verdict.provisional, Some(Provisional::AtRisk));
        let scans = world.target.scans.load(Ordering::SeqCst);
        // The confirm sample was pending, and two more slots of smoke went by.
        world.clock.advance(seconds(23));
        verification::run_due(&world.ctx).await.unwrap();
        assert_eq!(world.target.scans.load(Ordering::SeqCst), scans + 1, "exactly one scan catches up");
        assert_eq!(gate(&world).await, GateAnswer::Stop);
        let made = world.observations(&id).await;
        assert_eq!(made.iter().filter(|m| m.observation.outcome == Outcome::Missed).count(), 2);
        let row = world.row(&id).await;
        assert_eq!((row.verdict.state, row.verdict.smoke), (VerdictState::Failed, VerdictState::Failed));
        assert_eq!(world.replayed(&id, world.clock.now()).await, row.verdict);
        world.pass(DAY).await;
        world.assert_every_slot_answered(&id).await;
    }

    async fn a_smoke_without_a_measurement_is_inconclusive_as_soon_as_its_time_is_over(store: TestStore) {
        let (world, id) = short_smoke(&store, 6).await;
        world.target.set_down(true);
        world.pass(SignedDuration::from_millis(5_900)).await;
        assert_eq!(gate(&world).await, GateAnswer::Wait);
        world.pass(SignedDuration::from_millis(200)).await;
        assert_eq!(gate(&world).await, GateAnswer::Inconclusive);
        let row = world.row(&id).await;
        assert_eq!((row.verdict.state, row.verdict.smoke), (VerdictState::Verifying, VerdictState::Inconclusive));
        assert_eq!(world.replayed(&id, world.clock.now()).await, row.verdict);
    }

    async fn a_retry_after_the_end_of_smoke_still_answers_its_last_slot(store: TestStore) {
        let (world, id) = short_smoke(&store, 400).await;
        world.pass(seconds(397)).await;
        world.target.set_down(true);
        world.pass(seconds(4)).await;
        assert_eq!(gate(&world).await, GateAnswer::Inconclusive);
        world.target.set_down(false);
        world.pass(seconds(60)).await;
        assert_eq!(gate(&world).await, GateAnswer::Go);
        assert_eq!(world.replayed(&id, world.clock.now()).await, world.row(&id).await.verdict);
    }

    async fn a_day_of_downtime_is_inconclusive(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let id = world.release("v1").await;
        world.pass(SignedDuration::from_hours(1)).await;
        world.clock.advance(SignedDuration::from_hours(48));
        world.pass(SignedDuration::from_hours(24)).await;
        let row = world.row(&id).await;
        assert_eq!(row.verdict.state, VerdictState::Inconclusive);
        world.assert_every_slot_answered(&id).await;
    }

    async fn a_clock_that_jumps_two_hours_loses_no_slot(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let id = world.release("v1").await;
        world.pass(SignedDuration::from_hours(3)).await;
        world.clock.advance(SignedDuration::from_hours(2));
        world.pass(minutes(30)).await;
        world.clock.advance(SignedDuration::from_hours(-2));
        world.pass(DAY).await;
        let row = world.row(&id).await;
        assert_eq!(row.verdict.state, VerdictState::Passed, "{:?}", row.verdict.reasons);
        world.assert_every_slot_answered(&id).await;
        assert_eq!(world.replayed(&id, world.clock.now()).await, row.verdict);
    }

    async fn a_newer_deploy_supersedes_the_older_at_its_finish(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let first = world.release("v1").await;
        world.pass(SignedDuration::from_hours(2)).await;
        let second = world.start("v2").await;
        let scans = world.target.scans.load(Ordering::SeqCst);
        world.pass(minutes(20)).await;
        assert_eq!(world.target.scans.load(Ordering::SeqCst), scans, "nothing scans while v2 is deployed");
        let skipped = world.observations(&first).await;
        assert!(skipped.iter().filter(|m| m.observation.reason == "skipped.deploying").count() >= 6);
        assert_eq!(world.row(&first).await.deploy.state, DeployState::Verifying);
        verification::finish(&world.ctx, &second).await.unwrap();
        let row = world.row(&first).await;
        assert_eq!((row.verdict.state, row.verdict.clean), (VerdictState::Superseded, true));
        assert_eq!(row.next_due_at, None);
        assert_eq!(world.row(&second).await.clean_baseline_id, row.deploy.baseline_id);
        verification::finish(&world.ctx, &second).await.expect("finishing again answers the same");
        world.pass(DAY).await;
        assert_eq!(world.row(&second).await.verdict.state, VerdictState::Passed);
        assert_eq!(world.row(&first).await.verdict, row.verdict, "terminal states do not change");
    }

    async fn an_abandoned_start_is_cancelled_and_the_older_watch_goes_on(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let first = world.release("v1").await;
        world.pass(minutes(30)).await;
        let second = world.start("v2").await;
        world.pass(SignedDuration::from_hours(3)).await;
        let DeployState::Cancelled { reason, .. } = world.row(&second).await.deploy.state else { panic!() };
        assert!(reason.contains("abandoned"));
        let last = world.observations(&first).await.pop().unwrap();
        assert_eq!(last.observation.outcome, Outcome::Pass);
        assert!(matches!(
            verification::finish(&world.ctx, &second).await,
            Err(VerificationError::State(_))
        ));
        let again = world.start("v2").await;
        assert_eq!(world.row(&again).await.deploy.attempt, 2);
    }

    async fn a_baseline_that_cannot_be_captured_starts_nothing(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let first = world.release("v1").await;
        world.pass(minutes(20)).await;
        world.target.set_down(true);
        let failed = verification::start(&world.ctx, &announcement("v2")).await;
        assert!(matches!(failed, Err(VerificationError::Baseline(_))), "{failed:?}");
        world.target.set_down(false);
        world.target.script(|_, _| Err(MeasureErrorCode::Timeout));
        let failed = verification::start(&world.ctx, &announcement("v2")).await;
        assert!(matches!(failed, Err(VerificationError::Baseline(_))), "{failed:?}");
        world.target.script(|_, _| Ok(0.0));
        world.pass(minutes(10)).await;
        assert_eq!(world.observations(&first).await.pop().unwrap().observation.outcome, Outcome::Pass);
        let id = world.start("v2").await;
        assert_eq!(world.row(&id).await.deploy.attempt, 1);
    }

    async fn announcing_is_idempotent_and_a_rollback_is_another_attempt(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let first = world.start("v1").await;
        assert_eq!(world.start("v1").await, first);
        world.clock.advance(seconds(30));
        verification::finish(&world.ctx, &first).await.unwrap();
        assert_eq!(world.start("v1").await, first, "while it is watched it is the same");
        let anew = verification::start(&world.ctx, &announcement_new("v1")).await.unwrap();
        assert_eq!(anew.row.deploy.attempt, 2);
        verification::cancel(&world.ctx, &anew.row.deploy.id, "dana", "a mistake").await.unwrap();
        world.release("v2").await;
        let back = world.release("v1").await;
        assert_eq!(world.row(&back).await.deploy.attempt, 3, "v1 went out again after v2");
        assert_eq!(world.row(&first).await.verdict.state, VerdictState::Superseded);
    }

    async fn a_finish_without_a_start_takes_the_newest_clean_scan(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let first = verification::finish_version(&world.ctx, &announcement("v1")).await.unwrap();
        assert_eq!(first.deploy.baseline_id, None, "the first deploy ever has nothing to compare with");
        world.pass(SignedDuration::from_hours(2)).await;
        let second = verification::finish_version(&world.ctx, &announcement("v2")).await.unwrap();
        let taken = second.deploy.baseline_at.expect("a clean scan was there");
        assert!(world.clock.now().duration_since(taken) <= SignedDuration::from_hours(1));
        let again = verification::finish_version(&world.ctx, &announcement("v2")).await.unwrap();
        assert_eq!(again.deploy.id, second.deploy.id);
    }

    async fn two_processes_share_the_work_and_no_slot_is_answered_twice(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let other = world.another(&store).await;
        let id = world.release("v1").await;
        for _ in 0..40 {
            world.clock.advance(seconds(30));
            let (a, b) = tokio::join!(verification::run_due(&world.ctx), verification::run_due(&other));
            a.unwrap();
            b.unwrap();
        }
        let made = world.observations(&id).await;
        let mut slots: Vec<_> = made.iter().map(|m| (m.observation.key.clone(), m.observation.slot_at)).collect();
        slots.sort();
        slots.dedup();
        assert_eq!(slots.len(), made.len());
        assert_eq!(world.target.scans.load(Ordering::SeqCst), 1 + 20 + 2, "one scan for each slot");
        assert_eq!(world.replayed(&id, world.clock.now()).await, world.row(&id).await.verdict);
    }
}

/// A deploy that has just finished, with a slot every two seconds of its smoke and a confirm sample after one.
async fn short_smoke(store: &crate::support::TestStore, smoke: u32) -> (World, DeployId) {
    let mut world = World::new(store, checks()).await;
    let settings = Arc::make_mut(&mut world.ctx.settings);
    (settings.verification.smoke_every_seconds, settings.verification.confirm_after_seconds) = (2, 1);
    let announced = Announcement { smoke_seconds: Some(smoke), ..announcement("v1") };
    let id = verification::start(&world.ctx, &announced).await.unwrap().row.deploy.id;
    verification::finish(&world.ctx, &id).await.unwrap();
    (world, id)
}

fn announcement_new(version: &str) -> Announcement {
    Announcement { attempt: Attempt::New, ..announcement(version) }
}
