//! The floor: the same rows claimed and written by bare statements, without any deciding, JSON or reading back.
//! It runs on copies of the tables that a run has filled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::Asked;

/// As many as the processes of a run have together.
const CONNECTIONS: usize = 32;

const COPIES: &str = "
    DROP TABLE IF EXISTS floor_deploys, floor_states, floor_observations, floor_scans;
    CREATE TABLE floor_deploys (LIKE deploys INCLUDING ALL);
    INSERT INTO floor_deploys SELECT * FROM deploys;
    CREATE TABLE floor_states (LIKE check_states INCLUDING ALL);
    INSERT INTO floor_states SELECT * FROM check_states;
    CREATE TABLE floor_observations (LIKE observations INCLUDING ALL);
    CREATE TABLE floor_scans (LIKE scans INCLUDING ALL);
    UPDATE floor_deploys SET next_due_at = 0, lease_until = 0;
    ANALYZE floor_deploys; ANALYZE floor_states;
";

pub async fn run(asked: &Asked) {
    let mut c = PgConnection::connect(&asked.store).await.expect("the store takes connections");
    c.execute(sqlx::raw_sql(COPIES)).await.expect("the tables can be copied");
    let (done, number) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
    let began = Instant::now();
    let until = began + Duration::from_secs(asked.seconds);
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (done, number, store) = (done.clone(), number.clone(), asked.store.clone());
            tokio::spawn(async move {
                let mut c = PgConnection::connect(&store).await.expect("the store takes connections");
                while Instant::now() < until {
                    one(&mut c, number.fetch_add(1, Ordering::Relaxed)).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("a worker ends by itself");
    }
    let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    println!("the floor: {rate:.1} scans/s by bare statements over {CONNECTIONS} connections");
}

/// One claim and one record of the same rows: 1 deploy, its states, as many observations, 1 scan.
async fn one(c: &mut PgConnection, number: u64) {
    let claimed: Option<(String,)> = sqlx::query_as(
        "WITH due AS MATERIALIZED (SELECT id FROM floor_deploys WHERE next_due_at <= $1 AND lease_until <= $1
           ORDER BY next_due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         UPDATE floor_deploys SET lease_token = lease_token + 1, lease_until = $1 + 1
         WHERE id IN (SELECT id FROM due) RETURNING id",
    )
    .bind(i64::try_from(number).expect("it fits"))
    .fetch_optional(&mut *c)
    .await
    .expect("the claim is accepted");
    let Some((id,)) = claimed else { return };
    let mut tx = c.begin().await.expect("a transaction begins");
    let number = i64::try_from(number).expect("it fits");
    for sql in [
        "UPDATE floor_deploys SET verdict = verdict, scans = scans + 1, lease_until = 0, next_due_at = $2
         WHERE id = $1",
        "INSERT INTO floor_observations SELECT deploy_id, check_key, $2, 0, $2, $2, outcome, body
         FROM observations WHERE deploy_id = $1 AND slot_at = (SELECT max(slot_at) FROM observations
           WHERE deploy_id = $1)",
        "UPDATE floor_states SET state = state WHERE deploy_id = $1 AND $2 > 0",
        "INSERT INTO floor_scans SELECT 's' || CAST($2 AS TEXT), $1, $2, $2, 0, 1, 10, 0, 1, 'none', NULL",
    ] {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .bind(&id)
            .bind(number)
            .execute(&mut *tx)
            .await
            .expect("the statement is accepted");
    }
    tx.commit().await.expect("the transaction is kept");
}
