//! `drift`: a schema as flat facts, to be compared with those of the baseline.

use serde::Deserialize;

use crate::domain::drift::Fingerprint;
use crate::domain::measurement::Measured;

use super::{Ask, ObjectError};

#[derive(Deserialize)]
struct Fact {
    object: String,
    definition: String,
}

/// Objects that belong to an extension change with it, and are its own affair.
const FACTS: &str = "
WITH rel AS (
  SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.relowner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
facts(object, definition) AS (
  SELECT CASE WHEN relkind IN ('v', 'm') THEN 'view ' ELSE 'table ' END || relname,
    CASE WHEN relkind IN ('v', 'm') THEN 'definition ' || left(md5(pg_get_viewdef(oid)), 8)
         ELSE 'row-level security ' || CASE WHEN relforcerowsecurity THEN 'forced'
                                            WHEN relrowsecurity THEN 'on' ELSE 'off' END END FROM rel
  UNION ALL
  SELECT 'column ' || rel.relname || '.' || a.attname,
    format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
  FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  UNION ALL
  SELECT 'index ' || rel.relname || '.' || ic.relname,
    pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
  FROM rel JOIN pg_index i ON i.indrelid = rel.oid JOIN pg_class ic ON ic.oid = i.indexrelid
  UNION ALL
  SELECT 'constraint ' || rel.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
  FROM rel JOIN pg_constraint k ON k.conrelid = rel.oid WHERE k.contype <> 't'
  UNION ALL
  SELECT 'policy ' || rel.relname || '.' || p.polname,
    CASE WHEN p.polpermissive THEN 'permissive ' ELSE 'restrictive ' END
    || CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END
    || ' TO ' || coalesce((SELECT string_agg(o.rolname, ', ' ORDER BY o.rolname) FROM pg_roles o WHERE o.oid = ANY (p.polroles)), 'PUBLIC')
    || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
    || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
  FROM rel JOIN pg_policy p ON p.polrelid = rel.oid
  UNION ALL
  SELECT 'trigger ' || rel.relname || '.' || t.tgname,
    pg_get_triggerdef(t.oid) || CASE WHEN t.tgenabled = 'D' THEN ' DISABLED' ELSE '' END
  FROM rel JOIN pg_trigger t ON t.tgrelid = rel.oid WHERE NOT t.tgisinternal
  UNION ALL
  SELECT 'grant ' || rel.relname || ' ' || coalesce(o.rolname, 'PUBLIC'),
    string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type)
  FROM rel CROSS JOIN LATERAL aclexplode(coalesce(rel.relacl, acldefault('r', rel.relowner))) AS a
  LEFT JOIN pg_roles o ON o.oid = a.grantee GROUP BY rel.relname, o.rolname
  UNION ALL
  SELECT 'function ' || p.proname || '(' || oidvectortypes(p.proargtypes) || ')',
    CASE WHEN p.prosecdef THEN 'SECURITY DEFINER, ' ELSE '' END
    || 'body ' || left(md5(p.prosrc || coalesce(p.proconfig::text, '')), 8)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname = $1
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
  UNION ALL
  SELECT 'enum ' || t.typname, string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_enum e ON e.enumtypid = t.oid
  WHERE n.nspname = $1 GROUP BY t.typname)
SELECT json_build_object('object', object, 'definition', definition)::text FROM facts";

pub async fn fingerprint(ask: &mut Ask<'_>, schema: &str, allow: &[String]) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let facts: Vec<Fact> = ask.rows(FACTS, &[schema]).await?;
    let fingerprint = Fingerprint {
        allow: allow.iter().cloned().collect(),
        objects: facts.into_iter().map(|fact| (fact.object, fact.definition)).collect(),
    };
    Ok(Measured {
        value: Some(0.0),
        fingerprint: Some(serde_json::to_value(&fingerprint).expect("a map of texts is valid JSON")),
        ..Measured::default()
    })
}
