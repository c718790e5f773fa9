use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::{Partners, RowAggregate, TableName};
use crate::domain::measurement::Unit;
use crate::suite::format::Names;
use crate::suite::read::At;

/// Rows that do not have their partner in another table; rows with a NULL in `columns` are not counted
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinIntegrity {
    /// The columns of this table
    columns: Names,
    /// The other table with its columns, in the same order: `user_credits(user_id)`
    to: At<String>,
    /// How many partners each row must have
    #[serde(rename = "match", default = "at_least_one")]
    partners: Partners,
    /// Only these rows of the other table count as partners: a SQL condition
    to_where: Option<At<String>>,
}

fn at_least_one() -> Partners {
    Partners::AtLeastOne
}

impl Kind for JoinIntegrity {
    const NAME: &'static str = "join_integrity";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let columns = self.columns.texts();
        let Some((to, to_columns)) = referenced(&self.to.value) else {
            let message = format!("expected `table(column)` such as `users(id)`, found `{}`", self.to.value);
            scope.problems.report(self.to.at, message);
            return Vec::new();
        };
        if to_columns.len() != columns.len() {
            let (here, there) = (columns.len(), to_columns.len());
            let message =
                format!("`columns` has {here} and `to` has {there} columns; they are joined in pairs");
            scope.problems.report(self.to.at, message);
        }
        if let Some(filter) = &self.to_where {
            scope.check_sql(filter);
        }
        let (has, have) = match self.partners {
            Partners::AtLeastOne => ("has no row", "have no row"),
            Partners::ExactlyOne => ("does not have exactly one row", "do not have exactly one row"),
            Partners::AtMostOne => ("has more than one row", "have more than one row"),
        };
        let partner = format!("in {to} with its {}", columns.join(", "));
        let wording = scope.counted(&format!("{has} {partner}"), &format!("{have} {partner}"));
        let aggregate = RowAggregate::JoinIntegrity {
            columns: columns.clone(),
            to: to.clone(),
            to_columns,
            to_filter: self.to_where.map(|filter| filter.value),
            partners: self.partners,
        };
        vec![scope.rows(format!("{}.{to}", columns.join("_")), aggregate, wording)]
    }
}

/// `schema.table(a, b)`.
fn referenced(text: &str) -> Option<(TableName, Vec<String>)> {
    let (table, rest) = text.trim().split_once('(')?;
    let columns: Vec<String> =
        rest.strip_suffix(')')?.split(',').map(|column| column.trim().trim_matches('"').to_owned()).collect();
    let complete = columns.iter().all(|column| !column.is_empty());
    TableName::parse(table).filter(|_| complete).map(|table| (table, columns))
}
