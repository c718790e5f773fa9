//! Checks beside SQL: what each kind says when it holds and when it does not, where requests may go, what
//! drains send, and what all of it means for a verdict.

mod cli;
mod drains;
mod flows;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use deploywatch::domain::check::Check;
use deploywatch::domain::clock::{SignedDuration, Timestamp};
use deploywatch::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use deploywatch::domain::logs::LogFormat;
use deploywatch::domain::measurement::Measurement;
use deploywatch::domain::observation::{Observation, Outcome};
use deploywatch::services::Context;
use deploywatch::services::signals::{self, Delivered, Drains, Facts, Taken};
use deploywatch::settings::{LogSource, MetricServer, Settings, WebhookSource};
use deploywatch::store::deliveries;
use deploywatch::suite;

use crate::support::hook::{NEW, OLD};
use crate::support::site::{Site, vector};
use crate::support::watch::World;
use crate::support::{Engine, TestStore, fixture};

pub const TOKEN: &str = "canary-token-4711";
pub const DRAIN_SECRET: &str = "canary-drain-secret";

/// Settings under which the site may be asked, with a metric server, a drain and a webhook source.
pub fn settings(settings: &mut Settings, site: &Site) {
    settings.signals.allow_private = vec!["127.0.0.0/8".into()];
    settings.signals.values.insert("site".into(), site.address.to_string().into());
    settings.signals.values.insert("token".into(), TOKEN.to_owned().into());
    let server = MetricServer {
        url: Some(format!("http://{}", site.address).parse().unwrap()),
        token: Some("canary-metric-token".to_owned().into()),
        username: None,
        password: None,
        ca_file: None,
    };
    settings.signals.metrics.insert("prometheus".into(), server);
    settings.signals.logs.insert("supabase".into(), drain(LogFormat::Supabase));
    let source = WebhookSource {
        secret: Some(NEW.into()),
        secret_previous: Some(OLD.into()),
        ..WebhookSource::default()
    };
    settings.webhooks.sources.insert("lemonsqueezy".into(), source);
}

pub fn drain(format: LogFormat) -> LogSource {
    LogSource {
        format: Some(format),
        secret: Some(DRAIN_SECRET.to_owned().into()),
        verify: None,
        silent_seconds: None,
    }
}

pub fn checks(yaml: &str) -> Vec<Check> {
    suite::parse("test.yaml", yaml).unwrap_or_else(|error| panic!("{error}")).checks
}

/// A world over a scripted target whose settings know the site.
pub async fn world(site: &Site, checks: Vec<Check>) -> (TestStore, World) {
    let store = TestStore::new(Engine::Sqlite).await;
    let mut world = World::new(&store, checks).await;
    let mut changed = (*world.ctx.settings).clone();
    settings(&mut changed, site);
    world.ctx.settings = Arc::new(changed);
    (store, world)
}

pub async fn measure(ctx: &Context, check: &Check, deployed_at: Option<Timestamp>) -> Measurement {
    let facts = Facts { now: ctx.now(), deployed_at };
    signals::measure(ctx, &[Arc::new(check.clone())], facts).await.remove(0)
}

pub fn judge(ctx: &Context, check: &Check, now: &Measurement, before: BaselineFor<'_>) -> Observation {
    let slot = SlotFacts { slot_at: ctx.now(), observed_at: ctx.now(), confirm: false, finished_at: None };
    evaluate(&check.policy, now, before, slot)
}

/// Measures and judges without a baseline.
pub async fn seen(ctx: &Context, check: &Check) -> Observation {
    judge(ctx, check, &measure(ctx, check, None).await, BaselineFor::Missing)
}

/// Sends lines as Supabase does.
pub async fn log(ctx: &Context, lines: &[&str]) -> Taken {
    let now = ctx.now().as_microsecond();
    let entries: Vec<_> = lines
        .iter()
        .map(|line| {
            serde_json::json!({
                "event_message": line, "timestamp": now, "metadata": { "parsed": { "error_severity": "ERROR" } },
            })
        })
        .collect();
    let delivered = Delivered {
        body: serde_json::to_vec(&entries).unwrap(),
        token: Some(DRAIN_SECRET.into()),
        ..Delivered::default()
    };
    Drains::new(ctx.clone()).take("supabase", delivered).await
}

