//! The main job, end to end, on real parts: a private PostgreSQL with the AgentZero schema, the binary as a
//! process, the CI-side commands, captured webhook bodies, a real SMTP server.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, Row, SqliteConnection};

use crate::support::mailbox::Mailbox;
use crate::support::process::{Finished, Invocation};
use crate::support::{AgentZero, Deploywatch, PgCluster, eventually, signer};

const ENVIRONMENT: &str = "acme-production";
const SECRET: &str = "fixture-new-secret-0123456789abcdef";
/// The check that notices a user without credits, in checks/agentzero.
const CREDITS: &str = "users.credits";

/// A team's installation: its folder with the settings and the store, the server, the mail server.
struct Installation {
    folder: tempfile::TempDir,
    server: Deploywatch,
    address: SocketAddr,
}

impl Installation {
    async fn start(database_url: &str, mailbox: &Mailbox) -> Self {
        Self::with_smoke(6, database_url, mailbox).await
    }

    async fn with_smoke(smoke_seconds: u32, database_url: &str, mailbox: &Mailbox) -> Self {
        let folder = crate::support::temp_dir();
        let suites = concat!(env!("CARGO_MANIFEST_DIR"), "/checks/agentzero");
        let settings = format!(
            r#"
            [store]
            url = "sqlite:store.db"
            [verification]
            window_seconds = 3600
            smoke_seconds = {smoke_seconds}
            smoke_every_seconds = 1
            soak_every_seconds = 1
            confirm_after_seconds = 1
            [email]
            transport = "smtp"
            from = "deploywatch <deploywatch@example.com>"
            [email.smtp]
            {smtp}
            [webhooks.sources.lemonsqueezy]
            secret = "{SECRET}"
            [environments.{ENVIRONMENT}]
            database_url = "{database_url}"
            suites = ["{suites}"]
            recipients = ["oncall@example.com"]
            "#,
            smtp = mailbox.settings(),
        );
        std::fs::write(folder.path().join("deploywatch.toml"), settings)
            .expect("the settings can be written");
        let (server, address) = Self::serve(folder.path()).await;
        Self { folder, server, address }
    }

    async fn serve(folder: &std::path::Path) -> (Deploywatch, SocketAddr) {
        Deploywatch::serve(Invocation::new().folder(folder)).await
    }

    /// As after a power cut: killed, then started again on the same store.
    async fn kill_and_restart(&mut self) {
        self.server.kill9();
        (self.server, self.address) = Self::serve(self.folder.path()).await;
    }

    async fn cli(&self, arguments: &[&str]) -> Finished {
        let url = format!("http://{}", self.address);
        Invocation::new().env("DEPLOYWATCH_URL", url).args(arguments).finish().await
    }

    async fn start_deploy(&self, version: &str) {
        let done = self.cli(&["deploy", "start", "--version", version]).await;
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    }

    async fn finish_deploy(&self, version: &str) {
        let done = self.cli(&["deploy", "finish", "--version", version]).await;
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    }

    async fn gate(&self, wait: &str) -> (i32, Value) {
        let done = self.cli(&["gate", "--wait", wait, "--format", "json"]).await;
        let view = serde_json::from_str(&done.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr));
        (done.code, view)
    }

    async fn store(&self) -> SqliteConnection {
        let url = format!("sqlite:{}?mode=ro", self.folder.path().join("store.db").display());
        SqliteConnection::connect(&url).await.expect("the store can be read beside the server")
    }

    async fn rows(&self, sql: &'static str) -> Vec<String> {
        let mut store = self.store().await;
        let rows = sqlx::query(sql).fetch_all(&mut store).await.expect("the query fits the store");
        rows.iter().map(|row| row.get::<String, _>(0)).collect()
    }

    /// Slots of the credits check that were measured.
    async fn measured(&self) -> usize {
        self.rows(
            "SELECT CAST(slot_at AS TEXT) FROM observations
             WHERE check_key = 'users.credits' AND outcome IN ('pass', 'fail')",
        )
        .await
        .len()
    }

    async fn measures(&self, at_least: usize) {
        eventually("more slots are measured", Duration::from_secs(60), async || {
            (self.measured().await >= at_least).then_some(())
        })
        .await;
    }
}

const LOSE_ONE: &str = "DELETE FROM user_credits WHERE user_id = '00000002-0000-4000-8000-00000000002a'";

#[tokio::test]
async fn a_migration_that_loses_one_of_a_thousand_rows_is_stopped_with_one_mail() {
    let (product, mailbox) = (AgentZero::with_users(1000).await, Mailbox::up());
    let team = Installation::start(&product.scanner, &mailbox).await;

    team.start_deploy("v1").await;
    product.execute(LOSE_ONE).await;
    team.finish_deploy("v1").await;
    let (code, view) = team.gate("60s").await;
    assert_eq!((code, view["answer"].as_str()), (1, Some("stop")), "{view:#}");
    let failing = view["deploy"]["failing"].as_array().expect("it lists what fails");
    let credits = failing.iter().find(|check| check["key"] == CREDITS).expect("it names the check");
    assert_eq!(credits["value"], 1.0);
    assert_eq!(credits["baseline"], 0.0);

    let mail = mailbox.receives("FAIL").await;
    assert_eq!(mail.to, "oncall@example.com");
    assert!(mail.subject.contains(ENVIRONMENT) && mail.subject.contains("v1"), "{}", mail.subject);
    assert!(mail.text.contains("exactly one credits row") && mail.text.contains("1,000"), "{}", mail.text);
    // The rest of the smoke stage goes on failing, and nobody is told again.
    team.measures(5).await;
    assert_eq!(alarms(&mailbox).len(), 1, "{:?}", alarms(&mailbox));
}

