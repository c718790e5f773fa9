//! Comparing the columns that are expected with those that are there.

use crate::domain::measure::{ColumnExpectation, TableName};
use crate::domain::problem::{Object, ObjectKind, Problem, place_of};

use super::relation::{Relations, display, nearest};

/// One problem for each difference.
pub fn problems(
    relations: &Relations,
    expect: &[(TableName, Vec<(String, ColumnExpectation)>)],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (table, columns) in expect {
        let Some(relation) = relations.get(table) else {
            if columns.iter().any(|(_, expectation)| *expectation != ColumnExpectation::Absent) {
                let about = Object::new(ObjectKind::Table, &place_of(table)).gone();
                problems.push(Problem::about(format!("table {} does not exist", display(table)), about));
            }
            continue;
        };
        for (name, expectation) in columns {
            let place = format!("{}.{name}", display(table));
            let about = Object::new(ObjectKind::Column, name).of(place_of(table));
            let mut differs = |text: String| problems.push(Problem::about(text, about.clone()));
            let (column, wanted) = match (relation.column(name), expectation) {
                (None, ColumnExpectation::Absent) => continue,
                (Some(_), ColumnExpectation::Absent) => {
                    differs(format!("{place} still exists"));
                    continue;
                }
                (None, ColumnExpectation::Present { .. }) => {
                    let near = nearest(name, relation.columns.iter().map(|c| c.name.as_str()))
                        .map(|near| format!(", but {near} does"))
                        .unwrap_or_default();
                    problems.push(Problem::about(format!("{place} does not exist{near}"), about.gone()));
                    continue;
                }
                (Some(column), ColumnExpectation::Present { data_type, nullable, default }) => {
                    (column, (data_type, nullable, default))
                }
            };
            if let Some(data_type) = wanted.0
                && canonical(data_type) != canonical(&column.data_type)
            {
                differs(format!("{place} is {}, not {data_type}", column.data_type));
            }
            match wanted.1 {
                Some(false) if !column.not_null => differs(format!("{place} may be NULL")),
                Some(true) if column.not_null => differs(format!("{place} may not be NULL")),
                _ => {}
            }
            if let Some(default) = wanted.2
                && !same_default(default, column.default.as_deref())
            {
                let found = column.default.as_deref().unwrap_or("no default");
                differs(format!("{place} has {found}, not the default {default}"));
            }
        }
    }
    problems
}

/// The server's own name of a type, whatever a person calls it.
fn canonical(name: &str) -> String {
    let lower = name.trim().to_lowercase();
    let (base, rest) = lower.find(['(', '[']).map_or((lower.as_str(), ""), |at| lower.split_at(at));
    let base = match base.trim() {
        "int" | "int4" | "serial" => "integer",
        "int8" | "bigserial" => "bigint",
        "int2" | "smallserial" => "smallint",
        "bool" => "boolean",
        "decimal" => "numeric",
        "float8" | "float" => "double precision",
        "float4" => "real",
        "varchar" => "character varying",
        "char" | "bpchar" => "character",
        "timestamptz" => "timestamp with time zone",
        "timestamp" => "timestamp without time zone",
        "timetz" => "time with time zone",
        "time" => "time without time zone",
        other => other,
    };
    format!("{base}{}", rest.replace(' ', ""))
}

/// `'active'` and `'active'::text` are the same default.
fn same_default(wanted: &str, found: Option<&str>) -> bool {
    let bare = |text: &str| {
        let text = text.trim();
        text.split("::").next().unwrap_or(text).trim_matches('\'').to_lowercase()
    };
    found.is_some_and(|found| found == wanted || bare(found) == bare(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_defaults_have_several_names() {
        for (a, b) in [
            ("varchar(20)", "character varying(20)"),
            ("int", "integer"),
            ("timestamptz", "timestamp with time zone"),
            ("TEXT[]", "text[]"),
            ("numeric(10, 2)", "numeric(10,2)"),
        ] {
            assert_eq!(canonical(a), canonical(b));
        }
        assert!(same_default("active", Some("'active'::text")) && same_default("now()", Some("now()")));
        assert!(!same_default("0", None) && !same_default("0", Some("1")));
    }
}
