//! The process is killed between a webhook and its effect, and between a verdict and its answer: both happen.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};

use crate::support::forge::{self, Forge};
use crate::support::process::Invocation;
use crate::support::{Deploywatch, eventually, signer, temp_dir};

const SECRET: &str = "It's a Secret to Everybody";
const SHA: &str = "7f3c2a1d9b8e4c6f7f3c2a1d9b8e4c6f7f3c2a1d";
/// A claim of the killed process runs out first.
const PATIENCE: Duration = Duration::from_secs(150);

async fn product(folder: &Path, sql: &'static str) {
    let url = format!("sqlite:{}?mode=rwc", folder.join("product.db").display());
    let mut product = SqliteConnection::connect(&url).await.expect("the product's database can be opened");
    sqlx::raw_sql(sql).execute(&mut product).await.expect("the product's statement runs");
    product.close().await.expect("it can be closed");
}

async fn serve(folder: &Path) -> (Deploywatch, SocketAddr) {
    Deploywatch::serve(Invocation::new().folder(folder)).await
}

async fn hook(address: SocketAddr, delivery: &str, state: &str) -> u16 {
    let body = forge::deployment_status(state, SHA, "Production");
    let sent = crate::support::http::client()
        .post(format!("http://{address}/triggers/github"))
        .header("x-github-event", "deployment_status")
        .header("x-github-delivery", delivery)
        .header("x-hub-signature-256", format!("sha256={}", signer::sign(SECRET, &body)))
        .body(body);
    sent.send().await.expect("the server answers").status().as_u16()
}

async fn gate(address: SocketAddr) -> u16 {
    let asked = crate::support::http::client().get(format!("http://{address}/api/v1/gate"));
    asked.send().await.map_or(0, |answer| answer.status().as_u16())
}

async fn until_gate_says(address: SocketAddr, status: u16) {
    eventually(&format!("the gate says {status}"), PATIENCE, async || {
        (gate(address).await == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn kill_9_between_a_webhook_and_its_effect_and_between_a_verdict_and_its_answer_loses_neither() {
    let (forge, folder) = (Forge::start().await, temp_dir());
    let key = crate::support::fixture("github/app.pkcs1.pem");
    std::fs::write(
        folder.path().join("deploywatch.toml"),
        format!(
            r#"
            [store]
            url = "sqlite:store.db"
            [verification]
            window_seconds = 3600
            smoke_seconds = 1800
            smoke_every_seconds = 1
            soak_every_seconds = 1
            confirm_after_seconds = 1
            [email]
            transport = "directory"
            recipients = ["oncall@example.com"]
            [triggers.github]
            secret = "{SECRET}"
            api_url = "{api}"
            app_id = "1"
            private_key_file = "{key}"
            [environments.acme-production]
            database_url = "sqlite:product.db"
            suites = ["checks.yaml"]
            "#,
            api = forge.url(),
            key = key.display(),
        ),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("checks.yaml"),
        "suite: shop\ntables:\n  users:\n    - not_null: [email]\n",
    )
    .unwrap();
    product(folder.path(), "CREATE TABLE users (email TEXT); INSERT INTO users VALUES ('a@example.com')")
        .await;

    let (mut server, address) = serve(folder.path()).await;
    assert_eq!(hook(address, "1", "in_progress").await, 202);
    server.kill9();
    let (mut server, address) = serve(folder.path()).await;
    until_gate_says(address, 425).await;
    assert_eq!(hook(address, "1", "in_progress").await, 200, "it is known");
    assert_eq!(hook(address, "2", "success").await, 202);
    eventually("the check run is made", PATIENCE, async || (forge.runs() == 1).then_some(())).await;

    // The verdict is there, and GitHub is not.
    forge.fails_with(Some(503));
    product(folder.path(), "UPDATE users SET email = NULL").await;
    until_gate_says(address, 409).await;
    server.kill9();
    forge.fails_with(None);
    let (_server, _) = serve(folder.path()).await;
    let concluded = |call: &forge::Call| call.body["conclusion"] == "failure";
    eventually("GitHub hears of the failure", PATIENCE, async || {
        forge.calls("PATCH").iter().any(concluded).then_some(())
    })
    .await;
    assert_eq!(forge.runs(), 1, "one check run");
}
