//! The monitor is monitored: the heartbeat goes out while all parts work and stops when any one does; who was
//! away says so.

use deploywatch::app::{App, Parts, Role, Ticking};
use deploywatch::domain::clock::SignedDuration;
use deploywatch::scheduler::Ticker;
use deploywatch::scheduler::jobs::{self, Job, JobReport};
use deploywatch::services::heartbeat;
use deploywatch::settings::{EmailTransport, Settings, WebhookSource};
use deploywatch::store::notifications;
use deploywatch::system::SystemEntropy;
use deploywatch::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::support::app::TestApp;
use crate::support::receiver::Receiver;
use crate::support::smtp::{Behaviour, SmtpServer};
use crate::support::watch::World;
use crate::support::{Engine, TestStore, manual_clock};

async fn app(receiver: &Receiver) -> TestApp {
    app_with(receiver, |_| {}).await
}

async fn app_with(receiver: &Receiver, change: impl FnOnce(&mut Settings)) -> TestApp {
    let url = receiver.url("/ping/canary-uuid");
    TestApp::start_on(Engine::Sqlite, |settings| {
        settings.heartbeat.url = Some(url.into());
        settings.email.transport = EmailTransport::Memory;
        settings.email.recipients = vec!["ada@example.com".into()];
        change(settings);
    })
    .await
}

/// The program's own table with one job that never gets anywhere.
fn without(name: &'static str) -> Vec<Job> {
    let stopped = |job: Job| match job.name == name {
        true => Job { run: |_| Box::pin(async { panic!("stopped on purpose") }), ..job },
        false => job,
    };
    jobs::table().into_iter().map(stopped).collect()
}

/// Minutes go by, each with one tick.
async fn minutes(app: &TestApp, ticker: &Ticker, count: usize) -> Vec<(&'static str, JobReport)> {
    let mut last = Vec::new();
    for _ in 0..count {
        app.clock.advance(SignedDuration::from_secs(60));
        last = ticker.tick().await;
    }
    last
}

fn beat(reports: &[(&'static str, JobReport)]) -> JobReport {
    reports.iter().find(|(name, _)| *name == "heartbeat").expect("it ran").1.clone()
}

#[tokio::test]
async fn it_beats_every_minute_while_all_is_well() {
    let receiver = Receiver::start().await;
    let app = app(&receiver).await;
    app.app.tick().await;
    assert!(receiver.seen().is_empty(), "nothing can have made progress yet");
    minutes(&app, &app.app.ticker, 5).await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|request| request.method == "GET" && request.path == "/ping/canary-uuid"));
}

#[tokio::test]
async fn it_stops_within_two_minutes_when_a_part_stops_alone() {
    for (part, says) in [("verification", "the scheduler made no"), ("outbox", "the sender made no")] {
        let receiver = Receiver::start().await;
        let app = app(&receiver).await;
        app.app.tick().await;
        minutes(&app, &app.app.ticker, 2).await;
        assert_eq!(receiver.seen().len(), 2);
        let broken = Ticker::with_jobs(app.ctx().clone(), CancellationToken::new(), without(part));
        let reports = minutes(&app, &broken, 2).await;
        // The minute in which it stopped may still count; the one after does not.
        assert!(receiver.seen().len() <= 3, "{part}");
        assert!(beat(&reports).problem.unwrap().contains(says), "{part}");
        minutes(&app, &app.app.ticker, 2).await;
        assert!(receiver.seen().len() >= 4, "it goes on when {part} does");
    }
}

/// Two processes on one store send one heartbeat: whoever works must not hide the other.
#[tokio::test]
async fn a_process_that_works_does_not_hide_one_that_stands_still() {
    let receiver = Receiver::start().await;
    let app = app(&receiver).await;
    // The other process: it knows of the first one by the store alone.
    let mut ctx = app.ctx().clone();
    ctx.progress = Default::default();
    let stuck = Ticker::with_jobs(ctx.clone(), CancellationToken::new(), without("verification"));
    app.app.tick().await;
    stuck.tick().await;
    let both = async || {
        app.clock.advance(SignedDuration::from_secs(60));
        let other = beat(&stuck.tick().await);
        (beat(&app.app.tick().await), other)
    };
    let (healthy, other) = both().await;
    assert!(other.problem.unwrap().contains("the scheduler made no progress"));
    let said = healthy.problem.unwrap();
    assert!(said.contains("the scheduler made no progress in process "), "{said}");
    assert!(receiver.seen().is_empty());
    // It is stopped on purpose, and holds up nobody any more.
    heartbeat::leave(&ctx).await.unwrap();
    minutes(&app, &app.app.ticker, 2).await;
    assert_eq!(receiver.seen().len(), 2);
    // One that is killed has said its last: it is forgotten within three minutes.
    stuck.tick().await;
    minutes(&app, &app.app.ticker, 2).await;
    assert_eq!(receiver.seen().len(), 2);
    minutes(&app, &app.app.ticker, 2).await;
    assert_eq!(receiver.seen().len(), 4);
}

