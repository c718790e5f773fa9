//! `indexes_valid`, `constraints_valid` and `foreign_keys`: what should enforce something does.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::domain::measurement::Measured;
use crate::domain::problem::{Object, ObjectKind, Problem, place, words};

use super::policy_terms::terms;
use super::{Ask, ObjectError};

#[derive(Deserialize)]
struct Index {
    name: String,
    table: String,
    valid: bool,
    building: bool,
    unique: bool,
    /// Empty where it has expressions or a condition.
    columns: Vec<String>,
}

const INDEXES: &str = "
SELECT json_build_object('name', ic.relname, 'table', c.relname, 'valid', i.indisvalid AND i.indisready,
  'building', EXISTS (SELECT FROM pg_stat_progress_create_index b WHERE b.index_relid = i.indexrelid),
  'unique', i.indisunique,
  'columns', CASE WHEN i.indpred IS NULL AND i.indexprs IS NULL THEN
      (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts)
    ELSE '[]'::json END)::text
FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 ORDER BY 1";

pub async fn indexes(ask: &mut Ask<'_>, schema: &str, require: &[String]) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let found: Vec<Index> = ask.rows(INDEXES, &[schema]).await?;
    let mut problems: Vec<Problem> = found
        .iter()
        .filter(|index| !index.valid && !index.building)
        .map(|index| {
            let Index { name, table, .. } = index;
            let text =
                format!("index {name} on {table} is invalid: REINDEX INDEX CONCURRENTLY it, or drop it");
            let about = Object::new(ObjectKind::Index, name).of(place(schema, table));
            Problem::about(text, about.over(index.columns.clone()))
        })
        .collect();
    // Named by itself, or by what it does: `users(email)`, `unique users(email)`.
    let mut known: Vec<String> = found.iter().map(|index| index.name.clone()).collect();
    for index in found.iter().filter(|index| !index.columns.is_empty()) {
        let what = format!("{}({})", index.table, index.columns.join(", "));
        if index.unique {
            known.push(format!("unique {what}"));
        }
        known.push(what);
    }
    for wanted in require.iter().filter(|wanted| !known.contains(wanted)) {
        let about = missing_index(schema, wanted);
        problems.push(Problem::about(format!("index {wanted} does not exist"), about));
    }
    Ok(Measured::of_problems(problems))
}

/// `unique users(email)` tells its table and its columns, a name neither.
fn missing_index(schema: &str, wanted: &str) -> Object {
    let about = Object::new(ObjectKind::Index, wanted).gone();
    let what = wanted.strip_prefix("unique ").unwrap_or(wanted);
    match what.strip_suffix(')').and_then(|what| what.split_once('(')) {
        Some((table, columns)) => {
            about.of(place(schema, table)).over(columns.split(", ").map(str::to_owned).collect())
        }
        None => about,
    }
}

#[derive(Deserialize)]
struct Constraint {
    name: String,
    table: String,
    validated: bool,
    definition: String,
}

const CONSTRAINTS: &str = "
SELECT json_build_object('name', k.conname, 'table', c.relname, 'validated', k.convalidated,
  'definition', pg_get_constraintdef(k.oid))::text
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 ORDER BY c.relname, k.conname";

