//! Second channels through the same outbox, against a real web server: what arrives, signed how, in which
//! order, and what happens when it is not taken.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deploywatch::domain::check::Severity;
use deploywatch::domain::clock::Clock;
use deploywatch::domain::incident::{DedupKey, Facts, IncidentKind, Signal};
use deploywatch::domain::notification::{FailureClass, NotificationState, Stage};
use deploywatch::email::SendError;
use deploywatch::services::alerting::act::{Act, act};
use deploywatch::services::outbox::{self, second};
use deploywatch::settings::{Channel, EmailTransport, Settings};
use deploywatch::store::incidents::Which;
use deploywatch::store::{incidents, notifications};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::alerts::{Desk, facts, key};
use crate::support::process::Invocation;
use crate::support::receiver::{Received, Receiver};
use crate::support::{Engine, TestStore};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn channel(receiver: &Receiver, kind: &str, change: Value) -> Channel {
    let mut given = json!({"kind": kind, "url": receiver.url("/hook/canary-path"), "allow_private": true});
    if kind == "pagerduty" {
        given["url"] = json!(receiver.url("/"));
        given["secret"] = json!("canary-routing-key");
    } else if kind == "webhook" {
        given["secret"] = json!(SECRET);
    }
    for (name, value) in change.as_object().into_iter().flatten() {
        given[name] = value.clone();
    }
    serde_json::from_value(given).unwrap()
}

fn settings(channels: Vec<(&str, Channel)>) -> Settings {
    let mut settings = Settings::defaults();
    settings.email.transport = EmailTransport::Memory;
    settings.email.from = "deploywatch <alerts@example.com>".into();
    settings.email.recipients = vec!["ada@example.com".into()];
    settings.http.public_url = Some("https://watch.example.com".parse().unwrap());
    settings.channels = channels.into_iter().map(|(name, channel)| (name.to_owned(), channel)).collect();
    settings
}

async fn desk(channels: Vec<(&str, Channel)>) -> Desk {
    Desk::with(TestStore::new(Engine::Sqlite).await, settings(channels)).await
}

async fn call(desk: &Desk) -> outbox::Sending {
    second::send_due(&desk.ctx).await.unwrap()
}

async fn acknowledge(desk: &Desk) {
    let stored = {
        let mut reader = desk.ctx.db.reader().await.unwrap();
        incidents::list(&mut reader, Which::Open, None, 10).await.unwrap().remove(0)
    };
    act(&desk.ctx, &stored.incident.id, "token ada", Act::Acknowledge).await.unwrap();
}

