//! The links of mails: scanners that follow every link change nothing, a person's button acts once, and
//! nobody else's form does.

use std::collections::BTreeSet;

use deploywatch::domain::access::Scope;
use deploywatch::domain::clock::{Clock, SignedDuration};
use deploywatch::domain::incident::{IncidentKind, IncidentState, Signal};
use deploywatch::services::{alerting, outbox};
use deploywatch::settings::{LinkPolicy, Settings};
use deploywatch::store::incidents::Which;
use deploywatch::store::{audit, incidents, silences};
use reqwest::{Method, StatusCode};

use crate::alerts::{facts, key};
use crate::support::Engine;
use crate::support::app::TestApp;
use crate::support::http::Form;
use crate::support::smtp::{Behaviour, SmtpServer};

const BASE: &str = "https://watch.example.com";

async fn app(change: impl FnOnce(&mut Settings)) -> TestApp {
    TestApp::start_on(Engine::Sqlite, |settings| {
        settings.http.public_url = Some(BASE.parse().unwrap());
        settings.email.transport = deploywatch::settings::EmailTransport::Memory;
        settings.email.from = "deploywatch <alerts@example.com>".into();
        settings.email.recipients = vec!["ada@example.com".into()];
        change(settings);
    })
    .await
}

/// Fires a problem, sends its mail and gives the mail's text and HTML.
async fn mailed(app: &TestApp, signal: Signal) -> (String, String) {
    send(app, signal).await;
    let mail = app.ctx().mailer.memory().unwrap().mails().pop().unwrap();
    (mail.content.text, mail.content.html)
}

async fn send(app: &TestApp, signal: Signal) {
    let ctx = app.ctx();
    let mut tx = ctx.db.begin().await.unwrap();
    alerting::record(ctx, &mut tx, &[signal]).await.unwrap();
    tx.commit().await.unwrap();
    outbox::send_due(ctx).await.unwrap();
}

fn failure(app: &TestApp) -> Signal {
    let at = app.clock.now();
    Signal::Firing { key: key(IncidentKind::ChecksFailed), at, facts: facts(&["a"], at) }
}

async fn fire(app: &TestApp) {
    send(app, failure(app)).await;
}

async fn failing(app: &TestApp) -> (String, String) {
    mailed(app, failure(app)).await
}

/// The addresses of our own server in a mail, as paths.
fn links(text: &str) -> BTreeSet<String> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>');
    text.match_indices(BASE)
        .map(|(at, _)| text[at + BASE.len()..].split(ends).next().unwrap_or_default().to_owned())
        .filter(|path| path.len() > 1)
        .collect()
}

fn link<'a>(links: &'a BTreeSet<String>, word: &str) -> &'a str {
    links.iter().find(|link| link.contains(word)).unwrap_or_else(|| panic!("no {word} in {links:?}"))
}

async fn state(app: &TestApp) -> (IncidentState, Option<deploywatch::domain::clock::Timestamp>) {
    let mut reader = app.ctx().db.reader().await.unwrap();
    let stored = incidents::list(&mut reader, Which::All, None, 10).await.unwrap().remove(0);
    (stored.incident.state, stored.incident.snoozed_until)
}

async fn audited(app: &TestApp) -> Vec<String> {
    let mut reader = app.ctx().db.reader().await.unwrap();
    let entries = audit::list(&mut reader, 100).await.unwrap();
    entries.into_iter().map(|entry| format!("{} {} {}", entry.actor, entry.action, entry.detail)).collect()
}

async fn press(app: &TestApp, path: &str) -> reqwest::Response {
    let token = path.trim_start_matches("/act/");
    app.client.post(app.url(path)).form(&[("token", token)]).send().await.unwrap()
}

