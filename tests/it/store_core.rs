//! The store's ground: one writer, leases, idempotency, migrations, on both engines.

use std::sync::Arc;

use deploywatch::domain::clock::{SignedDuration, Timestamp};
use deploywatch::services::idempotency::{self as idempotent, Turn};
use deploywatch::store::{Db, StoreError, audit, idempotency, leases, meta, migrate};
use deploywatch::system::SystemEntropy;
use sqlx::Row;

use super::support::app::TestApp;
use crate::on_both_engines;

fn noon() -> Timestamp {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

on_both_engines! {
    /// Read-then-write in one transaction by many at once: nobody's work is lost and nobody gets an error.
    async fn concurrent_writers_wait_for_each_other(store: TestStore) {
        let db = store.db().await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let db = db.clone();
            tasks.spawn(async move {
                for _ in 0..20 {
                    let mut tx = db.begin().await.unwrap();
                    // On PostgreSQL the row lock orders the writers, on SQLite the one writer does.
                    sqlx::query(
                        "INSERT INTO meta (name, value, updated_at) VALUES ('counter', '1', 0)
                         ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)",
                    )
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                    tx.commit().await.unwrap();
                }
            });
        }
        // Readers are never in the way.
        for _ in 0..50 {
            let mut c = db.reader().await.unwrap();
            meta::get(&mut c, "counter").await.unwrap();
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let mut c = db.reader().await.unwrap();
        assert_eq!(meta::get(&mut c, "counter").await.unwrap().as_deref(), Some("160"));
    }

    async fn a_transaction_that_is_dropped_leaves_nothing(store: TestStore) {
        let db = store.db().await;
        let mut tx = db.begin().await.unwrap();
        meta::set(&mut tx, "x", "1", noon()).await.unwrap();
        drop(tx);
        let mut tx = db.begin().await.unwrap();
        assert_eq!(meta::get(&mut tx, "x").await.unwrap(), None);
        assert_eq!(meta::get_or_set(&mut tx, "x", "2", noon()).await.unwrap(), "2");
        assert_eq!(meta::get_or_set(&mut tx, "x", "3", noon()).await.unwrap(), "2");
        tx.commit().await.unwrap();
    }

    async fn a_lease_is_held_by_one_and_its_token_grows_at_each_take_over(store: TestStore) {
        let db = store.db().await;
        let mut tx = db.begin().await.unwrap();
        let minute = SignedDuration::from_mins(1);
        let first = leases::acquire(&mut tx, "sender", "a", noon(), minute).await.unwrap().expect("it is free");
        assert_eq!(first.token, 1);
        let later = noon() + SignedDuration::from_secs(59);
        assert_eq!(leases::acquire(&mut tx, "sender", "b", later, minute).await.unwrap(), None);
        let again = leases::acquire(&mut tx, "sender", "a", later, minute).await.unwrap().unwrap();
        assert_eq!(again.token, 1, "extending keeps the token");
        let after = later + minute;
        let second = leases::acquire(&mut tx, "sender", "b", after, minute).await.unwrap().expect("it is over");
        assert_eq!(second.token, 2);
        assert!(!leases::renew(&mut tx, &first, after, minute).await.unwrap(), "it was taken over");
        assert!(!leases::is_held(&mut tx, &first).await.unwrap());
        assert!(leases::is_held(&mut tx, &second).await.unwrap());
        leases::release(&mut tx, &second).await.unwrap();
        let third = leases::acquire(&mut tx, "sender", "b", after, minute).await.unwrap().unwrap();
        assert_eq!(third.token, 3);
        tx.commit().await.unwrap();
    }

    async fn of_many_at_once_one_gets_the_lease(store: TestStore) {
        let db = store.db().await;
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..8 {
            let db = db.clone();
            tasks.spawn(async move {
                let mut tx = db.begin().await.unwrap();
                let length = SignedDuration::from_mins(1);
                let lease = leases::acquire(&mut tx, "scan", &format!("p{i}"), noon(), length).await.unwrap();
                tx.commit().await.unwrap();
                lease.is_some()
            });
        }
        let mut winners = 0;
        while let Some(won) = tasks.join_next().await {
            winners += u32::from(won.unwrap());
        }
        assert_eq!(winners, 1);
    }

    async fn the_first_answer_is_the_answer_to_all_repetitions(store: TestStore) {
        let url = store.url.clone();
        let app = TestApp::start_on(store.engine, |s| s.store.url = url.into()).await;
        let ctx = app.ctx();
        let begin = async |body: &[u8]| idempotent::begin(ctx, "token ci POST /deploys", "k", body).await.unwrap();
        assert_eq!(begin(b"a").await, Turn::First);
        assert_eq!(begin(b"a").await, Turn::InFlight);
        assert_eq!(begin(b"b").await, Turn::Mismatch);
        idempotent::finish(ctx, "token ci POST /deploys", "k", 201, "{}").await.unwrap();
        assert_eq!(begin(b"a").await, Turn::Again(201, "{}".into()));
        assert_eq!(begin(b"b").await, Turn::Mismatch);
        let other = idempotent::begin(ctx, "token other POST /deploys", "k", b"b").await.unwrap();
        assert_eq!(other, Turn::First, "another caller's key is another key");
        // A process that died in the middle blocks nobody for long.
        app.clock.advance(SignedDuration::from_mins(6));
        let taken = idempotent::begin(ctx, "token other POST /deploys", "k", b"b").await.unwrap();
        assert_eq!(taken, Turn::First);
        idempotent::forget(ctx, "token other POST /deploys", "k").await.unwrap();
        let retried = idempotent::begin(ctx, "token other POST /deploys", "k", b"c").await.unwrap();
        assert_eq!(retried, Turn::First);
        let mut tx = ctx.db.begin().await.unwrap();
        let later = ctx.now() + SignedDuration::from_secs(1);
        assert_eq!(idempotency::delete_before(&mut tx, later).await.unwrap(), 2);
        tx.commit().await.unwrap();
    }

    async fn the_audit_log_reads_newest_first(store: TestStore) {
        let db = store.db().await;
        let mut tx = db.begin().await.unwrap();
        for (i, action) in ["token.create", "token.revoke"].into_iter().enumerate() {
            let entry = audit::AuditEntry {
                at: noon() + SignedDuration::from_secs(i as i64),
                actor: "token ci".into(),
                action: action.into(),
                subject: "tok_1".into(),
                detail: serde_json::json!({ "n": i }),
            };
            audit::append(&mut tx, &SystemEntropy, &entry).await.unwrap();
        }
        let found = audit::list(&mut tx, 10).await.unwrap();
        tx.commit().await.unwrap();
        let actions: Vec<&str> = found.iter().map(|e| e.action.as_str()).collect();
        assert_eq!(actions, ["token.revoke", "token.create"]);
        assert_eq!(found[0].detail, serde_json::json!({ "n": 1 }));
    }

    /// Several processes start at once on an empty store.
    async fn migrations_run_once_under_a_lock(store: TestStore) {
        let url = Arc::new(store.url.clone());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let url = url.clone();
            tasks.spawn(async move {
                let db = Db::connect(&url).await.unwrap();
                migrate::run(&db).await.unwrap();
                migrate::applied(&db).await.unwrap()
            });
        }
        while let Some(applied) = tasks.join_next().await {
            assert_eq!(applied.unwrap(), Some(migrate::newest()));
        }
    }

    async fn a_newer_schema_is_refused_and_left_alone(store: TestStore) {
        let db = store.db().await;
        let mut tx = db.begin().await.unwrap();
        sqlx::query("UPDATE _sqlx_migrations SET version = 9999 WHERE version = $1")
            .bind(migrate::newest())
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let refused = migrate::run(&db).await.unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found: 9999, .. }), "{refused:?}");
        assert!(refused.to_string().contains("written by a newer deploywatch"), "{refused}");
        let mut c = db.reader().await.unwrap();
        let row = sqlx::query("SELECT max(version) AS v FROM _sqlx_migrations").fetch_one(&mut *c).await.unwrap();
        assert_eq!(row.try_get::<i64, _>("v").unwrap(), 9999);
    }
}
