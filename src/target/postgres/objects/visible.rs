//! `visible_rows`: how many rows a role with given claims sees, as a person of the product would.

use crate::domain::measure::TableName;
use crate::domain::measurement::{Measured, Unit};
use crate::target::plan::relation::display;
use crate::target::plan::sql::Dialect;
use crate::target::plan::sql::{enclosed, ident, literal};
use crate::target::plan::text::{Bound, check_fragment};

use super::{Ask, ObjectError, wrong};

pub async fn rows(
    ask: &mut Ask<'_>,
    table: &TableName,
    role: &str,
    claims: &serde_json::Value,
    filter: Option<&str>,
) -> Result<Measured, ObjectError> {
    let member: Vec<bool> = ask
        .rows(
            "SELECT pg_has_role(session_user, oid, 'MEMBER')::text FROM pg_catalog.pg_roles WHERE rolname = $1",
            &[role],
        )
        .await?;
    match member.first() {
        None => return Err(wrong(format!("role {role} does not exist"), None)),
        Some(false) => {
            let ours = ident(&ask.session.facts.role);
            return Err(wrong(
                format!("{} may not act as the role {role}", ask.session.facts.role),
                Some(format!("as an administrator: GRANT {} TO {ours}", ident(role))),
            ));
        }
        Some(true) => {}
    }
    if let Some(filter) = filter {
        check_fragment(filter, Dialect::Postgres)?;
    }
    let mut claims = claims.clone();
    if let Some(claims) = claims.as_object_mut()
        && !claims.contains_key("role")
    {
        claims.insert("role".into(), role.into());
    }
    let subject = claims.get("sub").and_then(|sub| sub.as_str()).unwrap_or_default();
    // What is set here is undone by the rollback to the savepoint before the next statement.
    let become_them = format!(
        "SET LOCAL row_security = on; SET LOCAL request.jwt.claims = {}; SET LOCAL request.jwt.claim.sub = {}; \
         SET LOCAL request.jwt.claim.role = {}; SET LOCAL ROLE {}",
        literal(&claims.to_string()),
        literal(subject),
        literal(role),
        ident(role)
    );
    let name = match &table.schema {
        Some(schema) => format!("{}.{}", ident(schema), ident(&table.name)),
        None => ident(&table.name),
    };
    let condition = filter.map(|f| format!(" WHERE {}", enclosed(f))).unwrap_or_default();
    let sql = format!("SELECT count(*)::text FROM {name}{condition}");
    let rows =
        ask.session.rows_after(&become_them, &Bound { sql, values: Vec::new() }, Some(ask.timeout)).await;
    let seen = match rows {
        Ok(rows) => rows.first().and_then(|count| count.parse::<f64>().ok()),
        // A revoked grant hides all rows as surely as a policy does, and is what this check is for.
        Err(error) if denied(&error) => {
            return Ok(Measured {
                value: Some(0.0),
                unit: Unit::Rows,
                detail: Some(format!(
                    "the role {role} may not read {} at all: {}",
                    display(table),
                    said(&error)
                )),
                ..Measured::default()
            });
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Measured { value: seen, unit: Unit::Rows, ..Measured::default() })
}

fn denied(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "42501")
}

fn said(error: &sqlx::Error) -> String {
    error.as_database_error().map(|e| e.message().to_owned()).unwrap_or_default()
}
