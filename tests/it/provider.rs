//! What is known of the provider besides its deliveries: its API's list, its silence, orders without webhooks,
//! and what was found out by trying.

use deploywatch::domain::check::Severity;
use deploywatch::domain::incident::{Incident, IncidentKind};
use deploywatch::domain::secret::{Origin, Slot, SlotMode};
use deploywatch::services::provider::{known, observe, record};
use deploywatch::services::secrets::{Keyring, Who, add};
use deploywatch::settings::{EmailTransport, Environment, RowSecurity, Settings};
use deploywatch::store::incidents::{self, Which};
use deploywatch::store::provider::{Audit, get_audit, get_orders_problem};

use crate::on_both_engines;
use crate::support::hook::{Hook, NEW, settings};
use crate::support::provider_api::{Answer, ProviderApi, webhook};
use crate::support::signer::{captured, numbered};
use crate::support::{TestStore, manual_clock};

const OURS: &str = "https://dw.example.com/webhooks/lemonsqueezy";
const KEY: &str = "canary-api-key";
const HOUR: i64 = 3600;

fn with_api(store: &TestStore, api: &ProviderApi) -> Settings {
    let mut settings = settings(store, Some(NEW), None);
    settings.http.public_url = Some("https://dw.example.com/".parse().unwrap());
    let source = settings.webhooks.sources.get_mut("lemonsqueezy").unwrap();
    source.api.key = Some(KEY.into());
    source.api.base_url = Some(api.url());
    source.api.events = vec!["subscription_created".into()];
    settings
}

async fn of_kind(hook: &Hook, kind: IncidentKind) -> Vec<Incident> {
    let mut reader = hook.app.context.db.reader().await.unwrap();
    let found = incidents::list(&mut reader, Which::All, None, 100).await.unwrap();
    found.into_iter().map(|stored| stored.incident).filter(|incident| incident.key.kind == kind).collect()
}

async fn open(hook: &Hook, kind: IncidentKind) -> Vec<Incident> {
    of_kind(hook, kind).await.into_iter().filter(|incident| !incident.state.is_resolved()).collect()
}

async fn audited(hook: &Hook) -> Audit {
    let mut reader = hook.app.context.db.reader().await.unwrap();
    get_audit(&mut reader, "lemonsqueezy").await.unwrap().expect("it was looked at")
}

/// A live body, so that it belongs to the live slot.
fn live(number: u32) -> Vec<u8> {
    String::from_utf8(numbered(number)).unwrap().replace("\"test_mode\":true", "\"test_mode\":false").into()
}

