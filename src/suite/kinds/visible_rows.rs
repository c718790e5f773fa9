use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::read::At;

/// How many rows of a table a role with these claims can see, through its policies
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VisibleRows {
    /// The table
    table: At<String>,
    /// The role: `authenticated`
    #[serde(rename = "as")]
    role: String,
    /// What `request.jwt.claims` holds
    #[serde(default)]
    claims: serde_json::Map<String, serde_json::Value>,
}

impl Kind for VisibleRows {
    const NAME: &'static str = "visible_rows";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Rows;

    fn natural() -> Natural {
        Natural::to_be_stated(1)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let Some(table) = scope.table_name(&self.table) else { return Vec::new() };
        let role = self.role;
        vec![Draft {
            suffix: role.clone(),
            subject: table.to_string(),
            wording: Wording::valued(&format!("{role} sees"), &format!("rows of {table}")),
            what: What::Catalog(Catalog::VisibleRows {
                table,
                role,
                claims: serde_json::Value::Object(self.claims),
                filter: scope.filter.map(|filter| filter.value.clone()),
            }),
        }]
    }
}
