//! What signals mean for a deploy: each on its own, none in the way of another, and a verdict that the
//! observations alone add up to again.

use deploywatch::domain::clock::SignedDuration;
use deploywatch::domain::delivery::Answer;
use deploywatch::domain::gate::{FailOn, GateAnswer, GatePolicy};
use deploywatch::domain::ids::DeployId;
use deploywatch::domain::observation::Outcome;
use deploywatch::domain::secret::{Origin, Slot, SlotMode, StateName};
use deploywatch::domain::signature::Headers;
use deploywatch::domain::verdict::{Provisional, VerdictState};
use deploywatch::services::gate::{Question, ask};
use deploywatch::services::secrets::{self, Keyring, Who};
use deploywatch::services::signals;
use deploywatch::services::verification;
use deploywatch::services::webhooks::{Body, Ingest, Request};
use deploywatch::store::deploys;

use super::{checks, fail_webhooks, heal_webhooks, log, world};
use crate::support::hook::{NEW, OLD};
use crate::support::signer::{numbered, sign};
use crate::support::site::{Site, vector};
use crate::support::watch::{ENVIRONMENT, World, announcement, violations};

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

const SUITE: &str = "
suite: signals
signals:
  - key: sign-in
    http: { url: 'http://${SITE}/sign-in', contains: Sign in }
  - key: error-rate
    metric: rate
    fail: { above: 0.05, rise_above: 100% }
  - key: unauthorised
    log_count: { pattern: Unauthorised, over: 5m }
    fail: { above: 2 }
";

/// SQL beside every kind of signal, watched for an hour.
async fn watched(site: &Site) -> (crate::support::TestStore, World) {
    let mut all = vec![violations("users.email")];
    all.extend(checks(SUITE));
    let (store, world) = world(site, all).await;
    // What the job does each minute before anything is deployed.
    for check in checks(SUITE) {
        super::measure(&world.ctx, &check, None).await;
    }
    log(&world.ctx, &["all is well"]).await;
    world.clock.advance(minutes(1));
    (store, world)
}

async fn release(world: &World, version: &str) -> DeployId {
    let mut asked = announcement(version);
    asked.window_seconds = Some(3_600);
    let id = verification::start(&world.ctx, &asked).await.expect("it starts").row.deploy.id;
    world.clock.advance(SignedDuration::from_secs(30));
    verification::finish(&world.ctx, &id).await.expect("it finishes");
    id
}

/// Lets time pass while the drain stays alive.
async fn pass(world: &World, length: SignedDuration) {
    let mut left = length;
    while left > SignedDuration::ZERO {
        let piece = left.min(minutes(5));
        log(&world.ctx, &["all is well"]).await;
        world.pass(piece).await;
        left -= piece;
    }
}

async fn gate(world: &World) -> GateAnswer {
    let policy = GatePolicy { stage: deploywatch::domain::check::Stage::Smoke, fail_on: FailOn::Failure };
    let question = Question::Newest { environment: ENVIRONMENT.into() };
    ask(&world.ctx, &question, policy).await.unwrap().decision.answer
}

/// The old secret is over its time, and a delivery comes that is signed with it.
pub async fn make_stale(world: &World) {
    age_secrets(world).await;
    use_old_secret(world, 1).await;
}

async fn age_secrets(world: &World) {
    let keyring = Keyring::new(&world.ctx.keys);
    secrets::start(&world.ctx, &keyring).await.expect("the secrets of the settings are taken in");
    world.clock.advance(SignedDuration::from_hours(25));
}

async fn use_old_secret(world: &World, number: u32) {
    use_secret(world, OLD, number).await;
}

/// A delivery comes that is signed with this one.
async fn use_secret(world: &World, secret: &str, number: u32) {
    let body = numbered(number);
    let mut headers = Headers::default();
    headers.add("x-signature".into(), sign(secret, &body).as_bytes());
    let request = Request {
        source: "lemonsqueezy".into(),
        headers,
        body: Body::Whole(body),
        user_agent: Some("LemonSqueezy-Hookshot".into()),
        event_header: Some("subscription_created".into()),
        content_encoding: None,
        passed_on: Vec::new(),
        sender: [127, 0, 0, 1].into(),
    };
    assert_eq!(Ingest::start(world.ctx.clone()).receive(request).await, Answer::Stored);
}

