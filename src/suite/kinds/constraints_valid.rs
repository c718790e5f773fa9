use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;

/// Constraints that are not validated or missing
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConstraintsValid {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
    /// Constraints that must exist
    #[serde(default)]
    require: Vec<String>,
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
            "is not validated or missing",
            "are not validated or missing",
        );
        let require = self.require;
        let subject = self.schema.clone();
        let what = What::Catalog(Catalog::ConstraintsValid { schema: self.schema, require });
        vec![Draft { suffix: String::new(), subject, what, wording }]
    }
}
