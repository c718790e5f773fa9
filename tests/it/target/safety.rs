//! What a check may try, what a role may not see and what a network may do: nothing is harmed, nothing is
//! mistaken for healthy.

use std::time::{Duration, Instant};

use deploywatch::domain::measure::{Partners, RowAggregate};
use deploywatch::domain::measurement::MeasureErrorCode;
use sqlx::{Connection, PgConnection};

use super::*;
use crate::support::AgentZero;
use crate::support::pg::database_of;

async fn count(url: &str, sql: &'static str) -> i64 {
    let mut conn = PgConnection::connect(url).await.expect("the database takes connections");
    let count = sqlx::query_scalar(sql).fetch_one(&mut conn).await.expect("the count is valid SQL");
    conn.close().await.expect("it closes");
    count
}

#[tokio::test]
async fn hostile_checks_harm_nothing() {
    let az = AgentZero::with_users(100).await;
    az.execute(
        "CREATE SEQUENCE seq; SELECT setval('seq', 41);
         CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN
           DELETE FROM waitlist; RETURN 1; END $$;
         CREATE FUNCTION opens() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN
           SET TRANSACTION READ WRITE; DELETE FROM waitlist; RETURN 1; END $$",
    )
    .await;
    let mut sleeping =
        value("SELECT 1 FROM (SELECT set_config('statement_timeout', '0', false)) s, pg_sleep(60)");
    sleeping.measure.timeout = Some(1);
    let hostile = vec![
        value("SET TRANSACTION READ WRITE"),
        value("SELECT writes()"),
        value("SELECT opens()"),
        value("SELECT nextval('seq')"),
        value("WITH gone AS (DELETE FROM waitlist RETURNING 1) SELECT count(*) FROM gone"),
        value("SELECT 1; DELETE FROM waitlist"),
        value("SELECT 1) q; COMMIT; DELETE FROM waitlist; SELECT row_to_json(q) FROM (SELECT 1"),
        value("SELECT set_config('transaction_read_only', 'off', false)::int"),
        sleeping,
        failed_rows("SELECT * FROM generate_series(1, 1000000) i"),
        value("SELECT i FROM generate_series(1, 1000000) i"),
        value("SELECT CASE WHEN pg_try_advisory_lock(42) THEN 1 ELSE 0 END"),
        value("SELECT set_config('search_path', 'nowhere', false)"),
        rule("users", "true) OR (false"),
        rows("last", "waitlist", RowAggregate::RowCount),
    ];
    let begun = Instant::now();
    let scan = scan(options(&az.admin), hostile).await;
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    for measurement in &scan.measurements[..8] {
        assert_eq!(refused(measurement).code, MeasureErrorCode::Sql, "{measurement:?}");
    }
    assert_eq!(refused(&scan.measurements[8]).code, MeasureErrorCode::Timeout);
    assert_eq!(number(&scan.measurements[9]), 1_000_000.0);
    assert_eq!(refused(&scan.measurements[10]).code, MeasureErrorCode::Shape);
    assert_eq!(refused(&scan.measurements[12]).code, MeasureErrorCode::Shape);
    assert_eq!(refused(&scan.measurements[13]).code, MeasureErrorCode::Sql);
    assert_eq!(number(&scan.measurements[14]), 2.0, "the snapshot outlives every failure");
    assert_eq!(count(&az.admin, "SELECT count(*) FROM waitlist").await, 2);
    assert_eq!(count(&az.admin, "SELECT last_value FROM seq").await, 41);
    assert_eq!(
        count(&az.admin, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42").await,
        0
    );
    assert_eq!(
        count(
            &az.admin,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'deploywatch' AND datname = current_database()"
        )
        .await,
        0
    );
}

/// Checks of one table are one statement; a broken one is taken out of it and blamed alone, wherever it stands.
#[tokio::test]
async fn one_broken_column_of_a_batch_blames_one_check() {
    let az = AgentZero::with_users(100).await;
    az.execute("ALTER TABLE users ADD COLUMN nothing TEXT").await;
    for place in 0..3 {
        let mut batch = vec![
            not_null("users", "id"),
            rows("count", "users", RowAggregate::RowCount),
            not_null("users", "nothing"),
        ];
        batch.insert(place, not_null("users", "emial"));
        let scan = scan(options(&az.scanner), batch).await;
        let mut values = scan.measurements;
        assert_eq!(refused(&values.remove(place)).code, MeasureErrorCode::Sql, "at {place}");
        let values: Vec<f64> = values.iter().map(number).collect();
        assert_eq!(values, [0.0, 100.0, 100.0], "the others are measured, with {place} broken");
    }
}

#[tokio::test]
async fn a_role_that_cannot_see_all_rows_gets_an_error_never_zero() {
    let az = AgentZero::with_users(100).await;
    let checks = || {
        vec![
            rows("count", "users", RowAggregate::RowCount),
            join("messages", "conversation_id", "conversations", "id", Partners::AtLeastOne),
            value("SELECT count(*) FROM users"),
        ]
    };
    let blind = scan(options(&az.restricted), checks()).await;
    for measurement in &blind.measurements {
        let error = refused(measurement);
        assert_eq!(error.code, MeasureErrorCode::Rls, "{error:?}");
        assert!(error.hint.as_deref().is_some_and(|h| h.contains(r#"ALTER ROLE "restricted" BYPASSRLS"#)));
    }
    // The other way: a policy for the role, and row_security stays on.
    az.execute("CREATE POLICY deploywatch_reads ON users FOR SELECT TO restricted USING (true)").await;
    let mut options = options(&az.restricted);
    options.row_security_off = false;
    let policy = scan(options, checks()).await;
    assert_eq!(number(&policy.measurements[0]), 100.0);
    assert_eq!(refused(&policy.measurements[1]).code, MeasureErrorCode::Rls);
    assert_eq!(number(&policy.measurements[2]), 100.0);
}

#[tokio::test]
async fn with_row_security_on_custom_sql_may_not_read_a_hidden_table() {
    let az = AgentZero::with_users(100).await;
    let mut options = options(&az.restricted);
    options.row_security_off = false;
    let scan = scan(options, vec![
        value("SELECT count(*) FROM users"),
        failed_rows("SELECT 1 FROM agents a WHERE NOT EXISTS (SELECT FROM organisations o WHERE o.id = a.organisation_id)"),
    ])
    .await;
    for measurement in &scan.measurements {
        assert_eq!(refused(measurement).code, MeasureErrorCode::Rls, "{measurement:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words() {
    let az = AgentZero::with_users(100).await;
    let scan = scan(
        options(&az.scanner),
        vec![
            not_null("userz", "email"),
            not_null("users", "emial"),
            value("SELECT count(*) FROM mesages"),
            value("SELECT count(*) FROM users WHERE emial IS NULL"),
            value("SELECT 'x'"),
            value("SELECT 1, 2"),
            value("SELECT 'NaN'::float8"),
            value("SELECT count(*) FROM users WHERE created_at < :deployed_at"),
            value("SELECT count(*) FROM users WHERE created_at <= :now AND :environment = 'test'"),
            value("SELECT 1 WHERE false"),
        ],
    )
    .await;
    let m = &scan.measurements;
    assert_eq!(refused(&m[0]).message, "table userz does not exist, or this role may not see it");
    assert_eq!(refused(&m[0]).hint.as_deref(), Some("did you mean users?"));
    assert_eq!(refused(&m[1]).hint.as_deref(), Some("did you mean email?"));
    assert_eq!(
        refused(&m[2]).message,
        "relation \"mesages\" does not exist (at character 22 of the statement)"
    );
    assert_eq!(refused(&m[2]).hint.as_deref(), Some("did you mean messages?"));
    assert!(refused(&m[3]).message.starts_with("column \"emial\" does not exist"));
    for wrong in &m[4..7] {
        assert_eq!(refused(wrong).code, MeasureErrorCode::Shape);
    }
    assert_eq!(measured(&m[7]).skipped.as_deref(), Some("there is no :deployed_at outside of a deploy"));
    assert_eq!(number(&m[8]), 100.0);
    assert_eq!(measured(&m[9]).value, None);
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_says_why() {
    let az = AgentZero::with_users(100).await;
    let database = database_of(&az.scanner);
    let good = az.scanner.clone();
    for (url, says) in [
        (good.replace("scanner:scanner", "scanner:wrong-password"), "refused the user scanner"),
        (good.replace(database, "not_there"), "there is no database not_there"),
        (
            format!("postgres://a:secret-word@127.0.0.1:{}/x", crate::support::free_port()),
            "nothing listens at",
        ),
        ("postgres://a:secret-word@no-such-host.invalid/x".into(), "no-such-host.invalid"),
        ("mysql://a:secret-word@b/c".into(), "no engine that is known"),
        ("postgres://a:secret-word@b:notaport/c".into(), "is not understood"),
        ("sqlite:/nowhere/at/all.db".into(), "there is no SQLite file"),
    ] {
        let error = Target::new(options(&url)).scan(&request(vec![])).await.unwrap_err().error;
        assert_eq!(error.code, MeasureErrorCode::Connect);
        assert!(error.message.contains(says), "{says}: {error}");
        assert!(error.hint.is_some());
        assert!(
            !format!("{error:?}").contains("secret-word") && !format!("{error:?}").contains("wrong-pass")
        );
    }
}

#[tokio::test]
async fn a_locked_table_is_an_error_of_its_own_checks() {
    let az = AgentZero::with_users(100).await;
    let mut holder = PgConnection::connect(&az.admin).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
    let mut options = options(&az.scanner);
    options.lock_timeout = Duration::from_millis(100);
    let scan = scan(
        options,
        vec![
            not_null("users", "email"),
            rows("users", "users", RowAggregate::RowCount),
            rows("waitlist", "waitlist", RowAggregate::RowCount),
        ],
    )
    .await;
    assert_eq!(refused(&scan.measurements[0]).code, MeasureErrorCode::Lock);
    assert_eq!(refused(&scan.measurements[1]).code, MeasureErrorCode::Lock);
    assert_eq!(number(&scan.measurements[2]), 2.0);
}

#[tokio::test]
async fn two_counts_around_a_paired_insert_agree() {
    let az = AgentZero::with_users(100).await;
    let admin = az.admin.clone();
    let writing = tokio::spawn(async move {
        let mut conn = PgConnection::connect(&admin).await.unwrap();
        for _ in 0..200 {
            // The trigger makes the credits row in the same transaction.
            sqlx::raw_sql("INSERT INTO users (id) VALUES (gen_random_uuid())")
                .execute(&mut conn)
                .await
                .unwrap();
        }
    });
    let mut last = 0.0;
    while !writing.is_finished() || last == 0.0 {
        let scan = scan(
            options(&az.scanner),
            vec![
                rows("users", "users", RowAggregate::RowCount),
                value("SELECT count(*) FROM generate_series(1, 100000)"),
                rows("credits", "user_credits", RowAggregate::RowCount),
            ],
        )
        .await;
        last = number(&scan.measurements[0]);
        assert_eq!(last, number(&scan.measurements[2]));
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_budget_that_runs_out_blames_nobody() {
    let az = AgentZero::with_users(100).await;
    let mut options = options(&az.scanner);
    options.budget = Duration::from_millis(900);
    let scan = scan(
        options,
        vec![
            value("SELECT 1 FROM pg_sleep(30)"),
            value("SELECT 1"),
            rows("users", "users", RowAggregate::RowCount),
        ],
    )
    .await;
    assert_eq!(refused(&scan.measurements[0]).code, MeasureErrorCode::Budget);
    assert_eq!(refused(&scan.measurements[1]).code, MeasureErrorCode::Budget);
    assert_eq!(number(&scan.measurements[2]), 100.0, "row checks go first");
}

#[tokio::test]
async fn a_statement_that_costs_too_much_is_refused_with_its_plan() {
    let az = AgentZero::with_users(100).await;
    let mut options = options(&az.scanner);
    options.max_cost = Some(50.0);
    let scan = scan(
        options,
        vec![
            value("SELECT count(*) FROM messages a, messages b"),
            rows("waitlist", "waitlist", RowAggregate::RowCount),
        ],
    )
    .await;
    let error = refused(&scan.measurements[0]);
    assert_eq!(error.code, MeasureErrorCode::Cost);
    assert!(
        error.message.contains("Seq Scan on messages") || error.message.contains("on messages"),
        "{error}"
    );
    assert_eq!(number(&scan.measurements[1]), 2.0);
}

#[tokio::test]
async fn several_connections_share_one_snapshot() {
    let az = AgentZero::with_users(100).await;
    let mut options = options(&az.scanner);
    options.connections = 3;
    let admin = az.admin.clone();
    let writing = tokio::spawn(async move {
        let mut conn = PgConnection::connect(&admin).await.unwrap();
        for _ in 0..100 {
            sqlx::raw_sql("INSERT INTO users (id) VALUES (gen_random_uuid())")
                .execute(&mut conn)
                .await
                .unwrap();
        }
    });
    let mut scans = 0;
    while !writing.is_finished() || scans == 0 {
        let scan = scan(
            options.clone(),
            vec![
                rows("users", "users", RowAggregate::RowCount),
                rows("credits", "user_credits", RowAggregate::RowCount),
                value("SELECT count(*) FROM users"),
                value("SELECT count(*) FROM user_credits"),
                value("SELECT count(*) FROM user_credits, pg_sleep(0.02)"),
            ],
        )
        .await;
        let values: Vec<f64> = scan.measurements.iter().map(number).collect();
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        scans += 1;
    }
    writing.await.unwrap();
}
