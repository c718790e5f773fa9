//! What must not leave: secrets of the settings, and what stands in the watched rows. A canary is put wherever
//! one could be, and everything that the program says is searched for it.

use std::collections::BTreeMap;
use std::time::Duration;

use deploywatch::domain::clock::SignedDuration;
use deploywatch::http::routes;
use deploywatch::services::verification::{self, Announcement, Attempt};
use deploywatch::settings::schema::FIELDS;
use deploywatch::settings::{Environment, variable_of};
use deploywatch::store::notifications;
use sqlx::{Connection, Executor, SqliteConnection};

use crate::support::app::TestApp;
use crate::support::process::{Finished, Invocation};
use crate::support::receiver::Receiver;
use crate::support::smtp::{Behaviour, SmtpServer};
use crate::support::{Deploywatch, Engine, eventually};

const CANARY: &str = "canary5e9d";

/// A value with a canary for each secret of the settings. A new secret needs a line here.
fn secret(path: &str, receiver: &Receiver) -> String {
    match path {
        "store.url" => "sqlite:store.db".into(),
        "secrets.master_key" => "5e9d".repeat(16),
        "email.smtp.password" => format!("{CANARY}-smtp"),
        "heartbeat.url" => receiver.url(&format!("/ping/{CANARY}-heartbeat")),
        "channels.*.url" => receiver.url(&format!("/hook/{CANARY}-channel")),
        // `canary5e9d`, padded to a key's length, as base64.
        "channels.*.secret" => "whsec_Y2FuYXJ5NWU5ZC1zaWduaW5nLXNlY3JldA==".into(),
        "environments.*.database_url" => format!("postgres://scanner:{CANARY}-db@127.0.0.1:1/acme"),
        "webhooks.sources.*.secret" => format!("{CANARY}-live"),
        "webhooks.sources.*.secret_previous" => format!("{CANARY}-live-before"),
        "webhooks.sources.*.test_secret" => format!("{CANARY}-test"),
        "webhooks.sources.*.test_secret_previous" => format!("{CANARY}-test-before"),
        "webhooks.sources.*.api.key" => format!("{CANARY}-api"),
        "webhooks.sources.*.api.test_key" => format!("{CANARY}-api-test"),
        "signals.values.*" => format!("{CANARY}-value"),
        "signals.metrics.*.token" => format!("{CANARY}-metrics"),
        "signals.metrics.*.password" => format!("{CANARY}-metrics-password"),
        "signals.logs.*.secret" => format!("{CANARY}-drain"),
        "triggers.*.secret" => format!("{CANARY}-trigger"),
        "triggers.*.secret_previous" => format!("{CANARY}-trigger-before"),
        "triggers.*.token" => format!("{CANARY}-token"),
        "triggers.*.private_key" => {
            format!("-----BEGIN PRIVATE KEY-----\n{CANARY}-key\n-----END PRIVATE KEY-----\n")
        }
        other => panic!("say in this test what a canary for {other} looks like"),
    }
}

fn environment(receiver: &Receiver, smtp: u16) -> BTreeMap<String, String> {
    let name = |path: &[String]| {
        let names = [
            ("channels", "hook"),
            ("environments", "acme"),
            ("sources", "lemonsqueezy"),
            ("triggers", "github"),
            ("values", "login"),
            ("metrics", "prometheus"),
            ("logs", "vercel"),
        ];
        let mut path = path.to_vec();
        // A server takes a token or a password, so that each has a server of its own.
        if path.ends_with(&["metrics".into(), "*".into(), "password".into()]) {
            path[2] = "mimir".into();
        }
        for at in 1..path.len() {
            if path[at] == "*" {
                let known = names.iter().find(|(section, _)| *section == path[at - 1]);
                path[at] = known.expect("a name for this section").1.into();
            }
        }
        variable_of(&path)
    };
    let mut all: BTreeMap<String, String> = FIELDS
        .iter()
        .filter(|field| field.secret)
        .map(|field| (name(&field.path), secret(&field.dotted(), receiver)))
        .collect();
    for (variable, value) in [
        ("CHANNELS__HOOK__KIND", "webhook"),
        ("CHANNELS__HOOK__ALLOW_PRIVATE", "true"),
        ("TRIGGERS__GITHUB__APP_ID", "4711"),
        ("SIGNALS__METRICS__PROMETHEUS__URL", "http://127.0.0.1:1"),
        ("SIGNALS__METRICS__MIMIR__URL", "http://127.0.0.1:1"),
        ("SIGNALS__METRICS__MIMIR__USERNAME", "deploywatch"),
        ("SIGNALS__LOGS__VERCEL__FORMAT", "vercel"),
        ("EMAIL__SMTP__HOST", "127.0.0.1"),
        ("EMAIL__SMTP__TLS", "none"),
        ("EMAIL__SMTP__USERNAME", "deploywatch"),
        ("EMAIL__RECIPIENTS", "oncall@example.com"),
        ("TELEMETRY__LOG", "debug,deploywatch=trace"),
    ] {
        all.insert(format!("DEPLOYWATCH__{variable}"), value.into());
    }
    all.insert("DEPLOYWATCH__EMAIL__SMTP__PORT".into(), smtp.to_string());
    let api = "DEPLOYWATCH__WEBHOOKS__SOURCES__LEMONSQUEEZY__API__BASE_URL";
    all.insert(api.into(), receiver.url("/api"));
    all
}

