use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;

/// Indexes that are invalid, half built or missing
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexesValid {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
    /// Indexes that must exist, by name or by what they do: `users(email)`, `unique users(email)`
    #[serde(default)]
    require: Vec<String>,
}

impl Kind for IndexesValid {
    const NAME: &'static str = "indexes_valid";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, _: &Scope<'_>) -> Vec<Draft> {
        let wording = Wording::counted(
            &format!("index of {}", self.schema),
            &format!("indexes of {}", self.schema),
            "is invalid or missing",
            "are invalid or missing",
        );
        let require = self.require;
        let subject = self.schema.clone();
        let what = What::Catalog(Catalog::IndexesValid { schema: self.schema, require });
        vec![Draft { suffix: String::new(), subject, what, wording }]
    }
}