#[tokio::test]
async fn a_healthy_window_passes_with_every_signal_and_adds_up_again() {
    let site = Site::start().await;
    let (_store, world) = watched(&site).await;
    let id = release(&world, "v1").await;
    pass(&world, minutes(62)).await;
    let row = world.row(&id).await;
    assert_eq!(row.verdict.state, VerdictState::Passed, "{:#?}", row.verdict);
    let keys: Vec<String> = {
        let mut c = world.ctx.db.reader().await.unwrap();
        let checks = deploys::get_check_set(&mut c, &row.check_set).await.unwrap();
        checks.iter().map(|check| check.key().to_string()).collect()
    };
    assert_eq!(
        keys,
        [
            "users.email",
            "sign-in",
            "error-rate",
            "unauthorised",
            "lemonsqueezy.webhooks",
            "lemonsqueezy.secrets"
        ]
    );
    world.assert_every_slot_answered(&id).await;
    assert_eq!(world.replayed(&id, world.clock_now()).await, row.verdict);
}

#[tokio::test]
async fn each_signal_that_breaks_stops_the_gate() {
    for broken in ["sign-in", "error-rate", "unauthorised"] {
        let site = Site::start().await;
        let (_store, world) = watched(&site).await;
        let id = release(&world, "v1").await;
        pass(&world, minutes(12)).await;
        assert_eq!(gate(&world).await, GateAnswer::Go, "before {broken}");
        match broken {
            "sign-in" => site.change(|answers| answers.status = 500),
            "error-rate" => site.change(|answers| answers.metric = vector(&["0.03"])),
            _ => {
                log(&world.ctx, &["Unauthorised"; 3]).await;
            }
        }
        pass(&world, minutes(6)).await;
        assert_eq!(gate(&world).await, GateAnswer::Stop, "{broken}");
        let verdict = world.row(&id).await.verdict;
        let breached: Vec<&str> =
            verdict.checks.iter().filter(|c| c.breached).map(|c| c.key.as_str()).collect();
        assert_eq!(breached, [broken]);
    }
}

#[tokio::test]
async fn lines_from_before_the_deploy_do_not_fail_it() {
    let site = Site::start().await;
    let (_store, world) = watched(&site).await;
    log(&world.ctx, &["Unauthorised"; 50]).await;
    let id = release(&world, "v1").await;
    pass(&world, minutes(12)).await;
    assert_eq!(gate(&world).await, GateAnswer::Go, "{:#?}", world.row(&id).await.verdict.checks);
}

#[tokio::test]
async fn a_database_that_is_down_leaves_the_signals_measured_and_the_other_way_round() {
    let site = Site::start().await;
    let (_store, world) = watched(&site).await;
    let id = release(&world, "v1").await;
    pass(&world, minutes(11)).await;
    let outcomes = async |since| {
        let mut found = std::collections::BTreeMap::new();
        for made in world.observations(&id).await {
            if made.observation.observed_at > since {
                found.insert(made.observation.key.to_string(), made.observation.outcome);
            }
        }
        found
    };
    let at = world.clock_now();
    world.target.set_down(true);
    pass(&world, minutes(6)).await;
    let seen = outcomes(at).await;
    assert_eq!(seen["users.email"], Outcome::Error);
    assert_eq!((seen["sign-in"], seen["unauthorised"]), (Outcome::Pass, Outcome::Pass));
    assert_eq!(gate(&world).await, GateAnswer::Inconclusive, "on-call is told that the target is not seen");
    assert!(world.row(&id).await.announced.cannot_check);

    world.target.set_down(false);
    site.change(|answers| answers.metric = "<html>".into());
    let at = world.clock_now();
    pass(&world, minutes(6)).await;
    let seen = outcomes(at).await;
    assert_eq!((seen["users.email"], seen["error-rate"]), (Outcome::Pass, Outcome::Error));
    assert!(!world.row(&id).await.announced.cannot_check, "the target is seen again");
    assert!(!world.row(&id).await.verdict.checks.iter().any(|c| c.breached), "blindness is no failure");
}

#[tokio::test]
async fn failing_webhooks_stop_the_gate_and_end_as_a_warning_once_they_verify_again() {
    let site = Site::start().await;
    let (_store, world) = watched(&site).await;
    let id = release(&world, "v1").await;
    pass(&world, minutes(12)).await;
    assert_eq!(gate(&world).await, GateAnswer::Go);
    fail_webhooks(&world.ctx, 3).await;
    pass(&world, minutes(6)).await;
    assert_eq!(gate(&world).await, GateAnswer::Stop);
    heal_webhooks(&world.ctx).await;
    pass(&world, minutes(46)).await;
    let verdict = world.row(&id).await.verdict;
    assert_eq!(verdict.state, VerdictState::PassedWithWarnings, "{verdict:#?}");
}

