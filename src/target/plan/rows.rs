//! One check on the rows of a table, compiled: an aggregate that can share a SELECT, or a statement of its own.

use crate::domain::measure::{Partners, RowAggregate, Scalar, TableName};
use crate::domain::measurement::{MeasureError, Unit as ValueUnit};

use super::relation::{Relation, Relations};
use super::sql::{
    Dialect, all_present, and, enclosed, ident, idents, is_number, is_text, scalar, scalar_text,
};
use super::text::check_fragment;

/// A compiled row check.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSql {
    /// The table as the FROM clause says it.
    pub table: String,
    /// The table as conditions may say it.
    pub name: String,
    pub filter: Option<String>,
    pub shape: Shape,
    pub unit: ValueUnit,
    pub key: Vec<String>,
    /// Where a row must have exactly one partner: the condition of those that have several. `false` where the
    /// other side is unique.
    pub several: Option<String>,
}

/// What is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Count,
    /// Rows for which the condition is true, of all rows that pass the filter.
    Violations {
        violated: String,
        join: Option<Join>,
    },
    /// Rows without a value in one column: countable without a condition on each row.
    Nulls {
        column: String,
    },
    /// The newest instant of a column, in seconds since the epoch.
    Newest {
        column: String,
        data_type: String,
    },
    /// Cannot share a pass: `measure` gives columns `v` and `n`, `failing` lists the failing keys.
    Alone {
        measure: String,
        failing: String,
    },
}

/// A LEFT JOIN that adds no rows, since the joined side has each key once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The joined side; U+0001 stands for the number of the join in its statement.
    pub side: String,
    pub on: String,
}

/// Compiles one check, naming what is missing.
pub fn compile(
    table: &TableName,
    filter: Option<&str>,
    aggregate: &RowAggregate,
    relations: &Relations,
    dialect: Dialect,
) -> Result<RowSql, MeasureError> {
    let relation = relations.need(table)?;
    if let Some(filter) = filter {
        check_fragment(filter, dialect)?;
    }
    let filter = filter.map(enclosed);
    let compiler = Compiler { relation, relations, dialect, filter: filter.as_deref() };
    let shape = compiler.shape(aggregate)?;
    let unit = match aggregate {
        RowAggregate::RowCount => ValueUnit::Rows,
        RowAggregate::Freshness { .. } => ValueUnit::Seconds,
        _ => ValueUnit::Violations,
    };
    let key = match aggregate {
        RowAggregate::Unique { columns } => columns.clone(),
        RowAggregate::Reconcile { key, .. } => vec![key.clone()],
        _ => relation.primary_key.clone(),
    };
    let several = match (aggregate, &shape) {
        (
            RowAggregate::JoinIntegrity { partners: Partners::ExactlyOne, .. },
            Shape::Violations { violated, .. },
        ) => Some(if violated.contains("IS DISTINCT FROM 1") { "dw_n\u{1} > 1" } else { "false" }.to_owned()),
        _ => None,
    };
    Ok(RowSql { table: relation.sql(), name: ident(&relation.name), filter, shape, unit, key, several })
}

struct Compiler<'a> {
    relation: &'a Relation,
    relations: &'a Relations,
    dialect: Dialect,
    filter: Option<&'a str>,
}