on_both_engines! {
    async fn the_providers_list_is_looked_at_now_and_then_and_told_where_it_does_not_fit(store: TestStore) {
        let good = webhook("7", OURS, &["subscription_created"], None, false);
        let api = ProviderApi::start(vec![Answer::Pages(vec![vec![good.clone()]])]).await;
        let hook = Hook::start_with(&store, &with_api(&store, &api), manual_clock()).await;
        hook.tick().await;
        assert!(open(&hook, IncidentKind::WebhookSetup).await.is_empty());
        assert_eq!((audited(&hook).await.webhooks, audited(&hook).await.findings), (1, Vec::new()));
        assert_eq!(api.keys(), [format!("Bearer {KEY}")]);
        assert!(api.queries()[0].contains("page%5Bsize%5D=100"), "{:?}", api.queries());

        // Nothing arrives although the provider says that it sent, and the events are not all there.
        hook.advance(HOUR);
        let sent = (hook.app.context.now() - deploywatch::domain::clock::SignedDuration::from_mins(30)).to_string();
        let broken = webhook("7", OURS, &["order_created"], Some(&sent), false);
        let far = webhook("8", "https://old.example.com/webhooks/lemonsqueezy?token=canary", &[], None, false);
        api.answer(vec![Answer::Pages(vec![vec![broken], vec![far]])]);
        hook.advance(12 * 60);
        hook.tick().await;
        let told = open(&hook, IncidentKind::WebhookSetup).await;
        let [incident] = &told[..] else { panic!("one incident: {told:#?}") };
        let codes: Vec<&str> = incident.facts.members.iter().map(|member| member.key.as_str()).collect();
        assert_eq!(codes, ["events_missing", "not_arriving", "other_address"]);
        assert_eq!((incident.facts.label.as_str(), incident.facts.severity), ("WEBHOOK SETUP", Severity::Critical));
        assert_eq!(incident.facts.next_steps.len(), 4, "{:#?}", incident.facts.next_steps);
        assert!(!format!("{incident:?}").contains("canary"), "addresses lose what may be a token");
        assert!(api.queries().iter().any(|query| query.contains("page%5Bnumber%5D=2")), "all pages are read");

        api.answer(vec![Answer::Pages(vec![vec![good]])]);
        hook.advance(12 * 60);
        hook.tick().await;
        assert!(open(&hook, IncidentKind::WebhookSetup).await.is_empty(), "it is over");
        assert_eq!(of_kind(&hook, IncidentKind::WebhookSetup).await.len(), 1);
    }

    async fn the_api_is_asked_seldom_and_pauses_are_kept(store: TestStore) {
        let api = ProviderApi::start(vec![Answer::Status(429, vec![("retry-after", "1800".into())])]).await;
        let hook = Hook::start_with(&store, &with_api(&store, &api), manual_clock()).await;
        hook.tick().await;
        assert_eq!(api.queries().len(), 1);
        assert!(audited(&hook).await.problem.unwrap().contains("1800 s"));
        for _ in 0..9 {
            hook.tick().await;
        }
        assert_eq!(api.queries().len(), 1, "the pause that it asked for is kept");
        hook.advance(15 * 60);
        api.answer(vec![Answer::Text("<html>")]);
        hook.tick().await;
        assert_eq!(api.queries().len(), 2);
        assert!(audited(&hook).await.problem.unwrap().contains("not a list"));
        assert!(of_kind(&hook, IncidentKind::WebhookSetup).await.is_empty(), "no answer is no finding");
        // Two hours of minutes: a look every ten of them, a call for each.
        for _ in 0..60 {
            hook.tick().await;
        }
        let calls = api.queries().len();
        assert!((10..=16).contains(&calls), "{calls} calls in two hours");
    }

    async fn a_refused_key_is_told_and_forgotten_with_a_new_one(store: TestStore) {
        let api = ProviderApi::start(vec![Answer::Status(401, Vec::new())]).await;
        let hook = Hook::start_with(&store, &with_api(&store, &api), manual_clock()).await;
        hook.tick().await;
        let told = open(&hook, IncidentKind::WebhookSetup).await;
        assert_eq!((told.len(), told[0].facts.label.as_str()), (1, "API KEY REFUSED"));
        assert!(!format!("{told:?}").contains(KEY));
        api.answer(vec![Answer::Pages(vec![vec![webhook("7", OURS, &["subscription_created"], None, false)]])]);
        hook.advance(12 * 60);
        hook.tick().await;
        assert!(open(&hook, IncidentKind::WebhookSetup).await.is_empty());
    }

    async fn a_silence_beyond_the_slots_own_rhythm_is_told_once_and_ends_with_a_delivery(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        for number in 0..40 {
            assert_eq!(hook.deliver(NEW, &live(number)).await, 200);
            hook.advance(3 * HOUR);
        }
        // Three hours are usual; nine are half as much again, three times over.
        hook.advance(5 * HOUR);
        hook.tick().await;
        assert!(of_kind(&hook, IncidentKind::WebhookSilence).await.is_empty(), "not yet");
        hook.advance(2 * HOUR);
        hook.tick().await;
        hook.tick().await;
        let told = open(&hook, IncidentKind::WebhookSilence).await;
        let [incident] = &told[..] else { panic!("one incident: {told:#?}") };
        assert_eq!(incident.key.scope, "lemonsqueezy/live");
        assert_eq!(incident.facts.severity, Severity::Warning, "a quiet day is no alarm");
        assert!(incident.facts.headline.contains("its longest usual pause is 3 h"), "{}", incident.facts.headline);
        assert_eq!(hook.deliver(NEW, &live(99)).await, 200);
        hook.tick().await;
        assert!(open(&hook, IncidentKind::WebhookSilence).await.is_empty());
    }

    async fn a_quiet_store_is_left_in_peace(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        for number in 0..10 {
            assert_eq!(hook.deliver(NEW, &live(number)).await, 200);
            hook.advance(60 * HOUR);
        }
        hook.advance(400 * HOUR);
        hook.tick().await;
        assert!(of_kind(&hook, IncidentKind::WebhookSilence).await.is_empty());
    }

    async fn orders_that_grow_while_no_webhook_comes_page(store: TestStore) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("product.db");
        let url = format!("sqlite:{}?mode=rwc", path.display());
        let product = sqlx::SqlitePool::connect(&url).await.unwrap();
        sqlx::query("CREATE TABLE subscriptions (id INTEGER PRIMARY KEY)").execute(&product).await.unwrap();
        let order = async || {
            sqlx::query("INSERT INTO subscriptions DEFAULT VALUES").execute(&product).await.unwrap();
        };
        let mut settings = settings(&store, Some(NEW), None);
        settings.email.transport = EmailTransport::Memory;
        let source = settings.webhooks.sources.get_mut("lemonsqueezy").unwrap();
        source.orders_query = Some("SELECT count(*) FROM subscriptions".into());
        settings.environments.insert("acme-production".into(), Environment {
            database_url: format!("sqlite:{}", path.display()).into(),
            suites: Vec::new(),
            recipients: vec!["oncall@example.com".into()],
            row_security: RowSecurity::Off,
            ca_file: None,
            oncall: Default::default(),
        });
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        assert_eq!(hook.deliver(NEW, &live(1)).await, 200);
        hook.tick().await;
        let five_minutes = async || {
            hook.advance(5 * 60);
            hook.tick().await;
        };
        order().await;
        order().await;
        five_minutes().await;
        assert!(of_kind(&hook, IncidentKind::WebhookSilence).await.is_empty(), "it may be on its way");
        for _ in 0..3 {
            five_minutes().await;
        }
        let told = open(&hook, IncidentKind::WebhookSilence).await;
        let [incident] = &told[..] else { panic!("one incident: {told:#?}") };
        assert_eq!(incident.facts.severity, Severity::Critical);
        assert!(incident.facts.headline.contains("from 0 to 2"), "{}", incident.facts.headline);
        assert_eq!(hook.deliver(NEW, &live(2)).await, 200);
        five_minutes().await;
        assert!(open(&hook, IncidentKind::WebhookSilence).await.is_empty());

        // Could not be counted is neither growth nor none.
        sqlx::query("DROP TABLE subscriptions").execute(&product).await.unwrap();
        five_minutes().await;
        let mut reader = hook.app.context.db.reader().await.unwrap();
        assert!(get_orders_problem(&mut reader, "lemonsqueezy").await.unwrap().is_some());
        drop(reader);
        assert!(open(&hook, IncidentKind::WebhookSilence).await.is_empty());
    }

    async fn the_log_settles_open_questions_and_people_the_others(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        let ctx = &hook.app.context;
        assert!(observe(ctx, "lemonsqueezy").await.unwrap().is_empty());
        // Refused four times as Lemon Squeezy tries, then its secret is set to the one that is known here.
        let body = captured("subscription_created.captured-2025");
        for wait in [5, 25, 125, 1] {
            assert_eq!(hook.post(Hook::signed("a-secret-nobody-knows", &body)).await.0, 401);
            hook.advance(wait);
        }
        assert_eq!(hook.deliver(NEW, &body).await, 200);
        hook.advance(600);
        assert_eq!(hook.deliver(NEW, &body).await, 200);
        let found = observe(ctx, "lemonsqueezy").await.unwrap();
        let mut codes: Vec<&str> = found.iter().map(|known| known.question.as_str()).collect();
        codes.sort_unstable();
        assert_eq!(codes, ["resend_keeps_bytes", "resend_keeps_id", "retries_keep_bytes", "retry_times", "secret_of_retries"]);
        let times = found.iter().find(|known| known.question == "retry_times").unwrap();
        assert!(times.answer.contains("5 s, 25 s, 2 min"), "{}", times.answer);
        assert!(observe(ctx, "lemonsqueezy").await.unwrap().is_empty(), "each is settled once");

        record(ctx, "timeout", " 30 s ", "ana").await.unwrap();
        assert!(record(ctx, "time_out", "30 s", "ana").await.unwrap_err().to_string().contains("time_out"));
        assert!(record(ctx, "timeout", " ", "ana").await.is_err());
        let all = known(ctx).await.unwrap();
        assert_eq!(all.len(), 6);
        let timeout = all.iter().find(|known| known.question == "timeout").unwrap();
        assert_eq!((timeout.answer.as_str(), timeout.recorded_by.as_str()), ("30 s", "ana"));
    }

    async fn a_mode_without_a_secret_is_found_by_its_own_key(store: TestStore) {
        let api = ProviderApi::start(vec![Answer::Pages(vec![vec![webhook("9", OURS, &["order_created"], None, true)]])]).await;
        let mut settings = with_api(&store, &api);
        let source = settings.webhooks.sources.get_mut("lemonsqueezy").unwrap();
        source.api.key = None;
        source.api.test_key = Some(KEY.into());
        source.api.events = Vec::new();
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        hook.tick().await;
        let codes = |audit: Audit| audit.findings.into_iter().map(|finding| finding.code).collect::<Vec<_>>();
        assert_eq!(codes(audited(&hook).await), ["mode_without_secret"]);
        let keyring = Keyring::new(&hook.app.context.keys);
        let slot = Slot { source: "lemonsqueezy".into(), mode: SlotMode::Test };
        let who = Who { actor: "ana".into(), reason: String::new() };
        add(&hook.app.context, &keyring, &slot, b"the-test-modes-secret", Origin::Cli, &who).await.unwrap();
        hook.advance(12 * 60);
        hook.tick().await;
        assert_eq!(codes(audited(&hook).await), [""; 0]);
    }
}
