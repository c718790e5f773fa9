//! What the catalog says about the tables that checks name, in one query whatever their number.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::measure::TableName;

use super::super::plan::relation::{Relation, Relations};
use super::super::plan::sql::literal;
use super::super::plan::text::Bound;
use super::errors;
use super::session::Session;

/// A name is looked for by hand, since `to_regclass` fails on a schema that the role may not use.
pub const WANTED: &str = "
    SELECT w.ord, c.* FROM (VALUES {wanted}) AS w(ord, nsp, rel)
    CROSS JOIN LATERAL (
        SELECT c.oid, c.relname, c.relkind, c.reltuples, c.relpages, c.relhassubclass, n.nspname
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = w.rel AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND CASE WHEN w.nsp IS NULL THEN n.nspname = ANY (pg_catalog.current_schemas(true))
                   ELSE n.nspname = w.nsp END
        ORDER BY pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname) LIMIT 1) AS c";

const RELATIONS: &str = "
SELECT json_build_object(
  'want', c.ord, 'oid', c.oid::bigint, 'schema', c.nspname, 'name', c.relname, 'kind', c.relkind,
  'rows', c.reltuples, 'pages', c.relpages, 'children', c.relhassubclass,
  'hidden', row_security_active(c.oid),
  'open', {open},
  'columns', coalesce((SELECT json_agg(json_build_object('name', a.attname,
        'type', format_type(a.atttypid, a.atttypmod),
        'default', (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
           WHERE d.adrelid = c.oid AND d.adnum = a.attnum),
        'not_null', a.attnotnull AND NOT EXISTS (
           SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'n' AND NOT k.convalidated
             AND k.conkey = ARRAY[a.attnum])) ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'unique', coalesce((SELECT json_agg(json_build_object('name', ic.relname, 'columns',
        (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts))
        ORDER BY i.indisprimary DESC, ic.relname)
      FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
      WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indisready AND i.indislive
        AND i.indpred IS NULL AND i.indexprs IS NULL), '[]'),
  'primary_key', coalesce((SELECT json_agg(a.attname ORDER BY k.n)
      FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
      WHERE i.indrelid = c.oid AND i.indisprimary), '[]'),
  'checks', coalesce((SELECT json_agg(json_build_object('name', k.conname,
        'definition', pg_get_constraintdef(k.oid)) ORDER BY k.conname)
      FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated
        AND NOT k.connoinherit), '[]'),
  'foreign_keys', coalesce((SELECT json_agg(json_build_object('name', k.conname,
        'columns', (SELECT json_agg(a.attname ORDER BY x.n) FROM unnest(k.conkey) WITH ORDINALITY AS x(attnum, n)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum),
        'to_schema', fn.nspname, 'to_table', f.relname,
        'to_columns', (SELECT json_agg(a.attname ORDER BY x.n) FROM unnest(k.confkey) WITH ORDINALITY AS x(attnum, n)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.attnum)) ORDER BY k.conname)
      FROM pg_constraint k JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
      WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.convalidated), '[]')
)::text FROM ({wanted}) AS c";

/// A policy shows this role every row. The inner OFFSET keeps the planner from printing the policies of other
/// tables, which needs their locks.
const OPEN: &str = "
  (EXISTS (SELECT FROM (SELECT * FROM pg_policy p WHERE p.polrelid = c.oid OFFSET 0) AS p
     WHERE p.polpermissive AND p.polcmd IN ('r', '*') AND pg_get_expr(p.polqual, p.polrelid) = 'true'
       AND (p.polroles = '{0}' OR EXISTS (
         SELECT FROM unnest(p.polroles) r WHERE r <> 0 AND pg_has_role(current_user, r, 'USAGE'))))
   AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive
                     AND p.polcmd IN ('r', '*')))";

/// The first table among these names (of any schema) that row-level security hides from this role.
/// A plan does not tell, since a table that is wholly hidden is not in it.
const HIDDEN: &str = "
SELECT c.relname::text FROM pg_class c
WHERE c.relkind IN ('r', 'p') AND c.relname = ANY (string_to_array($1, chr(31)))
  AND row_security_active(c.oid) AND NOT {open}
UNION ALL
SELECT v.relname::text FROM pg_class v JOIN pg_rewrite w ON w.ev_class = v.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid
WHERE v.relkind = 'v' AND v.relname = ANY (string_to_array($1, chr(31)))
  AND 'security_invoker=true' = ANY (v.reloptions) AND row_security_active(c.oid) AND NOT {open}
ORDER BY 1 LIMIT 1";

const NAMES: &str = "
SELECT CASE WHEN n.nspname = 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
ORDER BY 1 LIMIT 2000";

#[derive(Deserialize)]
struct Found {
    want: usize,
    #[serde(flatten)]
    relation: Relation,
}

/// The subquery that finds the wanted tables, with their position as `ord`.
pub fn wanted(tables: &[TableName]) -> String {
    let values: Vec<String> = tables
        .iter()
        .enumerate()
        .map(|(ord, table)| {
            let schema =
                table.schema.as_deref().map_or("NULL::text".into(), |s| format!("{}::text", literal(s)));
            format!("({ord}, {schema}, {}::text)", literal(&table.name))
        })
        .collect();
    WANTED.replace("{wanted}", &values.join(", "))
}

/// Looks the tables up; those that do not exist are absent from the answer, with every name to suggest from.
/// Printing a constraint needs the lock of its table, so one that is locked is found alone and is left out with
/// the reason, not the others with it.
pub async fn load(session: &mut Session, tables: &[TableName]) -> Result<Relations, sqlx::Error> {
    let mut found = BTreeMap::new();
    let mut locked = Vec::new();
    match look_up(session, tables).await {
        Ok(relations) => found.extend(relations),
        Err(error) if is_locked(&error) => {
            for table in tables {
                match look_up(session, std::slice::from_ref(table)).await {
                    Ok(relations) => found.extend(relations),
                    Err(error) if is_locked(&error) => locked.push((table.clone(), error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Err(error) => return Err(error),
    }
    let complete = found.len() + locked.len() == tables.len();
    let names = if complete { Vec::new() } else { names(session).await? };
    let role = session.facts.role.clone();
    Ok(locked.into_iter().fold(Relations::new(found, names), |relations, (table, error)| {
        let why = errors::statement(&error, None, &relations, &role);
        relations.without(table, why)
    }))
}

async fn look_up(
    session: &mut Session,
    tables: &[TableName],
) -> Result<Vec<(TableName, Relation)>, sqlx::Error> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let rows = plain(session, RELATIONS.replace("{wanted}", &wanted(tables)).replace("{open}", OPEN)).await?;
    rows.iter()
        .map(|row| {
            let found: Found = serde_json::from_str(row)
                .map_err(|_| sqlx::Error::Decode("the catalog's answer is not understood".into()))?;
            Ok((tables[found.want].clone(), found.relation))
        })
        .collect()
}

fn is_locked(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "55P03")
}

/// Those of the roles that the scanning one may act as.
pub async fn acting_as(session: &mut Session, roles: &[String]) -> Result<Vec<String>, sqlx::Error> {
    if roles.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT rolname::text FROM pg_catalog.pg_roles \
               WHERE rolname = ANY (string_to_array($1, chr(31))) AND pg_has_role(session_user, oid, 'MEMBER')";
    session.rows(&Bound { sql: sql.into(), values: vec![roles.join("\u{1f}")] }, None).await
}

pub async fn hidden(session: &mut Session, words: &[String]) -> Result<Option<String>, sqlx::Error> {
    let bound = Bound { sql: HIDDEN.replace("{open}", OPEN), values: vec![words.join("\u{1f}")] };
    Ok(session.rows(&bound, None).await?.into_iter().next())
}

pub async fn names(session: &mut Session) -> Result<Vec<String>, sqlx::Error> {
    plain(session, NAMES.into()).await
}

/// Runs one of our own statements.
pub async fn plain(session: &mut Session, sql: String) -> Result<Vec<String>, sqlx::Error> {
    session.rows(&Bound { sql, values: Vec::new() }, None).await
}