/// Subjects but for the one that says that a first window has opened.
fn alarms(mailbox: &Mailbox) -> Vec<String> {
    let subjects = mailbox.mails().into_iter().map(|mail| mail.subject);
    subjects.filter(|subject| !subject.starts_with("[ARMED]")).collect()
}

#[tokio::test]
async fn a_healthy_deploy_goes() {
    let (product, mailbox) = (AgentZero::with_users(1000).await, Mailbox::up());
    let team = Installation::start(&product.scanner, &mailbox).await;
    team.start_deploy("v1").await;
    team.finish_deploy("v1").await;
    let (code, view) = team.gate("60s").await;
    assert_eq!((code, view["answer"].as_str()), (0, Some("go")), "{view:#}");
    let body = signer::captured("subscription_created.captured-2025");
    let signature = signer::sign(SECRET, &body);
    assert_eq!(signer::deliver(team.address, body, &signature).await.status(), 200);
    mailbox.receives("ARMED").await;
    assert!(alarms(&mailbox).is_empty());
}

#[tokio::test]
async fn a_database_that_stops_in_the_middle_is_cannot_check_and_never_a_failure() {
    let cluster = PgCluster::private();
    let (product, mailbox) = (AgentZero::on(&cluster, 100).await, Mailbox::up());
    let team = Installation::start(&product.scanner, &mailbox).await;
    team.start_deploy("v1").await;
    team.finish_deploy("v1").await;
    team.measures(1).await;

    cluster.stop();
    let mail = mailbox.receives("CANNOT CHECK").await;
    assert!(mail.subject.contains(ENVIRONMENT), "{}", mail.subject);
    let (code, view) = team.gate("4m").await;
    assert_eq!((code, view["answer"].as_str()), (3, Some("inconclusive")), "{view:#}");
    assert_ne!(view["deploy"]["state"], "failed");

    // The watch goes on, and says so when it can see again.
    let before = team.measured().await;
    cluster.start();
    let mail = mailbox.receives("RESOLVED").await;
    assert!(mail.subject.contains(ENVIRONMENT), "{}", mail.subject);
    team.measures(before + 1).await;

    let subjects = alarms(&mailbox);
    assert!(subjects.iter().all(|subject| !subject.contains("FAIL")), "{subjects:?}");
}

#[tokio::test]
async fn nothing_is_lost_when_it_is_killed_at_three_moments() {
    let (product, mut mailbox) = (AgentZero::with_users(1000).await, Mailbox::down());
    // Longer than the claim of a killed process lasts, so that the watch goes on within it.
    let mut team = Installation::with_smoke(120, &product.scanner, &mailbox).await;
    let observations = "SELECT deploy_id || check_key || slot_at || sample || outcome FROM observations
                        WHERE outcome <> 'missed' ORDER BY 1";

    // In the middle of the window.
    team.start_deploy("v1").await;
    product.execute(LOSE_ONE).await;
    team.finish_deploy("v1").await;
    team.measures(1).await;
    let seen = team.rows(observations).await;
    team.kill_and_restart().await;
    let kept = team.rows(observations).await;
    assert!(seen.iter().all(|one| kept.contains(one)), "every observation survives");
    // The claim of the killed process runs out first.
    let (code, _) = team.gate("4m").await;
    assert_eq!(code, 1, "the watch went on by itself");

    // Right after a delivery was answered.
    for number in 1..=20 {
        let body = signer::numbered(number);
        let signature = signer::sign(SECRET, &body);
        assert_eq!(signer::deliver(team.address, body, &signature).await.status(), 200);
    }
    team.kill_and_restart().await;
    let events = team.rows("SELECT data_id FROM webhook_events").await;
    assert_eq!(events.len(), 20, "every acknowledged delivery survives");

    // While a mail waits for a mail server that is down.
    eventually("the mail was tried", Duration::from_secs(60), async || {
        let tried =
            team.rows("SELECT subject FROM notifications WHERE attempts > 0 AND subject LIKE '%FAIL%'").await;
        (!tried.is_empty()).then_some(())
    })
    .await;
    team.server.kill9();
    mailbox.start();
    (team.server, team.address) = Installation::serve(team.folder.path()).await;
    let first = mailbox.receives("FAIL").await;
    let same = mailbox.mails().into_iter().filter(|mail| mail.subject.contains("FAIL"));
    assert!(
        same.into_iter().all(|mail| mail.message_id == first.message_id),
        "at most duplicates of one mail"
    );

    // Every planned slot of every check up to the last one is accounted for: measured, or said to be missed.
    let gaps = team
        .rows(
            "SELECT check_key FROM observations WHERE sample = 0 GROUP BY deploy_id, check_key
             HAVING count(*) <> (max(slot_at) - min(slot_at)) / 1000000 + 1",
        )
        .await;
    assert!(gaps.is_empty(), "slots without an observation: {gaps:?}");
}