#[tokio::test]
async fn scanners_change_nothing_and_a_person_acts_once() {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let app = app(|settings| server.lead_here(settings)).await;
    fire(&app).await;
    // As it came over the wire, which is what scanners read.
    let mail = server.letters().pop().expect("a mail was taken");
    let (text, html) = (mail.text, mail.html);
    let all = links(&text);
    assert_eq!(all, links(&html.replace("&#38;", "&").replace("&amp;", "&")), "both parts lead to the same");
    assert_eq!(all.len(), 5, "the incident, acknowledge, two snoozes, silence: {all:?}");
    // A token exists from here on, so that nobody is let in for being on this machine.
    app.token(&[Scope::Read]).await;
    let before = (state(&app).await, audited(&app).await.len());
    for _ in 0..2 {
        for method in [Method::GET, Method::HEAD, Method::GET] {
            for path in &all {
                let answer = app.client.request(method.clone(), app.url(path)).send().await.unwrap();
                assert!(!answer.status().is_server_error(), "{method} {path}: {}", answer.status());
            }
        }
    }
    assert_eq!((state(&app).await, audited(&app).await.len()), before);
    assert!(silences::list_all(&mut app.ctx().db.reader().await.unwrap(), 10).await.unwrap().is_empty());

    let acknowledge = link(&all, "/act/ack.");
    let page = app.get(acknowledge).await.text().await.unwrap();
    assert!(page.contains("I am on it") && page.contains("Nothing has changed yet"), "{page}");
    assert_eq!(page.matches("<button").count(), 1, "one button");
    assert!(!page.contains("<script"), "nothing submits itself");
    assert!(!page.contains("ada@example.com"), "no address in the open");

    let done = press(&app, acknowledge).await;
    assert_eq!(done.status(), StatusCode::OK);
    assert!(done.text().await.unwrap().contains("Done. You are on it"));
    let (now, _) = state(&app).await;
    assert!(
        matches!(&now, IncidentState::Acknowledged { by, .. } if by == "a***@example.com (by mail)"),
        "{now:?}"
    );
    let entries = audited(&app).await;
    let entry = entries.iter().find(|entry| entry.contains("incident.ack"));
    let entry = entry.unwrap_or_else(|| panic!("{entries:?}"));
    assert!(entry.contains("127.0.0.1"), "{entry}");
    assert!(entry.contains("ntf_"), "the mail says who it was: {entry}");

    let again = press(&app, acknowledge).await.text().await.unwrap();
    assert!(again.contains("is on it, since"), "{again}");
    assert_eq!(audited(&app).await, entries, "a second press does nothing");
    let page = app.get(acknowledge).await.text().await.unwrap();
    assert!(!page.contains("<button"), "no button is left: {page}");
}

#[tokio::test]
async fn a_snooze_holds_for_its_length_and_is_not_extended_by_its_own_link() {
    let app = app(|_| {}).await;
    let (text, _) = failing(&app).await;
    let all = links(&text);
    let began = app.clock.now();
    press(&app, link(&all, "/act/snooze4h.")).await;
    assert_eq!(state(&app).await.1, Some(began + SignedDuration::from_hours(4)));
    app.clock.advance(SignedDuration::from_hours(1));
    press(&app, link(&all, "/act/snooze4h.")).await;
    assert_eq!(state(&app).await.1, Some(began + SignedDuration::from_hours(4)), "it works once");
}

