use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, and_list};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;
use crate::suite::format::Names;

/// Rows beyond the first of each group that shares a key; a key with a NULL in it is not counted
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// The columns that together make the key
    columns: Names,
}

impl Kind for Unique {
    const NAME: &'static str = "unique";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("columns");

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let columns = self.columns.texts();
        let key = and_list(&columns);
        let wording =
            scope.counted(&format!("repeats the {key} of another"), &format!("repeat the {key} of another"));
        vec![scope.rows(columns.join("_"), RowAggregate::Unique { columns }, wording)]
    }
}
