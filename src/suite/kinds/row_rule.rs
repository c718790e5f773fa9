use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, slug};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;
use crate::suite::read::At;

/// Rows for which a SQL condition is false; NULL is accepted, as by SQL's CHECK
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowRule {
    /// The condition that must hold for every row
    expression: At<String>,
}

impl Kind for RowRule {
    const NAME: &'static str = "row_rule";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("expression");

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        scope.check_sql(&self.expression);
        let expression = self.expression.value.trim().to_owned();
        let wording = scope.counted(&format!("breaks {expression}"), &format!("break {expression}"));
        vec![scope.rows(slug(&expression), RowAggregate::RowRule { expression }, wording)]
    }
}
