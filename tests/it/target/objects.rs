//! The kinds that ask the catalog and the server, healthy and with what a bad migration does.

use deploywatch::domain::drift::Fingerprint;
use deploywatch::domain::measure::{Catalog, ColumnExpectation, Server, What};
use deploywatch::domain::measurement::{MeasureErrorCode, Unit};

use super::*;
use crate::support::AgentZero;

fn catalog(key: &str, catalog: Catalog) -> Check {
    check(key, What::Catalog(catalog))
}

fn rls(allow: &[&str]) -> Check {
    catalog(
        "rls",
        Catalog::Rls {
            only: false,
            schema: "public".into(),
            tables: vec![],
            allow: strings(allow),
            require: vec![("agents".into(), strings(&["Users can read their org's agents"]))],
            policies: vec![],
        },
    )
}

fn visible(role: &str, filter: Option<&str>) -> Check {
    catalog(
        "visible",
        Catalog::VisibleRows {
            table: table("agents"),
            role: role.into(),
            claims: serde_json::json!({ "sub": "00000002-0000-4000-8000-000000000001" }),
            filter: filter.map(Into::into),
        },
    )
}

fn required(names: &[&str]) -> Vec<Check> {
    vec![
        catalog("indexes", Catalog::IndexesValid { schema: "public".into(), require: strings(names) }),
        catalog(
            "constraints",
            Catalog::ConstraintsValid {
                definitions: Vec::new(),
                foreign_keys: true,
                schema: "public".into(),
                require: strings(&["subscriptions_tier_check"]),
            },
        ),
        catalog(
            "foreign_keys",
            Catalog::ForeignKeys {
                schema: "public".into(),
                require: vec![("users".into(), strings(&["organisation_id -> organisations"]))],
            },
        ),
        catalog(
            "functions",
            Catalog::Functions {
                schema: "public".into(),
                require: strings(&["deduct_credits(uuid, integer)", "refund_credits"]),
            },
        ),
        catalog(
            "triggers",
            Catalog::Triggers {
                schema: "public".into(),
                require: vec![("users".into(), strings(&["users_create_credits"]))],
            },
        ),
        catalog(
            "columns",
            Catalog::Columns {
                expect: vec![(
                    table("users"),
                    vec![
                        (
                            "email".into(),
                            ColumnExpectation::Present {
                                data_type: Some("text".into()),
                                nullable: Some(true),
                                default: None,
                            },
                        ),
                        ("legacy".into(), ColumnExpectation::Absent),
                    ],
                )],
            },
        ),
        catalog(
            "migrations",
            Catalog::MigrationsApplied {
                table: table("supabase_migrations.schema_migrations"),
                directory: None,
                files: Some(
                    [
                        "20260325000000_multi_tenant_schema",
                        "20260325000001_user_credits",
                        "20260411000000_create_documents",
                        "20260412000000_agent_scoped_documents",
                        "20260418000000_lemonsqueezy_billing",
                        "20260418000001_founding_grants",
                        "20260425000000_agent_conversations",
                        "20260425000001_memo_summaries",
                        "20260516000000_waitlist",
                    ]
                    .map(|name| format!("{name}.sql"))
                    .to_vec(),
                ),
            },
        ),
    ]
}

