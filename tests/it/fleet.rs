//! What the machine of slots and verdicts must survive: a day with everything in it, processes that die or sleep
//! while they hold a claim, damage that the next release must not hide, and a release that is verified again.

use deploywatch::domain::check::{Check, CheckKey};
use deploywatch::domain::clock::{Clock, SignedDuration, Timestamp};
use deploywatch::domain::deploy::{DeployState, Override, OverrideVerdict};
use deploywatch::domain::observation::Outcome;
use deploywatch::domain::threshold::{Bound, Threshold};
use deploywatch::domain::verdict::VerdictState;
use deploywatch::services::Context;
use deploywatch::services::verification::{self, Again, Muting, VerificationError};
use deploywatch::store::deploys::{self, DeployRow, TickRecord};

use crate::on_both_engines;
use crate::support::watch::{World, violations};

/// A day, and the jitter of its last slot.
const DAY: SignedDuration = SignedDuration::from_secs(86_400 + 60);

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

fn checks() -> Vec<Check> {
    vec![violations("users.email"), violations("orders.total")]
}

/// Fails when there are more violations than before the deploy.
fn ratchet(key: &str) -> Check {
    let mut check = violations(key);
    check.policy.fail = Some(Threshold { new_above: Some(Bound::Number(0.0)), ..Threshold::default() });
    check
}

/// Claims what is due as a process that does nothing more: killed, or asleep.
async fn claim_and_die(ctx: &Context) -> Vec<DeployRow> {
    let mut tx = ctx.db.begin().await.unwrap();
    let lease = SignedDuration::from_secs(20);
    let rows = deploys::claim_due(&mut tx, ctx.db.engine(), ctx.now(), lease, 16).await.unwrap();
    tx.commit().await.unwrap();
    rows
}

/// What that process writes when it wakes up and does not know that it was dead.
async fn record_late(ctx: &Context, row: &DeployRow) -> bool {
    let mut verdict = row.verdict.clone();
    verdict.state = VerdictState::Passed;
    let record = TickRecord {
        id: &row.deploy.id,
        lease_token: row.lease_token,
        plan: &row.deploy.plan,
        state: &row.deploy.state,
        verdict: &verdict,
        verdict_at: row.verdict_at,
        target_health: &row.target_health,
        announced: &row.announced,
        scans: row.scans + 1,
        scanned_at: Some(ctx.now()),
        read_fully_at: None,
        next_due_at: None,
    };
    let mut tx = ctx.db.begin().await.unwrap();
    let written = deploys::record_tick(&mut tx, &record).await.unwrap();
    tx.commit().await.unwrap();
    written
}

async fn passes(world: &World, ctx: &Context, length: SignedDuration, step: SignedDuration) {
    let end = world.clock.now() + length;
    while world.clock.now() < end {
        verification::run_due(ctx).await.unwrap();
        world.clock.advance(step);
    }
}

