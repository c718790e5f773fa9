use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, and_list};
use crate::domain::measure::{RowAggregate, Scalar};
use crate::domain::measurement::Unit;
use crate::suite::scalar::ScalarSpec;

/// Rows whose value is not in the list; NULL is accepted, as by SQL's CHECK
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptedValues {
    /// The column
    column: String,
    /// Every value that it may have
    values: Vec<ScalarSpec>,
}

impl Kind for AcceptedValues {
    const NAME: &'static str = "accepted_values";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        if self.values.is_empty() {
            scope
                .problems
                .report(scope.at, "`values` is empty, so every row would break it; list the values");
        }
        let column = self.column;
        let values: Vec<Scalar> = self.values.into_iter().map(|value| value.0).collect();
        let list = and_list(&values.iter().map(ToString::to_string).collect::<Vec<_>>());
        let what = format!("{column} other than {list}");
        let wording = scope.counted(&format!("has {what}"), &format!("have {what}"));
        vec![scope.rows(column.clone(), RowAggregate::AcceptedValues { column, values }, wording)]
    }
}
