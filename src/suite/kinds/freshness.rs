use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;

/// How old the newest value of a timestamp column is
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// The column
    column: String,
}

impl Kind for Freshness {
    const NAME: &'static str = "freshness";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Seconds;
    const SHORT: Option<&'static str> = Some("column");

    fn natural() -> Natural {
        Natural::to_be_stated(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let column = self.column;
        let wording = Wording::valued(&format!("the newest {column} of {} is", scope.table()), "old");
        vec![scope.rows(column.clone(), RowAggregate::Freshness { column }, wording)]
    }
}
