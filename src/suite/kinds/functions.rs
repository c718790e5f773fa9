use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;

/// Functions that the product calls and that are missing or others than they should be
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Functions {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
    /// Functions that must exist: `deduct_credits`, or with all that matters of them:
    /// `deduct_credits(uuid, integer) -> boolean security definer set search_path`
    require: Vec<String>,
}

impl Kind for Functions {
    const NAME: &'static str = "functions";
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
            &format!("required function of {}", self.schema),
            &format!("required functions of {}", self.schema),
            "is not as it should be",
            "are not as they should be",
        );
        let require = self.require;
        let subject = self.schema.clone();
        let what = What::Catalog(Catalog::Functions { schema: self.schema, require });
        vec![Draft { suffix: String::new(), subject, what, wording }]
    }
}
