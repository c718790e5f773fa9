//! Mails on the wire: what a server sees, and what its moods cost.

use std::time::{Duration, Instant};

use deploywatch::domain::incident::IncidentKind;
use deploywatch::domain::notification::FailureClass;
use deploywatch::settings::{EmailTransport, Settings, SmtpTls};
use deploywatch::store::incidents::{self, Which};
use deploywatch::store::notifications;
use mail_parser::MessageParser;

use crate::alerts::Desk;
use crate::support::process::Invocation;
use crate::support::smtp::{Behaviour, SmtpServer};
use crate::support::{Engine, TestStore, free_port};

async fn desk(port: u16, change: impl FnOnce(&mut Settings)) -> Desk {
    let mut settings = Settings::defaults();
    settings.email.transport = EmailTransport::Smtp;
    settings.email.from = "deploywatch <alerts@example.com>".into();
    settings.email.recipients = vec!["ada@example.com".into(), "bob@example.com".into()];
    settings.email.smtp.host = "127.0.0.1".into();
    settings.email.smtp.port = port;
    settings.email.smtp.tls = Some(SmtpTls::None);
    settings.email.smtp.connect_seconds = 2;
    settings.email.smtp.attempt_seconds = 2;
    change(&mut settings);
    Desk::with(TestStore::new(Engine::Sqlite).await, settings).await
}

async fn open(desk: &Desk) -> Vec<IncidentKind> {
    let mut reader = desk.ctx.db.reader().await.unwrap();
    let open = incidents::list(&mut reader, Which::Open, None, 10).await.unwrap();
    open.iter().map(|stored| stored.incident.key.kind).collect()
}

/// The text of the newest failed attempt.
pub async fn last_failure(desk: &Desk) -> (String, Option<FailureClass>) {
    let mut reader = desk.ctx.db.reader().await.unwrap();
    let mut all = Vec::new();
    for stored in notifications::list_recent(&mut reader, 10).await.unwrap() {
        all.extend(notifications::list_attempts(&mut reader, &stored.notification.id).await.unwrap());
    }
    let last = all.into_iter().filter(|attempt| !attempt.sent).max_by_key(|attempt| attempt.at).unwrap();
    (last.answer, last.class)
}

#[tokio::test]
async fn a_mail_has_its_headers_both_bodies_and_its_thread() {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let desk = desk(server.port, |settings| {
        settings.email.smtp.username = Some("deploywatch".into());
        settings.email.smtp.password = Some("canary-password".to_owned().into());
    })
    .await;
    desk.fires(IncidentKind::ChecksFailed, &["user_credits.row_count"]).await;
    assert_eq!(desk.send().await.sent, 2);
    desk.clears(IncidentKind::ChecksFailed).await;
    assert_eq!(desk.send().await.sent, 2);

    let mails = server.mails();
    assert_eq!(mails.len(), 4);
    let parsed: Vec<_> = mails.iter().map(|mail| MessageParser::default().parse(mail).unwrap()).collect();
    let to_ada = |mail: &&mail_parser::Message<'_>| {
        mail.to().and_then(|to| to.first()).and_then(|to| to.address()) == Some("ada@example.com")
    };
    let ada: Vec<_> = parsed.iter().filter(to_ada).collect();
    let (fail, resolved) = (ada[0], ada[1]);
    let subject = fail.subject().unwrap();
    assert!(subject.starts_with("[FAIL 1] acme-production deploy 7f3c2a1 #"), "{subject}");
    assert_eq!(resolved.subject().unwrap().split_once("] ").unwrap().1, subject.split_once("] ").unwrap().1);
    assert_eq!(resolved.in_reply_to().as_text(), fail.message_id());
    assert!(fail.message_id().unwrap().ends_with("@example.com"));
    assert_eq!(fail.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
    assert_eq!(fail.header_raw("X-Deploywatch-Severity").map(str::trim), Some("critical"));
    let (text, html) = (fail.body_text(0).unwrap(), fail.body_html(0).unwrap());
    for part in [&text, &html] {
        assert!(part.contains("drop at most 1% (990)") && part.contains("1,000"), "{part}");
    }
    assert!(mails.iter().all(|mail| mail.len() < 90_000));
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("AUTH")).count(), 2, "one login a burst");
}

