//! Queries over what no kind of check looks at: who may do what with the tables, and what is published. They read the
//! catalog alone.

use std::collections::BTreeMap;

use crate::domain::inspection::{Inspection, TableFacts};

use super::guards::Guard;

pub fn queries(seen: &Inspection, tables: &[&TableFacts]) -> Vec<Guard> {
    let mut queries = Vec::new();
    if seen.has_auth {
        queries.extend(grants(seen, tables));
    }
    queries.extend(published(seen, tables));
    queries
}

/// The rights of the roles that PostgREST gives to clients, and of the product's server, both ways.
fn grants(seen: &Inspection, tables: &[&TableFacts]) -> Option<Guard> {
    let known: Vec<&str> =
        tables.iter().map(|table| table.name.as_str()).filter(|name| is_plain(name)).collect();
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for grant in seen.grants.iter().filter(|grant| known.contains(&grant.table.as_str())) {
        groups.entry((&grant.role, &grant.privileges)).or_default().push(&grant.table);
    }
    if groups.is_empty() {
        return None;
    }
    let given = groups.iter().map(|((role, privileges), tables)| {
        format!("    ({}, {}, {})", text(role), text(privileges), text(&tables.join(", ")))
    });
    let given: Vec<String> = given.collect();
    let yaml = format!(
        "failed_rows: |
  WITH given(role, privileges, tables) AS (VALUES
{}),
  looked_at AS (
    SELECT c.relname::text AS name, c.relacl, pg_get_userbyid(c.relowner) AS owner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = {} AND c.relname = ANY (string_to_array({}, ', '))),
  expected AS (
    SELECT g.role, l.name, p.privilege FROM given g CROSS JOIN LATERAL unnest(string_to_array(g.tables, ', ')) AS t(name)
    JOIN looked_at l ON l.name = t.name CROSS JOIN LATERAL unnest(string_to_array(g.privileges, ', ')) AS p(privilege)),
  actual AS (
    SELECT coalesce(r.rolname::text, 'public') AS role, l.name, a.privilege_type AS privilege
    FROM looked_at l CROSS JOIN LATERAL aclexplode(l.relacl) AS a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE a.grantee = 0 OR r.rolname IN ('anon', 'authenticated', 'service_role')),
  differences AS (
    SELECT role, name, privilege, 'may no longer' AS verb FROM (SELECT * FROM expected EXCEPT SELECT * FROM actual) AS lost
    UNION ALL
    SELECT role, name, privilege, 'may now' FROM (SELECT * FROM actual EXCEPT SELECT * FROM expected) AS new)
  SELECT role || ' ' || verb || ' ' || string_agg(privilege, ', ' ORDER BY privilege) || ' ' || name AS problem
  FROM differences d WHERE role <> (SELECT owner FROM looked_at l WHERE l.name = d.name)
  GROUP BY role, verb, name ORDER BY 1",
        given.join(",\n"),
        text(&seen.schema),
        text(&known.join(", ")),
    );
    Some(Guard {
        kind: "grants".into(),
        yaml,
        title: "Clients and the server may do with the tables what they could".into(),
        reason: "Without its right a client gets an error whatever the policies say, and one that is given too much is \
                 held back by them alone",
    })
}

/// Whoever listens for changes hears nothing of a table that is not published.
fn published(seen: &Inspection, tables: &[&TableFacts]) -> Option<Guard> {
    let is_known = |name: &String| tables.iter().any(|table| table.name == *name) && is_plain(name);
    let pairs: Vec<String> = seen
        .published
        .iter()
        .filter(|(publication, table)| is_plain(publication) && is_known(table))
        .map(|(publication, table)| format!("    ({}, {})", text(publication), text(table)))
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let yaml = format!(
        "failed_rows: |
  WITH expected(publication, name) AS (VALUES
{})
  SELECT 'table ' || e.name || ' is no longer in the publication ' || e.publication AS problem
  FROM expected e JOIN pg_class c ON c.relname = e.name JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = {}
  WHERE NOT EXISTS (SELECT FROM pg_publication_tables p
    WHERE p.pubname = e.publication AND p.schemaname = n.nspname AND p.tablename = e.name) ORDER BY 1",
        pairs.join(",\n"),
        text(&seen.schema),
    );
    Some(Guard {
        kind: "publications".into(),
        yaml,
        title: "Whoever listens for changes still hears of the same tables".into(),
        reason: "Realtime says nothing of a table that is not published, and nobody gets an error",
    })
}

/// An SQL literal.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// What a list of names separated by commas, on one line, can hold.
fn is_plain(name: &str) -> bool {
    !name.contains(", ") && !name.chars().any(char::is_control)
}