on_both_engines! {
    async fn a_day_with_downtime_steps_of_the_clock_daylight_saving_and_a_suspend(store: TestStore) {
        let world = World::new(&store, checks()).await;
        // Europe's clocks go forward at 01:00 UTC, five hours into the window.
        world.clock.set("2026-03-28T20:00:00Z".parse().unwrap());
        let other = world.another(&store).await;
        let id = world.release("v1").await;
        world.pass(hours(1)).await;
        world.clock.advance(hours(2));
        world.pass(minutes(30)).await;
        world.clock.advance(hours(-2));
        world.pass(hours(4)).await;
        assert!(world.clock.now() > "2026-03-29T01:00:00Z".parse().unwrap());
        // Nobody is there for forty minutes.
        world.clock.advance(minutes(40));
        world.pass(hours(1)).await;
        // The machine of one process is suspended for three hours while it holds the claim; another takes over.
        world.clock.advance(minutes(5));
        let asleep = claim_and_die(&world.ctx).await;
        assert_eq!(asleep.len(), 1, "a slot was due");
        world.clock.advance(hours(3));
        passes(&world, &other, minutes(15), minutes(1)).await;
        assert!(!record_late(&world.ctx, &asleep[0]).await, "what it wrote after it woke up was refused");
        world.pass(DAY).await;
        let row = world.row(&id).await;
        let extension = row.deploy.plan.extension.expect("coverage was short only because nobody was there");
        assert!(extension.seconds <= 86_400 / 4);
        assert_eq!(row.verdict.state, VerdictState::Passed, "{:?}", row.verdict.reasons);
        world.assert_every_slot_answered(&id).await;
        assert_eq!(world.replayed(&id, world.clock.now()).await, row.verdict);
        let missed = world.observations(&id).await;
        let missed = missed.iter().filter(|m| m.observation.outcome == Outcome::Missed).count();
        assert!(missed > 2 * 60, "{missed} slots went by");
    }

    async fn a_dead_process_is_taken_over_within_thirty_seconds_and_can_write_nothing_more(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let other = world.another(&store).await;
        let id = world.release("v1").await;
        world.clock.advance(SignedDuration::from_secs(4));
        let dead = claim_and_die(&world.ctx).await;
        assert_eq!(dead.len(), 1);
        let died = world.clock.now();
        assert_eq!(verification::run_due(&other).await.unwrap(), 0, "it may still be alive");
        while verification::run_due(&other).await.unwrap() == 0 {
            world.clock.advance(SignedDuration::from_secs(1));
        }
        let dark = world.clock.now().duration_since(died);
        assert!(dark < SignedDuration::from_secs(30), "{dark}");
        let before = world.row(&id).await;
        assert!(!record_late(&world.ctx, &dead[0]).await);
        let mut tx = world.ctx.db.begin().await.unwrap();
        let until = world.clock.now() + minutes(1);
        assert!(!deploys::renew_claim(&mut tx, &id, dead[0].lease_token, until).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(world.row(&id).await, before, "nothing of it arrived");
        world.pass(minutes(11)).await;
        assert_eq!(world.replayed(&id, world.clock.now()).await, world.row(&id).await.verdict);
    }

    async fn the_end_of_a_deploy_fences_off_a_scan_that_is_under_way(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let id = world.release("v1").await;
        world.clock.advance(SignedDuration::from_secs(4));
        let scanning = claim_and_die(&world.ctx).await;
        verification::cancel(&world.ctx, &id, "dana", "a mistake").await.unwrap();
        assert!(!record_late(&world.ctx, &scanning[0]).await);
        assert_eq!(world.row(&id).await.verdict.state, VerdictState::Cancelled);
    }

    async fn damage_is_not_laundered_by_the_next_baseline(store: TestStore) {
        let world = World::new(&store, vec![ratchet("users.email"), violations("orders.total")]).await;
        let first = world.release("v1").await;
        world.pass(DAY).await;
        assert!(world.row(&first).await.verdict.clean);
        // v2 breaks rows and is replaced before its smoke is over; v3's own baseline holds the broken rows.
        let second = world.start("v2").await;
        world.target.script(|key, _| Ok(if key == "users.email" { 5.0 } else { 0.0 }));
        verification::finish(&world.ctx, &second).await.unwrap();
        let third = world.start("v3").await;
        world.clock.advance(SignedDuration::from_secs(30));
        verification::finish(&world.ctx, &third).await.unwrap();
        assert_eq!(world.row(&second).await.verdict.state, VerdictState::Superseded);
        assert!(world.row(&third).await.both_baselines);
        world.pass(minutes(11)).await;
        assert_eq!(world.row(&third).await.verdict.state, VerdictState::Failed);
        // A watch that is cancelled hides nothing either.
        verification::cancel(&world.ctx, &third, "dana", "too loud").await.unwrap();
        let fourth = world.release("v4").await;
        assert!(world.row(&fourth).await.both_baselines);
        world.pass(minutes(11)).await;
        assert_eq!(world.row(&fourth).await.verdict.state, VerdictState::Failed);
        // Until a person says that it is good so.
        let now = world.clock.now();
        let decided = Override {
            verdict: OverrideVerdict::Passed,
            actor: "dana".into(),
            reason: "five test accounts".into(),
            at: now,
            expires_at: now + hours(24),
        };
        verification::decide_by_hand(&world.ctx, &fourth, decided).await.unwrap();
        let fifth = world.release("v5").await;
        assert!(!world.row(&fifth).await.both_baselines);
        world.pass(DAY).await;
        assert_eq!(world.row(&fifth).await.verdict.state, VerdictState::Passed);
    }

    async fn a_breach_names_every_release_whose_window_it_falls_in(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let first = world.release("v1").await;
        world.pass(hours(3)).await;
        let second = world.release("v2").await;
        world.pass(hours(2)).await;
        let broken: Timestamp = world.clock.now();
        world.target.script(move |key, now| Ok(if key == "users.email" && now >= broken { 1.0 } else { 0.0 }));
        world.pass(minutes(10)).await;
        let row = world.row(&second).await;
        let mut c = world.ctx.db.reader().await.unwrap();
        let suspects = verification::suspects(&mut c, &row).await.unwrap();
        let [(key, named)] = suspects.iter().collect::<Vec<_>>()[..] else { panic!("{suspects:?}") };
        assert_eq!(key.as_str(), "users.email");
        let named: Vec<_> = named.iter().map(|s| (&s.id, s.prime)).collect();
        assert_eq!(named, [(&second, true), (&first, false)]);
    }

    async fn a_release_is_verified_again_against_what_it_was_compared_with(store: TestStore) {
        let world = World::new(&store, vec![ratchet("users.email"), violations("orders.total")]).await;
        world.target.script(|key, _| Ok(if key == "users.email" { 3.0 } else { 0.0 }));
        let first = world.release("v1").await;
        let again = Again { actor: "dana".into(), ..Again::default() };
        let refused = verification::reverify(&world.ctx, &first, &again).await;
        assert!(matches!(refused, Err(VerificationError::State(_))), "it is still being watched");
        world.target.set_down(true);
        // The last slot is tried again for a while.
        world.pass(DAY + minutes(5)).await;
        let old = world.row(&first).await;
        assert_eq!(old.verdict.state, VerdictState::Inconclusive);
        world.target.set_down(false);
        world.clock.advance(hours(5));
        let second = verification::reverify(&world.ctx, &first, &again).await.unwrap();
        assert_eq!(second.deploy.attempt, 2);
        assert_eq!(second.deploy.baseline_id, old.deploy.baseline_id);
        assert_eq!(second.deploy.deployed_at(), old.deploy.finished_at);
        let same = verification::reverify(&world.ctx, &first, &again).await.unwrap();
        assert_eq!(same.deploy.id, second.deploy.id, "asking again answers the same");
        world.pass(DAY).await;
        let row = world.row(&second.deploy.id).await;
        assert_eq!(row.verdict.state, VerdictState::Passed, "{:?}", row.verdict.reasons);
        assert_eq!(world.row(&first).await.verdict, old.verdict, "the first verdict stays");
        assert!(matches!(world.row(&first).await.deploy.state, DeployState::Closed { .. }));
        world.assert_every_slot_answered(&second.deploy.id).await;
        world.release("v2").await;
        let refused = verification::reverify(&world.ctx, &second.deploy.id, &again).await;
        let Err(VerificationError::State(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("v2"), "{why}");
    }

    async fn a_failed_release_that_was_mended_is_verified_again_at_once(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let first = world.release("v1").await;
        world.target.script(|key, _| Ok(if key == "users.email" { 1.0 } else { 0.0 }));
        world.pass(minutes(2)).await;
        assert_eq!(world.row(&first).await.verdict.state, VerdictState::Failed);
        world.target.script(|_, _| Ok(0.0));
        let again = Again { actor: "dana".into(), ..Again::default() };
        let second = verification::reverify(&world.ctx, &first, &again).await.unwrap();
        let old = world.row(&first).await;
        assert_eq!((old.verdict.state, old.next_due_at), (VerdictState::Failed, None));
        world.pass(DAY).await;
        assert_eq!(world.row(&second.deploy.id).await.verdict.state, VerdictState::Passed);
    }

    async fn a_mute_by_hand_is_for_the_future_lasts_over_deploys_and_ends(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let id = world.release("v1").await;
        world.pass(minutes(20)).await;
        world.target.script(|key, _| Ok(if key == "users.email" { 1.0 } else { 0.0 }));
        let muting = |check: &str, seconds| Muting {
            check: CheckKey(check.into()),
            seconds,
            actor: "dana".into(),
            reason: "known".into(),
        };
        let refused = verification::mute(&world.ctx, &id, muting("user.email", 60)).await;
        let Err(VerificationError::NoCheck { nearest, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(nearest.as_deref(), Some("users.email"));
        let scanning = claim_and_die(&world.ctx).await;
        verification::mute(&world.ctx, &id, muting("users.email", 3_600)).await.unwrap();
        assert!(scanning.is_empty() || !record_late(&world.ctx, &scanning[0]).await);
        world.pass(minutes(30)).await;
        let row = world.row(&id).await;
        assert_eq!((row.verdict.state, row.announced.breached.len()), (VerdictState::Verifying, 0));
        assert!(row.verdict.checks.iter().any(|c| c.muted_until.is_some() && !c.enforced));
        assert_eq!(world.replayed(&id, row.verdict_at).await.state, VerdictState::Verifying);
        let second = world.release("v2").await;
        world.pass(minutes(20)).await;
        assert_eq!(world.row(&second).await.verdict.state, VerdictState::Verifying, "it is muted still");
        world.target.script(|_, _| Ok(0.0));
        world.pass(DAY).await;
        let row = world.row(&second).await;
        assert_eq!(row.verdict.state, VerdictState::PassedWithWarnings, "a critical check was muted");
        assert_eq!(world.replayed(&second, world.clock.now()).await, row.verdict);
        // One that ends before its time: what fails then counts.
        let third = world.release("v3").await;
        verification::mute(&world.ctx, &third, muting("users.email", 86_400)).await.unwrap();
        world.target.script(|key, _| Ok(if key == "users.email" { 1.0 } else { 0.0 }));
        world.pass(minutes(5)).await;
        verification::mute(&world.ctx, &third, muting("users.email", 0)).await.unwrap();
        world.pass(minutes(5)).await;
        assert_eq!(world.row(&third).await.verdict.state, VerdictState::Failed);
        assert_eq!(world.replayed(&third, world.clock.now()).await.state, VerdictState::Failed);
    }

    async fn a_decision_by_hand_can_be_taken_back(store: TestStore) {
        let world = World::new(&store, checks()).await;
        let id = world.release("v1").await;
        let refused = verification::withdraw_decision(&world.ctx, &id, "dana").await;
        assert!(matches!(refused, Err(VerificationError::NotDecided(_))), "{refused:?}");
        let at = world.clock.now();
        let decided = Override {
            verdict: OverrideVerdict::Failed,
            actor: "dana".into(),
            reason: "the wrong deploy".into(),
            at,
            expires_at: at + hours(1),
        };
        verification::decide_by_hand(&world.ctx, &id, decided).await.unwrap();
        world.clock.advance(minutes(1));
        verification::withdraw_decision(&world.ctx, &id, "dana").await.unwrap();
        assert_eq!(world.row(&id).await.decided, None);
    }
}