#[tokio::test]
async fn a_stale_secret_enters_the_verdict_of_the_deploy_that_it_falls_in() {
    let site = Site::start().await;
    let (_store, world) = watched(&site).await;
    age_secrets(&world).await;
    use_old_secret(&world, 1).await;
    log(&world.ctx, &["all is well"]).await;
    let id = release(&world, "v1").await;
    pass(&world, minutes(12)).await;
    assert_eq!(gate(&world).await, GateAnswer::Go, "that was before the deploy");
    assert_eq!(world.row(&id).await.verdict.provisional, Some(Provisional::Warnings));
    use_old_secret(&world, 2).await;
    pass(&world, minutes(6)).await;
    assert_eq!(gate(&world).await, GateAnswer::Stop);
}

const THIRD: &str = "a-third-secret-for-the-webhooks";

/// A rotation is under way since now.
async fn stage(world: &World) -> Slot {
    let keyring = Keyring::new(&world.ctx.keys);
    secrets::start(&world.ctx, &keyring).await.expect("the secrets of the settings are taken in");
    let slot = Slot { source: "lemonsqueezy".into(), mode: SlotMode::Live };
    let who = Who { actor: "ana".into(), reason: "yearly".into() };
    let added = secrets::add(&world.ctx, &keyring, &slot, THIRD.as_bytes(), Origin::Cli, &who).await;
    assert_eq!(added.expect("it is added").state.name(), StateName::Staged);
    slot
}

/// The last word of the check about the source's secrets.
async fn about_secrets(world: &World, id: &DeployId) -> String {
    let made = world.observations(id).await;
    let last = made.iter().rev().find(|m| m.observation.key.as_str() == "lemonsqueezy.secrets");
    last.expect("secrets are looked at").observation.message.clone()
}

#[tokio::test]
async fn a_rotation_that_gets_stuck_stops_the_deploy_that_it_falls_in_and_not_the_next_one() {
    let site = Site::start().await;
    let (_store, world) = watched(&site).await;
    stage(&world).await;
    world.clock.advance(minutes(24 * 60 - 15));
    log(&world.ctx, &["all is well"]).await;
    let id = release(&world, "v1").await;
    pass(&world, minutes(11)).await;
    assert_eq!(
        gate(&world).await,
        GateAnswer::Go,
        "under way is no problem: {}",
        about_secrets(&world, &id).await
    );
    pass(&world, minutes(10)).await;
    assert_eq!(gate(&world).await, GateAnswer::Stop);
    assert!(about_secrets(&world, &id).await.contains("is stuck"), "{}", about_secrets(&world, &id).await);
    let next = release(&world, "v2").await;
    pass(&world, minutes(12)).await;
    assert_eq!(
        gate(&world).await,
        GateAnswer::Go,
        "it was stuck before: {}",
        about_secrets(&world, &next).await
    );
}

#[tokio::test]
async fn a_rotation_whose_old_secret_goes_on_signing_enters_the_verdict() {
    let site = Site::start().await;
    let (_store, world) = watched(&site).await;
    stage(&world).await;
    use_secret(&world, THIRD, 1).await;
    world.clock.advance(minutes(25 * 60));
    log(&world.ctx, &["all is well"]).await;
    let id = release(&world, "v1").await;
    pass(&world, minutes(12)).await;
    use_secret(&world, NEW, 2).await;
    pass(&world, minutes(6)).await;
    assert_eq!(gate(&world).await, GateAnswer::Stop, "{}", about_secrets(&world, &id).await);
    let said = about_secrets(&world, &id).await;
    assert!(said.contains("signed a delivery") && said.contains("is overdue"), "{said}");
}

#[tokio::test]
async fn declared_checks_of_webhooks_replace_the_built_in_ones() {
    let site = Site::start().await;
    let declared = checks(
        "suite: s\nsignals:\n  - secrets: lemonsqueezy\n    severity: info\n  - webhooks: lemonsqueezy\n    key: mine\n",
    );
    let (_store, world) = world(&site, declared.clone()).await;
    assert!(signals::built_in(&world.ctx.settings, ENVIRONMENT, &declared).is_empty());
    assert_eq!(signals::built_in(&world.ctx.settings, ENVIRONMENT, &declared[..1]).len(), 1);
    assert_eq!(signals::built_in(&world.ctx.settings, "another", &[]).len(), 0);
    let both = signals::built_in(&world.ctx.settings, ENVIRONMENT, &[]);
    assert!(both.iter().all(|check| !check.policy.latch && check.policy.fail_after == 1));
}
