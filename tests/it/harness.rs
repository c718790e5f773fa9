//! The tests' own ground: what others lean on must hold.

use sqlx::{Connection, PgConnection, Row};

use crate::support::{AgentZero, PgCluster, cli, signer};

async fn count(url: &str, sql: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("the database takes connections");
    sqlx::query(sql).fetch_one(&mut connection).await.expect("the query runs").get(0)
}

#[tokio::test]
async fn agentzero_has_its_tables_policies_and_healthy_data() {
    let product = AgentZero::with_users(100).await;
    let url = &product.scanner;
    assert_eq!(count(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await, 14);
    assert_eq!(count(url, "SELECT count(*) FROM users").await, 100);
    assert_eq!(count(url, "SELECT count(*) FROM user_credits").await, 100);
    assert_eq!(count(url, "SELECT count(*) FROM pg_policies WHERE schemaname = 'public'").await, 2);
    assert_eq!(
        count(&product.restricted, "SELECT count(*) FROM users").await,
        0,
        "RLS hides rows from this role"
    );

    product.execute("DELETE FROM user_credits").await;
    let other = AgentZero::with_users(100).await;
    assert_eq!(
        count(&other.scanner, "SELECT count(*) FROM user_credits").await,
        100,
        "each test has its own"
    );
}

#[tokio::test]
async fn a_private_cluster_stops_pauses_and_comes_back() {
    let cluster = PgCluster::private();
    let url = cluster.url("postgres", "postgres");
    assert_eq!(count(&url, "SELECT 1::bigint").await, 1);
    cluster.stop();
    assert!(PgConnection::connect(&url).await.is_err());
    cluster.start();
    assert_eq!(count(&url, "SELECT 2::bigint").await, 2);
    cluster.pause();
    let silent =
        tokio::time::timeout(std::time::Duration::from_millis(300), PgConnection::connect(&url)).await;
    assert!(silent.is_err(), "a paused server takes the connection and says nothing");
    cluster.resume();
    assert_eq!(count(&url, "SELECT 3::bigint").await, 3);
}

#[tokio::test]
async fn the_binary_runs_in_a_clean_environment() {
    let version = cli(["version"]).await;
    assert_eq!((version.code, version.stdout.trim()), (0, env!("CARGO_PKG_VERSION")));
    assert_eq!(cli(["no-such-command"]).await.code, 2);
}

#[test]
fn the_signer_agrees_with_the_vectors() {
    let vectors: serde_json::Value =
        serde_json::from_slice(&crate::support::fixture_bytes("lemon_squeezy/vectors.json"))
            .expect("it is JSON");
    let secret = vectors["secrets"]["new"].as_str().expect("it is there");
    for (file, facts) in vectors["files"].as_object().expect("it is an object") {
        let body = crate::support::fixture_bytes(&format!("lemon_squeezy/{file}"));
        assert_eq!(signer::sign(secret, &body), facts["sig_new"], "{file}");
    }
    let (one, two) = (signer::numbered(1), signer::numbered(2));
    assert_ne!(one, two);
    // The captured 3,394 bytes, twice with `false` for `true`.
    assert_eq!(one.len(), 3396);
}
