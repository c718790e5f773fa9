//! A look at one schema for `deploywatch init`: the catalog and the planner's statistics, in one snapshot.

use serde::Deserialize;

use crate::domain::inspection::{GrantFacts, Inspection, TableFacts};
use crate::domain::measurement::{MeasureError, MeasureErrorCode};

use super::super::plan::relation::Relations;
use super::super::plan::text::Bound;
use super::super::{TargetError, TargetOptions};
use super::errors;
use super::session::{self, Session, Snapshot};

const PLACE: &str = "
SELECT json_build_object(
  'database', current_database(),
  'found', EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1),
  'has_auth', EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'auth'),
  'functions', coalesce((SELECT json_agg(p.proname || '(' || oidvectortypes(p.proargtypes) || ')'
        || coalesce(' -> ' || pg_get_function_result(p.oid), '') || CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END
        || CASE WHEN EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c LIKE 'search_path=%') THEN ' set search_path' ELSE '' END
        ORDER BY p.proname, p.oid)
     FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = $1 AND p.prokind IN ('f', 'p') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')), '[]'),
  'grants', coalesce((SELECT json_agg(json_build_object('table', g.relname, 'role', g.role, 'privileges', g.privileges)
        ORDER BY g.role, g.privileges, g.relname) FROM (
       SELECT c.relname, coalesce(r.rolname, 'public') AS role,
         string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS privileges
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       CROSS JOIN LATERAL aclexplode(c.relacl) AS a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
       WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
         AND (a.grantee = 0 OR r.rolname IN ('anon', 'authenticated', 'service_role'))
       GROUP BY 1, 2) AS g), '[]'),
  'published', coalesce((SELECT json_agg(json_build_array(p.pubname, c.relname) ORDER BY p.pubname, c.relname)
     FROM pg_catalog.pg_publication_rel l JOIN pg_catalog.pg_publication p ON p.oid = l.prpubid
     JOIN pg_catalog.pg_class c ON c.oid = l.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1), '[]'),
  'sign_up_triggers', coalesce((SELECT json_agg(g.tgname || ' -> ' || f.proname ORDER BY g.tgname)
     FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
     JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
     JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'auth' AND c.relname = 'users' AND fn.nspname = $1 AND NOT g.tgisinternal
       AND g.tgenabled IN ('O', 'A')), '[]'),
  'has_sequences', EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
     ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'S'),
  'has_migrations', EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
     ON n.oid = c.relnamespace WHERE n.nspname = 'supabase_migrations' AND c.relname = 'schema_migrations'))::text";

