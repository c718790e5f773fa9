use super::{Trial, propose, render};
use crate::domain::clock::Timestamp;
use crate::domain::inspection::{
    ColumnFacts, ColumnStats, ConstraintFacts, ForeignKeyFacts, GrantFacts, Inspection, PolicyFacts,
    TableFacts,
};
use crate::suite;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// `NAME TYPE`, with `!` behind it where it is NOT NULL, free of NULLs and unlike in every row.
fn column(text: &str) -> ColumnFacts {
    let not_null = text.ends_with('!');
    let (name, type_name) = text.trim_end_matches('!').split_once(' ').unwrap();
    let stats =
        ColumnStats { null_fraction: 0.0, distinct: -1.0, common: Vec::new(), oldest: None, newest: None };
    ColumnFacts {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        not_null,
        default: None,
        stats: Some(stats),
    }
}

/// A table of 1,000 rows, its first column the primary key.
fn table(name: &str, columns: &[&str]) -> TableFacts {
    let columns: Vec<ColumnFacts> = columns.iter().map(|text| column(text)).collect();
    let key = vec![columns[0].name.clone()];
    TableFacts {
        name: name.to_owned(),
        rows: Some(1000.0),
        updated: 0,
        deleted: 0,
        unreadable: None,
        unique: vec![key.clone()],
        primary_key: key,
        loosely_unique: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        constraints: Vec::new(),
        definitions: Vec::new(),
        indexes: Vec::new(),
        policies: Vec::new(),
        triggers: Vec::new(),
        columns,
    }
}

fn seen(tables: Vec<TableFacts>) -> Inspection {
    Inspection {
        database: "shop".to_owned(),
        server: "PostgreSQL 17.2".to_owned(),
        role: "scanner".to_owned(),
        schema: "public".to_owned(),
        as_of: at("2026-05-01T12:00:00Z"),
        has_auth: false,
        has_migrations: false,
        functions: Vec::new(),
        grants: Vec::new(),
        published: Vec::new(),
        sign_up_triggers: Vec::new(),
        has_sequences: false,
        tables,
    }
}

