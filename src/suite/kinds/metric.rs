use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::What;
use crate::domain::measurement::Unit;
use crate::domain::signal::Signal;
use crate::domain::wording::Wording;
use crate::suite::read::At;

/// A PromQL query that gives one number
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The query; an aggregate such as `sum(…)`, so that one series is left
    query: At<String>,
    /// Which server of `signals.metrics` to ask; may be left out where there is one
    server: Option<String>,
}

impl Kind for Metric {
    const NAME: &'static str = "metric";
    const SECTION: Section = Section::Signals;
    const UNIT: Unit = Unit::Number;
    const SHORT: Option<&'static str> = Some("query");

    fn natural() -> Natural {
        Natural::to_be_stated(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        if self.query.value.trim().is_empty() {
            scope.problems.report(self.query.at, "expected a PromQL query, found nothing");
        }
        let what = What::Signal(Signal::Metric { query: self.query.value, server: self.server });
        let wording = Wording::valued("the metric is", "");
        vec![Draft { suffix: String::new(), subject: String::new(), what, wording }]
    }
}
