//! Rotations played to their end, both ways round, and both ways to fail.

use deploywatch::domain::rotation::Phase;
use deploywatch::domain::secret::{Origin, Slot, SlotMode, StateName};
use deploywatch::services::secrets::{self, Keyring, Operation, SlotView, Who};

use crate::on_both_engines;
use crate::support::hook::{Hook, NEW, OLD, settings};
use crate::support::product::Product;
use crate::support::signer::numbered;
use crate::support::{Engine, TestStore, manual_clock};

fn slot() -> Slot {
    Slot { source: "lemonsqueezy".into(), mode: SlotMode::Live }
}

fn who() -> Who {
    Who { actor: "ana".into(), reason: "yearly".into() }
}

async fn stage(hook: &Hook, secret: &str) {
    let keyring = Keyring::new(&hook.app.context.keys);
    let (ctx, slot, who) = (&hook.app.context, slot(), who());
    let added = secrets::add(ctx, &keyring, &slot, secret.as_bytes(), Origin::Cli, &who).await;
    assert_eq!(added.unwrap().state.name(), StateName::Staged);
}

async fn view(hook: &Hook) -> SlotView {
    secrets::status(&hook.app.context, Some("lemonsqueezy")).await.unwrap().remove(0)
}

async fn states(hook: &Hook) -> Vec<StateName> {
    view(hook).await.versions.iter().map(|v| v.state).collect()
}

async fn phase(hook: &Hook) -> Option<&'static str> {
    view(hook).await.rotation.map(|r| r.phase.as_str())
}

const HOUR: i64 = 3600;