#[tokio::test]
async fn it_stops_with_the_store_and_with_the_mail_path() {
    let (receiver, server) = (Receiver::start().await, SmtpServer::start(Behaviour::Accept).await);
    let app = app_with(&receiver, |settings| {
        server.lead_here(settings);
        settings.email.smtp.username = Some("deploywatch".into());
        settings.email.smtp.password = Some("canary-password".to_owned().into());
    })
    .await;
    app.app.tick().await;
    minutes(&app, &app.app.ticker, 1).await;
    server.behave(Behaviour::RefuseLogin);
    let people = ["bob@example.com".to_owned()];
    deploywatch::services::outbox::trial::write(app.ctx(), &people).await.unwrap();
    let reports = minutes(&app, &app.app.ticker, 2).await;
    assert_eq!(receiver.seen().len(), 1);
    assert!(beat(&reports).problem.unwrap().contains("mails cannot be handed over"));
    server.behave(Behaviour::Accept);
    minutes(&app, &app.app.ticker, 10).await;
    let healed = receiver.seen().len();
    assert!(healed > 1 && server.letters().len() == 1, "it goes on once a mail went out");
    app.ctx().db.close().await;
    let reports = minutes(&app, &app.app.ticker, 2).await;
    assert!(beat(&reports).problem.is_some());
    assert_eq!(receiver.seen().len(), healed, "no store, no heartbeat");
}

#[tokio::test]
async fn who_does_not_take_it_is_a_problem_of_the_job_without_its_address() {
    let receiver = Receiver::start().await;
    let app = app(&receiver).await;
    app.app.tick().await;
    receiver.answers(404);
    let problem = beat(&minutes(&app, &app.app.ticker, 1).await).problem.unwrap();
    assert!(problem.contains("it answered 404") && !problem.contains("canary"), "{problem}");
}

/// A process that ran until now, as the store remembers it; then another one, later.
async fn gap(minutes: i64, change: impl Fn(&mut Settings)) -> Vec<String> {
    let store = TestStore::new(Engine::Sqlite).await;
    let clock = manual_clock();
    let start = async || {
        let mut settings = Settings::defaults();
        settings.store.url = store.url.clone().into();
        settings.secrets.master_key = Some("07".repeat(32).into());
        settings.http.listen = ([127, 0, 0, 1], 0).into();
        settings.email.transport = EmailTransport::Memory;
        settings.email.recipients = vec!["ada@example.com".into()];
        change(&mut settings);
        let parts = Parts {
            settings,
            clock: clock.clone(),
            entropy: std::sync::Arc::new(SystemEntropy),
            metrics: Metrics::default(),
            role: Role::All,
            ticking: Ticking::ByHand,
        };
        App::start(parts).await.unwrap()
    };
    let first = start().await;
    first.tick().await;
    first.stop().await;
    clock.advance(SignedDuration::from_mins(minutes));
    let second = start().await;
    second.tick().await;
    second.tick().await;
    let mut reader = second.context.db.reader().await.unwrap();
    let written = notifications::list_recent(&mut reader, 10).await.unwrap();
    written.into_iter().map(|stored| stored.notification.content.text).collect()
}

#[tokio::test]
async fn a_short_restart_says_nothing_and_a_long_absence_does() {
    let hooked = |settings: &mut Settings| {
        let source =
            WebhookSource { secret: Some("a-signing-secret-of-the-live-mode".into()), ..Default::default() };
        settings.webhooks.sources.insert("lemonsqueezy".into(), source);
    };
    assert!(gap(4, hooked).await.is_empty());
    let told = gap(42, hooked).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("deploywatch was down 12:00 to 12:42 UTC (42 min)"), "{}", told[0]);
    assert!(gap(42, |_| {}).await.is_empty(), "nobody missed anything");
    let off = |settings: &mut Settings| {
        hooked(settings);
        settings.heartbeat.gap_seconds = 0;
    };
    assert!(gap(42, off).await.is_empty());
}

#[tokio::test]
async fn the_gap_mail_counts_the_runs_that_were_missed() {
    let store = TestStore::new(Engine::Sqlite).await;
    let world = World::new(&store, vec![crate::support::watch::violations("users.not_null.email")]).await;
    let mut ctx = world.ctx.clone();
    let mut settings = (*ctx.settings).clone();
    settings.email.recipients = vec!["ada@example.com".into()];
    ctx.settings = std::sync::Arc::new(settings);
    world.release("v1").await;
    world.pass(SignedDuration::from_hours(1)).await;
    deploywatch::services::heartbeat::beat(&ctx).await.unwrap();
    world.clock.advance(SignedDuration::from_mins(62));
    // Another process: it knows of the first one by the store alone.
    ctx.progress = Default::default();
    deploywatch::services::heartbeat::beat(&ctx).await.unwrap();
    let written = notifications::list_recent(&mut ctx.db.reader().await.unwrap(), 10).await.unwrap();
    let mail = written.iter().map(|s| &s.notification.content).find(|c| c.subject.contains("CHECKER DOWN"));
    let mail = mail.expect("it was told");
    // One every five minutes, the first of them within the first five.
    assert!(mail.text.contains("13 runs of deploy v1 in acme-production were missed"), "{}", mail.text);
    assert_eq!(mail.subject, "[CHECKER DOWN] deploywatch for acme-production");
}
