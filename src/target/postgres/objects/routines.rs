//! `functions` and `triggers`: the code that lives in the database is there and switched on.

use serde::Deserialize;

use crate::domain::measurement::Measured;

use super::{Ask, ObjectError};

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

const FUNCTIONS: &str = "
SELECT json_build_object('name', p.proname, 'arguments', oidvectortypes(p.proargtypes))::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 ORDER BY 1";

/// A required function is a name, or a name with the types of its arguments.
pub async fn functions(ask: &mut Ask<'_>, schema: &str, require: &[String]) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let found: Vec<Function> = ask.rows(FUNCTIONS, &[schema]).await?;
    let compact = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let mut problems = Vec::new();
    for wanted in require {
        let name = wanted.split('(').next().unwrap_or(wanted).trim();
        let same: Vec<&Function> = found.iter().filter(|f| f.name == name).collect();
        let signature = |f: &Function| format!("{}({})", f.name, f.arguments);
        let fits = |f: &&&Function| !wanted.contains('(') || compact(&signature(f)) == compact(wanted);
        match (same.is_empty(), same.iter().find(fits)) {
            (_, Some(_)) => {}
            (true, None) => problems.push(format!("function {wanted} does not exist")),
            (false, None) => {
                let others: Vec<String> = same.iter().map(|f| signature(f)).collect();
                problems.push(format!("function {wanted} does not exist, but {} does", others.join(", ")));
            }
        }
    }
    Ok(Measured::of_problems(&problems))
}

#[derive(Deserialize)]
struct Trigger {
    name: String,
    table: String,
    enabled: bool,
}

const TRIGGERS: &str = "
SELECT json_build_object('name', t.tgname, 'table', c.relname, 'enabled', t.tgenabled <> 'D')::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND NOT t.tgisinternal ORDER BY 1";

pub async fn triggers(
    ask: &mut Ask<'_>,
    schema: &str,
    require: &[(String, Vec<String>)],
) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let found: Vec<Trigger> = ask.rows(TRIGGERS, &[schema]).await?;
    let mut problems: Vec<String> = found
        .iter()
        .filter(|t| !t.enabled)
        .map(|t| format!("trigger {} on {} is disabled", t.name, t.table))
        .collect();
    for (table, names) in require {
        for name in names {
            if !found.iter().any(|t| t.table == *table && t.name == *name) {
                problems.push(format!("trigger {name} on {table} does not exist"));
            }
        }
    }
    Ok(Measured::of_problems(&problems))
}
