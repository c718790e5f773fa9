//! Mails through a real SMTP server: encrypted and logged in, or not at all.

use deploywatch::domain::incident::IncidentKind;
use deploywatch::domain::notification::FailureClass;
use deploywatch::settings::{EmailTransport, Settings, SmtpTls};
use deploywatch::store::notifications;
use mail_parser::MessageParser;

use crate::alerts::Desk;
use crate::mail::last_failure;
use crate::support::certificates::{Authority, Issued};
use crate::support::mailbox::{Front, HOST, Mailbox, PASSWORD, USERNAME};
use crate::support::{Engine, TestStore};

/// A sender that trusts `authority`, wants `tls` and has a login.
async fn desk(mailbox: &Mailbox, authority: &Authority, tls: SmtpTls) -> Desk {
    Desk::with(TestStore::new(Engine::Sqlite).await, settings(mailbox, authority, tls)).await
}

fn settings(mailbox: &Mailbox, authority: &Authority, tls: SmtpTls) -> Settings {
    let mut settings = Settings::defaults();
    settings.email.transport = EmailTransport::Smtp;
    settings.email.from = "deploywatch <alerts@example.com>".into();
    settings.email.recipients = vec!["ada@example.com".into(), "Bob <bob@example.com>".into()];
    let smtp = &mut settings.email.smtp;
    smtp.host = HOST.into();
    smtp.port = mailbox.port;
    smtp.tls = Some(tls);
    smtp.ca_file = Some(authority.file());
    smtp.username = Some(USERNAME.into());
    smtp.password = Some(PASSWORD.to_owned().into());
    smtp.attempt_seconds = 20;
    settings
}

