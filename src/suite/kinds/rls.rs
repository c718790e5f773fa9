use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::format::NamesByTable;

/// Tables without row-level security, policies that are always true or always false, policies that are missing
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rls {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
    /// Only these tables; all of the schema where absent
    #[serde(default)]
    tables: Vec<String>,
    /// Tables that may be without row-level security, and policies (`table.policy`) that may be always true
    #[serde(default)]
    allow: Vec<String>,
    /// The policies that each table must have
    #[serde(default)]
    require: NamesByTable,
}

impl Kind for Rls {
    const NAME: &'static str = "rls";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, _: &Scope<'_>) -> Vec<Draft> {
        let with = format!("in the row-level security of {}", self.schema);
        vec![Draft {
            suffix: String::new(),
            subject: self.schema.clone(),
            wording: Wording::counted("problem", "problems", &with, &with),
            what: What::Catalog(Catalog::Rls {
                schema: self.schema,
                tables: self.tables,
                allow: self.allow,
                require: self.require.into_iter().map(|(table, names)| (table, names.texts())).collect(),
            }),
        }]
    }
}