/// Deliveries of the source fail since now.
pub async fn fail_webhooks(ctx: &Context, distinct: u32) {
    let mut tx = ctx.db.begin().await.unwrap();
    let mut health = deliveries::get_health(&mut tx, "lemonsqueezy").await.unwrap();
    for _ in 0..distinct {
        health.bad(ctx.now(), "unknown_secret", true);
    }
    deliveries::put_health(&mut tx, "lemonsqueezy", &health, ctx.now()).await.unwrap();
    tx.commit().await.unwrap();
}

pub async fn heal_webhooks(ctx: &Context) {
    let mut tx = ctx.db.begin().await.unwrap();
    let health = Default::default();
    deliveries::put_health(&mut tx, "lemonsqueezy", &health, ctx.now()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn break_it(kind: &str, world: &World, site: &Site) {
    match kind {
        "http" => site.change(|answers| {
            answers.status = 503;
            answers.body = r#"{"title":"canary-body","status":"canary-status","queue":7}"#.into();
        }),
        "http_latency" => site.change(|answers| answers.delay = Duration::from_millis(1_200)),
        "metric" => site.change(|answers| answers.metric = vector(&["0.4"])),
        "log_count" => {
            let taken = log(&world.ctx, &["column \"plan\" does not exist", "all is well"]).await;
            assert_eq!(taken, Taken::Counted { lines: 2, matched: 1 });
        }
        "webhooks" => fail_webhooks(&world.ctx, 3).await,
        "secrets" => verdicts::make_stale(world).await,
        other => panic!("no defect for {other}"),
    }
}

fn line(observation: &Observation) -> String {
    let threshold = observation.threshold.as_deref().unwrap_or("-");
    let (outcome, reason, message) =
        (observation.outcome.as_str(), &observation.reason, &observation.message);
    let text = format!("{outcome} {reason}\n  {threshold}\n  {message}");
    // How long something took differs from run to run.
    let took = regex::Regex::new(r"in [0-9.]+ m?s|was [0-9.]+ m?s").unwrap();
    took.replace_all(&text, |found: &regex::Captures<'_>| {
        format!("{} N", found[0].split(' ').next().unwrap())
    })
    .into_owned()
}

#[tokio::test]
async fn every_signal_finds_its_defect_and_says_so() {
    for (kind, _) in suite::kinds().filter(|(_, section)| *section == "signals") {
        let site = Site::start().await;
        let path = fixture(&format!("kinds/{kind}/suite.yaml"));
        let suites = suite::load(&[path]).unwrap_or_else(|error| panic!("{error}"));
        let check = suites[0].checks[0].clone();
        let (_store, world) = world(&site, vec![check.clone()]).await;
        if kind == "log_count" {
            measure(&world.ctx, &check, None).await;
            assert!(matches!(log(&world.ctx, &["all is well"]).await, Taken::Counted { matched: 0, .. }));
        }
        world.clock.advance(SignedDuration::from_mins(1));
        let healthy = measure(&world.ctx, &check, None).await;
        let before = judge(&world.ctx, &check, &healthy, BaselineFor::Missing);
        break_it(kind, &world, &site).await;
        let broken = measure(&world.ctx, &check, None).await;
        let after = judge(&world.ctx, &check, &broken, BaselineFor::Usable(&healthy));
        assert_eq!(after.outcome, Outcome::Fail, "{kind}: {}", line(&after));
        let text = format!("before: {}\nafter: {}", line(&before), line(&after));
        for canary in ["canary", TOKEN, DRAIN_SECRET] {
            let kept = format!("{broken:?}{text}");
            assert!(!kept.contains(canary), "{kind} shows {canary}: {kept}");
        }
        insta::with_settings!({ prepend_module_to_snapshot => true, omit_expression => true }, {
            insta::assert_snapshot!(kind, text);
        });
    }
}