/// Fails on a canary, on the master key, and on the signing key's base64.
fn silent(what: &str, text: &str) {
    for word in [CANARY, "5e9d5e9d5e9d", "Y2FuYXJ5NWU5ZC"] {
        assert!(!text.contains(word), "{what} gives away {word}:\n{text}");
    }
}

#[tokio::test]
async fn no_secret_of_the_settings_is_said_anywhere() {
    let (receiver, smtp) = (Receiver::start().await, SmtpServer::start(Behaviour::RefuseLogin).await);
    let folder = crate::support::temp_dir();
    let variables = environment(&receiver, smtp.port);
    let with = |arguments: &[&str]| {
        let mut invocation = Invocation::new().folder(folder.path()).args(arguments);
        for (name, value) in &variables {
            invocation = invocation.env(name, value);
        }
        invocation
    };
    let mut commands: Vec<(String, Finished)> = Vec::new();
    for arguments in [
        vec!["config", "show"],
        vec!["config", "check"],
        vec!["doctor"],
        vec!["notify", "test"],
        vec!["notify", "test", "--channel", "hook"],
        vec!["secret", "status"],
        vec!["secret", "status", "--format", "json"],
        vec!["deploy", "start", "--version", "v1"],
        vec!["incident", "list", "--all"],
    ] {
        commands.push((arguments.join(" "), with(&arguments).finish().await));
    }
    let shown = &commands[0].1;
    assert!(shown.stdout.contains("[redacted]"), "the settings were read: {}{}", shown.stdout, shown.stderr);
    assert!(commands[3].1.stdout.contains("refused the login"), "{}", commands[3].1.stdout);
    assert_eq!(commands[4].1.code, 0, "the channel was called: {}", commands[4].1.stdout);
    for (what, finished) in &commands {
        silent(what, &finished.stdout);
        silent(what, &finished.stderr);
    }

    let (mut server, address) = Deploywatch::serve(with(&[])).await;
    let client = crate::support::http::client();
    let site = format!("http://{address}");
    let delivered =
        client.post(format!("{site}/webhooks/lemonsqueezy")).header("x-signature", "00".repeat(32));
    assert_eq!(delivered.body("{}").send().await.unwrap().status(), 401);
    eventually("the mail path is known to be broken", Duration::from_secs(60), async || {
        let body = client.get(format!("{site}/api/v1/incidents?state=all")).send().await.ok()?;
        body.text().await.ok()?.contains("mail_broken").then_some(())
    })
    .await;
    // The command above has left that incident; the server is to have tried for itself.
    eventually("the server has failed to send", Duration::from_secs(60), async || {
        server.stderr().contains("mail not handed over").then_some(())
    })
    .await;
    // Now the mails go out: what waited, and one that is asked for.
    smtp.behave(Behaviour::Accept);
    let asked = with(&["notify", "test"]).finish().await;
    assert_eq!(asked.code, 0, "{}{}", asked.stdout, asked.stderr);
    let mails = eventually("the mail of the refused delivery", Duration::from_secs(60), async || {
        let mails = smtp.letters();
        mails.iter().any(|mail| mail.status() == "SIGNATURE FAILURES").then_some(mails)
    })
    .await;
    for mail in mails {
        silent("a mail", &format!("{}{}{}", mail.subject, mail.text, mail.html));
        silent("a mail on the wire", &String::from_utf8_lossy(&mail.bytes));
    }
    for route in routes::table().iter().filter(|route| route.method == "GET" && !route.path.contains('{')) {
        let answer = client.get(format!("{site}{}", route.path)).send().await.unwrap();
        silent(route.path, &answer.text().await.unwrap());
    }
    server.assert_running();
    silent("the log", &server.stderr());
    silent("the log", &server.stdout());
    assert!(server.stderr().contains("mail not handed over"), "the log was read: {}", server.stderr());
    drop(server);
    for request in receiver.seen() {
        silent("a message to a channel", &request.body);
    }
    assert!(!receiver.seen().is_empty());
    let store = std::fs::read(folder.path().join("store.db")).unwrap();
    let kept = String::from_utf8_lossy(&store);
    silent("the store", &kept);
}