fn is_signed(request: &Received) -> bool {
    let header = |name: &str| request.headers.get(name).unwrap_or_else(|| panic!("{name} is there"));
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(
        format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), request.body).as_bytes(),
    );
    *header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_webhook_is_told_everything_signed_and_in_order() {
    let receiver = Receiver::start().await;
    let desk = desk(vec![("hook", channel(&receiver, "webhook", json!({})))]).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    receiver.answers(503);
    assert_eq!(call(&desk).await.failed, 1);
    acknowledge(&desk).await;
    desk.clears(IncidentKind::ChecksFailed).await;
    receiver.answers(200);
    desk.wait(1);
    assert_eq!(call(&desk).await.sent, 3);
    let seen = receiver.seen();
    let kinds: Vec<String> = seen.iter().map(|r| r.json()["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["incident.opened", "incident.opened", "incident.acknowledged", "incident.resolved"]);
    assert!(seen.iter().all(is_signed));
    assert_eq!(
        seen[0].headers["webhook-id"], seen[1].headers["webhook-id"],
        "a second try is the same message"
    );
    assert_eq!(seen[0].body, seen[1].body);
    assert_ne!(seen[1].headers["webhook-id"], seen[2].headers["webhook-id"]);
    let data = &seen[1].json()["data"];
    assert_eq!(data["environment"], "acme-production");
    assert_eq!(data["members"][0]["observed"], "900");
    assert!(data["url"].as_str().unwrap().starts_with("https://watch.example.com/incidents/inc_"));
    assert_eq!(seen[2].json()["data"]["incident"]["acknowledged_by"], "token ada");
}

#[tokio::test]
async fn slack_gets_text_and_blocks_in_which_nothing_from_outside_is_markup() {
    let receiver = Receiver::start().await;
    let desk = desk(vec![("team", channel(&receiver, "slack", json!({})))]).await;
    let at = desk.clock.now();
    let mut facts = facts(&["<!channel> & <@U1>"], at);
    facts.headline = "<https://evil.example|click> \u{202e}now".into();
    desk.record(Signal::Firing { key: key(IncidentKind::ChecksFailed), at, facts }).await;
    assert_eq!(call(&desk).await.sent, 1);
    let body = &receiver.seen()[0].body;
    for inert in ["<!channel>", "<@U1>", "<https://evil.example"] {
        assert!(!body.contains(inert), "{body}");
    }
    let message = receiver.seen()[0].json();
    assert!(message["text"].as_str().unwrap().starts_with("[FAIL] &lt;https"), "{message}");
    assert_eq!(message["blocks"][0]["type"], "header");
    let links = message["blocks"].as_array().unwrap().last().unwrap()["text"]["text"].as_str().unwrap();
    assert!(links.contains("|Acknowledge>") && links.contains("/act/ack."), "{links}");
}

#[tokio::test]
async fn a_pager_is_triggered_acknowledged_and_resolved_by_one_key() {
    let receiver = Receiver::start().await;
    receiver.answers(202);
    let desk = desk(vec![("pager", channel(&receiver, "pagerduty", json!({})))]).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    acknowledge(&desk).await;
    desk.clears(IncidentKind::ChecksFailed).await;
    assert_eq!(call(&desk).await.sent, 3);
    let seen: Vec<Value> = receiver.seen().iter().map(Received::json).collect();
    let actions: Vec<&str> = seen.iter().map(|event| event["event_action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(seen.iter().all(|event| event["dedup_key"] == seen[0]["dedup_key"]));
    assert!(seen.iter().all(|event| event["routing_key"] == "canary-routing-key"));
    assert!(receiver.seen().iter().all(|request| request.path == "/v2/enqueue"));
    assert_eq!(seen[0]["payload"]["severity"], "critical");
    let stored = notifications::list_recent(&mut desk.ctx.db.reader().await.unwrap(), 10).await.unwrap();
    assert!(stored.iter().all(|s| !s.notification.content.text.contains("canary")), "no key in the outbox");
}

#[tokio::test]
async fn each_channel_hears_what_its_settings_say() {
    let receiver = Receiver::start().await;
    let with = |change: Value| channel(&receiver, "webhook", change);
    let desk = desk(vec![
        ("critical", with(json!({"severity": "critical", "url": receiver.url("/critical")}))),
        ("warning", with(json!({"url": receiver.url("/warning")}))),
        ("info", with(json!({"severity": "info", "url": receiver.url("/info")}))),
        ("elsewhere", with(json!({"environments": ["other"], "url": receiver.url("/elsewhere")}))),
    ])
    .await;
    let at = desk.clock.now();
    let mut mild = facts(&["a"], at);
    mild.severity = Severity::Warning;
    desk.record(Signal::Firing { key: key(IncidentKind::ChecksFailed), at, facts: mild }).await;
    let mut report = facts(&[], at);
    report.severity = Severity::Info;
    let environment = "acme-production".to_owned();
    desk.record(Signal::Report { environment, scope: "dep_1".into(), at, facts: report }).await;
    call(&desk).await;
    let mut paths: Vec<String> = receiver.seen().into_iter().map(|request| request.path).collect();
    paths.sort();
    assert_eq!(paths, ["/info", "/info", "/warning"]);
}

#[tokio::test]
async fn the_end_of_the_mail_path_is_told_where_mail_cannot() {
    let receiver = Receiver::start().await;
    let only = channel(&receiver, "webhook", json!({"environments": ["another"]}));
    let desk = desk(vec![("hook", only)]).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    let memory = desk.ctx.mailer.memory().unwrap();
    memory.fail_next(SendError::new(Stage::Auth, Some(535), "535 authentication failed"));
    desk.send().await;
    assert_eq!(call(&desk).await.sent, 1, "whichever environments it is for");
    let data = receiver.seen()[0].json()["data"].clone();
    assert_eq!((data["label"].as_str(), data["environment"].as_str()), (Some("MAIL BROKEN"), Some("")));
    desk.wait(10);
    desk.send().await;
    call(&desk).await;
    assert_eq!(receiver.seen()[1].json()["type"], "incident.resolved");
}

#[tokio::test]
async fn a_channel_that_is_gone_is_told_by_mail_and_heals() {
    let receiver = Receiver::start().await;
    let desk = desk(vec![("hook", channel(&receiver, "webhook", json!({})))]).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    receiver.answers(302);
    let sending = call(&desk).await;
    assert!(sending.problem.as_ref().unwrap().contains("redirects are not followed"), "{sending:?}");
    assert!(!sending.problem.unwrap().contains("canary-path"), "the address stays secret");
    assert_eq!(receiver.seen().len(), 1, "nothing went to where the redirect leads");
    desk.send().await;
    // Both are of the same moment here.
    let mut told = desk.statuses("ada");
    told.sort();
    assert_eq!(told, ["CHANNEL BROKEN", "FAIL 1"]);
    assert_eq!(call(&desk).await.sent, 0, "it is not asked to tell of its own end");
    receiver.answers(200);
    desk.wait(10);
    assert_eq!(call(&desk).await.sent, 1);
    desk.send().await;
    assert_eq!(desk.statuses("ada").last().map(String::as_str), Some("RESOLVED"));
}

#[tokio::test]
async fn a_private_address_needs_leave_and_a_metadata_service_never_gets_it() {
    let receiver = Receiver::start().await;
    for (change, hint) in [
        (json!({"allow_private": false}), "allow_private"),
        (
            json!({"allow_private": false, "url": format!("http://localhost:{}/", receiver.port)}),
            "allow_private",
        ),
        (json!({"url": "http://169.254.169.254/latest/meta-data"}), "where nothing is ever sent"),
        (json!({"url": "http://[::ffff:169.254.169.254]/"}), "where nothing is ever sent"),
    ] {
        let desk = desk(vec![("hook", channel(&receiver, "webhook", change.clone()))]).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        let problem = call(&desk).await.problem.unwrap();
        assert!(problem.contains(hint), "{change}: {problem}");
        let mut reader = desk.ctx.db.reader().await.unwrap();
        let stored = notifications::list_recent(&mut reader, 10).await.unwrap();
        let mine = stored.iter().find(|s| s.notification.channel == "hook").unwrap();
        assert_eq!(
            (mine.state, mine.failure),
            (NotificationState::Pending, Some(FailureClass::Configuration))
        );
    }
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_test_message_says_what_the_channel_answered() {
    let receiver = Receiver::start().await;
    let run = |name: &'static str| {
        Invocation::new()
            .args(["notify", "test", "--channel", name])
            .env("DEPLOYWATCH__CHANNELS__PAGER__KIND", "pagerduty")
            .env("DEPLOYWATCH__CHANNELS__PAGER__URL", receiver.url("/"))
            .env("DEPLOYWATCH__CHANNELS__PAGER__SECRET", "canary-routing-key")
            .env("DEPLOYWATCH__CHANNELS__PAGER__ALLOW_PRIVATE", "true")
            .finish()
    };
    let done = run("pager").await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("pager: handed over in"), "{}", done.stdout);
    let actions: Vec<Value> = receiver.seen().iter().map(|r| r.json()["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "resolve"], "what the test opened it closes");
    receiver.answers(400);
    let refused = run("pager").await;
    assert_eq!(refused.code, 2, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stdout.contains("check the routing key"), "{}", refused.stdout);
    assert!(!refused.stdout.contains("canary") && !refused.stderr.contains("canary"));
    let unknown = run("team").await;
    assert!(unknown.stderr.contains("no channel \"team\" (pager)"), "{}", unknown.stderr);
}

fn warning(desk: &Desk, members: &[&str]) -> Signal {
    let at = desk.clock.now();
    let facts = Facts { severity: Severity::Warning, label: "WARN".into(), ..facts(members, at) };
    Signal::Firing { key: key(IncidentKind::ChecksFailed), at, facts }
}

fn types(receiver: &Receiver) -> Vec<String> {
    let of = |request: &Received| {
        let body = request.json();
        body["event_action"].as_str().or(body["type"].as_str()).unwrap_or_default().to_owned()
    };
    receiver.seen().iter().map(of).collect()
}

/// A desk at night, with a pager and a program that are told of warnings.
async fn at_night(pager: &Receiver, hook: &Receiver) -> Desk {
    let channels = vec![
        ("pager", channel(pager, "pagerduty", json!({"severity": "warning"}))),
        ("hook", channel(hook, "webhook", json!({}))),
    ];
    let mut settings = settings(channels);
    settings.oncall.quiet_hours = Some("22:00-07:00".into());
    let desk = Desk::with(TestStore::new(Engine::Sqlite).await, settings).await;
    desk.clock.set("2026-05-01T23:00:00Z".parse().unwrap());
    desk
}

/// A pager wakes people, so that it keeps their quiet hours; a program sleeps never.
#[tokio::test]
async fn a_warning_at_night_waits_for_the_morning_on_a_pager_alone() {
    let (pager, hook) = (Receiver::start().await, Receiver::start().await);
    let desk = at_night(&pager, &hook).await;
    desk.record(warning(&desk, &["a"])).await;
    call(&desk).await;
    assert_eq!((types(&pager), types(&hook)), (Vec::new(), vec!["incident.opened".to_owned()]));
    desk.wait(60);
    desk.record(warning(&desk, &["a", "b"])).await;
    desk.wait(7 * 60 + 1);
    call(&desk).await;
    assert_eq!(types(&pager), ["trigger"], "it is 07:01");
    let details = &pager.seen()[0].json()["payload"]["custom_details"]["what"];
    assert!(details.get("b").is_some(), "it says what is true by then: {details}");
    desk.clears(IncidentKind::ChecksFailed).await;
    call(&desk).await;
    assert_eq!(types(&pager), ["trigger", "resolve"]);
}

#[tokio::test]
async fn what_is_over_by_the_morning_wakes_no_pager_and_what_grows_critical_does_at_once() {
    let (pager, hook) = (Receiver::start().await, Receiver::start().await);
    let desk = at_night(&pager, &hook).await;
    desk.record(warning(&desk, &["a"])).await;
    desk.wait(10);
    desk.clears(IncidentKind::ChecksFailed).await;
    desk.wait(9 * 60);
    call(&desk).await;
    assert_eq!(types(&pager), Vec::<String>::new());

    let desk = at_night(&pager, &hook).await;
    desk.record(warning(&desk, &["a"])).await;
    desk.wait(10);
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    call(&desk).await;
    assert_eq!(types(&pager), ["trigger"]);
    assert_eq!(pager.seen()[0].json()["payload"]["severity"], "critical");
    desk.clears(IncidentKind::ChecksFailed).await;
    call(&desk).await;
    assert_eq!(types(&pager), ["trigger", "resolve"]);
}

/// A pager for critical matters alone hears of a warning that grew, and of its end.
#[tokio::test]
async fn what_a_channel_hears_of_late_is_closed_there_too() {
    let pager = Receiver::start().await;
    let desk = desk(vec![("pager", channel(&pager, "pagerduty", json!({"severity": "critical"})))]).await;
    desk.record(warning(&desk, &["a"])).await;
    call(&desk).await;
    assert_eq!(types(&pager), Vec::<String>::new());
    desk.wait(1);
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    call(&desk).await;
    desk.wait(1);
    desk.clears(IncidentKind::ChecksFailed).await;
    call(&desk).await;
    assert_eq!(types(&pager), ["trigger", "resolve"]);
}

/// People read a chat, so that the storm guard is for it as well; programs get everything.
#[tokio::test]
async fn a_storm_is_ten_messages_to_a_chat_and_all_to_a_program() {
    let (chat, hook) = (Receiver::start().await, Receiver::start().await);
    let desk = desk(vec![
        ("team", channel(&chat, "slack", json!({}))),
        ("hook", channel(&hook, "webhook", json!({}))),
    ])
    .await;
    for n in 0..30 {
        let at = desk.clock.now();
        let key = DedupKey { environment: format!("env-{n}"), ..key(IncidentKind::ChecksFailed) };
        desk.record(Signal::Firing { key, at, facts: facts(&["a"], at) }).await;
    }
    call(&desk).await;
    assert_eq!((chat.seen().len(), hook.seen().len()), (10, 30));
    let digest = chat.seen()[9].json();
    assert!(digest["text"].as_str().unwrap().starts_with("[DIGEST 21] 21 messages in one"), "{digest}");
    let listed = digest["blocks"][2]["text"]["text"].as_str().unwrap();
    assert_eq!(listed.matches("• *[FAIL] acme-production deploy 7f3c2a1 #").count(), 15, "{listed}");
    assert!(listed.contains("+ 6 more") && listed.contains("1 check fails on acme-production"), "{listed}");
    // What a digest told is closed like everything else.
    desk.wait(11);
    let key = DedupKey { environment: "env-20".into(), ..key(IncidentKind::ChecksFailed) };
    desk.record(Signal::Cleared { key, at: desk.clock.now(), note: "recovered".into() }).await;
    call(&desk).await;
    assert!(chat.seen()[10].json()["text"].as_str().unwrap().starts_with("[RESOLVED]"));
}
