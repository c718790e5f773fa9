//! Passing on to the product: what it gets, what happens when it does not take it, and what on-call reads.

use deploywatch::domain::ids::DeliveryId;
use deploywatch::domain::incident::IncidentKind;
use deploywatch::domain::secret::{Origin, Slot, SlotMode};
use deploywatch::services::secrets::{self, Keyring, Who};
use deploywatch::services::webhooks;
use deploywatch::settings::EmailTransport;
use deploywatch::store::incidents::{self, Which};
use deploywatch::store::relays::{self, Selection};
use deploywatch::store::{deliveries, notifications};

use crate::on_both_engines;
use crate::support::hook::{Hook, NEW, OLD, settings};
use crate::support::product::{Product, Taken};
use crate::support::signer::{numbered, sign};
use crate::support::{Engine, TestStore, manual_clock};

const HOUR: i64 = 3600;

fn slot() -> Slot {
    Slot { source: "lemonsqueezy".into(), mode: SlotMode::Live }
}

async fn with_product(store: &TestStore, product: &Product, resign: bool) -> Hook {
    let mut settings = settings(store, Some(OLD), None);
    settings.email.recipients = vec!["oncall@example.com".into()];
    settings.email.transport = EmailTransport::Memory;
    let source = settings.webhooks.sources.get_mut("lemonsqueezy").unwrap();
    source.product_url = Some(product.url());
    source.product_resign = resign;
    Hook::start_with(store, &settings, manual_clock()).await
}

async fn stage_new(hook: &Hook) {
    let ctx = &hook.app.context;
    let who = Who { actor: "ana".into(), reason: "yearly".into() };
    let keyring = Keyring::new(&ctx.keys);
    secrets::add(ctx, &keyring, &slot(), NEW.as_bytes(), Origin::Cli, &who).await.unwrap();
}

/// The subjects of all mails, the oldest first, and their texts.
pub async fn mails(hook: &Hook) -> Vec<(String, String)> {
    let mut reader = hook.app.context.db.reader().await.unwrap();
    let mut all = notifications::list_recent(&mut reader, 100).await.unwrap();
    all.reverse();
    all.into_iter().map(|mail| (mail.notification.content.subject, mail.notification.content.text)).collect()
}

async fn open_kinds(hook: &Hook) -> Vec<IncidentKind> {
    let mut reader = hook.app.context.db.reader().await.unwrap();
    let open = incidents::list(&mut reader, Which::Open, None, 100).await.unwrap();
    open.into_iter().map(|stored| stored.incident.key.kind).collect()
}

async fn newest(hook: &Hook) -> DeliveryId {
    let filter = deliveries::Filter { limit: 1, ..Default::default() };
    let mut reader = hook.app.context.db.reader().await.unwrap();
    deliveries::list(&mut reader, &filter).await.unwrap().remove(0).id
}

#[tokio::test]
async fn the_product_gets_what_came_and_the_trace_goes_on() {
    let store = TestStore::new(Engine::Sqlite).await;
    let product = Product::start(&[OLD]).await;
    let hook = with_product(&store, &product, false).await;
    let body = numbered(1);
    let mut post = Hook::with_signature(&sign(OLD, &body).to_uppercase(), &body);
    post.headers.extend([
        ("x-event-name", "subscription_created".to_owned()),
        ("x-custom", "kept".into()),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ("cookie", "session=1".into()),
        ("x-forwarded-for", "198.51.100.7".into()),
    ]);
    assert_eq!(hook.post(post).await.0, 200);
    hook.tick().await;
    let Taken { body: got, headers } = product.taken().remove(0);
    assert_eq!(got, body, "byte for byte");
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(header("x-signature"), Some(sign(OLD, &body).to_uppercase().as_str()), "as it came");
    assert_eq!(header("user-agent"), Some("LemonSqueezy-Hookshot"));
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("x-event-name"), Some("subscription_created"));
    assert_eq!(header("x-custom"), Some("kept"));
    assert_eq!((header("cookie"), header("x-forwarded-for")), (None, None));
    let trace = header("traceparent").unwrap();
    assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{trace}");
    assert!(!trace.contains("b7ad6b7169203331"), "a span of its own: {trace}");
    assert_eq!(header("x-deploywatch-delivery"), Some(newest(&hook).await.as_str()));
}

