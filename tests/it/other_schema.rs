//! A Supabase-like product of quite another shape: its own suite, the shipped generic ones and a drafted one pass
//! while it is healthy, and each blames the right check for what breaks.

use serde_json::Value;

use crate::support::pg::database_of;
use crate::support::process::Invocation;
use crate::support::{AgentZero, PgCluster, fixture, temp_dir};

const SCHEMA: &str = include_str!("../fixtures/bakery/schema.sql");

struct Bakery {
    admin: String,
    scanner: String,
}

impl Bakery {
    async fn open() -> Self {
        // It makes the roles of the cluster, which two may not do at once.
        AgentZero::with_users(1).await;
        let cluster = PgCluster::shared();
        let admin = cluster.copy_of_template("bakery", async || SCHEMA.to_owned()).await;
        Self { scanner: cluster.url("scanner", database_of(&admin)), admin }
    }

    async fn broken(sql: &str) -> Self {
        let bakery = Self::open().await;
        PgCluster::shared().execute(&bakery.admin, sql).await;
        bakery
    }

    /// The exit code, and `key: message` of what is not well.
    async fn check(&self, suite: &str) -> (i32, Vec<String>) {
        let arguments = ["check", "--database-url", &self.scanner, "--format", "json", suite];
        let finished = Invocation::new().args(arguments).finish().await;
        let document: Value = serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", finished.stdout, finished.stderr));
        let word = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
        let bad = document["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| !["pass", "skipped"].contains(&check["outcome"].as_str().unwrap()));
        (finished.code, bad.map(|c| format!("{}: {}", word(c, "key"), word(c, "message"))).collect())
    }
}

fn own_suite() -> String {
    fixture("bakery/suite.yaml").display().to_string()
}

/// What breaks, and the beginning and a part of what its one check says.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "UPDATE \"Order Items\" SET sku = 'nope' WHERE \"orderId\" = 5 AND \"lineNo\" = 2",
        "Order Items.join_integrity.sku.shop.products",
        "1 of 1,200 rows of Order Items has no row in shop.products",
    ),
    (
        "SET session_replication_role = replica; UPDATE item_notes SET line_no = 77 WHERE order_id = 4",
        "item_notes.join_integrity.order_id_line_no.Order Items",
        "1 of 600 rows",
    ),
    (
        "SET session_replication_role = replica; DELETE FROM auth.users WHERE email = 'P5@example.com'",
        "profiles.join_integrity.id.auth.users",
        "1 without any",
    ),
    ("UPDATE profiles SET handle = NULL WHERE handle = 'P5'", "profiles.not_null.handle", "has no handle"),
    ("UPDATE shop.products SET price = 0 WHERE sku = 'sku3'", "shop.products.in_range.price", "below 0.01"),
    (
        "UPDATE shop.products SET active = false WHERE sku = 'sku3'",
        "shop.products.accepted_values.active",
        "true",
    ),
    (
        "UPDATE events SET kind = 'hack' WHERE id = 3",
        "events.accepted_values.kind",
        "1 of 500 rows of events",
    ),
    ("ALTER TABLE events DETACH PARTITION events_new", "events.row_count", "at least 100 is required"),
    ("CREATE TABLE events_x PARTITION OF events DEFAULT", "rls", "row-level security is off on events_x"),
    ("ALTER TABLE \"Order Items\" DISABLE ROW LEVEL SECURITY", "rls", "off on Order Items"),
    ("ALTER TABLE \"select\" DISABLE ROW LEVEL SECURITY", "rls", "off on select"),
    ("CREATE POLICY p ON item_notes TO anon USING ((SELECT true))", "rls", "lets every row through"),
    ("ALTER POLICY \"service events\" ON events TO public", "rls", "lets every row through"),
    ("DROP POLICY \"own orders\" ON \"Orders\"", "sees", "authenticated sees 0 rows of Orders"),
    (
        "UPDATE \"Orders\" SET \"placed at\" = \"placed at\" - interval '3 days'",
        "Orders.freshness.placed at",
        "3 d old",
    ),
    (
        "DELETE FROM \"Order Items\" WHERE \"orderId\" = 5 AND \"lineNo\" = 2",
        "Orders.reconcile.total_cents",
        "does not add up",
    ),
    (
        "ALTER TABLE shop.products ALTER price TYPE numeric(12, 4)",
        "cols",
        "is numeric(12,4), not numeric(10,2)",
    ),
    ("DROP INDEX \"Orders_profile\"", "idx", "Orders_profile does not exist"),
];

#[tokio::test]
async fn its_own_suite_holds_and_blames_the_right_check() {
    assert_eq!(Bakery::open().await.check(&own_suite()).await, (0, vec![]));
    for (sql, key, said) in FAULTS {
        let (code, bad) = Bakery::broken(sql).await.check(&own_suite()).await;
        assert_eq!(code, 1, "{sql}: {bad:?}");
        let [only] = bad.as_slice() else { panic!("{sql}: {bad:?}") };
        assert!(only.starts_with(&format!("{key}: ")) && only.contains(said), "{sql}: {only}");
    }
}