fn detail(measurement: &Measurement) -> &str {
    measured(measurement).detail.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn objects_that_should_be_there_are_missed_by_name() {
    let az = AgentZero::with_users(100).await;
    let healthy = scan(options(&az.scanner), required(&["idx_agents_status"])).await;
    for measurement in &healthy.measurements {
        assert_eq!(number(measurement), 0.0, "{}: {}", measurement.key, detail(measurement));
    }
    az.execute(
        "DROP INDEX idx_agents_status;
         ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_tier_check;
         ALTER TABLE user_credits ADD CONSTRAINT left_positive CHECK (credits_remaining >= 0) NOT VALID;
         ALTER TABLE users DROP CONSTRAINT users_organisation_id_fkey;
         DROP FUNCTION refund_credits; ALTER TABLE users DISABLE TRIGGER users_create_credits;
         ALTER TABLE users RENAME email TO e_mail; ALTER TABLE users ADD legacy int;
         DELETE FROM supabase_migrations.schema_migrations WHERE name = 'waitlist'",
    )
    .await;
    let broken = scan(options(&az.scanner), required(&["idx_agents_status"])).await;
    let details: Vec<&str> = broken.measurements.iter().map(detail).collect();
    assert_eq!(
        details,
        [
            "index idx_agents_status does not exist",
            "constraint left_positive on user_credits has not been validated: CHECK ((credits_remaining >= 0)) NOT VALID; \
         constraint subscriptions_tier_check does not exist",
            "foreign key organisation_id -> organisations of users does not exist",
            "function refund_credits does not exist",
            "trigger users_create_credits on users is disabled",
            "users.email does not exist, but e_mail does; users.legacy still exists",
            "20260516000000_waitlist.sql has not been applied",
        ]
    );
}

#[tokio::test]
async fn policies_that_decide_nothing_are_named() {
    let az = AgentZero::with_users(100).await;
    let healthy = one(&az.scanner, rls(&[])).await;
    assert_eq!(number(&healthy), 0.0);
    assert!(detail(&healthy).starts_with("without any policy"), "{}", detail(&healthy));
    az.execute(
        "ALTER TABLE documents DISABLE ROW LEVEL SECURITY;
         DROP POLICY \"Users can read their org's agents\" ON agents;
         CREATE POLICY open ON agents FOR SELECT TO authenticated USING (true);
         CREATE POLICY folded ON messages FOR SELECT TO authenticated USING (auth.uid() IS NULL OR 1 = 1);
         CREATE POLICY closed ON messages FOR UPDATE TO authenticated USING (false);
         CREATE POLICY service ON messages TO service_role USING (true);
         CREATE POLICY fine ON messages FOR DELETE USING (id > 5);
         CREATE POLICY insert ON waitlist FOR INSERT TO anon WITH CHECK (true);
         CREATE POLICY same ON conversations FOR SELECT USING (user_id = user_id)",
    )
    .await;
    let broken = one(&az.scanner, rls(&["waitlist.insert"])).await;
    assert_eq!(
        detail(&broken).split("; ").collect::<Vec<_>>(),
        [
            "policy \"open\" on agents lets every row through: USING (true)",
            "policy \"same\" on conversations lets every row through: USING ((user_id = user_id))",
            "row-level security is off on documents",
            "policy \"closed\" on messages lets no row through: USING (false)",
            "policy \"folded\" on messages lets every row through: USING (((auth.uid() IS NULL) OR (1 = 1)))",
            "policy \"Users can read their org's agents\" on agents does not exist",
        ]
    );
}

#[tokio::test]
async fn rows_are_counted_as_a_person_of_the_product_sees_them() {
    let az = AgentZero::with_users(100).await;
    let refusal = one(&az.restricted, visible("authenticated", None)).await;
    assert_eq!(
        refused(&refusal).hint.as_deref(),
        Some(r#"as an administrator: GRANT "authenticated" TO "restricted""#)
    );
    // The superuser may become anybody, and is nobody special once it is somebody else.
    let checks = || {
        vec![
            visible("authenticated", None),
            rows("all", "agents", RowAggregate::RowCount),
            visible("authenticated", Some("status = 'gone'")),
            visible("nobody_here", None),
        ]
    };
    let healthy = scan(options(&az.admin), checks()).await;
    let seen = number(&healthy.measurements[0]);
    assert!(seen > 0.0 && seen < 200.0, "one organisation's agents: {seen}");
    assert_eq!(number(&healthy.measurements[1]), 200.0);
    assert_eq!(number(&healthy.measurements[2]), 0.0);
    assert_eq!(refused(&healthy.measurements[3]).message, "role nobody_here does not exist");
    az.execute("REVOKE SELECT ON agents FROM authenticated").await;
    let revoked = scan(options(&az.admin), checks()).await;
    assert_eq!(number(&revoked.measurements[0]), 0.0);
    assert!(detail(&revoked.measurements[0]).contains("permission denied"));
}

#[tokio::test]
async fn drift_is_a_readable_difference() {
    let az = AgentZero::with_users(100).await;
    let drift = || {
        catalog(
            "drift",
            Catalog::Drift {
                schema: "public".into(),
                allow: strings(&["add_table", "add_column", "add_index"]),
            },
        )
    };
    let read = async || -> Fingerprint {
        let measurement = one(&az.scanner, drift()).await;
        serde_json::from_value(measured(&measurement).fingerprint.clone().unwrap()).unwrap()
    };
    let before = read().await;
    assert_eq!(read().await.since(&before), Vec::<String>::new());
    az.execute(
        "CREATE TABLE extra (id int PRIMARY KEY); ALTER TABLE users ADD note text; CREATE INDEX ON users (note);
         ALTER TABLE waitlist DISABLE ROW LEVEL SECURITY; DROP INDEX idx_agents_status;
         GRANT INSERT ON waitlist TO anon; ALTER TABLE messages ALTER tokens TYPE bigint",
    )
    .await;
    assert_eq!(
        read().await.since(&before),
        [
            "column messages.tokens: integer became bigint",
            "grant waitlist anon is new (INSERT)",
            "index agents.idx_agents_status is gone (was CREATE INDEX idx_agents_status ON public.agents USING btree \
         (status))",
            "table waitlist: row-level security on became row-level security off",
        ]
    );
}

#[tokio::test]
async fn the_server_says_how_busy_it_is() {
    let az = AgentZero::with_users(100).await;
    let checks = || {
        vec![
            check("connections", What::Server(Server::Connections)),
            check("long", What::Server(Server::LongTransactions { over: 3600 })),
        ]
    };
    let seen = scan(options(&az.scanner), checks()).await;
    assert!((0.1..100.0).contains(&number(&seen.measurements[0])));
    assert_eq!(measured(&seen.measurements[0]).unit, Unit::Percent);
    assert_eq!(number(&seen.measurements[1]), 0.0);
    let blind = scan(options(&az.restricted), checks()).await;
    assert!(number(&blind.measurements[0]) > 0.0);
    assert_eq!(refused(&blind.measurements[1]).code, MeasureErrorCode::Sql);
}
