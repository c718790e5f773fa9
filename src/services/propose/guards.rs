//! Guards over what the other proposals leave out: the constraints, columns, policies and triggers that are
//! there now are still there later. They read the catalog alone.

use std::collections::BTreeSet;

use crate::domain::inspection::{ColumnFacts, Inspection, PolicyFacts, TableFacts};

use super::render::{inline, list, table_name};

/// One check of the catalog.
pub struct Guard {
    /// The end of its key.
    pub kind: String,
    pub yaml: String,
    pub title: String,
    pub reason: &'static str,
}

pub fn guards(seen: &Inspection, tables: &[&TableFacts]) -> Vec<Guard> {
    let schema = seen.schema.as_str();
    let mut guards = Vec::new();
    let constraints: Vec<String> = tables
        .iter()
        .flat_map(|table| table.constraints.iter().map(move |name| format!("{}.{name}", table.name)))
        .collect();
    if !constraints.is_empty() {
        guards.push(Guard {
            kind: "constraints".into(),
            yaml: constraints_valid(schema, &constraints, tables),
            title: "The constraints are there, the same and validated".into(),
            reason: "They prove what is not read; without one of them, anything could get in",
        });
    }
    let indexes: Vec<String> = tables.iter().flat_map(|table| table.indexes.clone()).collect();
    guards.push(Guard {
        kind: "indexes".into(),
        yaml: match indexes.is_empty() {
            true => format!("indexes_valid: {{ schema: {} }}", inline(schema)),
            false => required("indexes_valid", schema, &indexes),
        },
        title: "Every index is there and valid".into(),
        reason: "Without its index a query reads the whole table, and an invalid one keeps nothing unique; take out \
                 those that may go",
    });
    if tables.iter().any(|table| !table.triggers.is_empty()) {
        let wanted = by_table(tables, |table| &table.triggers);
        guards.push(Guard {
            kind: "triggers".into(),
            yaml: format!("triggers: {{ schema: {}, require: {wanted} }}", inline(schema)),
            title: "The triggers are there, enabled and call the same function".into(),
            reason: "A disabled trigger does its work for no row, and says nothing",
        });
    }
    if !seen.functions.is_empty() {
        guards.push(Guard {
            kind: "functions".into(),
            yaml: required("functions", schema, &seen.functions),
            title: "The functions are there, with their arguments and their rights".into(),
            reason: "Clients and triggers call these; one that is no longer SECURITY DEFINER may no longer do its work",
        });
    }
    if seen.has_sequences {
        guards.push(Guard {
            kind: "sequences".into(),
            yaml: format!("sequences: {{ schema: {} }}", inline(schema)),
            title: "Sequences can go on".into(),
            reason: "After rows were copied in with their ids, the next INSERT gets a number that is taken",
        });
    }
    let mut used = BTreeSet::new();
    for table in tables {
        let columns: Vec<String> = table.columns.iter().map(column).collect();
        guards.push(Guard {
            kind: format!("columns.{}", key(&table.name, &mut used)),
            yaml: format!(
                "columns: {{ {}: {{ {} }} }}",
                inline(&table_name(schema, &table.name)),
                columns.join(", ")
            ),
            title: format!("The columns of {} are as they were", table.name),
            reason: "Your code reads and writes these; take out what it does not rely on",
        });
    }
    guards
}

/// Row-level security with the policies that are there now, as they are now.
pub fn rls(schema: &str, tables: &[&TableFacts]) -> String {
    let schema = inline(schema);
    match tables.iter().any(|table| !table.policies.is_empty()) {
        true => {
            let of = |table: &&&TableFacts| !table.policies.is_empty();
            let policies: Vec<String> = tables
                .iter()
                .filter(of)
                .map(|table| {
                    let policies: Vec<String> = table.policies.iter().map(policy).collect();
                    format!("{}: {{ {} }}", inline(&table.name), policies.join(", "))
                })
                .collect();
            format!("rls: {{ schema: {schema}, only: true, policies: {{ {} }} }}", policies.join(", "))
        }
        false => format!("rls: {{ schema: {schema} }}"),
    }
}

fn policy(policy: &PolicyFacts) -> String {
    let roles: Vec<&str> = policy.roles.iter().map(String::as_str).collect();
    let mut terms = vec![format!("for: {}", policy.command), format!("to: {}", list(&roles))];
    if policy.restrictive {
        terms.insert(0, "as: restrictive".to_owned());
    }
    for (name, condition) in [("using", &policy.using), ("with_check", &policy.with_check)] {
        if let Some(condition) = condition {
            terms.push(format!("{name}: {}", inline(&on_one_line(condition))));
        }
    }
    format!("{}: {{ {} }}", inline(&policy.name), terms.join(", "))
}

/// White space between words says nothing; inside of a literal it does.
fn on_one_line(sql: &str) -> String {
    match sql.contains('\'') {
        true => sql.to_owned(),
        false => sql.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// CHECKs and foreign keys say more than their names.
fn constraints_valid(schema: &str, names: &[String], tables: &[&TableFacts]) -> String {
    let definitions: Vec<String> = tables
        .iter()
        .flat_map(|table| table.definitions.iter().map(move |constraint| (table, constraint)))
        .map(|(table, constraint)| {
            let name = format!("{}.{}", table.name, constraint.name);
            format!("{}: {}", inline(&name), inline(&on_one_line(&constraint.definition)))
        })
        .collect();
    let described =
        |name: &&str| !definitions.iter().any(|line| line.starts_with(&format!("{}: ", inline(name))));
    let names: Vec<&str> = names.iter().map(String::as_str).filter(described).collect();
    let mut terms = vec![format!("schema: {}", inline(schema))];
    if !names.is_empty() {
        terms.push(format!("require: {}", list(&names)));
    }
    if !definitions.is_empty() {
        terms.push(format!("definitions: {{ {} }}", definitions.join(", ")));
    }
    format!("constraints_valid: {{ {} }}", terms.join(", "))
}

fn required(kind: &str, schema: &str, names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!("{kind}: {{ schema: {}, require: {} }}", inline(schema), list(&names))
}

fn by_table(tables: &[&TableFacts], pick: impl Fn(&TableFacts) -> &Vec<String>) -> String {
    let lists: Vec<String> = tables
        .iter()
        .filter(|table| !pick(table).is_empty())
        .map(|table| {
            let names: Vec<&str> = pick(table).iter().map(String::as_str).collect();
            format!("{}: {}", inline(&table.name), list(&names))
        })
        .collect();
    format!("{{ {} }}", lists.join(", "))
}

fn column(column: &ColumnFacts) -> String {
    let mut expected = vec![format!("type: {}", inline(&column.type_name))];
    if column.not_null {
        expected.push("nullable: false".into());
    }
    if let Some(default) = &column.default {
        expected.push(format!("default: {}", inline(&on_one_line(default))));
    }
    format!("{}: {{ {} }}", inline(&column.name), expected.join(", "))
}

/// A key is made of letters, digits and a few signs, and belongs to one check.
fn key(name: &str, used: &mut BTreeSet<String>) -> String {
    let plain: String = name.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
    let mut key = plain.clone();
    for number in 2.. {
        if used.insert(key.clone()) {
            break;
        }
        key = format!("{plain}_{number}");
    }
    key
}
