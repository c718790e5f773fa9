//! What a tired person types about a deploy, and what they read.

use deploywatch::domain::access::Scope;
use deploywatch::domain::clock::{Clock, SignedDuration};
use deploywatch::settings::Environment;
use deploywatch::system::SystemClock;
use sqlx::{Connection, Executor, SqliteConnection};

use crate::support::app::TestApp;
use crate::support::process::{Finished, Invocation};
use crate::support::store::Engine;

const SUITE: &str = "
suite: shop
tables:
  users:
    - not_null: [email]
      title: Every user has an email
      runbook: https://wiki.example.com/emails
    - row_count: {}
      mode: shadow
";

struct Shop {
    app: TestApp,
    token: String,
    folder: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Self {
        let folder = crate::support::temp_dir();
        std::fs::write(folder.path().join("suite.yaml"), SUITE).unwrap();
        let url = format!("sqlite:{}", folder.path().join("shop.db").display());
        let mut target = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
        target
            .execute("CREATE TABLE users (email TEXT); INSERT INTO users VALUES ('a'), ('b')")
            .await
            .unwrap();
        target.close().await.unwrap();
        let suite = folder.path().join("suite.yaml");
        let environment: Environment =
            serde_json::from_value(serde_json::json!({ "database_url": url, "suites": [suite] })).unwrap();
        let app = TestApp::start_on(Engine::Sqlite, |settings| {
            settings.environments.insert("shop".into(), environment);
            settings.http.public_url = Some("https://watch.example.com/".parse().unwrap());
        })
        .await;
        // The commands know this machine's clock alone.
        app.clock.set(SystemClock.now());
        let token = app.token(&[Scope::Admin, Scope::Deploy, Scope::Gate, Scope::Read]).await;
        Self { app, token, folder }
    }

    async fn sql(&self, sql: &'static str) {
        let url = format!("sqlite:{}", self.folder.path().join("shop.db").display());
        let mut target = SqliteConnection::connect(&url).await.unwrap();
        target.execute(sql).await.unwrap();
        target.close().await.unwrap();
    }

    async fn run(&self, arguments: &[&str]) -> Finished {
        let run =
            Invocation::new().env("DEPLOYWATCH_URL", self.app.url("/")).env("DEPLOYWATCH_TOKEN", &self.token);
        run.args(arguments).finish().await
    }

    /// Runs `deploywatch deploy …` that must succeed, and gives what it printed.
    async fn deploy(&self, arguments: &[&str]) -> String {
        let done = self.run(&[&["deploy"], arguments].concat()).await;
        assert_eq!(done.code, 0, "{arguments:?}: {}{}", done.stdout, done.stderr);
        done.stdout
    }

    async fn pass(&self, seconds: i64) {
        for _ in 0..seconds {
            self.app.clock.advance(SignedDuration::from_secs(1));
            self.app.app.tick().await;
        }
    }
}

#[track_caller]
fn assert_says(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_tired_person_finds_out_what_stands_in_the_way_and_what_to_do() {
    let shop = Shop::open().await;
    shop.deploy(&["start", "--version", "v1"]).await;
    assert_says(
        &shop.deploy(&["status"]).await,
        &["deploy v1 in shop: deploying", "deploywatch deploy finish dep_"],
    );
    shop.deploy(&["finish", "--version", "v1"]).await;
    shop.pass(5).await;
    let text = shop.deploy(&["status", "v1"]).await;
    assert_says(
        &text,
        &[
            "v1 in shop: verifying, clean so far",
            "1 of 1 pass; coverage 100 %",
            "shadow    1 of 1 pass",
            "smoke ends in",
        ],
    );

    shop.sql("UPDATE users SET email = NULL WHERE email = 'b'").await;
    shop.deploy(&["start", "--version", "v2"]).await;
    shop.deploy(&["finish", "--version", "v2"]).await;
    shop.pass(40).await;
    let text = shop.deploy(&["status", "v2"]).await;
    assert_says(
        &text,
        &[
            "v2 in shop: failed",
            "FAILING   Every user has an email:",
            "2 of 2 runs failed",
            "suspect: v2, the last one started before it; v1 was still within its window",
            "runbook: https://wiki.example.com/emails",
            "what now  roll back or fix forward",
            "page      https://watch.example.com/deploys/dep_",
        ],
    );
    assert!(text.lines().count() < 20, "{text}");
    assert_says(&shop.deploy(&["status", "v1"]).await, &["v1 in shop: superseded", "replaced  by dep_"]);

    let said = shop.deploy(&[
        "override",
        "v2",
        "--verdict",
        "passed",
        "--reason",
        "a test account",
        "--actor",
        "dana",
    ]);
    assert_says(&said.await, &["counts as passed until", "the evidence alone says failed"]);
    assert_says(
        &shop.deploy(&["status"]).await,
        &[
            "v2 in shop: passed by hand",
            "by hand   passed by dana until",
            "a test account; the evidence alone says failed",
        ],
    );
    assert_says(&shop.deploy(&["list"]).await, &["passed by hand (evidence: failed)", "superseded (clean)"]);
    let gate = shop.run(&["gate"]).await;
    assert_eq!(gate.code, 0, "{}{}", gate.stdout, gate.stderr);
    assert_says(
        &format!("{}{}", gate.stdout, gate.stderr),
        &["dana decided", "the evidence alone says failed"],
    );
    assert_says(&shop.deploy(&["override", "v2", "--withdraw"]).await, &["what the evidence says: failed"]);
    let gate = shop.run(&["gate"]).await;
    assert_eq!(gate.code, 1);
    let twice = shop.run(&["deploy", "override", "v2", "--withdraw"]).await;
    assert_says(&twice.stderr, &["nothing to withdraw"]);

    shop.sql("UPDATE users SET email = 'c' WHERE email IS NULL").await;
    shop.pass(1).await;
    shop.deploy(&["reverify", "v2"]).await;
    shop.pass(5).await;
    let text = shop.deploy(&["status", "v2"]).await;
    assert_says(&text, &["v2 (attempt 2) in shop: verifying, clean so far", "again     verifies dep_"]);
    let refused = shop.run(&["deploy", "reverify", "v2"]).await;
    assert_eq!(refused.code, 2);
    assert_says(&refused.stderr, &["still being watched"]);
    assert_says(
        &shop.deploy(&["cancel", "v2", "--reason", "wrong window"]).await,
        &["is no longer watched, and nothing vouches for it"],
    );
    assert_says(&shop.deploy(&["status", "v2"]).await, &["cancelled", "wrong window"]);
    let unknown = shop.run(&["deploy", "status", "v9"]).await;
    assert_eq!(unknown.code, 5);
    assert_says(&unknown.stderr, &["no deploy v9 was announced", "deploywatch deploy list"]);
}
