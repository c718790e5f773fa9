//! What the store says about a run.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::Asked;

const TABLES: [&str; 4] = ["deploys", "check_states", "observations", "scans"];

/// The store at one instant.
pub struct Snapshot {
    /// Microseconds, of the server's clock.
    at: i64,
    rows: [i64; 2],
    bytes: i64,
    xacts: i64,
    statements: Vec<(String, i64, f64)>,
}

impl Snapshot {
    pub async fn take(store: &str) -> Self {
        let mut c = PgConnection::connect(store).await.expect("the store takes connections");
        let at =
            number(&mut c, "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)").await;
        let scans = number(&mut c, "SELECT count(*) FROM scans").await;
        let observations = number(&mut c, "SELECT count(*) FROM observations").await;
        let mut bytes = 0;
        for table in TABLES {
            bytes += number(&mut c, &format!("SELECT pg_total_relation_size('{table}')")).await;
        }
        let sql =
            "SELECT CAST(xact_commit AS BIGINT) FROM pg_stat_database WHERE datname = current_database()";
        let xacts = number(&mut c, sql).await;
        let rows = sqlx::query(
            "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 60) AS q, calls, total_exec_time AS ms
             FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_all(&mut c)
        .await
        .unwrap_or_default();
        let statements = rows.iter().map(|row| (row.get("q"), row.get("calls"), row.get("ms"))).collect();
        Self { at, rows: [scans, observations], bytes, xacts, statements }
    }
}

async fn number(c: &mut PgConnection, sql: &str) -> i64 {
    let row =
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(c).await.expect("the statement is accepted");
    row.get(0)
}

/// Rates, lateness and growth between two snapshots.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub async fn measured(asked: &Asked, before: &Snapshot, after: &Snapshot) {
    let seconds = (after.at - before.at) as f64 / 1e6;
    let (scans, observations) = (after.rows[0] - before.rows[0], after.rows[1] - before.rows[1]);
    println!(
        "{} windows, {} checks each, every {} s: {:.0} slots a minute due",
        asked.windows,
        asked.checks,
        asked.every,
        asked.windows as f64 * asked.checks as f64 * 60.0 / f64::from(asked.every)
    );
    println!(
        "measured for {seconds:.1} s: {:.1} scans/s, {:.0} slots answered a minute, {:.1} transactions/s",
        scans as f64 / seconds,
        observations as f64 * 60.0 / seconds,
        (after.xacts - before.xacts) as f64 / seconds
    );
    let mut c = PgConnection::connect(&asked.store).await.expect("the store takes connections");
    let row = sqlx::query(
        "SELECT percentile_cont(ARRAY[0.5, 0.99, 1.0]) WITHIN GROUP (ORDER BY late_ms) AS late
         FROM scans WHERE at >= $1 AND at < $2",
    )
    .bind(before.at)
    .bind(after.at)
    .fetch_one(&mut c)
    .await
    .expect("lateness can be asked for");
    let late: Vec<f64> = row.try_get("late").unwrap_or_default();
    println!("lateness of a scan after its slot (p50, p99, max): {late:?} ms");
    let sql = "SELECT count(*) FROM observations WHERE outcome = 'missed'";
    println!("slots missed since the beginning: {}", number(&mut c, sql).await);
    println!(
        "the four tables grew by {:.1} MB, {:.0} bytes a slot: {:.1} GB a day at this rate",
        (after.bytes - before.bytes) as f64 / 1e6,
        (after.bytes - before.bytes) as f64 / observations.max(1) as f64,
        (after.bytes - before.bytes) as f64 / seconds * 86_400.0 / 1e9
    );
    for table in TABLES {
        let bytes = number(&mut c, &format!("SELECT pg_total_relation_size('{table}')")).await;
        let rows = number(&mut c, &format!("SELECT count(*) FROM {table}")).await;
        println!("  {table}: {rows} rows, {:.1} MB with indexes", bytes as f64 / 1e6);
    }
    let mut spent: Vec<(&str, i64, f64)> = after
        .statements
        .iter()
        .map(|(query, calls, ms)| {
            let then = before.statements.iter().find(|(q, ..)| q == query);
            (query.as_str(), calls - then.map_or(0, |t| t.1), ms - then.map_or(0.0, |t| t.2))
        })
        .filter(|(_, calls, _)| *calls > 0)
        .collect();
    spent.sort_by(|a, b| b.2.total_cmp(&a.2));
    for (query, calls, ms) in spent.into_iter().take(14) {
        println!(
            "  {:>8.1} ms/s {:>7} calls {:>7.3} ms each  {query}",
            ms / seconds,
            calls,
            ms / calls as f64
        );
    }
}

/// The plans of the claim and of its neighbours, on the store as it is.
pub async fn explain(store: &str, end: &Snapshot) {
    let mut c = PgConnection::connect(store).await.expect("the store takes connections");
    // As it was while the workers were there: few are due at any instant.
    let now = end.at - 1_000_000;
    let late = now + 40_000_000;
    for (what, sql) in [
        (
            "the claim",
            format!(
                "WITH due AS MATERIALIZED (SELECT id FROM deploys WHERE next_due_at <= {now} \
                 AND (lease_until <= {now} OR lease_until > {late}) \
                 ORDER BY next_due_at LIMIT 16 FOR UPDATE SKIP LOCKED) \
                 UPDATE deploys SET lease_token = lease_token WHERE id IN (SELECT id FROM due)"
            ),
        ),
        (
            "the states of a deploy",
            "SELECT state FROM check_states WHERE deploy_id = (SELECT max(id) FROM deploys)".to_owned(),
        ),
        (
            "the newest deploy of an environment",
            "SELECT * FROM deploys WHERE environment = 'environment-00001' AND state <> 'cancelled' \
             ORDER BY started_at DESC, id DESC LIMIT 1"
                .to_owned(),
        ),
        (
            "what retention forgets next",
            "SELECT d.id FROM deploys d WHERE d.state IN ('closed', 'superseded', 'cancelled') \
             AND d.ended_at < 1 ORDER BY d.ended_at LIMIT 1"
                .to_owned(),
        ),
    ] {
        println!("\n{what}:");
        let sql = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {sql}");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut c).await.expect("it can be explained");
        for row in rows {
            println!("  {}", row.get::<String, _>(0));
        }
    }
}

/// CPU time of this process so far, user and system.
pub fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|t| t.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}
