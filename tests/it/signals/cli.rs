//! `deploywatch check` with signals: the real program against a real site, with and without a database.

use serde_json::Value;

use crate::support::process::{Finished, Invocation};
use crate::support::site::Site;
use crate::support::{free_port, temp_dir};

const SUITE: &str = "
suite: signals
signals:
  - key: sign-in
    http: { url: 'http://${SITE}/sign-in', headers: { Authorization: 'Bearer ${TOKEN}' }, contains: Sign in }
  - key: error-rate
    metric: rate
    fail: { above: 0.05 }
  - key: latency
    http_latency: { url: 'http://${SITE}/', tries: 2 }
    fail: { above: 30s }
  - key: unauthorised
    log_count: Unauthorised
    fail: { above: 0 }
  - secrets: lemonsqueezy
";

struct Desk {
    folder: tempfile::TempDir,
    site: Site,
}

impl Desk {
    async fn new(suite: &str) -> Self {
        let folder = temp_dir();
        std::fs::write(folder.path().join("suite.yaml"), suite).unwrap();
        Self { folder, site: Site::start().await }
    }

    async fn check(&self, arguments: &[&str]) -> Finished {
        Invocation::new()
            .folder(self.folder.path())
            .env("DEPLOYWATCH__SIGNALS__ALLOW_PRIVATE", "127.0.0.0/8")
            .env("DEPLOYWATCH__SIGNALS__VALUES__SITE", self.site.address.to_string())
            .env("DEPLOYWATCH__SIGNALS__VALUES__TOKEN", "canary-token")
            .env("DEPLOYWATCH__SIGNALS__METRICS__MAIN__URL", format!("http://{}", self.site.address))
            .args(["check", "suite.yaml"])
            .args(arguments)
            .finish()
            .await
    }

    async fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let done = self.check(&[&["--format", "json"], arguments].concat()).await;
        assert!(
            !format!("{}{}", done.stdout, done.stderr).contains("canary"),
            "{}{}",
            done.stdout,
            done.stderr
        );
        let document = serde_json::from_str(&done.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", done.stdout, done.stderr));
        (done.code, document)
    }
}

fn outcome<'a>(document: &'a Value, key: &str) -> &'a str {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|check| check["key"] == key).unwrap()["outcome"].as_str().unwrap()
}

#[tokio::test]
async fn a_suite_of_signals_needs_no_database() {
    let desk = Desk::new(SUITE).await;
    let (code, document) = desk.json(&["--save-baseline", "before.json"]).await;
    assert_eq!(code, 0, "{document:#}");
    for (key, expected) in [
        ("sign-in", "pass"),
        ("error-rate", "pass"),
        ("latency", "pass"),
        ("unauthorised", "skipped"),
        ("lemonsqueezy.secrets", "skipped"),
    ] {
        assert_eq!(outcome(&document, key), expected, "{document:#}");
    }
    assert!(desk.site.requests().contains(&"GET /sign-in Bearer canary-token".to_owned()));
    desk.site.change(|answers| answers.status = 500);
    let broken = desk.check(&["--baseline", "before.json"]).await;
    assert_eq!(broken.code, 1, "{}{}", broken.stdout, broken.stderr);
    for part in ["status 500 instead of 200 to 299", "GET http://${SITE}/sign-in", "no answer whose latency"]
    {
        assert!(broken.stdout.contains(part), "{part} is missing in {}", broken.stdout);
    }
    assert!(!format!("{}{}", broken.stdout, broken.stderr).contains("canary"));
}

#[tokio::test]
async fn a_database_that_is_down_does_not_hide_what_the_site_says() {
    let suite = format!("{SUITE}tables:\n  users:\n    - not_null: [email]\n");
    let desk = Desk::new(&suite).await;
    let gone = format!("postgres://nobody@127.0.0.1:{}/gone", free_port());
    let (code, document) = desk.json(&["--database-url", &gone]).await;
    assert_eq!(code, 3, "{document:#}");
    assert_eq!(outcome(&document, "users.not_null.email"), "error");
    assert_eq!(outcome(&document, "sign-in"), "pass");
    let text = desk.check(&["--database-url", &gone]).await;
    assert_eq!(text.code, 3);
    assert!(
        text.stdout.contains("sign-in") && text.stdout.contains("users.not_null.email"),
        "{}",
        text.stdout
    );
    let without = desk.check(&[]).await;
    assert_eq!(without.code, 2, "tables need a database: {}", without.stderr);
}