on_both_engines! {
    async fn the_provider_first(store: TestStore) {
        let product = Product::start(&[OLD]).await;
        let mut settings = settings(&store, Some(OLD), None);
        settings.webhooks.sources.get_mut("lemonsqueezy").unwrap().product_url = Some(product.url());
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        assert_eq!(hook.deliver(OLD, &numbered(1)).await, 200);
        hook.tick().await;
        assert_eq!(product.accepted(), 1);

        stage(&hook, NEW).await;
        assert_eq!(phase(&hook).await, Some("staged"));
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200);
        assert_eq!(states(&hook).await, [StateName::Retiring, StateName::Active]);
        hook.tick().await;
        assert_eq!(product.accepted(), 1, "the product still holds the old secret");
        assert_eq!(phase(&hook).await, Some("half_switched"));

        product.hold(&[NEW]);
        hook.tick().await;
        hook.tick().await;
        assert_eq!(product.accepted(), 2, "what it refused was kept and tried again");
        assert_eq!(phase(&hook).await, Some("draining"));
        assert_eq!(product.bodies()[1], numbered(2), "byte for byte");

        hook.advance(25 * HOUR);
        hook.tick().await;
        assert_eq!(states(&hook).await, [StateName::Retired, StateName::Active]);
        assert_eq!(phase(&hook).await, None, "completed");
        assert_eq!(hook.deliver(OLD, &numbered(3)).await, 401);
        assert_eq!(view(&hook).await.health, "stale");
    }

    async fn the_product_first(store: TestStore) {
        let product = Product::start(&[OLD]).await;
        let mut settings = settings(&store, Some(OLD), None);
        settings.webhooks.sources.get_mut("lemonsqueezy").unwrap().product_url = Some(product.url());
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        stage(&hook, NEW).await;
        product.hold(&[NEW, OLD]);
        let probed = deploywatch::services::webhooks::probe(&hook.app.context, &slot(), "ana").await.unwrap();
        assert_eq!(probed, deploywatch::domain::relay::Probed::AcceptsBoth);
        assert_eq!(phase(&hook).await, Some("half_switched"));
        assert_eq!(hook.deliver(OLD, &numbered(1)).await, 200, "the provider may take its time");
        hook.advance(60);
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200);
        assert_eq!(phase(&hook).await, Some("draining"));
        hook.advance(25 * HOUR);
        hook.tick().await;
        assert_eq!(phase(&hook).await, None);
        assert_eq!(states(&hook).await, [StateName::Retired, StateName::Active]);
    }

    async fn the_provider_is_never_switched(store: TestStore) {
        let hook = Hook::start(&store, OLD, None).await;
        stage(&hook, NEW).await;
        hook.advance(25 * HOUR);
        hook.tick().await;
        let rotation = view(&hook).await.rotation.unwrap();
        assert_eq!(rotation.phase.as_str(), "stuck");
        assert!(matches!(rotation.phase, Phase::Stuck { .. }));
        assert!(rotation.next_steps.iter().any(|step| step.contains("Lemon Squeezy > Settings > Webhooks")));
        let back = secrets::run(&hook.app.context, &slot(), None, Operation::RollBack, &who()).await.unwrap();
        assert_eq!(back.changes.len(), 1);
        assert_eq!(states(&hook).await, [StateName::Active, StateName::Retired]);
        assert_eq!(phase(&hook).await, None);
        assert_eq!(hook.deliver(OLD, &numbered(1)).await, 200);
    }

    async fn the_old_secret_goes_on_signing_after_its_overlap(store: TestStore) {
        let hook = Hook::start(&store, NEW, Some(OLD)).await;
        assert_eq!(states(&hook).await, [StateName::Active, StateName::Retiring]);
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        assert_eq!(hook.deliver(OLD, &numbered(2)).await, 200, "inside the overlap");
        assert_eq!(view(&hook).await.health, "warning");

        hook.advance(24 * HOUR);
        assert_eq!(hook.deliver(OLD, &numbered(3)).await, 200, "accepted, and on-call is told");
        let now = view(&hook).await;
        assert_eq!((now.health.as_str(), now.versions[1].state), ("stale", StateName::Overdue));
        assert!(now.summary.contains(&now.versions[1].fingerprint));

        hook.advance(60);
        assert_eq!(hook.deliver(NEW, &numbered(4)).await, 200);
        hook.advance(HOUR);
        hook.tick().await;
        let now = view(&hook).await;
        assert_eq!((now.health.as_str(), now.versions[1].state), ("ok", StateName::Retired));
        assert_eq!(hook.deliver(OLD, &numbered(5)).await, 401, "a retired secret is recognised and refused");
        assert_eq!(view(&hook).await.versions[1].matches, 3);
    }

    async fn no_traffic_at_all_proves_nothing(store: TestStore) {
        let hook = Hook::start(&store, NEW, Some(OLD)).await;
        hook.advance(72 * HOUR);
        hook.tick().await;
        let now = view(&hook).await;
        assert_eq!(now.versions[1].state, StateName::Retiring);
        assert!(now.versions[1].description.contains("nothing proves"), "{}", now.versions[1].description);
        assert_eq!(now.health, "warning");
    }

    async fn restarts_keep_what_was_learnt(store: TestStore) {
        let clock = manual_clock();
        let start = async |current, previous| {
            let settings = settings(&store, Some(current), previous);
            Hook::start_with(&store, &settings, clock.clone()).await
        };
        let hook = start(OLD, None).await;
        let fingerprint = view(&hook).await.versions[0].fingerprint.clone();
        hook.app.stop().await;

        let hook = start(NEW, Some(OLD)).await;
        assert_eq!(states(&hook).await, [StateName::Active, StateName::Staged], "staged, never overwritten");
        assert_eq!(view(&hook).await.versions[0].fingerprint, fingerprint);
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        hook.advance(26 * HOUR);
        hook.tick().await;
        assert_eq!(states(&hook).await, [StateName::Retired, StateName::Active]);
        hook.app.stop().await;

        let hook = start(OLD, None).await;
        assert_eq!(states(&hook).await, [StateName::Retired, StateName::Active], "a stale environment brings nothing back");
        assert_eq!(hook.deliver(OLD, &numbered(2)).await, 401);
        hook.advance(31 * 24 * HOUR);
        hook.tick().await;
        assert_eq!(states(&hook).await, [StateName::Purged, StateName::Active]);
        assert_eq!(hook.deliver(OLD, &numbered(3)).await, 401);
        let kept = view(&hook).await;
        assert_eq!(kept.versions[0].fingerprint, fingerprint, "history stays");
    }
}

#[tokio::test]
async fn a_revoked_secret_is_refused_at_once() {
    use deploywatch::domain::secret::plan::Insistence;
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, OLD, None).await;
    assert_eq!(hook.deliver(OLD, &numbered(1)).await, 200);
    let revoke = |insistence| {
        let (ctx, slot, who) = (&hook.app.context, slot(), who());
        async move { secrets::run(ctx, &slot, None, Operation::Revoke(insistence), &who).await }
    };
    let refused = revoke(Insistence::Careful).await.unwrap_err().to_string();
    assert!(refused.contains("only accepted secret"), "{refused}");
    stage(&hook, NEW).await;
    revoke(Insistence::Careful).await.unwrap();
    assert_eq!(states(&hook).await, [StateName::Compromised, StateName::Active]);
    assert_eq!(hook.deliver(OLD, &numbered(2)).await, 401);
    assert_eq!(hook.deliver(NEW, &numbered(3)).await, 200);
}
