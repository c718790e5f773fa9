use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;
use crate::suite::scalar::ScalarSpec;

/// Rows whose value lies below `min` or above `max`; NULL is accepted
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InRange {
    /// The column
    column: String,
    /// The smallest accepted value
    min: Option<ScalarSpec>,
    /// The largest accepted value
    max: Option<ScalarSpec>,
}

impl Kind for InRange {
    const NAME: &'static str = "in_range";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let Self { column, min, max } = self;
        let (min, max) = (min.map(|min| min.0), max.map(|max| max.0));
        let bounds = match (&min, &max) {
            (Some(min), Some(max)) => format!("outside {min} to {max}"),
            (Some(min), None) => format!("below {min}"),
            (None, Some(max)) => format!("above {max}"),
            (None, None) => {
                scope.problems.report(scope.at, "in_range needs a `min`, a `max` or both");
                String::new()
            }
        };
        let wording = scope.counted(&format!("has {column} {bounds}"), &format!("have {column} {bounds}"));
        vec![scope.rows(column.clone(), RowAggregate::InRange { column, min, max }, wording)]
    }
}