/// A time is written so that it reads as RFC 3339 (the session's zone is UTC); an infinite one is left out.
const TABLES: &str = r"
SELECT json_build_object(
  'name', c.relname,
  'rows', CASE WHEN c.reltuples >= 0 THEN c.reltuples::float8 WHEN t.n_live_tup > 0 THEN t.n_live_tup::float8 END,
  'updated', coalesce(t.n_tup_upd, 0), 'deleted', coalesce(t.n_tup_del, 0),
  'unreadable', CASE
     WHEN NOT (has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
       THEN 'may not read it'
     WHEN row_security_active(c.oid) THEN 'does not see all its rows' END,
  'columns', coalesce((SELECT json_agg(json_build_object('name', a.attname,
        'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
        'default', (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
           WHERE d.adrelid = c.oid AND d.adnum = a.attnum AND a.attgenerated = ''),
        'stats', (SELECT json_build_object('null_fraction', s.null_frac::float8, 'distinct', s.n_distinct::float8,
            'common', CASE WHEN s.n_distinct BETWEEN 1 AND 12 AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)
               THEN coalesce(to_json(s.most_common_vals::text::text[]), '[]') ELSE '[]' END,
            'oldest', s.bounds[1], 'newest', s.bounds[array_length(s.bounds, 1)])
          FROM (SELECT p.*, CASE WHEN a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
               AND p.histogram_bounds::text NOT LIKE '%infinity%' AND p.histogram_bounds::text NOT LIKE '% BC%'
               THEN ARRAY(SELECT replace(regexp_replace(b, '\+00$', ''), ' ', 'T') || 'Z'
                    FROM unnest(p.histogram_bounds::text::text[]) WITH ORDINALITY AS u(b, n) WHERE b ~ '^\d{4}-' ORDER BY n) END AS bounds
            FROM pg_catalog.pg_stats p
            WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname
            ORDER BY p.inherited = (c.relkind = 'p' OR c.relhassubclass) DESC LIMIT 1) AS s)
        ) ORDER BY a.attnum)
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'unique', coalesce((SELECT json_agg((SELECT json_agg(a.attname ORDER BY k.n)
           FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts)
        ORDER BY i.indisprimary DESC, i.indexrelid)
      FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indislive
        AND i.indpred IS NULL AND i.indexprs IS NULL), '[]'),
  'loosely_unique', coalesce((SELECT json_agg(pg_get_indexdef(i.indexrelid))
      FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique
        AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)), '[]'),
  'primary_key', coalesce((SELECT json_agg(a.attname ORDER BY k.n)
      FROM pg_catalog.pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
      WHERE i.indrelid = c.oid AND i.indisprimary AND k.n <= i.indnkeyatts), '[]'),
  'checks', coalesce((SELECT json_agg(pg_get_constraintdef(k.oid)) FROM pg_catalog.pg_constraint k
      WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated), '[]'),
  'constraints', coalesce((SELECT json_agg(k.conname ORDER BY k.conname) FROM pg_catalog.pg_constraint k
      WHERE k.conrelid = c.oid AND k.convalidated AND k.contype IN ('p', 'u', 'c', 'f', 'x')), '[]'),
  'definitions', coalesce((SELECT json_agg(json_build_object('name', k.conname, 'definition', pg_get_constraintdef(k.oid))
        ORDER BY k.conname) FROM pg_catalog.pg_constraint k
      WHERE k.conrelid = c.oid AND k.convalidated AND k.contype IN ('p', 'u', 'c', 'f', 'x')), '[]'),
  'indexes', coalesce((SELECT json_agg(DISTINCT CASE
        WHEN i.indpred IS NULL AND i.indexprs IS NULL AND m.amname = 'btree' AND k.columns !~ '[()]'
          THEN CASE WHEN i.indisunique THEN 'unique ' ELSE '' END || c.relname || '(' || k.columns || ')'
        ELSE ic.relname END)
      FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
      JOIN pg_catalog.pg_am m ON m.oid = ic.relam
      CROSS JOIN LATERAL (SELECT string_agg(a.attname, ', ' ORDER BY x.n) AS columns
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS x(attnum, n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.attnum WHERE x.n <= i.indnkeyatts) AS k
      WHERE i.indrelid = c.oid AND i.indisvalid AND i.indislive
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
          WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))), '[]'),
  'policies', coalesce((SELECT json_agg(json_build_object('name', p.polname, 'restrictive', NOT p.polpermissive,
        'command', CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update'
           WHEN 'd' THEN 'delete' ELSE 'all' END,
        'roles', (SELECT json_agg(coalesce(o.rolname, 'public') ORDER BY o.rolname)
           FROM unnest(p.polroles) AS r LEFT JOIN pg_catalog.pg_roles o ON o.oid = r),
        'using', pg_get_expr(p.polqual, p.polrelid),
        'with_check', pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname) FROM pg_catalog.pg_policy p
      WHERE p.polrelid = c.oid), '[]'),
  'triggers', coalesce((SELECT json_agg(g.tgname || ' -> ' || f.proname ORDER BY g.tgname)
      FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid
      WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')), '[]'),
  'foreign_keys', coalesce((SELECT json_agg(json_build_object(
        'columns', (SELECT json_agg(a.attname) FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)),
        'to_table', (SELECT f.relname FROM pg_catalog.pg_class f
             WHERE f.oid = k.confrelid AND f.relnamespace = c.relnamespace),
        'to_auth_users', EXISTS (SELECT FROM pg_catalog.pg_class f JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
             WHERE f.oid = k.confrelid AND fn.nspname = 'auth' AND f.relname = 'users')) ORDER BY k.conname)
      FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.convalidated), '[]')
)::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_all_tables t ON t.relid = c.oid
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname";

#[derive(Deserialize)]
struct Place {
    database: String,
    found: bool,
    has_auth: bool,
    has_migrations: bool,
    functions: Vec<String>,
    grants: Vec<GrantFacts>,
    published: Vec<(String, String)>,
    sign_up_triggers: Vec<String>,
    has_sequences: bool,
}

/// Reads the catalog of one schema, and no table.
pub async fn inspect(options: &TargetOptions, schema: &str) -> Result<Inspection, TargetError> {
    let connect = session::connect_options(options)?;
    let conn = session::connect(&connect, options.budget).await?;
    let mut session = Session::begin(conn, connect, options, Snapshot::Own).await?;
    session.ready().await?;
    let places: Vec<Place> = rows(&mut session, PLACE, schema).await?;
    let place = places.into_iter().next().ok_or_else(not_understood)?;
    if !place.found {
        return Err(MeasureError {
            code: MeasureErrorCode::Sql,
            message: format!("there is no schema {schema} in the database {}", place.database),
            hint: Some("name the one that holds your tables by --schema".into()),
        }
        .into());
    }
    let tables: Vec<TableFacts> = rows(&mut session, TABLES, schema).await?;
    let facts = session.facts.clone();
    if let Some(conn) = session.end().await {
        super::engine::close(conn).await;
    }
    Ok(Inspection {
        database: place.database,
        server: facts.server,
        role: facts.role,
        schema: schema.to_owned(),
        as_of: facts.now,
        has_auth: place.has_auth,
        has_migrations: place.has_migrations,
        functions: place.functions,
        grants: place.grants,
        published: place.published,
        sign_up_triggers: place.sign_up_triggers,
        has_sequences: place.has_sequences,
        tables,
    })
}

async fn rows<T: serde::de::DeserializeOwned>(
    session: &mut Session,
    sql: &str,
    schema: &str,
) -> Result<Vec<T>, MeasureError> {
    let bound = Bound { sql: sql.to_owned(), values: vec![schema.to_owned()] };
    let rows = match session.rows(&bound, None).await {
        Ok(rows) => rows,
        Err(error) => {
            let role = session.facts.role.clone();
            return Err(errors::statement(&error, None, &Relations::default(), &role));
        }
    };
    rows.iter().map(|row| serde_json::from_str(row).map_err(|_| not_understood())).collect()
}

fn not_understood() -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Shape,
        message: "the catalog's answer is not understood".into(),
        hint: None,
    }
}
