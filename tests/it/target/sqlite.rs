//! The same language on SQLite.

use deploywatch::domain::measure::{Catalog, ColumnExpectation, Partners, RowAggregate, What};
use deploywatch::domain::measurement::MeasureErrorCode;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::*;

async fn database(sql: &'static str) -> (tempfile::TempDir, String) {
    let folder = crate::support::temp_dir();
    let path = folder.path().join("product.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut conn = options.connect().await.expect("a new file can be made");
    sqlx::raw_sql(sql).execute(&mut conn).await.expect("the sample is valid SQL");
    conn.close().await.expect("it can be closed");
    (folder, format!("sqlite:{}", path.display()))
}

const SAMPLE: &str = "
    CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT, tier TEXT, seen INTEGER, created_at TEXT NOT NULL);
    CREATE TABLE credits (user_id TEXT, left INTEGER);
    INSERT INTO users VALUES ('a', 'a@example.com', 'pro', 1777593600, '2026-05-01T00:00:00Z'),
        ('b', 'a@example.com', 'gold', 1777593660, '2026-05-01 00:01:00'), ('c', NULL, NULL, NULL, '2026-04-30T00:00:00Z');
    INSERT INTO credits VALUES ('a', 1), ('a', -2), ('b', NULL), (NULL, 3), ('z', 4);";

#[tokio::test]
async fn every_row_kind_works() {
    let (_folder, url) = database(SAMPLE).await;
    let fresh = |column: &str| rows(column, "users", RowAggregate::Freshness { column: column.into() });
    let checks = vec![
        rows("count", "users", RowAggregate::RowCount),
        not_null("users", "email"),
        unique("users", &["email"]),
        accepted("users", "tier", &["pro", "founding"]),
        rule("credits", "left >= 0"),
        join("users", "id", "credits", "user_id", Partners::ExactlyOne),
        join("users", "id", "credits", "user_id", Partners::AtLeastOne),
        join("users", "id", "credits", "user_id", Partners::AtMostOne),
        join("credits", "user_id", "users", "id", Partners::AtLeastOne),
        fresh("seen"),
        fresh("created_at"),
        rows(
            "pattern",
            "users",
            RowAggregate::MatchesPattern { column: "email".into(), pattern: "^b@".into() },
        ),
        failed_rows("SELECT * FROM credits WHERE left < 0"),
        value("SELECT count(*) FROM users WHERE created_at < :now"),
        rows(
            "reconcile",
            "credits",
            RowAggregate::Reconcile {
                key: "user_id".into(),
                value: "left".into(),
                equals: "SELECT 'z', 4 UNION ALL SELECT 'y', 1".into(),
            },
        ),
    ];
    let mut request = request(checks);
    request.params.now = Some("2026-05-01T00:02:00Z".parse().unwrap());
    let mut options = options(&url);
    options.proofs = false;
    let scan = Target::new(options).scan(&request).await.unwrap();
    let values: Vec<f64> = scan.measurements.iter().map(number).collect();
    assert_eq!(values, [3.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 60.0, 60.0, 2.0, 1.0, 3.0, 4.0]);
}

#[tokio::test]
async fn nothing_is_written_and_errors_say_what_is_wrong() {
    let (folder, url) = database(SAMPLE).await;
    let mut slow =
        value("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n");
    slow.measure.timeout = Some(1);
    let checks = vec![
        not_null("userz", "email"),
        not_null("users", "emial"),
        value("DELETE FROM users RETURNING 1"),
        value("SELECT 1); DELETE FROM users; SELECT (1"),
        slow,
        check(
            "rls",
            What::Catalog(Catalog::Rls {
                only: false,
                schema: "public".into(),
                tables: vec![],
                allow: vec![],
                require: vec![],
                policies: vec![],
            }),
        ),
        check(
            "columns",
            What::Catalog(Catalog::Columns {
                expect: vec![(
                    table("users"),
                    vec![
                        ("email".into(), ColumnExpectation::Absent),
                        (
                            "nope".into(),
                            ColumnExpectation::Present { data_type: None, nullable: None, default: None },
                        ),
                    ],
                )],
            }),
        ),
        rows("count", "users", RowAggregate::RowCount),
    ];
    let scan = scan(options(&url), checks).await;
    let m = &scan.measurements;
    assert_eq!(refused(&m[0]).hint.as_deref(), Some("did you mean users?"));
    assert_eq!(refused(&m[1]).message, "table users has no column emial");
    assert_eq!(refused(&m[1]).hint.as_deref(), Some("did you mean email?"));
    assert_eq!(refused(&m[2]).code, MeasureErrorCode::Sql);
    assert_eq!(refused(&m[3]).code, MeasureErrorCode::Sql);
    assert_eq!(refused(&m[4]).code, MeasureErrorCode::Timeout);
    assert!(refused(&m[5]).message.contains("no row-level security"));
    assert_eq!(
        measured(&m[6]).detail.as_deref(),
        Some("users.email still exists; users.nope does not exist")
    );
    assert_eq!(number(&m[7]), 3.0);
    let gone = Target::new(options(&format!("sqlite:{}/no.db", folder.path().display())))
        .scan(&request(vec![]))
        .await
        .unwrap_err();
    assert!(gone.error.message.starts_with("there is no SQLite file"), "{gone}");
}
