//! Guards over what the other proposals leave out: the constraints, columns, policies and triggers that are
//! there now are still there later. They read the catalog alone.

use std::collections::BTreeSet;

use crate::domain::inspection::{ColumnFacts, PolicyFacts, TableFacts};

use super::render::{inline, list, table_name};

/// One check of the catalog.
pub struct Guard {
    /// The end of its key.
    pub kind: String,
    pub yaml: String,
    pub title: String,
    pub reason: &'static str,
}

pub fn guards(schema: &str, tables: &[&TableFacts]) -> Vec<Guard> {
    let mut guards = Vec::new();
    let constraints: Vec<String> = tables
        .iter()
        .flat_map(|table| table.constraints.iter().map(move |name| format!("{}.{name}", table.name)))
        .collect();
    if !constraints.is_empty() {
        guards.push(Guard {
            kind: "constraints".into(),
            yaml: required("constraints_valid", schema, &constraints),
            title: "The constraints are there and validated".into(),
            reason: "They prove what is not read; without one of them, anything could get in",
        });
    }
    let indexes: Vec<String> = tables.iter().flat_map(|table| table.unique_indexes.clone()).collect();
    guards.push(Guard {
        kind: "indexes".into(),
        yaml: match indexes.is_empty() {
            true => format!("indexes_valid: {{ schema: {} }}", inline(schema)),
            false => required("indexes_valid", schema, &indexes),
        },
        title: "Every index is valid, and those that keep rows unique are there".into(),
        reason: "An invalid index is used by no query and keeps nothing unique",
    });
    if tables.iter().any(|table| !table.triggers.is_empty()) {
        let wanted = by_table(tables, |table| &table.triggers);
        guards.push(Guard {
            kind: "triggers".into(),
            yaml: format!("triggers: {{ schema: {}, require: {wanted} }}", inline(schema)),
            title: "The triggers are there and enabled".into(),
            reason: "A disabled trigger does its work for no row, and says nothing",
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
            format!("rls: {{ schema: {schema}, policies: {{ {} }} }}", policies.join(", "))
        }
        false => format!("rls: {{ schema: {schema} }}"),
    }
}

fn policy(policy: &PolicyFacts) -> String {
    let roles: Vec<&str> = policy.roles.iter().map(String::as_str).collect();
    let mut terms = vec![format!("for: {}", policy.command), format!("to: {}", list(&roles))];
    for (name, condition) in [("using", &policy.using), ("with_check", &policy.with_check)] {
        if let Some(condition) = condition {
            // White space between words says nothing; inside of a literal it does.
            let text = match condition.contains('\'') {
                true => condition.clone(),
                false => condition.split_whitespace().collect::<Vec<_>>().join(" "),
            };
            terms.push(format!("{name}: {}", inline(&text)));
        }
    }
    format!("{}: {{ {} }}", inline(&policy.name), terms.join(", "))
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
