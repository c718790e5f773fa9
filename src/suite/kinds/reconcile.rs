use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;
use crate::suite::read::At;

/// Rows whose value differs from what a query computes for the same key, or that only one side has
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    /// The column, or SQL expression over a row, that must add up
    value: At<String>,
    /// A SELECT that gives the key and the expected value, in this order
    equals: At<String>,
    /// The column that is the key
    key: String,
}

impl Kind for Reconcile {
    const NAME: &'static str = "reconcile";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        scope.check_sql(&self.value);
        scope.check_sql(&self.equals);
        let value = self.value.value.trim().to_owned();
        let wording = scope.counted(
            &format!("has {value} that does not add up"),
            &format!("have {value} that does not add up"),
        );
        let aggregate =
            RowAggregate::Reconcile { key: self.key, value: value.clone(), equals: self.equals.value };
        vec![scope.rows(super::slug(&value), aggregate, wording)]
    }
}
