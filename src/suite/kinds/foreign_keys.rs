use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::format::NamesByTable;

/// Foreign keys that are missing or not validated
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForeignKeys {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
    /// The foreign keys that each table must have, by name or as `column -> table`
    require: NamesByTable,
}

impl Kind for ForeignKeys {
    const NAME: &'static str = "foreign_keys";
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
            &format!("required foreign key of {}", self.schema),
            &format!("required foreign keys of {}", self.schema),
            "is missing or not validated",
            "are missing or not validated",
        );
        let require = self.require.into_iter().map(|(table, names)| (table, names.texts())).collect();
        let subject = self.schema.clone();
        let what = What::Catalog(Catalog::ForeignKeys { schema: self.schema, require });
        vec![Draft { suffix: String::new(), subject, what, wording }]
    }
}
