//! Rotations played to their end, both ways round, and both ways to fail.

use deploywatch::domain::rotation::{Phase, ProofKind};
use deploywatch::domain::secret::{Origin, Slot, SlotMode, StateName};
use deploywatch::services::alerting::act::{Act, act};
use deploywatch::services::secrets::{self, Keyring, Operation, SlotView, Who};
use deploywatch::store::incidents::{self, Which};

use crate::on_both_engines;
use crate::support::hook::{Hook, NEW, OLD, settings};
use crate::support::product::Product;
use crate::support::signer::numbered;
use crate::support::smtp::{Behaviour, SmtpServer};
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

/// A person calls every open incident over.
async fn resolve_all(hook: &Hook) {
    let ctx = &hook.app.context;
    let open = incidents::list(&mut ctx.db.reader().await.unwrap(), Which::Open, None, 10).await.unwrap();
    for stored in open {
        act(ctx, &stored.incident.id, "ana", Act::Resolve { note: "done".into() }).await.unwrap();
    }
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

    async fn a_provider_that_is_never_switched_is_told_with_what_to_do(store: TestStore) {
        let mails = SmtpServer::start(Behaviour::Accept).await;
        let mut settings = settings(&store, Some(OLD), None);
        mails.lead_here(&mut settings);
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        assert_eq!(hook.deliver(OLD, &numbered(1)).await, 200);
        stage(&hook, NEW).await;
        hook.advance(HOUR);
        assert_eq!(hook.deliver(OLD, &numbered(2)).await, 200);
        hook.tick().await;
        assert!(mails.letters().is_empty(), "a rotation may take its day: {:?}", mails.subjects());
        hook.advance(24 * HOUR);
        hook.tick().await;
        let [mail] = &mails.letters()[..] else { panic!("{:?}", mails.subjects()) };
        assert!(mail.subject.starts_with("[ROTATION STUCK] acme-production lemonsqueezy webhook #"), "{}", mail.subject);
        let versions = view(&hook).await.versions;
        for said in [
            "is stuck: the deadline passed and the provider never signed with the new secret".to_owned(),
            format!("from v1 ({}) to v2 ({})", versions[0].fingerprint, versions[1].fingerprint),
            format!("1. Set the new secret v2 ({}) in Lemon Squeezy > Settings > Webhooks", versions[1].fingerprint),
            "deploywatch secret rollback lemonsqueezy".into(),
            "no proof yet".into(),
        ] {
            assert!(mail.text.contains(&said), "{said}: {}", mail.text);
        }
        // Told once; its end when it goes on.
        hook.advance(HOUR / 2);
        hook.tick().await;
        assert_eq!(mails.statuses(), ["ROTATION STUCK"]);
        assert_eq!(hook.deliver(NEW, &numbered(3)).await, 200);
        hook.tick().await;
        let statuses = mails.statuses();
        assert!(statuses.contains(&"RESOLVED".to_owned()) && statuses.contains(&"NEW SECRET SIGNS".to_owned()), "{statuses:?}");
    }

    async fn a_stuck_rotation_that_is_rolled_back_is_over(store: TestStore) {
        let mails = SmtpServer::start(Behaviour::Accept).await;
        let mut settings = settings(&store, Some(OLD), None);
        mails.lead_here(&mut settings);
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        stage(&hook, NEW).await;
        hook.advance(25 * HOUR);
        hook.tick().await;
        assert_eq!(mails.statuses(), ["ROTATION STUCK"]);
        secrets::run(&hook.app.context, &slot(), None, Operation::RollBack, &who()).await.unwrap();
        hook.tick().await;
        assert_eq!(mails.statuses(), ["ROTATION STUCK", "RESOLVED"]);
        let text = &mails.letters()[1].text;
        assert!(text.contains("the rotation was rolled back: the old secret is in use again"), "{text}");
        hook.advance(8 * HOUR);
        hook.tick().await;
        assert_eq!(mails.statuses().len(), 2, "nobody is reminded of it");
    }

    async fn what_is_resolved_by_hand_and_is_still_so_is_told_again(store: TestStore) {
        let mails = SmtpServer::start(Behaviour::Accept).await;
        let mut settings = settings(&store, None, None);
        mails.lead_here(&mut settings);
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        hook.tick().await;
        assert_eq!(mails.statuses(), ["NO SECRET"]);
        hook.advance(60);
        hook.tick().await;
        assert_eq!(mails.statuses(), ["NO SECRET"], "told once");
        resolve_all(&hook).await;
        hook.tick().await;
        assert_eq!(mails.statuses(), ["NO SECRET", "RESOLVED", "NO SECRET AGAIN"]);

        let (ctx, keyring) = (&hook.app.context, Keyring::new(&hook.app.context.keys));
        secrets::add(ctx, &keyring, &slot(), OLD.as_bytes(), Origin::Cli, &who()).await.unwrap();
        hook.tick().await;
        stage(&hook, NEW).await;
        hook.advance(25 * HOUR);
        hook.tick().await;
        assert_eq!(mails.statuses()[3..], ["RESOLVED", "ROTATION STUCK"]);
        resolve_all(&hook).await;
        hook.tick().await;
        assert_eq!(mails.statuses()[5..], ["RESOLVED", "ROTATION STUCK AGAIN"]);
    }

    async fn a_product_that_is_never_redeployed_is_told_with_what_to_do(store: TestStore) {
        let (mails, product) = (SmtpServer::start(Behaviour::Accept).await, Product::start(&[OLD]).await);
        let mut settings = settings(&store, Some(OLD), None);
        settings.webhooks.sources.get_mut("lemonsqueezy").unwrap().product_url = Some(product.url());
        mails.lead_here(&mut settings);
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        assert_eq!(hook.deliver(OLD, &numbered(1)).await, 200);
        hook.tick().await;
        stage(&hook, NEW).await;
        // The provider was switched first, the product holds what it held.
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200);
        hook.tick().await;
        let other = mails.letters().into_iter().find(|mail| mail.status() == "PRODUCT ON ANOTHER SECRET");
        let other = other.unwrap_or_else(|| panic!("{:?}", mails.subjects()));
        for said in [
            "Lemon Squeezy signs with v2 (",
            "but the product refuses it with 401: it still holds another secret",
            "1. Set the current secret in the product's environment and redeploy it",
            "Nothing is lost meanwhile",
        ] {
            assert!(other.text.contains(said), "{said}: {}", other.text);
        }
        assert_eq!(other.header("Importance").as_deref(), Some("high"), "it pages");

        hook.advance(25 * HOUR);
        hook.tick().await;
        let stuck = mails.letters().into_iter().find(|mail| mail.status() == "ROTATION STUCK");
        let stuck = stuck.unwrap_or_else(|| panic!("{:?}", mails.subjects()));
        for said in [
            "the product never proved that it knows the new secret",
            "redeploy it; a changed variable without a redeploy changes nothing",
            "deploywatch secret rotate lemonsqueezy --product-done",
            "it signed delivery dlv_",
        ] {
            assert!(stuck.text.contains(said), "{said}: {}", stuck.text);
        }
    }

    async fn a_provider_that_is_not_switched_after_the_product_is_told_with_what_to_do(store: TestStore) {
        let (mails, product) = (SmtpServer::start(Behaviour::Accept).await, Product::start(&[OLD]).await);
        let mut settings = settings(&store, Some(OLD), None);
        settings.webhooks.sources.get_mut("lemonsqueezy").unwrap().product_url = Some(product.url());
        mails.lead_here(&mut settings);
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        assert_eq!(hook.deliver(OLD, &numbered(1)).await, 200);
        hook.tick().await;
        stage(&hook, NEW).await;
        // The product was redeployed first and forgot the old secret.
        product.hold(&[NEW]);
        secrets::confirm_product(&hook.app.context, &slot(), ProofKind::Operator { actor: "ana".into() }, "ana")
            .await
            .unwrap();
        assert_eq!(hook.deliver(OLD, &numbered(2)).await, 200);
        hook.tick().await;
        let other = mails.letters().into_iter().find(|mail| mail.status() == "PRODUCT ON ANOTHER SECRET");
        let other = other.unwrap_or_else(|| panic!("{:?}", mails.subjects()));
        for said in [
            "Lemon Squeezy still signs with the old v1 (",
            "refuses it with 401: it was switched first",
            "1. Set the new secret in Lemon Squeezy > Settings > Webhooks",
            "product_resign = true",
        ] {
            assert!(other.text.contains(said), "{said}: {}", other.text);
        }
        hook.advance(25 * HOUR);
        hook.tick().await;
        let stuck = mails.letters().into_iter().find(|mail| mail.status() == "ROTATION STUCK");
        let stuck = stuck.unwrap_or_else(|| panic!("{:?}", mails.subjects()));
        for said in ["the provider never signed with the new secret", "ana vouched for it"] {
            assert!(stuck.text.contains(said), "{said}: {}", stuck.text);
        }
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