#[tokio::test]
async fn forged_foreign_and_old_forms_are_refused() {
    let app = app(|_| {}).await;
    let (text, _) = failing(&app).await;
    let all = links(&text);
    let path = link(&all, "/act/ack.");
    let token = path.trim_start_matches("/act/");
    let post = |path: &str| app.client.post(app.url(path));
    let from_elsewhere = post(path).form(&[("token", token)]).header("Origin", "https://evil.example");
    let framed = post(path).form(&[("token", token)]).header("Sec-Fetch-Site", "cross-site");
    let without = post(path).form(&[("other", "x")]);
    for (case, request, status) in [
        ("another origin", from_elsewhere, StatusCode::FORBIDDEN),
        ("another site", framed, StatusCode::FORBIDDEN),
        ("no token in the form", without, StatusCode::FORBIDDEN),
        (
            "one click of a mail program",
            post(path).form(&[("List-Unsubscribe", "One-Click")]),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        assert_eq!(request.send().await.unwrap().status(), status, "{case}");
    }
    let forged = path.replace("/act/ack.", "/act/snooze1h.");
    assert_eq!(press(&app, &forged).await.status(), StatusCode::NOT_FOUND, "another action");
    assert_eq!(app.get(&path[..path.len() - 1]).await.status(), StatusCode::NOT_FOUND);
    app.clock.advance(SignedDuration::from_hours(72));
    assert_eq!(press(&app, path).await.status(), StatusCode::GONE, "too old");
    assert_eq!(state(&app).await, (IncidentState::Open, None));
}

#[tokio::test]
async fn where_the_settings_ask_for_it_a_person_signs_in_first() {
    let app = app(|settings| settings.alerts.links = LinkPolicy::Login).await;
    let (text, _) = failing(&app).await;
    let token = app.token(&[Scope::Ack]).await;
    let all = links(&text);
    let path = link(&all, "/act/ack.");
    let page = app.get(path).await.text().await.unwrap();
    assert!(page.contains("Sign in to do this") && !page.contains("<button"), "{page}");
    assert_eq!(press(&app, path).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(state(&app).await.0, IncidentState::Open);
    let form = [("token", path.trim_start_matches("/act/"))];
    let done = app.client.post(app.url(path)).bearer_auth(token).form(&form).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::OK);
    assert!(matches!(state(&app).await.0, IncidentState::Acknowledged { .. }));
}

#[tokio::test]
async fn whoever_reads_mails_on_the_pages_cannot_act_as_their_recipient() {
    let app = app(|_| {}).await;
    let (text, _) = failing(&app).await;
    let token = app.token(&[Scope::Read]).await;
    let own = links(&text);
    let secret = link(&own, "/act/ack.");
    let get = async |path: &str| {
        app.client.get(app.url(path)).bearer_auth(&token).send().await.unwrap().text().await.unwrap()
    };
    let inbox = get("/inbox").await;
    let at = inbox.find("/inbox/ntf_").unwrap();
    let mail = inbox[at..].split('"').next().unwrap();
    for page in [get(mail).await, get(&format!("{mail}/html")).await] {
        assert!(page.contains("/act/of-the-recipient") && !page.contains(secret), "{page}");
    }
}

#[tokio::test]
async fn reports_are_ended_by_one_click_and_alerts_are_not() {
    let app = app(|_| {}).await;
    let report = |scope: &str| Signal::Report {
        environment: "acme-production".into(),
        scope: scope.into(),
        at: app.clock.now(),
        facts: facts(&[], app.clock.now()),
    };
    mailed(&app, report("dep_1")).await;
    let sent = || app.ctx().mailer.memory().unwrap().mails();
    let header = |name: &str| {
        let mail = sent().pop().unwrap();
        mail.content.headers.into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
    };
    assert_eq!(header("List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
    let url = header("List-Unsubscribe").unwrap();
    let path = url.trim_matches(['<', '>']).trim_start_matches(BASE).to_owned();
    app.get(&path).await;
    mailed(&app, report("dep_2")).await;
    assert_eq!(sent().len(), 2, "looking ends nothing");
    let one_click = app.client.post(app.url(&path)).form(&[("List-Unsubscribe", "One-Click")]);
    assert_eq!(one_click.send().await.unwrap().status(), StatusCode::OK);
    mailed(&app, report("dep_3")).await;
    assert_eq!(sent().len(), 2);
    failing(&app).await;
    assert_eq!(sent().len(), 3, "alerts come as ever");
    assert_eq!(header("List-Unsubscribe"), None, "and cannot be ended");
    // The page leads back.
    let page = app.get(&path).await.text().await.unwrap();
    assert!(page.contains("Send me the reports again"), "{page}");
    let token = path.trim_start_matches("/act/");
    app.client.post(app.url(&path)).form(&[("token", token), ("reports", "on")]).send().await.unwrap();
    mailed(&app, report("dep_4")).await;
    assert_eq!(sent().len(), 4);
}