/// The keys of the drafted checks, which load; without the guards of the catalog.
fn keys(seen: &Inspection) -> Vec<String> {
    let proposals = propose(seen);
    let yaml = render(seen, &proposals, &vec![Trial::Holds; proposals.len()]);
    let suite = suite::parse("init", &yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    suite.checks.iter().map(|check| check.key().to_string()).filter(|key| !is_guard(key)).collect()
}

fn is_guard(key: &str) -> bool {
    [
        "constraints",
        "indexes",
        "triggers",
        "functions",
        "columns",
        "drift",
        "sign_up_triggers",
        "grants",
        "publications",
    ]
    .iter()
    .any(|kind| key.starts_with(&format!("public.{kind}")))
}

/// The keys beside the row counts, with something changed.
fn changed(mut tables: Vec<TableFacts>, change: impl FnOnce(&mut Vec<TableFacts>)) -> Vec<String> {
    change(&mut tables);
    keys(&seen(tables)).into_iter().filter(|key| !key.ends_with("row_count")).collect()
}

fn users() -> TableFacts {
    table("users", &["id uuid!"])
}

const NOTHING: &[&str] = &[];

#[test]
fn names_say_which_table_a_column_means() {
    for (name, type_name, found) in [
        ("user_id", "uuid", true),
        ("userId", "uuid", true),
        ("reply_to_user_id", "uuid", true),
        ("owner_id", "uuid", true),
        // Another type holds something else, and nothing is called so.
        ("user_id", "text", false),
        ("stripe_id", "uuid", false),
        ("userid", "uuid", false),
    ] {
        let orders = table("orders", &["id bigint!", &format!("{name} {type_name}!")]);
        let found: Vec<String> =
            if found { vec![format!("orders.join_integrity.{name}.users")] } else { Vec::new() };
        let keys = changed(vec![orders, users()], |_| ());
        let joins: Vec<&String> = keys.iter().filter(|key| key.contains("join_integrity")).collect();
        assert_eq!(joins, found.iter().collect::<Vec<_>>(), "{name} {type_name}");
    }
    let companies = table("companies", &["id integer!"]);
    let staff = table("staff", &["id bigint!", "company_id bigint!", "parent_id integer!"]);
    let expected = ["staff.join_integrity.company_id.companies", "staff.join_integrity.parent_id.staff"];
    assert_eq!(changed(vec![companies, staff], |_| ()), expected);
}

#[test]
fn a_companion_must_have_its_row() {
    let tables = || vec![table("user_credits", &["user_id uuid!"]), users()];
    let both = ["user_credits.join_integrity.user_id.users", "users.join_integrity.id.user_credits"];
    assert_eq!(changed(tables(), |_| ()), both);
    // A foreign key proves the one direction and says nothing of the other.
    let foreign = |tables: &mut Vec<TableFacts>| {
        let key = ForeignKeyFacts {
            columns: vec!["user_id".to_owned()],
            to_table: Some("users".to_owned()),
            to_auth_users: false,
        };
        tables[0].foreign_keys.push(key);
    };
    assert_eq!(changed(tables(), foreign), both[1..]);
    // Half of the users have one: it is optional.
    assert_eq!(changed(tables(), |tables| tables[0].rows = Some(500.0)), both[..1]);
}

#[test]
fn what_a_constraint_proves_is_left_out() {
    let tables = || vec![table("users", &["id uuid!", "email text"])];
    let email = |checks: &[&str]| checks.iter().map(|c| format!("users.{c}.email")).collect::<Vec<_>>();
    assert_eq!(changed(tables(), |_| ()), email(&["not_null", "unique", "matches_pattern"]));
    assert_eq!(changed(tables(), |t| t[0].columns[1].not_null = true), email(&["unique", "matches_pattern"]));
    let check = |t: &mut Vec<TableFacts>| t[0].checks.push("CHECK ((email IS NOT NULL))".to_owned());
    assert_eq!(changed(tables(), check), email(&["unique"]));
    let unique = |t: &mut Vec<TableFacts>| t[0].unique.push(vec!["email".to_owned()]);
    assert_eq!(changed(tables(), unique), email(&["not_null", "matches_pattern"]));
    let lower = |t: &mut Vec<TableFacts>| {
        t[0].loosely_unique
            .push("CREATE UNIQUE INDEX u ON public.users USING btree (lower(email))".to_owned());
    };
    assert_eq!(changed(tables(), lower), email(&["not_null", "matches_pattern"]));
    let empty_ones = |t: &mut Vec<TableFacts>| t[0].columns[1].stats.as_mut().unwrap().null_fraction = 0.5;
    assert_eq!(changed(tables(), empty_ones), email(&["unique", "matches_pattern"]));
}

#[test]
fn few_values_are_all_that_are_accepted() {
    let tables = |values: &[&str]| {
        let mut orders = table("orders", &["id bigint!", "status text!"]);
        let stats = orders.columns[1].stats.as_mut().unwrap();
        stats.common = values.iter().map(ToString::to_string).collect();
        stats.distinct = if values.is_empty() { -1.0 } else { 2.0 };
        vec![orders]
    };
    let status = ["orders.accepted_values.status"];
    assert_eq!(changed(tables(&["paid", "no"]), |_| ()), status);
    // One value is no list, a list that is not whole says nothing, and a sentence is no word.
    assert_eq!(changed(tables(&["paid"]), |_| ()), NOTHING);
    assert_eq!(changed(tables(&["a", "b", "c"]), |_| ()), NOTHING);
    assert_eq!(changed(tables(&["paid", "said: \"no\"\n- x"]), |_| ()), NOTHING);
    let check =
        |t: &mut Vec<TableFacts>| t[0].checks.push("CHECK ((status = ANY (ARRAY['paid'])))".to_owned());
    assert_eq!(changed(tables(&["paid", "no"]), check), NOTHING);
    assert_eq!(changed(tables(&["paid", "no"]), |t| t[0].rows = Some(12.0)), NOTHING);
}

#[test]
fn freshness_is_as_long_as_the_rows_are_apart() {
    for (oldest, newest, above) in [
        ("2026-05-01T00:00:00Z", "2026-05-01T11:59:00Z", Some("6h")),
        ("2026-04-01T00:00:00Z", "2026-05-01T11:00:00Z", Some("12h")),
        ("2026-04-01T00:00:00Z", "2026-04-30T06:00:00Z", Some("3d")),
        ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", None),
    ] {
        let mut events = table("events", &["id bigint!", "created_at timestamp with time zone!"]);
        let stats = events.columns[1].stats.as_mut().unwrap();
        (stats.oldest, stats.newest) = (Some(at(oldest)), Some(at(newest)));
        let fails: Vec<String> =
            propose(&seen(vec![events])).into_iter().skip(1).filter_map(|proposal| proposal.fail).collect();
        let expected: Vec<String> = above.iter().map(|length| format!("{{ above: {length} }}")).collect();
        assert_eq!(fails, expected, "{oldest} to {newest}");
    }
}

#[test]
fn without_statistics_the_names_speak() {
    let mut users = table("users", &["id uuid!", "email text", "nickname text", "slug text"]);
    users.rows = None;
    users.columns.iter_mut().for_each(|column| column.stats = None);
    assert_eq!(changed(vec![users], |_| ()), ["users.not_null.email", "users.matches_pattern.email"]);
}

#[test]
fn tables_of_tools_and_unreadable_ones_are_left_out() {
    let mut hidden = table("payments", &["id uuid!"]);
    hidden.unreadable = Some("does not see all its rows".to_owned());
    let seen = seen(vec![table("_prisma_migrations", &["id text!"]), hidden, users()]);
    assert_eq!(keys(&seen), ["users.row_count"]);
    let proposals = propose(&seen);
    let yaml = render(&seen, &proposals, &[Trial::Holds]);
    assert!(
        yaml.contains("# Left out: payments, since the role scanner does not see all its rows.\n"),
        "{yaml}"
    );
}

#[test]
fn strange_names_load() {
    let odd = table("on", &["id uuid!", "e: mail, \"x\" text", "no text", "ünï code text"]);
    let mut seen = seen(vec![odd, table("Order.Items", &["id uuid!", "user_id uuid!"]), users()]);
    let found = keys(&seen);
    assert!(found.iter().any(|key| key == "on.not_null.no"), "{found:?}");
    seen.schema = "My Shop".to_owned();
    "a\nb: c".clone_into(&mut seen.database);
    seen.has_auth = true;
    seen.has_migrations = true;
    assert!(keys(&seen).contains(&"my_shop.row_level_security".to_owned()));
}

#[test]
fn what_is_not_read_is_guarded() {
    let mut one = table("a b", &["id uuid!", "email text"]);
    one.constraints = vec!["a b_pkey".to_owned()];
    one.indexes = vec!["a b_email".to_owned()];
    one.triggers = vec!["on, made -> f".to_owned()];
    one.columns[1].default = Some("'x'::text".to_owned());
    let check = ConstraintFacts { name: "a b_check".to_owned(), definition: "CHECK ((id > 0))".to_owned() };
    one.constraints.push(check.name.clone());
    one.definitions = vec![check];
    one.policies = vec![PolicyFacts {
        restrictive: false,
        name: "Own: rows".to_owned(),
        command: "select".to_owned(),
        roles: vec!["authenticated".to_owned()],
        using: Some("(id =\n   auth.uid())".to_owned()),
        with_check: None,
    }];
    // Two tables whose names make one key.
    let mut seen = seen(vec![one, table("a_b", &["id uuid!"])]);
    seen.has_auth = true;
    seen.functions = vec!["f() -> trigger".to_owned()];
    seen.sign_up_triggers = vec!["made -> f".to_owned()];
    let grant = |table: &str| GrantFacts {
        table: table.to_owned(),
        role: "authenticated".to_owned(),
        privileges: "INSERT, SELECT".to_owned(),
    };
    seen.grants = vec![grant("a b"), grant("a_b")];
    seen.published = vec![("it's".to_owned(), "a b".to_owned()), ("it's".to_owned(), "elsewhere".to_owned())];
    let proposals = propose(&seen);
    let yaml = render(&seen, &proposals, &vec![Trial::Holds; proposals.len()]);
    let suite = suite::parse("init", &yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    let keys: Vec<&str> =
        suite.checks.iter().map(|check| check.key().as_str()).filter(|key| is_guard(key)).collect();
    assert_eq!(
        keys,
        [
            "public.constraints",
            "public.indexes",
            "public.triggers",
            "public.sign_up_triggers",
            "public.functions",
            "public.columns.a_b",
            "public.columns.a_b_2",
            "public.drift",
            "public.grants",
            "public.publications"
        ]
    );
    for part in [
        "  - rls:\n      schema: public\n      only: true\n      policies:\n        a b:\n          \"Own: rows\":\n            \
         for: select\n            to: [authenticated]\n            using: \"(id = auth.uid())\"\n",
        "      a b:\n        id: { type: uuid, nullable: false }\n        email: { type: text, default: \"'x'::text\" }\n",
        "      definitions:\n        a b.a b_check: \"CHECK ((id > 0))\"\n",
        "      require:\n        a b: [\"on, made -> f\"]\n",
        "  - functions:\n      schema: public\n      require:\n        - \"f() -> trigger\"\n",
        "  - triggers: { schema: auth, require: { users: [\"made -> f\"] } }\n    key: public.sign_up_triggers\n",
        "queries:\n",
        "  - failed_rows: |\n      WITH given(role, privileges, tables) AS (VALUES\n        ('authenticated', 'INSERT, SELECT', 'a b, a_b')),\n",
        "      WITH expected(publication, name) AS (VALUES\n        ('it''s', 'a b'))\n",
    ] {
        assert!(yaml.contains(part), "{part}\n{yaml}");
    }
}

#[test]
fn what_does_not_hold_is_a_comment() {
    let seen = seen(vec![table("user_credits", &["user_id uuid!"]), users()]);
    let proposals = propose(&seen);
    let lost = || Trial::DoesNotHold("1 of 1,000 rows of users has no row in user_credits".to_owned());
    let trials: Vec<Trial> = proposals
        .iter()
        .map(|proposal| {
            if proposal.title.is_some() && proposal.place != super::Place::Schema {
                lost()
            } else {
                Trial::Holds
            }
        })
        .collect();
    let yaml = render(&seen, &proposals, &trials);
    assert!(
        yaml.contains(
            "    # Off, since it does not hold now: 1 of 1,000 rows of users has no row in user_credits.\n    \
             # - join_integrity: { columns: [id], to: user_credits(user_id), match: exactly_one }\n    \
             #   title: Every row of users has its row in user_credits\n"
        ),
        "{yaml}"
    );
    let suite = suite::parse("init", &yaml).unwrap();
    assert_eq!(suite.checks.len(), proposals.len() - 1);
    // A table of which nothing holds keeps its heading as a comment too.
    let only = seen_alone();
    let proposals = propose(&only);
    let trials: Vec<Trial> = proposals
        .iter()
        .map(|proposal| match &proposal.place {
            super::Place::Table(name) if name == "dead" => lost(),
            _ => Trial::Holds,
        })
        .collect();
    let yaml = render(&only, &proposals, &trials);
    assert!(yaml.contains("  # dead:\n"), "{yaml}");
    let suite = suite::parse("init", &yaml).unwrap();
    assert_eq!(suite.checks.iter().filter(|check| !is_guard(check.key().as_str())).count(), 1);
}

fn seen_alone() -> Inspection {
    seen(vec![table("dead", &["id uuid!"]), users()])
}
