use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;

/// Constraints that are not validated, missing, or others than they should be
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConstraintsValid {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
    /// Constraints that must exist
    #[serde(default)]
    require: Vec<String>,
    /// What constraints must be, as the server prints them: SELECT pg_get_constraintdef(oid) FROM pg_constraint
    #[serde(default)]
    definitions: BTreeMap<String, String>,
    /// Whether foreign keys that are not validated count; `foreign_keys` looks at them too
    #[serde(default = "yes")]
    foreign_keys: bool,
}

fn yes() -> bool {
    true
}

impl Kind for ConstraintsValid {
    const NAME: &'static str = "constraints_valid";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, _: &Scope<'_>) -> Vec<Draft> {
        let wording = Wording::counted(
            &format!("constraint of {}", self.schema),
            &format!("constraints of {}", self.schema),
            "is not as it should be",
            "are not as they should be",
        );
        let subject = self.schema.clone();
        let what = What::Catalog(Catalog::ConstraintsValid {
            schema: self.schema,
            require: self.require,
            definitions: self.definitions.into_iter().collect(),
            foreign_keys: self.foreign_keys,
        });
        vec![Draft { suffix: String::new(), subject, what, wording }]
    }
}
