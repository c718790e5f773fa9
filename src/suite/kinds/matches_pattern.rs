use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::RowAggregate;
use crate::domain::measurement::Unit;

/// Rows whose text does not match a POSIX regular expression; NULL is accepted
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchesPattern {
    /// The column
    column: String,
    /// The expression, anchored with `^` and `$` where the whole text is meant
    pattern: String,
}

impl Kind for MatchesPattern {
    const NAME: &'static str = "matches_pattern";
    const SECTION: Section = Section::Tables;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let Self { column, pattern } = self;
        let what = format!("{column} that does not match {pattern}");
        let wording = scope.counted(&format!("has {what}"), &format!("have {what}"));
        vec![scope.rows(column.clone(), RowAggregate::MatchesPattern { column, pattern }, wording)]
    }
}
