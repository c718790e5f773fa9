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
    if tables.iter().any(|table| !table.constraints.is_empty()) {
        guards.push(Guard {
            kind: "constraints".into(),
            yaml: constraints_valid(schema, tables),
            title: "The constraints are there, the same and validated".into(),
            reason: "They prove what is not read; without one of them, anything could get in",
        });
    }
    let indexes: Vec<String> =
        tables.iter().flat_map(|table| &table.indexes).map(|name| inline(name)).collect();
    guards.push(Guard {
        kind: "indexes".into(),
        yaml: required("indexes_valid", schema, &indexes),
        title: "Every index is there and valid".into(),
        reason: "Without its index a query reads the whole table, and an invalid one keeps nothing unique; take out \
                 those that may go",
    });
    if tables.iter().any(|table| !table.triggers.is_empty()) {
        guards.push(Guard {
            kind: "triggers".into(),
            yaml: triggers(schema, tables),
            title: "The triggers are there, enabled and call the same function".into(),
            reason: "A disabled trigger does its work for no row, and says nothing",
        });
    }
    if !seen.sign_up_triggers.is_empty() {
        let names: Vec<&str> = seen.sign_up_triggers.iter().map(String::as_str).collect();
        guards.push(Guard {
            kind: "sign_up_triggers".into(),
            yaml: format!("triggers: {{ schema: auth, require: {{ users: {} }} }}", list(&names)),
            title: "Who signs up gets what the triggers on auth.users make".into(),
            reason: "Nothing else tells that they are gone until somebody signs up",
        });
    }
    let functions: Vec<String> = seen.functions.iter().map(|text| inline(text)).collect();
    if !functions.is_empty() {
        guards.push(Guard {
            kind: "functions".into(),
            yaml: required("functions", schema, &functions),
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
        guards.push(Guard {
            kind: format!("columns.{}", key(&table.name, &mut used)),
            yaml: columns(schema, table),
            title: format!("The columns of {} are as they were", table.name),
            reason: "Your code reads and writes these; take out what it does not rely on",
        });
    }
    guards
}

/// Row-level security with the policies that are there now, as they are now.
pub fn rls(schema: &str, tables: &[&TableFacts]) -> String {
    let mut lines = vec!["rls:".to_owned(), format!("  schema: {}", inline(schema))];
    if tables.iter().any(|table| !table.policies.is_empty()) {
        lines.push("  only: true".to_owned());
        lines.push("  policies:".to_owned());
    }
    for table in tables.iter().filter(|table| !table.policies.is_empty()) {
        lines.push(format!("    {}:", inline(&table.name)));
        lines.extend(table.policies.iter().flat_map(policy).map(|line| format!("      {line}")));
    }
    lines.join("\n")
}

fn policy(policy: &PolicyFacts) -> Vec<String> {
    let roles: Vec<&str> = policy.roles.iter().map(String::as_str).collect();
    let mut lines = vec![format!("{}:", inline(&policy.name))];
    if policy.restrictive {
        lines.push("  as: restrictive".to_owned());
    }
    lines.push(format!("  for: {}", policy.command));
    lines.push(format!("  to: {}", list(&roles)));
    for (name, condition) in [("using", &policy.using), ("with_check", &policy.with_check)] {
        if let Some(condition) = condition {
            lines.push(format!("  {name}: {}", inline(&on_one_line(condition))));
        }
    }
    lines
}

/// White space between words says nothing; inside of a literal it does.
fn on_one_line(sql: &str) -> String {
    match sql.contains('\'') {
        true => sql.to_owned(),
        false => sql.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// What a constraint is says more than its name.
fn constraints_valid(schema: &str, tables: &[&TableFacts]) -> String {
    let of = |table: &TableFacts, name: &str| inline(&format!("{}.{name}", table.name));
    let mut names = Vec::new();
    let mut definitions = Vec::new();
    for table in tables {
        let described = |name: &String| table.definitions.iter().any(|known| known.name == *name);
        names.extend(table.constraints.iter().filter(|name| !described(name)).map(|name| of(table, name)));
        definitions.extend(table.definitions.iter().map(|constraint| {
            format!("    {}: {}", of(table, &constraint.name), inline(&on_one_line(&constraint.definition)))
        }));
    }
    let mut lines = vec![required("constraints_valid", schema, &names)];
    if !definitions.is_empty() {
        lines.push("  definitions:".to_owned());
        lines.extend(definitions);
    }
    lines.join("\n")
}

/// One name a line, so that a change of one is a change of one line.
fn required(kind: &str, schema: &str, names: &[String]) -> String {
    let mut lines = vec![format!("{kind}:"), format!("  schema: {}", inline(schema))];
    if !names.is_empty() {
        lines.push("  require:".to_owned());
        lines.extend(names.iter().map(|name| format!("    - {name}")));
    }
    lines.join("\n")
}

fn triggers(schema: &str, tables: &[&TableFacts]) -> String {
    let mut lines =
        vec!["triggers:".to_owned(), format!("  schema: {}", inline(schema)), "  require:".to_owned()];
    for table in tables.iter().filter(|table| !table.triggers.is_empty()) {
        let names: Vec<&str> = table.triggers.iter().map(String::as_str).collect();
        lines.push(format!("    {}: {}", inline(&table.name), list(&names)));
    }
    lines.join("\n")
}

fn columns(schema: &str, table: &TableFacts) -> String {
    let mut lines = vec!["columns:".to_owned(), format!("  {}:", inline(&table_name(schema, &table.name)))];
    lines.extend(table.columns.iter().map(|of| format!("    {}", column(of))));
    lines.join("\n")
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