#[tokio::test]
async fn the_generic_suites_hold_and_see_what_is_open() {
    for suite in ["embedded:supabase", "embedded:core"] {
        assert_eq!(Bakery::open().await.check(suite).await, (0, vec![]), "{suite}");
    }
    for (sql, code, key, said) in [
        ("ALTER TABLE likes DISABLE ROW LEVEL SECURITY", 1, "public.rls", "off on likes"),
        (
            "ALTER VIEW order_totals RESET (security_invoker); GRANT SELECT ON order_totals TO anon",
            1,
            "supabase.open_views",
            "view order_totals shows anon all rows of Orders",
        ),
        ("GRANT SELECT ON daily TO authenticated", 1, "supabase.open_views", "REVOKE SELECT ON it"),
        // Everybody; through a view of a view; and as the person who asks, from a view that does not.
        (
            "ALTER VIEW order_totals RESET (security_invoker); CREATE VIEW best AS SELECT * FROM order_totals; \
             GRANT SELECT ON best TO public",
            1,
            "supabase.open_views",
            "view best shows everybody all rows of Orders",
        ),
        (
            "ALTER VIEW order_totals RESET (security_invoker); CREATE VIEW best WITH (security_invoker = on) AS \
             SELECT * FROM order_totals; GRANT SELECT ON best TO authenticated",
            1,
            "supabase.open_views",
            "ALTER VIEW what it reads SET",
        ),
        (
            "DROP POLICY \"own orders\" ON \"Orders\"; CREATE POLICY p ON \"Orders\" AS RESTRICTIVE USING (state = 'new')",
            1,
            "public.rls",
            "every policy on Orders is restrictive",
        ),
        ("ALTER TABLE likes OWNER TO authenticated", 1, "public.rls", "likes belongs to authenticated"),
        (
            "CREATE POLICY p ON likes USING (profile_id IS NOT NULL OR profile_id = auth.uid())",
            1,
            "public.rls",
            "policy \"p\" on likes lets every row through",
        ),
    ] {
        let (found, bad) = Bakery::broken(sql).await.check("embedded:supabase").await;
        let [only] = bad.as_slice() else { panic!("{sql}: {bad:?}") };
        assert_eq!(found, code, "{only}");
        assert!(only.starts_with(key) && only.contains(said), "{sql}: {only}");
    }
    for (sql, key, said) in [
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"Orders_profile\"'::regclass",
            "public.indexes_valid",
            "Orders_profile",
        ),
        (
            "ALTER SEQUENCE \"Orders_orderId_seq\" RESTART WITH 7",
            "public.sequences",
            "sequence Orders_orderId_seq is 594 behind Orders.orderId",
        ),
    ] {
        let (found, bad) = Bakery::broken(sql).await.check("embedded:core").await;
        let [only] = bad.as_slice() else { panic!("{sql}: {bad:?}") };
        assert!(found == 1 && only.starts_with(key) && only.contains(said), "{sql}: {only}");
    }
}

#[tokio::test]
async fn a_drafted_suite_holds_at_once_and_catches_what_comes_later() {
    let folder = temp_dir();
    let path = folder.path().join("first.yaml").display().to_string();
    let bakery = Bakery::open().await;
    let drafted =
        Invocation::new().args(["init", "--database-url", &bakery.scanner, "--output", &path]).finish().await;
    assert_eq!(drafted.code, 0, "{}", drafted.stderr);
    assert_eq!(bakery.check(&path).await, (0, vec![]));
    for (sql, key) in [
        ("ALTER TABLE profiles DROP CONSTRAINT profiles_handle_key", "public.constraints"),
        ("ALTER TABLE likes DROP CONSTRAINT likes_pkey", "public.constraints"),
        ("ALTER TABLE profiles ALTER \"displayName\" DROP NOT NULL", "public.columns.profiles"),
        ("ALTER TABLE \"Orders\" RENAME \"placed at\" TO placed_at", "public.columns.Orders"),
        ("DROP POLICY \"own orders\" ON \"Orders\"", "public.row_level_security"),
        ("ALTER POLICY \"own orders\" ON \"Orders\" TO anon", "public.row_level_security"),
        (
            "ALTER POLICY \"own orders\" ON \"Orders\" USING (auth.uid() IS NOT NULL)",
            "public.row_level_security",
        ),
        ("TRUNCATE item_notes", "item_notes.row_count"),
        ("DROP INDEX events_kind_idx", "public.indexes"),
        ("SELECT setval('\"Orders_orderId_seq\"', 1)", "public.sequences"),
        (
            "SET session_replication_role = replica; DELETE FROM profiles WHERE handle = 'p5'",
            "auth.users.join_integrity.id.profiles",
        ),
    ] {
        let (code, bad) = Bakery::broken(sql).await.check(&path).await;
        assert!(code == 1 && bad.len() == 1 && bad[0].starts_with(key), "{sql}: {bad:?}");
    }
}
