use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;
use crate::suite::format::Names;

/// Rows where two columns differ, for a rename in flight; two NULLs are equal
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnsEqual {
    /// The old and the new column
    columns: Names,
}

impl Kind for ColumnsEqual {
    const NAME: &'static str = "columns_equal";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("columns");

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let [left, right] = self.columns.texts().try_into().unwrap_or_else(|columns: Vec<String>| {
            let message = format!("columns_equal compares exactly two columns, found {}", columns.len());
            scope.problems.report(scope.at, message);
            <[String; 2]>::default()
        });
        let what = format!("{right} different from {left}");
        let wording = scope.counted(&format!("has {what}"), &format!("have {what}"));
        vec![scope.rows(format!("{left}_{right}"), RowAggregate::ColumnsEqual { left, right }, wording)]
    }
}