on_both_engines! {
    async fn a_product_that_is_down_is_told_of_then_given_up_then_replayed(store: TestStore) {
        let product = Product::start(&[OLD]).await;
        let hook = with_product(&store, &product, false).await;
        product.answer(Some(500));
        for number in 1..=3 {
            assert_eq!(hook.deliver(OLD, &numbered(number)).await, 200, "what the product says is not the provider's matter");
        }
        hook.tick().await;
        assert_eq!(open_kinds(&hook).await, [], "a restart is no incident");
        for hours in [0, 0, 1, 2, 8, 30] {
            hook.advance(hours * HOUR + 700);
            hook.tick().await;
        }
        assert_eq!(open_kinds(&hook).await, [IncidentKind::ProductDown]);
        let told = mails(&hook).await;
        let (subject, text) = told.last().unwrap();
        assert!(subject.contains("PRODUCT DOES NOT TAKE WEBHOOKS") || text.contains("given up"), "{subject}\n{text}");
        let db = &hook.app.context.db;
        let backlog = relays::backlog(&mut db.reader().await.unwrap(), "lemonsqueezy").await.unwrap();
        assert_eq!((backlog.queued, backlog.dead), (0, 3));

        product.answer(None);
        let ctx = &hook.app.context;
        let dead = Selection { source: "lemonsqueezy".into(), only_dead: true, ..Default::default() };
        let replayed = webhooks::replay_all(ctx, &dead, "ana").await.unwrap();
        assert_eq!((replayed.queued, replayed.more), (3, false));
        hook.tick().await;
        assert_eq!(product.accepted(), 3);
        assert_eq!(open_kinds(&hook).await, []);

        let id = newest(&hook).await;
        webhooks::replay(ctx, &id, "ana").await.unwrap();
        hook.tick().await;
        assert_eq!(product.accepted(), 4, "by its id, as often as asked");
        let everything = Selection { source: "lemonsqueezy".into(), until: Some(ctx.now()), ..Default::default() };
        assert_eq!(webhooks::replay_all(ctx, &everything, "ana").await.unwrap().queued, 3);
    }

    async fn one_that_is_refused_does_not_hold_up_the_others(store: TestStore) {
        let product = Product::start(&[OLD]).await;
        let hook = with_product(&store, &product, false).await;
        product.answer_to(&numbered(1), 500);
        for number in 1..=30 {
            assert_eq!(hook.deliver(OLD, &numbered(number)).await, 200);
        }
        hook.tick().await;
        assert_eq!(product.accepted(), 29);
    }

    async fn a_half_done_rotation_costs_nothing_where_we_may_sign_again(store: TestStore) {
        let product = Product::start(&[OLD]).await;
        let hook = with_product(&store, &product, true).await;
        stage_new(&hook).await;
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200, "the provider is switched");
        hook.tick().await;
        assert_eq!(product.accepted(), 1, "signed again with the secret that the product holds");
        let view = secrets::status(&hook.app.context, None).await.unwrap().remove(0);
        assert_eq!(view.rotation.unwrap().phase.as_str(), "half_switched", "which proves nothing for the new one");
        assert!(view.product.unwrap().starts_with("v1"));
        assert_eq!(open_kinds(&hook).await, []);

        product.hold(&[NEW]);
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200);
        hook.tick().await;
        assert_eq!(product.accepted(), 2);
        let view = secrets::status(&hook.app.context, None).await.unwrap().remove(0);
        assert_eq!(view.rotation.unwrap().phase.as_str(), "draining");
    }
}

#[tokio::test]
async fn the_product_reports_its_fingerprint_and_is_believed() {
    let store = TestStore::new(Engine::Sqlite).await;
    let hook = Hook::start(&store, OLD, None).await;
    let ctx = &hook.app.context;
    let keyring = Keyring::new(&ctx.keys);
    // As the product computes it: from the public text and its own secret.
    let text = secrets::status(ctx, None).await.unwrap().remove(0).fingerprint_text;
    let own = |secret: &str| sign(secret, text.as_bytes())[..16].to_owned();
    let report =
        async |fingerprint: &str| secrets::report_product(ctx, &keyring, &slot(), fingerprint, "ci").await;
    assert_eq!(report(&own(OLD)).await.unwrap().version, 1);
    stage_new(&hook).await;
    assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
    let phase = async || {
        let view = secrets::status(ctx, None).await.unwrap().remove(0);
        view.rotation.map(|rotation| rotation.phase.as_str())
    };
    assert_eq!(phase().await, Some("half_switched"), "a product that reported once is waited for");
    let old = report(&own(OLD)).await.unwrap();
    assert!(!old.rotation_proved);
    assert_eq!(open_kinds(&hook).await, [IncidentKind::StaleSecret], "it refuses what comes");
    let new = report(&own(NEW)).await.unwrap();
    assert_eq!((new.version, new.rotation_proved), (2, true));
    assert_eq!(phase().await, Some("draining"));
    assert_eq!(open_kinds(&hook).await, []);
    let unknown = report(&own("somebody-elses")).await.unwrap_err().to_string();
    assert!(unknown.contains("no secret of this slot"), "{unknown}");
}

on_both_engines! {
    async fn a_rotation_tells_its_story_in_mails(store: TestStore) {
        let product = Product::start(&[OLD]).await;
        let hook = with_product(&store, &product, false).await;
        assert_eq!(hook.deliver(OLD, &numbered(1)).await, 200);
        stage_new(&hook).await;
        hook.advance(60);
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200);
        hook.tick().await;
        product.hold(&[NEW]);
        hook.advance(600);
        hook.tick().await;
        hook.advance(25 * HOUR);
        hook.tick().await;
        let mails = mails(&hook).await;
        for (subject, text) in &mails {
            for secret in [NEW, OLD, "127.0.0.1"] {
                assert!(!subject.contains(secret) && !text.contains(secret), "{text}");
            }
        }
        let subjects: Vec<&str> = mails.iter().map(|(subject, _)| subject.as_str()).collect();
        let told = |what: &str| subjects.iter().any(|subject| subject.contains(what));
        assert!(told("NEW SECRET SIGNS"), "{subjects:?}");
        assert!(told("PRODUCT ON ANOTHER SECRET"), "{subjects:?}");
        assert!(told("RESOLVED"), "{subjects:?}");
        assert!(told("SECRET ROTATED"), "{subjects:?}");
        assert_eq!(subjects.len(), 4, "{subjects:?}");
    }

    async fn a_product_that_is_never_redeployed_is_told_of_twice(store: TestStore) {
        let product = Product::start(&[OLD]).await;
        let hook = with_product(&store, &product, false).await;
        stage_new(&hook).await;
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        hook.tick().await;
        hook.advance(25 * HOUR);
        hook.tick().await;
        let mut kinds = open_kinds(&hook).await;
        kinds.sort_unstable();
        assert_eq!(kinds, [IncidentKind::StaleSecret, IncidentKind::RotationStuck]);
        let mails = mails(&hook).await;
        let stuck = mails.iter().find(|(subject, _)| subject.contains("ROTATION STUCK")).unwrap();
        assert!(stuck.1.contains("redeploy"), "{}", stuck.1);
    }
}
