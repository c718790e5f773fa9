//! Reading what tells whether a table has been written to, in a transaction of its own before the snapshot.

use serde::Deserialize;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::super::plan::carry::{Fingerprinted, Surroundings};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Identity(Option<String>),
    Relation(Fingerprinted),
    Foreign(String),
    Unsteady(String),
}

/// Counters are lost in a crash together with what was not yet counted, which shows only in the reset of the
/// server-wide statistics; so that is part of the identity.
const SURROUNDINGS: &str = "
SELECT json_build_object('identity', CASE WHEN NOT pg_is_in_recovery() AND current_setting('track_counts') = 'on'
  THEN concat_ws(':', current_database(), current_user, pg_postmaster_start_time(),
       (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
       (SELECT stats_reset FROM pg_stat_bgwriter), (SELECT stats_reset FROM pg_stat_archiver)) END)::text
UNION ALL
SELECT json_build_object('relation', json_build_object('schema', n.nspname, 'name', c.relname,
  'file', c.oid || ':' || c.relfilenode,
  'print', CASE WHEN c.relkind = 'r' AND NOT c.relhassubclass AND c.relpersistence <> 't'
                 AND n.nspname NOT IN ('pg_catalog', 'information_schema') THEN
    concat_ws(':', c.oid, c.relfilenode, c.xmin,
      (SELECT md5(string_agg(a.attnum || '.' || a.xmin::text, ',' ORDER BY a.attnum))
         FROM pg_attribute a WHERE a.attrelid = c.oid),
      pg_stat_get_tuples_inserted(c.oid), pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid))
  END))::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname = ANY (string_to_array($1, chr(31)))
  AND (n.nspname <> 'information_schema' OR 'information_schema' = ANY (string_to_array($1, chr(31))))
UNION ALL
SELECT DISTINCT json_build_object(
  CASE WHEN n.nspname <> 'pg_catalog' THEN 'foreign' ELSE 'unsteady' END, p.proname)::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = ANY (string_to_array($1, chr(31))) AND (n.nspname <> 'pg_catalog' OR p.provolatile <> 'i')";

/// What the names mean at this moment. `conn` is outside of any transaction before and after.
pub async fn read(conn: &mut PgConnection, names: &[String]) -> Result<Surroundings, sqlx::Error> {
    sqlx::raw_sql(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = 5000; SET LOCAL lock_timeout = 500; SET LOCAL TimeZone = 'UTC'",
    )
    .execute(&mut *conn)
    .await?;
    let rows =
        sqlx::query(SURROUNDINGS).bind(names.join("\u{1f}")).persistent(false).fetch_all(&mut *conn).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *conn).await?;
    let mut found = Surroundings::default();
    for row in rows? {
        let text: String = row.try_get(0)?;
        let line = serde_json::from_str(&text)
            .map_err(|_| sqlx::Error::Decode("the catalog's answer is not understood".into()))?;
        match line {
            Line::Identity(identity) => found.identity = identity,
            Line::Relation(relation) => found.relations.push(relation),
            Line::Foreign(function) => {
                found.foreign.insert(function);
            }
            Line::Unsteady(function) => {
                found.unsteady.insert(function);
            }
        }
    }
    Ok(found)
}
