//! `serve --role`: what a web process leaves undone, and what a worker answers.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

use crate::support::process::Invocation;
use crate::support::{Deploywatch, Engine, TestStore, eventually, free_port, temp_dir};

const PATIENCE: Duration = Duration::from_secs(60);

async fn folder(path: &Path) {
    let url = format!("sqlite:{}?mode=rwc", path.join("product.db").display());
    let mut c = SqliteConnection::connect(&url).await.expect("a database can be made");
    sqlx::raw_sql("CREATE TABLE users (email TEXT); INSERT INTO users VALUES ('a@example.com')")
        .execute(&mut c)
        .await
        .expect("it can be filled");
    c.close().await.expect("it can be closed");
    let suite = "suite: shop\ntables:\n  users:\n    - not_null: [email]\n";
    std::fs::write(path.join("checks.yaml"), suite).unwrap();
    let settings = "[verification]\nwindow_seconds = 3600\nsmoke_seconds = 60\nsmoke_every_seconds = 1\n\
                    [environments.acme]\ndatabase_url = \"sqlite:product.db\"\nsuites = [\"checks.yaml\"]\n";
    std::fs::write(path.join("deploywatch.toml"), settings).unwrap();
}

fn process(store: &TestStore, path: &Path, role: &str, port: u16) -> Deploywatch {
    Invocation::new()
        .folder(path)
        .env("DEPLOYWATCH__STORE__URL", &store.url)
        .env("DEPLOYWATCH__SECRETS__MASTER_KEY", "07".repeat(32))
        .env("DEPLOYWATCH__EMAIL__TRANSPORT", "memory")
        .env("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com")
        .env("DEPLOYWATCH__HTTP__LISTEN", format!("127.0.0.1:{port}"))
        .args(["serve", "--role", role])
        .spawn()
}

#[tokio::test]
async fn a_web_process_scans_nothing_and_a_worker_answers_for_its_health_alone() {
    let (store, folder_of_test) = (TestStore::new(Engine::Postgres).await, temp_dir());
    let path = folder_of_test.path();
    folder(path).await;
    let client = crate::support::http::client();
    let mut web = process(&store, path, "web", 0);
    let address = web.address().await;
    web.ready(address).await;
    let url = format!("http://{address}/api/v1/deploys/finish");
    let finished = client.post(url).json(&serde_json::json!({ "version": "v1" })).send().await.unwrap();
    assert_eq!(finished.status(), 200);
    let id = finished.json::<Value>().await.unwrap()["id"].as_str().expect("it has an id").to_owned();
    let runs = async || {
        let answer = client.get(format!("http://{address}/api/v1/deploys/{id}")).send().await.unwrap();
        let view: Value = answer.json().await.unwrap();
        let checks = view["checks"].as_array().expect("a deploy has checks").clone();
        checks.iter().map(|check| check["planned"].as_u64().unwrap_or(0)).sum::<u64>()
    };
    // Three slots of its window go by, by the clock that the slots are on.
    let opened = std::time::Instant::now();
    eventually("three slots are due", PATIENCE, async || {
        (opened.elapsed() > Duration::from_secs(4)).then_some(())
    })
    .await;
    assert_eq!(runs().await, 0, "a web process scans nothing");

    let mut worker = process(&store, path, "worker", 0);
    let health = worker.address().await;
    worker.ready(health).await;
    let status = async |path: &str| {
        client.get(format!("http://{health}{path}")).send().await.unwrap().status().as_u16()
    };
    for (path, expected) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/", 404),
        ("/api/v1/deploys", 404),
        ("/sign-in", 404),
    ] {
        assert_eq!(status(path).await, expected, "{path} of a worker");
    }
    let hook = client.post(format!("http://{health}/webhooks/lemonsqueezy")).body("{}").send().await.unwrap();
    assert_eq!(hook.status(), 404, "deliveries go to a web process");
    eventually("the worker scans", PATIENCE, async || (runs().await > 0).then_some(())).await;
    assert!(worker.terminate().await.success());
}

#[tokio::test]
async fn a_worker_whose_address_is_taken_says_so_and_works() {
    let (store, folder_of_test) = (TestStore::new(Engine::Postgres).await, temp_dir());
    folder(folder_of_test.path()).await;
    let port = free_port();
    let mut web = process(&store, folder_of_test.path(), "web", port);
    web.address().await;
    let mut worker = process(&store, folder_of_test.path(), "worker", port);
    worker.prints("works without listening").await;
    worker.prints("this worker answers no /livez").await;
    assert!(worker.terminate().await.success());
}