impl Compiler<'_> {
    fn column(&self, name: &str) -> Result<String, MeasureError> {
        self.relation.need_column(name).map(|column| ident(&column.name))
    }

    fn shape(&self, aggregate: &RowAggregate) -> Result<Shape, MeasureError> {
        let violated = |violated: String| Ok(Shape::Violations { violated, join: None });
        match aggregate {
            RowAggregate::RowCount => Ok(Shape::Count),
            RowAggregate::NotNull { column } | RowAggregate::Backfill { column } => {
                Ok(Shape::Nulls { column: self.column(column)? })
            }
            RowAggregate::Freshness { column } => Ok(Shape::Newest {
                column: self.column(column)?,
                data_type: self.relation.need_column(column)?.data_type.clone(),
            }),
            RowAggregate::AcceptedValues { column, values } => violated(self.accepted(column, values)?),
            RowAggregate::InRange { column, min, max } => {
                let quoted = self.column(column)?;
                let low = min.as_ref().map(|min| format!("{quoted} < {}", scalar(min, self.dialect)));
                let high = max.as_ref().map(|max| format!("{quoted} > {}", scalar(max, self.dialect)));
                let parts: Vec<String> = [low, high].into_iter().flatten().collect();
                violated(if parts.is_empty() { "false".into() } else { format!("({})", parts.join(" OR ")) })
            }
            RowAggregate::MatchesPattern { column, pattern } => {
                violated(self.dialect.unlike(&self.column(column)?, pattern))
            }
            RowAggregate::RowRule { expression } => {
                check_fragment(expression, self.dialect)?;
                violated(format!("NOT {}", enclosed(expression)))
            }
            RowAggregate::ColumnsEqual { left, right } => {
                violated(format!("{} IS DISTINCT FROM {}", self.column(left)?, self.column(right)?))
            }
            RowAggregate::Unique { columns } => self.unique(columns),
            RowAggregate::JoinIntegrity { columns, to, to_columns, to_filter, partners } => {
                self.join(columns, to, to_columns, to_filter.as_deref(), *partners)
            }
            RowAggregate::Reconcile { key, value, equals } => self.reconcile(key, value, equals),
        }
    }

    fn accepted(&self, column: &str, values: &[Scalar]) -> Result<String, MeasureError> {
        let data_type = &self.relation.need_column(column)?.data_type;
        let quoted = ident(column);
        let native = match self.dialect {
            Dialect::Postgres => {
                (is_number(data_type) && values.iter().all(|v| matches!(v, Scalar::Number(_))))
                    || (data_type == "boolean" && values.iter().all(|v| matches!(v, Scalar::Bool(_))))
            }
            Dialect::Sqlite => !is_text(data_type),
        };
        let (subject, list): (String, Vec<String>) = if native || is_text(data_type) {
            let one = |v| if native { scalar(v, self.dialect) } else { scalar_text(v, self.dialect) };
            (quoted, values.iter().map(one).collect())
        } else {
            // An enum refuses to be compared with a label it does not have; its text does not.
            (self.dialect.as_text(&quoted), values.iter().map(|v| scalar_text(v, self.dialect)).collect())
        };
        Ok(format!("{subject} NOT IN ({})", list.join(", ")))
    }

    fn unique(&self, columns: &[String]) -> Result<Shape, MeasureError> {
        for column in columns {
            self.column(column)?;
        }
        let present = all_present(columns);
        let condition = and(&[self.filter, Some(&present)]).unwrap_or(present);
        let (keys, table) = (idents(columns), self.relation.sql());
        Ok(Shape::Alone {
            measure: format!(
                "SELECT coalesce(sum(dw_n - 1), 0) AS v, coalesce(sum(dw_n), 0) AS n FROM \
                 (SELECT count(*) AS dw_n FROM {table} WHERE {condition} GROUP BY {keys}) AS dw_g"
            ),
            failing: format!(
                "SELECT {keys}, count(*) FROM {table} WHERE {condition} GROUP BY {keys} HAVING count(*) > 1"
            ),
        })
    }

    fn join(
        &self,
        columns: &[String],
        to: &TableName,
        to_columns: &[String],
        to_filter: Option<&str>,
        partners: Partners,
    ) -> Result<Shape, MeasureError> {
        let other = self.relations.need(to)?;
        for column in columns {
            self.column(column)?;
        }
        for column in to_columns {
            other.need_column(column)?;
        }
        if let Some(filter) = to_filter {
            check_fragment(filter, self.dialect)?;
        }
        let keys: Vec<String> =
            to_columns.iter().enumerate().map(|(i, c)| format!("{} AS dw_k\u{1}_{i}", ident(c))).collect();
        let on: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(i, c)| format!("dw_j\u{1}.dw_k\u{1}_{i} = {}.{}", ident(&self.relation.name), ident(c)))
            .collect();
        let filter = to_filter.map(enclosed);
        let present = all_present(columns);
        let single = other.unique_on(to_columns).is_some() && other.constraints_hold();
        let (side, broken) = if single {
            let condition = filter.map(|f| format!(" WHERE {f}")).unwrap_or_default();
            (
                format!("(SELECT {} FROM {}{condition})", keys.join(", "), other.sql()),
                match partners {
                    Partners::AtLeastOne | Partners::ExactlyOne => "dw_k\u{1}_0 IS NULL",
                    Partners::AtMostOne => "false",
                },
            )
        } else {
            let keyed = all_present(to_columns);
            let condition = and(&[filter.as_deref(), Some(&keyed)]).unwrap_or(keyed);
            let groups = (1..=to_columns.len()).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
            (
                format!(
                    "(SELECT {}, count(*) AS dw_n\u{1} FROM {} WHERE {condition} GROUP BY {groups})",
                    keys.join(", "),
                    other.sql()
                ),
                match partners {
                    Partners::AtLeastOne => "dw_n\u{1} IS NULL",
                    Partners::ExactlyOne => "dw_n\u{1} IS DISTINCT FROM 1",
                    Partners::AtMostOne => "dw_n\u{1} > 1",
                },
            )
        };
        Ok(Shape::Violations {
            violated: format!("{present} AND {broken}"),
            join: Some(Join { side, on: on.join(" AND ") }),
        })
    }

    fn reconcile(&self, key: &str, value: &str, equals: &str) -> Result<Shape, MeasureError> {
        let (key_sql, value_sql) = (self.column(key)?, self.column(value)?);
        let number = is_number(&self.relation.need_column(value)?.data_type);
        let condition = self.filter.map(|f| format!(" WHERE {f}")).unwrap_or_default();
        // A filtered table says nothing about the keys that it leaves out.
        let how = if self.filter.is_some() { "LEFT" } else { "FULL" };
        let differs = if number {
            "coalesce(dw_a.dw_v, 0) <> coalesce(dw_b.dw_v, 0)"
        } else {
            "dw_a.dw_v IS DISTINCT FROM dw_b.dw_v"
        };
        let equals = super::text::query(equals);
        let both = match self.dialect {
            Dialect::Postgres => format!(
                "(SELECT {key_sql} AS dw_k, {value_sql} AS dw_v FROM {}{condition}) AS dw_a \
                 {how} JOIN (\n{equals}\n) AS dw_b(dw_k, dw_v) ON dw_a.dw_k = dw_b.dw_k",
                self.relation.sql()
            ),
            // SQLite names a subquery's columns only through a common table expression.
            Dialect::Sqlite => format!(
                "(SELECT {key_sql} AS dw_k, {value_sql} AS dw_v FROM {}{condition}) AS dw_a \
                 {how} JOIN (WITH dw_c(dw_k, dw_v) AS (\n{equals}\n) SELECT * FROM dw_c) AS dw_b \
                 ON dw_a.dw_k = dw_b.dw_k",
                self.relation.sql()
            ),
        };
        Ok(Shape::Alone {
            measure: format!("SELECT count(*) FILTER (WHERE {differs}) AS v, count(*) AS n FROM {both}"),
            failing: format!(
                "SELECT coalesce(dw_a.dw_k, dw_b.dw_k) AS {key_sql}, dw_a.dw_v AS found, dw_b.dw_v AS expected \
                 FROM {both} WHERE {differs}"
            ),
        })
    }
}