pub async fn constraints(
    ask: &mut Ask<'_>,
    schema: &str,
    require: &[String],
    definitions: &[(String, String)],
    foreign_keys: bool,
) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let found: Vec<Constraint> = ask.rows(CONSTRAINTS, &[schema]).await?;
    let about = |k: &Constraint| {
        let columns = words(&k.definition).into_iter().map(str::to_owned).collect();
        Object::new(ObjectKind::Constraint, &k.name).of(place(schema, &k.table)).over(columns)
    };
    let mut problems: Vec<Problem> = found
        .iter()
        .filter(|k| !k.validated && (foreign_keys || !k.definition.starts_with("FOREIGN KEY")))
        .map(|k| {
            let (name, table, is) = (&k.name, &k.table, &k.definition);
            Problem::about(format!("constraint {name} on {table} has not been validated: {is}"), about(k))
        })
        .collect();
    let is_named = |k: &Constraint, name: &str| k.name == name || format!("{}.{}", k.table, k.name) == name;
    for name in require.iter().chain(definitions.iter().map(|(name, _)| name)).collect::<BTreeSet<_>>() {
        if !found.iter().any(|k| is_named(k, name)) {
            let defined = definitions.iter().find(|(known, _)| known == name).map(|(_, is)| is.as_str());
            let about = missing_constraint(schema, name, defined);
            problems.push(Problem::about(format!("constraint {name} does not exist"), about));
        }
    }
    for (name, wanted) in definitions {
        let mut same = found.iter().filter(|k| is_named(k, name)).peekable();
        let fits = |k: &Constraint| terms(k.definition.trim_end_matches(" NOT VALID")) == terms(wanted);
        if let Some(other) = same.peek().copied()
            && !same.any(fits)
        {
            let (name, table, is) = (&other.name, &other.table, &other.definition);
            let text = format!("constraint {name} on {table} is {is}, not {wanted}");
            problems.push(Problem::about(text, about(other)));
        }
    }
    Ok(Measured::of_problems(problems))
}

/// A constraint may be named with its table, and what it was says which columns it is about.
fn missing_constraint(schema: &str, name: &str, defined: Option<&str>) -> Object {
    let (table, name) = match name.rsplit_once('.') {
        Some((table, name)) => (Some(place(schema, table)), name),
        None => (None, name),
    };
    let columns = defined.map(words).unwrap_or_default().into_iter().map(str::to_owned).collect();
    Object { table, ..Object::new(ObjectKind::Constraint, name).over(columns).gone() }
}

#[derive(Deserialize)]
struct ForeignKey {
    name: String,
    table: String,
    columns: Vec<String>,
    target: String,
    validated: bool,
    /// All of its triggers fire.
    enforced: bool,
}

const FOREIGN_KEYS: &str = "
SELECT json_build_object('name', k.conname, 'table', c.relname, 'target', f.relname, 'validated', k.convalidated,
  'columns', (SELECT json_agg(a.attname ORDER BY x.n) FROM unnest(k.conkey) WITH ORDINALITY AS x(attnum, n)
     JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum),
  'enforced', NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled = 'D'))::text
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND k.contype = 'f' ORDER BY c.relname, k.conname";

/// A required key is named by its constraint, by its columns, or as `column -> table`.
pub async fn foreign(
    ask: &mut Ask<'_>,
    schema: &str,
    require: &[(String, Vec<String>)],
) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let found: Vec<ForeignKey> = ask.rows(FOREIGN_KEYS, &[schema]).await?;
    let mut problems = Vec::new();
    for key in &found {
        let what = format!("foreign key {} of {}", key.name, key.table);
        let about = || {
            let object = Object::new(ObjectKind::Constraint, &key.name).of(place(schema, &key.table));
            object.over(key.columns.clone())
        };
        if !key.validated {
            problems.push(Problem::about(format!("{what} has not been validated"), about()));
        }
        if !key.enforced {
            problems
                .push(Problem::about(format!("{what} is not enforced: its triggers are disabled"), about()));
        }
    }
    for (table, keys) in require {
        for wanted in keys {
            let fits = |key: &&ForeignKey| {
                let columns = key.columns.join(", ");
                let compact =
                    wanted.replace(['(', ')'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
                key.table == *table
                    && (key.name == *wanted
                        || columns == *wanted
                        || compact == format!("{columns} -> {}", key.target)
                        || compact == format!("{columns} {}", key.target))
            };
            if !found.iter().any(|key| fits(&key)) {
                let about = missing_foreign_key(place(schema, table), wanted);
                problems
                    .push(Problem::about(format!("foreign key {wanted} of {table} does not exist"), about));
            }
        }
    }
    Ok(Measured::of_problems(problems))
}

/// One that is named by its columns tells them.
fn missing_foreign_key(table: String, wanted: &str) -> Object {
    let about = Object::new(ObjectKind::Constraint, wanted).of(table).gone();
    match wanted.contains([' ', ',', '>', '(']) {
        true => about.over(words(wanted).into_iter().map(str::to_owned).collect()),
        false => about,
    }
}
