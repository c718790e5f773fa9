use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;

/// Rows where a new column is still NULL, with progress and the time it will take
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    /// The column that is being filled
    column: String,
}

impl Kind for Backfill {
    const NAME: &'static str = "backfill";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("column");

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let column = self.column;
        let wording = scope.counted(&format!("has no {column} yet"), &format!("have no {column} yet"));
        vec![scope.rows(column.clone(), RowAggregate::Backfill { column }, wording)]
    }
}
