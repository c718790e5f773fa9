use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;

/// Sequences whose next values are taken already, or that soon have none left
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sequences {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
}

impl Kind for Sequences {
    const NAME: &'static str = "sequences";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, _: &Scope<'_>) -> Vec<Draft> {
        let with = |verb: &str| format!("of {} {verb}", self.schema);
        let wording = Wording::counted("sequence", "sequences", &with("cannot go on"), &with("cannot go on"));
        let subject = self.schema.clone();
        let what = What::Catalog(Catalog::Sequences { schema: self.schema });
        vec![Draft { suffix: String::new(), subject, what, wording }]
    }
}
