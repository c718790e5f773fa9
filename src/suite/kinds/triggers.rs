use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::format::NamesByTable;

/// Triggers that are missing or disabled
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Triggers {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
    /// The triggers that each table must have, by name or as `trigger -> function`
    require: NamesByTable,
}

impl Kind for Triggers {
    const NAME: &'static str = "triggers";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        if self.require.is_empty() {
            scope.problems.report(scope.at, "`require` is empty; name what must exist");
        }
        let wording = Wording::counted(
            &format!("required trigger of {}", self.schema),
            &format!("required triggers of {}", self.schema),
            "is not as it should be",
            "are not as they should be",
        );
        let require = self.require.into_iter().map(|(table, names)| (table, names.texts())).collect();
        let subject = self.schema.clone();
        let what = What::Catalog(Catalog::Triggers { schema: self.schema, require });
        vec![Draft { suffix: String::new(), subject, what, wording }]
    }
}
