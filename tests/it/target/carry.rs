//! What nothing has written to is not read again, and no change is missed by more than one slot.

use std::time::Duration;

use deploywatch::domain::measure::RowAggregate;
use deploywatch::target::Carry;

use super::*;
use crate::support::{AgentZero, eventually};

fn checks() -> Vec<Check> {
    vec![
        rows("waitlist.row_count", "waitlist", RowAggregate::RowCount),
        value("SELECT count(*) FROM public.waitlist w WHERE email <> ''"),
        rows("messages.freshness", "messages", RowAggregate::Freshness { column: "created_at".into() }),
        failed_rows("SELECT 1 FROM waitlist WHERE created_at > now()"),
    ]
}

async fn scan_after(az: &AgentZero, carry: Option<Carry>) -> Scan {
    let mut request = request(checks());
    // Keys are unique in a suite.
    request.carry = carry;
    Target::new(options(&az.scanner)).scan(&request).await.unwrap()
}

fn carried(scan: &Scan) -> Vec<bool> {
    scan.measurements.iter().map(|m| m.carried).collect()
}

/// A quiet scan: the server has counted everything that was written so far.
async fn quiet(az: &AgentZero, first: Scan) -> Scan {
    let mut carry = first.carry;
    eventually("the counters settle", Duration::from_secs(30), async || {
        let scan = scan_after(az, Some(carry.clone())).await;
        carry = scan.carry.clone();
        (carried(&scan) == [true, true, true, false]).then_some(scan)
    })
    .await
}

#[tokio::test]
async fn a_quiet_table_is_carried_and_every_kind_of_change_is_seen() {
    let az = AgentZero::with_users(100).await;
    let first = scan_after(&az, None).await;
    assert_eq!(carried(&first), [false; 4]);
    let still = quiet(&az, first.clone()).await;
    assert_eq!(number(&still.measurements[0]), 2.0);
    // Freshness goes on ageing, and what looks at the clock is read.
    assert!(number(&still.measurements[2]) > number(&first.measurements[2]));

    let mut last = still;
    for (change, expected) in [
        ("INSERT INTO waitlist VALUES (10, 'new@example.com')", 3.0),
        ("DELETE FROM waitlist WHERE id = 10", 2.0),
        ("TRUNCATE waitlist", 0.0),
        (
            "CREATE TABLE other (LIKE waitlist INCLUDING ALL); INSERT INTO other SELECT g, g::text || '@x.y' FROM \
             generate_series(1, 7) g; ALTER TABLE waitlist RENAME TO old; ALTER TABLE other RENAME TO waitlist",
            7.0,
        ),
        ("SELECT pg_stat_reset(); DELETE FROM waitlist WHERE id < 3", 5.0),
        ("ALTER TABLE waitlist ALTER id TYPE int", 5.0),
    ] {
        az.execute(change).await;
        // The writing session is gone, so that its counters are in.
        let carry = last.carry.clone();
        last = eventually("the change is seen", Duration::from_secs(5), async || {
            let scan = scan_after(&az, Some(carry.clone())).await;
            (!scan.measurements[0].carried).then_some(scan)
        })
        .await;
        assert_eq!(number(&last.measurements[0]), expected, "{change}");
        last = quiet(&az, last).await;
        assert_eq!(number(&last.measurements[0]), expected, "{change}");
    }
}

#[tokio::test]
async fn a_backfill_says_how_long_it_will_take() {
    let az = AgentZero::with_users(100).await;
    let scan_at = async |carry, now: &str| {
        let mut request = request(vec![rows(
            "agents.backfill",
            "agents",
            RowAggregate::Backfill { column: "new_feature".into() },
        )]);
        request.carry = carry;
        request.params.now = Some(now.parse().unwrap());
        Target::new(options(&az.scanner)).scan(&request).await.unwrap()
    };
    let first = scan_at(None, "2026-05-01T00:00:00Z").await;
    az.execute("UPDATE agents SET new_feature = 'x' WHERE name LIKE '%5'").await;
    let second = eventually("the update is counted", Duration::from_secs(5), async || {
        let scan = scan_at(Some(first.carry.clone()), "2026-05-01T00:10:00Z").await;
        (!scan.measurements[0].carried).then_some(scan)
    })
    .await;
    assert_eq!(
        measured(&second.measurements[0]).detail.as_deref(),
        Some("10.0 % done, 180 of 200 rows left, about 1 h 30 min at this speed")
    );
}
