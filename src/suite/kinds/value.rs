use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::{Query, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::read::At;

/// A SELECT that gives one number
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueQuery {
    /// The SELECT; `:deployed_at`, `:baseline_at`, `:now` and `:environment` may be used in it
    sql: At<String>,
}

impl Kind for ValueQuery {
    const NAME: &'static str = "value";
    const SECTION: Section = Section::Queries;
    const UNIT: Unit = Unit::Number;
    const SHORT: Option<&'static str> = Some("sql");

    fn natural() -> Natural {
        Natural::to_be_stated(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        scope.check_sql(&self.sql);
        vec![Draft {
            suffix: String::new(),
            subject: String::new(),
            what: What::Query(Query::Value { sql: self.sql.value }),
            wording: Wording::valued("the query gives", ""),
        }]
    }
}