#[tokio::test]
async fn mails_arrive_intact_whichever_way_the_server_wants_them() {
    let authority = Authority::new();
    for (tls, mechanism) in [
        (SmtpTls::Starttls, "PLAIN"),
        (SmtpTls::Starttls, "LOGIN"),
        (SmtpTls::Implicit, "PLAIN"),
        (SmtpTls::Implicit, "LOGIN"),
    ] {
        let front = Front { mechanism: Some(mechanism), ..Front::closed(tls, authority.issue(HOST)) };
        let mailbox = Mailbox::up_with(front);
        let desk = desk(&mailbox, &authority, tls).await;
        // A line that starts with a dot and letters beyond ASCII are what a transfer breaks first.
        desk.fires(IncidentKind::ChecksFailed, &["user_credits.row_count", ".größe"]).await;
        let sending = desk.send().await;
        assert_eq!((sending.sent, sending.problem.as_deref()), (2, None), "{tls:?} {mechanism}");

        let mails = mailbox.mails();
        let mut reader = desk.ctx.db.reader().await.unwrap();
        let stored = notifications::list_recent(&mut reader, 10).await.unwrap();
        assert_eq!((mails.len(), stored.len()), (2, 2));
        for (mail, address) in mails.iter().zip(["ada@example.com", "bob@example.com"]) {
            assert_eq!(mail.envelope.from, "alerts@example.com");
            assert_eq!(mail.envelope.to, [address]);
            assert_eq!((mail.envelope.login.as_deref(), mail.envelope.tls), (Some(USERNAME), true));
            let written = stored.iter().find(|s| s.notification.recipient.contains(address)).unwrap();
            let content = &written.notification.content;
            let parsed = MessageParser::default().parse(&mail.bytes).unwrap();
            assert_eq!(parsed.subject(), Some(content.subject.as_str()));
            assert_eq!(format!("<{}>", parsed.message_id().unwrap()), content.message_id);
            assert_eq!(lines(&parsed.body_text(0).unwrap()), lines(&content.text));
            assert_eq!(lines(&parsed.body_html(0).unwrap()), lines(&content.html));
            let incident = parsed.header_raw("X-Deploywatch-Incident").unwrap().trim();
            assert_eq!(Some(incident), written.notification.incident.as_ref().map(|id| id.as_str()));
            assert!(content.text.contains(".größe"));
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_right_gets_no_login_and_no_mail() {
    let authority = Authority::new();
    // It has the name of the trusted one, as after a CA was made anew.
    let another = Authority::new();
    let matrix: [(&str, Issued, &str); 4] = [
        ("self-signed", authority.self_signed(HOST), "email.smtp.ca_file"),
        ("of another authority", another.issue(HOST), "email.smtp.ca_file"),
        ("for another name", authority.issue("mail.example.com"), "another name; set email.smtp.host"),
        ("expired", authority.expired(HOST), "has expired; renew it"),
    ];
    for (case, certificate, hint) in matrix {
        for tls in [SmtpTls::Starttls, SmtpTls::Implicit] {
            let mailbox = Mailbox::up_with(Front::closed(tls, certificate.clone()));
            let desk = desk(&mailbox, &authority, tls).await;
            desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
            let sending = desk.send().await;
            assert_eq!((sending.sent, sending.failed), (0, 1), "{case} {tls:?}");
            let (text, class) = last_failure(&desk).await;
            assert!(text.contains(hint) && text.contains("no login was sent"), "{case} {tls:?}: {text}");
            assert!(!text.contains(PASSWORD), "{text}");
            assert_eq!(class, Some(FailureClass::Configuration), "{case} {tls:?}");
            nothing_was_given_away(&mailbox);
        }
    }
}

#[tokio::test]
async fn a_server_without_starttls_is_refused() {
    let authority = Authority::new();
    let mailbox = Mailbox::up_with(Front { login: true, ..Front::open() });
    let desk = desk(&mailbox, &authority, SmtpTls::Starttls).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    assert_eq!(desk.send().await.failed, 1);
    let (text, class) = last_failure(&desk).await;
    assert!(text.contains("does not offer STARTTLS and nothing is sent in the clear"), "{text}");
    assert_eq!(class, Some(FailureClass::Configuration));
    assert!(mailbox.commands().contains("EHLO"), "the server was asked");
    nothing_was_given_away(&mailbox);
}

/// Both sides wait for the other to speak first, which only a deadline ends.
#[tokio::test]
async fn plain_text_to_a_port_of_tls_names_the_mode_to_pick() {
    let authority = Authority::new();
    let mailbox = Mailbox::up_with(Front::closed(SmtpTls::Implicit, authority.issue(HOST)));
    let mut settings = settings(&mailbox, &authority, SmtpTls::Starttls);
    settings.email.smtp.attempt_seconds = 2;
    let desk = Desk::with(TestStore::new(Engine::Sqlite).await, settings).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    assert_eq!(desk.send().await.failed, 1);
    let (text, _) = last_failure(&desk).await;
    assert!(text.contains("set email.smtp.tls = \"implicit\""), "{text}");
    nothing_was_given_away(&mailbox);
}

#[tokio::test]
async fn a_server_that_encrypts_refuses_whoever_does_not() {
    let authority = Authority::new();
    let mailbox = Mailbox::up_with(Front::closed(SmtpTls::Starttls, authority.issue(HOST)));
    let desk = desk(&mailbox, &authority, SmtpTls::None).await;
    desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
    assert_eq!(desk.send().await.failed, 1);
    let (text, class) = last_failure(&desk).await;
    assert!(text.contains("offers no login by password without TLS"), "{text}");
    assert_eq!(class, Some(FailureClass::Configuration));
    nothing_was_given_away(&mailbox);
}

/// Neither a login nor an address was sent.
fn nothing_was_given_away(mailbox: &Mailbox) {
    let commands = mailbox.commands();
    for word in ["AUTH", "MAIL FROM", "RCPT"] {
        assert!(!commands.contains(&format!(">> b'{word}")), "{commands}");
    }
    assert!(mailbox.mails().is_empty());
}

/// Text as its reader sees it: line ends differ on the wire.
fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().collect()
}
