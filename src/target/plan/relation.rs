//! What the catalog says about the tables that checks name. Both engines fill it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::measure::TableName;
use crate::domain::measurement::{MeasureError, MeasureErrorCode};

use super::sql::ident;

/// One table, view or partition parent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    #[serde(default)]
    pub oid: i64,
    pub schema: String,
    pub name: String,
    /// As in `pg_class.relkind`: r table, p partition parent, v view, m materialised view, f foreign table.
    pub kind: String,
    /// The planner's estimate; negative where nobody has counted.
    #[serde(default)]
    pub rows: f64,
    #[serde(default)]
    pub pages: f64,
    /// Has or had inheritance children, whose rows the parent's constraints may not cover.
    #[serde(default)]
    pub children: bool,
    /// Row-level security applies to this role.
    #[serde(default)]
    pub hidden: bool,
    /// … and lets it see every row all the same.
    #[serde(default)]
    pub open: bool,
    #[serde(default)]
    pub columns: Vec<Column>,
    #[serde(default)]
    pub unique: Vec<UniqueIndex>,
    /// Validated CHECK constraints.
    #[serde(default)]
    pub checks: Vec<Constraint>,
    /// Validated foreign keys.
    #[serde(default)]
    pub foreign_keys: Vec<ForeignKey>,
    #[serde(default)]
    pub primary_key: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    /// Validated; PostgreSQL 18 knows NOT NULL constraints that are not.
    pub not_null: bool,
    #[serde(default)]
    pub default: Option<String>,
}

/// A valid unique index over plain columns, without a predicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UniqueIndex {
    pub name: String,
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    pub name: String,
    /// As the server prints it: `CHECK ((a > 0))`.
    pub definition: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub to_schema: String,
    pub to_table: String,
    pub to_columns: Vec<String>,
}

impl Relation {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// `"schema"."table"`, for the FROM clause; the bare name stays usable in conditions.
    pub fn sql(&self) -> String {
        if self.schema.is_empty() {
            ident(&self.name)
        } else {
            format!("{}.{}", ident(&self.schema), ident(&self.name))
        }
    }

    /// The index that makes two equal keys over exactly these columns impossible.
    pub fn unique_on(&self, columns: &[String]) -> Option<&UniqueIndex> {
        self.unique.iter().find(|index| {
            index.columns.len() == columns.len() && columns.iter().all(|c| index.columns.contains(c))
        })
    }

    /// Whether constraints on it hold for every row that a SELECT from it returns.
    pub fn constraints_hold(&self) -> bool {
        self.kind == "p" || (self.kind == "r" && !self.children)
    }

    /// The column, or an error that names the nearest one.
    pub fn need_column(&self, name: &str) -> Result<&Column, MeasureError> {
        self.column(name).ok_or_else(|| MeasureError {
            code: MeasureErrorCode::Sql,
            message: format!("table {} has no column {}", self.display(), name),
            hint: Some(match nearest(name, self.columns.iter().map(|c| c.name.as_str())) {
                Some(near) => format!("did you mean {near}?"),
                None => format!(
                    "its columns are {}",
                    self.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
                ),
            }),
        })
    }

    pub fn display(&self) -> String {
        match self.schema.as_str() {
            "" | "public" | "main" => self.name.clone(),
            schema => format!("{schema}.{}", self.name),
        }
    }
}

/// The tables that the checks of a scan name, as found.
#[derive(Debug, Clone, Default)]
pub struct Relations {
    found: BTreeMap<TableName, Relation>,
    /// Every visible table, `schema.name` or `name`, for suggestions.
    names: Vec<String>,
    /// Tables whose catalog entries could not be read, and why.
    unreadable: BTreeMap<TableName, MeasureError>,
    /// The roles that the scanning one is a member of, of those that were asked for.
    roles: BTreeSet<String>,
}

impl Relations {
    pub fn new(found: BTreeMap<TableName, Relation>, names: Vec<String>) -> Self {
        Self { found, names, unreadable: BTreeMap::new(), roles: BTreeSet::new() }
    }

    pub fn get(&self, table: &TableName) -> Option<&Relation> {
        self.found.get(table)
    }

    pub fn without(mut self, table: TableName, why: MeasureError) -> Self {
        self.unreadable.insert(table, why);
        self
    }

    pub fn acting_as(mut self, roles: impl IntoIterator<Item = String>) -> Self {
        self.roles.extend(roles);
        self
    }

    pub fn may_act_as(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Relation> {
        self.found.values()
    }

    pub fn unreadable(&self, table: &TableName) -> Option<&MeasureError> {
        self.unreadable.get(table)
    }

    /// The table, or an error that names the nearest one.
    pub fn need(&self, table: &TableName) -> Result<&Relation, MeasureError> {
        if let Some(why) = self.unreadable.get(table) {
            return Err(why.clone());
        }
        self.get(table).ok_or_else(|| {
            let wanted = display(table);
            MeasureError {
                code: MeasureErrorCode::Sql,
                message: format!("table {wanted} does not exist, or this role may not see it"),
                hint: self.suggest(&wanted),
            }
        })
    }

    /// "did you mean …?" for the name of a table.
    pub fn suggest(&self, wanted: &str) -> Option<String> {
        if let Some(name) = self.names.iter().find(|n| n.rsplit('.').next() == Some(wanted)) {
            return Some(format!("there is a table of that name in another schema: {name}"));
        }
        nearest(wanted, self.names.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"))
    }
}

pub fn display(table: &TableName) -> String {
    match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    }
}

/// The most similar name, if it is similar enough to be meant.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
