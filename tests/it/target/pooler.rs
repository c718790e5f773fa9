//! Through PgBouncer in transaction mode, where a statement's neighbours change and nothing may be left behind.

use deploywatch::domain::measure::{Partners, RowAggregate};

use super::*;
use crate::support::pg::database_of;
use crate::support::pooler::Bouncer;
use crate::support::{AgentZero, PgCluster};

#[tokio::test]
async fn values_are_right_and_nothing_is_left_behind() {
    let az = AgentZero::with_users(100).await;
    let bouncer = Bouncer::before(PgCluster::shared()).await;
    let url = format!("postgres://scanner:scanner@127.0.0.1:{}/{}", bouncer.port, database_of(&az.scanner));
    let scans = (0..8).map(|n| {
        let url = url.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                let mut options = options(&url);
                options.proofs = false;
                let scan = scan(
                    options,
                    vec![
                        rows("users", "users", RowAggregate::RowCount),
                        not_null("users", "email"),
                        join("users", "id", "user_credits", "user_id", Partners::ExactlyOne),
                        value(&format!("SELECT {n} + count(*) FROM agents")),
                        value("SELECT nope FROM agents"),
                        value("SELECT CASE WHEN pg_try_advisory_lock(7) THEN 1 ELSE 0 END"),
                    ],
                )
                .await;
                assert_eq!(number(&scan.measurements[0]), 100.0);
                assert_eq!(number(&scan.measurements[1]), 0.0);
                assert_eq!(number(&scan.measurements[2]), 0.0);
                assert_eq!(number(&scan.measurements[3]), 200.0 + f64::from(n));
                assert!(scan.measurements[4].result.is_err());
            }
        })
    });
    for scan in scans.collect::<Vec<_>>() {
        scan.await.unwrap();
    }
    // Whatever server the pooler lends us next: no statement, no lock, no setting of ours.
    let left = scan(
        options(&url),
        vec![
            value("SELECT count(*) FROM pg_prepared_statements"),
            value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7"),
        ],
    )
    .await;
    assert_eq!(left.measurements.iter().map(number).collect::<Vec<_>>(), [0.0, 0.0]);
}
