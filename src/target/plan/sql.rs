//! The pieces of SQL that both engines share.

use crate::domain::measure::Scalar;

/// How the engine behind a target speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    pub fn as_text(self, expression: &str) -> String {
        match self {
            Self::Postgres => format!("{expression}::text"),
            Self::Sqlite => format!("CAST({expression} AS TEXT)"),
        }
    }

    /// A condition that is true where a text does not match a regular expression, NULL where it is NULL.
    pub fn unlike(self, column: &str, pattern: &str) -> String {
        match self {
            Self::Postgres => format!("{column}::text !~ {}", literal(pattern)),
            Self::Sqlite => format!("NOT ({column} REGEXP {})", literal(pattern)),
        }
    }

    /// The newest instant of a column as seconds since the epoch.
    pub fn newest(self, column: &str, data_type: &str, filter: &str) -> String {
        match (self, is_number(data_type)) {
            (Self::Postgres, true) => format!("max({column}){filter}"),
            (Self::Postgres, false) if is_text(data_type) => {
                format!("extract(epoch FROM max({column}::timestamptz){filter})")
            }
            (Self::Postgres, false) => format!("extract(epoch FROM max({column}){filter}::timestamptz)"),
            (Self::Sqlite, _) => format!(
                "max(CASE WHEN typeof({column}) IN ('integer', 'real') THEN {column} \
                 ELSE CAST(strftime('%s', {column}) AS INTEGER) END){filter}"
            ),
        }
    }
}

/// A quoted identifier.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn idents(names: &[String]) -> String {
    names.iter().map(|name| ident(name)).collect::<Vec<_>>().join(", ")
}

/// A quoted literal, under `standard_conforming_strings`, which every session sets.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// All of the columns have a value.
pub fn all_present(columns: &[String]) -> String {
    columns.iter().map(|c| format!("{} IS NOT NULL", ident(c))).collect::<Vec<_>>().join(" AND ")
}

/// The user's condition, closed off so that a comment at its end ends with it.
pub fn enclosed(condition: &str) -> String {
    format!("(\n{condition}\n)")
}

pub fn and(conditions: &[Option<&str>]) -> Option<String> {
    let present: Vec<&str> = conditions.iter().flatten().copied().collect();
    if present.is_empty() { None } else { Some(present.join(" AND ")) }
}

pub fn is_number(data_type: &str) -> bool {
    let name = data_type.to_lowercase();
    ["smallint", "integer", "bigint", "int", "numeric", "real", "double precision", "decimal"]
        .iter()
        .any(|n| name == *n || name.starts_with(&format!("{n}(")))
}

pub fn is_text(data_type: &str) -> bool {
    let name = data_type.to_lowercase();
    name == "text" || name == "citext" || name.starts_with("character") || name.starts_with("varchar")
}

/// A value from a suite as SQL.
pub fn scalar(value: &Scalar, dialect: Dialect) -> String {
    match value {
        Scalar::Number(number) if number.parse::<f64>().is_ok_and(f64::is_finite) => number.clone(),
        Scalar::Number(text) | Scalar::Text(text) => literal(text),
        Scalar::Bool(value) => match (dialect, value) {
            (Dialect::Postgres, true) => "true".into(),
            (Dialect::Postgres, false) => "false".into(),
            (Dialect::Sqlite, value) => u8::from(*value).to_string(),
        },
    }
}

/// The same as the text that the database makes of it.
pub fn scalar_text(value: &Scalar, dialect: Dialect) -> String {
    match value {
        Scalar::Number(text) | Scalar::Text(text) => literal(text),
        Scalar::Bool(value) if dialect == Dialect::Sqlite => literal(if *value { "1" } else { "0" }),
        Scalar::Bool(value) => literal(if *value { "true" } else { "false" }),
    }
}
