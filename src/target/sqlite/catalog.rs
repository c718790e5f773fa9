//! What SQLite's own catalog says, and the kinds that it cannot have.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::domain::measure::{Catalog, TableName, What};
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measured};

use super::super::plan::relation::{Column, Relation, Relations, UniqueIndex};

/// Looks up the wanted tables. A schema other than `main` and `public` does not exist here.
pub async fn load(conn: &mut SqliteConnection, wanted: &[TableName]) -> Result<Relations, sqlx::Error> {
    let rows =
        sqlx::query("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
            .persistent(false)
            .fetch_all(&mut *conn)
            .await?;
    let mut names = Vec::new();
    for row in &rows {
        names.push((row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?));
    }
    let mut found = BTreeMap::new();
    for table in wanted {
        if !matches!(table.schema.as_deref(), None | Some("main" | "public")) {
            continue;
        }
        let Some((name, kind)) = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(&table.name)) else {
            continue;
        };
        found.insert(table.clone(), relation(conn, name, kind).await?);
    }
    Ok(Relations::new(found, names.into_iter().map(|(name, _)| name).collect()))
}

async fn relation(conn: &mut SqliteConnection, name: &str, kind: &str) -> Result<Relation, sqlx::Error> {
    let mut relation = Relation {
        name: name.to_owned(),
        kind: if kind == "view" { "v".into() } else { "r".into() },
        ..Relation::default()
    };
    let columns =
        sqlx::query("SELECT name, type, \"notnull\", pk, dflt_value FROM pragma_table_info($1) ORDER BY cid")
            .bind(name)
            .persistent(false)
            .fetch_all(&mut *conn)
            .await?;
    let mut key: Vec<(i64, String)> = Vec::new();
    for row in columns {
        let column: String = row.try_get(0)?;
        if let at @ 1.. = row.try_get::<i64, _>(3)? {
            key.push((at, column.clone()));
        }
        relation.columns.push(Column {
            name: column,
            data_type: row.try_get::<String, _>(1)?.to_lowercase(),
            not_null: row.try_get::<i64, _>(2)? == 1,
            default: row.try_get(4)?,
        });
    }
    key.sort();
    relation.primary_key = key.into_iter().map(|(_, column)| column).collect();
    if !relation.primary_key.is_empty() {
        relation.unique.push(UniqueIndex {
            name: format!("primary key of {name}"),
            columns: relation.primary_key.clone(),
        });
    }
    let indexes = sqlx::query(
        "SELECT l.name, group_concat(i.name, char(31)), count(i.name) = count(*) \
         FROM pragma_index_list($1) AS l, pragma_index_info(l.name) AS i \
         WHERE l.\"unique\" = 1 AND l.partial = 0 GROUP BY l.name",
    )
    .bind(name)
    .persistent(false)
    .fetch_all(&mut *conn)
    .await?;
    for row in indexes {
        // An index over an expression names fewer columns than it has.
        if row.try_get::<i64, _>(2)? == 1 {
            let columns: String = row.try_get(1)?;
            relation.unique.push(UniqueIndex {
                name: row.try_get(0)?,
                columns: columns.split('\u{1f}').map(str::to_owned).collect(),
            });
        }
    }
    Ok(relation)
}

/// Measures what SQLite has, refuses the rest with the reason.
pub async fn measure(
    conn: &mut SqliteConnection,
    catalog: &Catalog,
) -> Result<Result<Measured, MeasureError>, sqlx::Error> {
    Ok(match catalog {
        Catalog::Columns { .. } => unreachable!("answered with the look at all tables"),
        Catalog::IndexesValid { require, .. } => {
            Ok(Measured::of_problems(absent(conn, "index", require).await?))
        }
        Catalog::Triggers { require, .. } => {
            // What a trigger calls stands in its own body here.
            let name = |wanted: &String| wanted.split("->").next().unwrap_or(wanted).trim().to_owned();
            let names: Vec<String> = require.iter().flat_map(|(_, names)| names).map(name).collect();
            Ok(Measured::of_problems(absent(conn, "trigger", &names).await?))
        }
        other => Err(refused(why_not(other).unwrap_or("this version does not know how"))),
    })
}

/// Why SQLite can never answer a check; `None` where it can.
pub fn refuses(what: &What) -> Option<&'static str> {
    match what {
        What::Catalog(catalog) => why_not(catalog),
        What::Server(_) => Some("there is no server"),
        // A signal is never asked of a database.
        What::Rows { .. } | What::Query(_) | What::Signal(_) => None,
    }
}

fn why_not(catalog: &Catalog) -> Option<&'static str> {
    match catalog {
        Catalog::Columns { .. } | Catalog::IndexesValid { .. } | Catalog::Triggers { .. } => None,
        Catalog::Rls { .. } | Catalog::VisibleRows { .. } => {
            Some("SQLite has no row-level security and no roles")
        }
        Catalog::Sequences { .. } => Some("SQLite has no sequences"),
        Catalog::Functions { .. } => Some("SQLite keeps no functions in the database"),
        Catalog::ConstraintsValid { .. } | Catalog::ForeignKeys { .. } => {
            Some("SQLite does not know whether a constraint has been validated")
        }
        Catalog::MigrationsApplied { .. } => {
            Some("migrations_applied reads Supabase's table of migrations, which is in PostgreSQL")
        }
        Catalog::Drift { .. } => Some("drift compares PostgreSQL's catalog"),
    }
}

async fn absent(
    conn: &mut SqliteConnection,
    kind: &str,
    names: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    let mut problems = Vec::new();
    for name in names {
        let found = sqlx::query("SELECT 1 FROM sqlite_master WHERE type = $1 AND name = $2")
            .bind(kind)
            .bind(name)
            .persistent(false)
            .fetch_optional(&mut *conn)
            .await?;
        if found.is_none() {
            problems.push(format!("{kind} {name} does not exist"));
        }
    }
    Ok(problems)
}

pub fn refused(reason: &str) -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Sql,
        message: format!("this kind cannot be measured here: {reason}"),
        hint: Some("remove the check from the suites of this environment".into()),
    }
}