#[tokio::test]
async fn a_silent_server_costs_one_attempt_and_no_mail() {
    let server = SmtpServer::start(Behaviour::Silent).await;
    let desk = desk(server.port, |_| {}).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    let started = Instant::now();
    assert_eq!(desk.send().await.failed, 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    server.behave(Behaviour::Accept);
    desk.wait(1);
    assert_eq!(desk.send().await.sent, 2);
}

#[tokio::test]
async fn one_refused_recipient_does_not_stop_the_others() {
    let server = SmtpServer::start(Behaviour::RefuseRecipient("ada@")).await;
    let desk = desk(server.port, |_| {}).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    let sending = desk.send().await;
    assert_eq!(sending.failed, 1);
    assert!(server.mails().iter().all(|mail| !String::from_utf8_lossy(mail).contains("To: ada@")));
    assert!(server.mails().iter().any(|mail| String::from_utf8_lossy(mail).contains("Subject: [FAIL 1]")));
    assert!(open(&desk).await.contains(&IncidentKind::MailBroken));
}

#[tokio::test]
async fn encryption_that_was_asked_for_is_never_left_out() {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let desk = desk(server.port, |settings| {
        settings.email.smtp.tls = Some(SmtpTls::Starttls);
        settings.email.smtp.username = Some("deploywatch".into());
        settings.email.smtp.password = Some("canary-password".to_owned().into());
    })
    .await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    assert_eq!(desk.send().await.failed, 1);
    let forbidden = |line: &String| line.starts_with("AUTH") || line.starts_with("MAIL");
    assert!(!server.lines().iter().any(forbidden), "{:?}", server.lines());
    let (text, class) = last_failure(&desk).await;
    assert!(text.contains("does not offer STARTTLS") && text.contains("implicit"), "{text}");
    assert_eq!(class, Some(FailureClass::Configuration));
    assert!(open(&desk).await.contains(&IncidentKind::MailBroken));
}

#[tokio::test]
async fn tls_from_the_first_byte_on_a_plain_port_names_the_mode_to_pick() {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let desk = desk(server.port, |settings| settings.email.smtp.tls = Some(SmtpTls::Implicit)).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    assert_eq!(desk.send().await.failed, 1);
    let (text, _) = last_failure(&desk).await;
    assert!(text.contains("set email.smtp.tls = \"starttls\""), "{text}");
}

#[tokio::test]
async fn a_refused_login_is_visible_and_heals() {
    let server = SmtpServer::start(Behaviour::RefuseLogin).await;
    let desk = desk(server.port, |settings| {
        settings.email.smtp.username = Some("deploywatch".into());
        settings.email.smtp.password = Some("canary-password".to_owned().into());
    })
    .await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    let sending = desk.send().await;
    assert!(sending.problem.unwrap().contains("535"));
    assert!(open(&desk).await.contains(&IncidentKind::MailBroken));
    let (text, _) = last_failure(&desk).await;
    assert!(text.contains("email.smtp.password") && !text.contains("canary"), "{text}");
    server.behave(Behaviour::Accept);
    desk.wait(7);
    desk.send().await;
    assert_eq!(server.mails().len(), 2);
    assert_eq!(open(&desk).await, [IncidentKind::ChecksFailed]);
}

#[tokio::test]
async fn a_mail_whose_answer_was_lost_goes_out_again_as_the_same_mail() {
    let server = SmtpServer::start(Behaviour::DropAfterContent).await;
    let desk = desk(server.port, |settings| settings.email.recipients.truncate(1)).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    desk.send().await;
    server.behave(Behaviour::Accept);
    desk.wait(1);
    assert_eq!(desk.send().await.sent, 1);
    let mut reader = desk.ctx.db.reader().await.unwrap();
    let stored = notifications::list_recent(&mut reader, 1).await.unwrap().remove(0);
    assert!(stored.maybe_taken);
    let mail = String::from_utf8(server.mails().remove(0)).unwrap();
    assert!(mail.contains(&stored.notification.content.message_id));
}

#[tokio::test]
async fn six_hours_without_a_mail_server_lose_nothing() {
    let port = free_port();
    let desk = desk(port, |_| {}).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    for _ in 0..36 {
        desk.send().await;
        desk.wait(10);
    }
    let server = SmtpServer::start_on(port, Behaviour::Accept).await;
    for _ in 0..3 {
        desk.wait(10);
        desk.send().await;
    }
    assert_eq!(server.mails().len(), 2);
    // What was delivered stays delivered.
    desk.wait(60);
    assert_eq!(desk.send().await.sent, 0);
}

#[tokio::test]
async fn a_test_mail_says_what_the_server_answered() {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let run = |port: u16| {
        Invocation::new()
            .args(["notify", "test", "--to", "ada@example.com"])
            .env("DEPLOYWATCH__EMAIL__SMTP__HOST", "127.0.0.1")
            .env("DEPLOYWATCH__EMAIL__SMTP__PORT", port.to_string())
            .env("DEPLOYWATCH__EMAIL__SMTP__TLS", "none")
            .finish()
    };
    let done = run(server.port).await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("250 2.0.0 queued as stub-1"), "{}", done.stdout);
    assert_eq!(server.mails().len(), 1);
    let failed = run(free_port()).await;
    assert_eq!(failed.code, 6, "{}{}", failed.stdout, failed.stderr);
    assert!(failed.stdout.contains("cannot be reached"), "{}", failed.stdout);
    assert!(!failed.stdout.contains("ada@example.com"), "addresses are masked");
}

#[tokio::test]
async fn a_test_mail_without_an_address_goes_to_whoever_is_on_call_now() {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let folder = crate::support::temp_dir();
    let settings = format!(
        r#"
        [email]
        recipients = ["everybody@example.com"]
        [email.smtp]
        host = "127.0.0.1"
        port = {}
        tls = "none"
        [oncall]
        critical = ["primary"]
        second = ["cem"]
        [oncall.people.ada]
        email = "ada@example.com"
        [oncall.people.bob]
        email = "bob@example.com"
        [oncall.people.cem]
        email = "cem@example.com"
        [oncall.rotations.primary]
        people = ["ada", "bob"]
        starts = "2026-01-05"
        overrides = ["2020-01-01T00:00 to 2090-01-01T00:00: bob"]
        "#,
        server.port
    );
    std::fs::write(folder.path().join("deploywatch.toml"), settings).unwrap();
    let done = Invocation::new().folder(folder.path()).args(["notify", "test"]).finish().await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let mut to: Vec<String> = server.letters().into_iter().map(|mail| mail.to).collect();
    to.sort();
    assert_eq!(to, ["bob@example.com", "cem@example.com"], "not Ada, whose turn it is not");
}