/// Rows with a person's name and address, and checks of many kinds that fail on them.
async fn product(folder: &std::path::Path) -> (String, std::path::PathBuf) {
    let path = folder.join("product.db");
    let url = format!("sqlite:{}", path.display());
    let mut product = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    product
        .execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT);
             INSERT INTO users VALUES (1, 'ok@example.com', 'somebody');",
        )
        .await
        .unwrap();
    product.close().await.unwrap();
    let suite = folder.join("suite.yaml");
    std::fs::write(
        &suite,
        "suite: people
tables:
  users:
    - unique: email
    - accepted_values: { column: name, values: [somebody] }
    - row_rule: name = 'somebody'
queries:
  - key: strangers
    failed_rows: SELECT email FROM users WHERE name <> 'somebody'
    tested_rows: SELECT count(*) FROM users
",
    )
    .unwrap();
    (url, suite)
}

#[tokio::test]
async fn no_person_in_the_watched_rows_is_in_mails_pages_or_answers() {
    let folder = crate::support::temp_dir();
    let (url, suite) = product(folder.path()).await;
    let server = SmtpServer::start(Behaviour::Accept).await;
    let app = TestApp::start_on(Engine::Sqlite, |settings| {
        let environment: Environment = serde_json::from_value(serde_json::json!({
            "database_url": url, "suites": [suite], "recipients": ["ada@example.com"],
        }))
        .unwrap();
        settings.environments.insert("acme".into(), environment);
        server.lead_here(settings);
    })
    .await;
    let announcement = Announcement {
        environment: None,
        version: "v1".into(),
        commit: None,
        kind: deploywatch::domain::deploy::DeployKind::Normal,
        actor: None,
        link: None,
        attempt: Attempt::Same,
        smoke_seconds: None,
        window_seconds: None,
    };
    let id = verification::start(app.ctx(), &announcement).await.unwrap().row.deploy.id;
    let mut product = SqliteConnection::connect(&url).await.unwrap();
    for _ in 0..2 {
        let insert =
            "INSERT INTO users (email, name) VALUES ('canary5e9d@person.example', 'Canary5e9d Person')";
        product.execute(insert).await.unwrap();
    }
    verification::finish(app.ctx(), &id).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..6 {
        app.clock.advance(SignedDuration::from_secs(30));
        for (job, report) in app.app.tick().await {
            silent(job, &format!("{report:?}"));
        }
        told = server.letters();
    }
    assert!(told.iter().any(|mail| mail.status() == "FAIL 4"), "all four checks were told: {told:?}");
    for mail in &told {
        silent("a mail", &format!("{}{}{}", mail.subject, mail.text, mail.html));
        assert!(!mail.html.contains("Canary5e9d"), "{}", mail.html);
    }
    let stored = notifications::list_recent(&mut app.ctx().db.reader().await.unwrap(), 20).await.unwrap();
    let incident = stored.iter().find_map(|s| s.notification.incident.clone()).unwrap();
    for path in [
        "/".to_owned(),
        format!("/deploys/{id}"),
        format!("/api/v1/deploys/{id}"),
        "/api/v1/gate".into(),
        "/api/v1/incidents".into(),
        format!("/incidents/{incident}"),
        "/metrics".into(),
    ] {
        let text = app.get(&path).await.text().await.unwrap();
        assert!(text.len() > 50, "{path} says something");
        for word in ["canary5e9d", "Canary5e9d"] {
            assert!(!text.contains(word), "{path} gives away a row:\n{text}");
        }
    }
}
