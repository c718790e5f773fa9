use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;
use crate::domain::threshold::{Bound, Threshold};
use crate::domain::wording::Wording;

/// How many rows the table has. Warns at any drop since the baseline, fails at a drop of more than 1%
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowCount {}

impl Kind for RowCount {
    const NAME: &'static str = "row_count";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Rows;

    fn natural() -> Natural {
        let drop = |bound| Some(Threshold { drop_above: Some(bound), ..Threshold::default() });
        Natural { warn: drop(Bound::Number(0.0)), fail: drop(Bound::Percent(1.0)), fail_after: 2 }
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let after = match scope.filter {
            Some(filter) => format!("rows where {}", filter.value),
            None => "rows".to_owned(),
        };
        let wording = Wording::valued(&format!("{} has", scope.table()), &after);
        vec![scope.rows("", RowAggregate::RowCount, wording)]
    }
}
