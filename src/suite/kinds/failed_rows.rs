use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::{Query, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::read::At;

/// A SELECT of which every row is a violation
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailedRows {
    /// The SELECT; `:deployed_at`, `:baseline_at`, `:now` and `:environment` may be used in it
    sql: At<String>,
}

impl Kind for FailedRows {
    const NAME: &'static str = "failed_rows";
    const SECTION: Section = Section::Queries;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("sql");

    fn natural() -> Natural {
        Natural::none_allowed(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        scope.check_sql(&self.sql);
        let tested = scope.tested_rows.map(|tested| {
            scope.check_sql(tested);
            tested.value.clone()
        });
        vec![Draft {
            suffix: String::new(),
            subject: String::new(),
            what: What::Query(Query::FailedRows { sql: self.sql.value, tested }),
            wording: Wording::counted("row", "rows", "fails", "fail"),
        }]
    }
}
