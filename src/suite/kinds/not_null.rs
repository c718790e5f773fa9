use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;
use crate::suite::format::Names;

/// Rows where a column is NULL; one check for each column
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotNull {
    /// The columns that must have a value in every row
    columns: Names,
}

impl Kind for NotNull {
    const NAME: &'static str = "not_null";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("columns");

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let one = |column: String| {
            let wording = scope.counted(&format!("has no {column}"), &format!("have no {column}"));
            scope.rows(column.clone(), RowAggregate::NotNull { column }, wording)
        };
        self.columns.texts().into_iter().map(one).collect()
    }
}
