use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::measure::{Catalog, PolicyExpectation, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::format::{Names, NamesByTable};

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
    /// What policies must be, by table and name: `for`, `to`, `using`, `with_check`
    #[serde(default)]
    policies: BTreeMap<String, BTreeMap<String, Policy>>,
    /// No policies but those that `require`, `policies` and `allow` name, and those for roles that see all rows anyway
    #[serde(default)]
    only: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Policy {
    /// Whether it opens the table (permissive) or narrows what others open (restrictive)
    #[serde(default, rename = "as")]
    combines: Combines,
    /// The command: select, insert, update, delete or all
    #[serde(rename = "for")]
    command: Option<Command>,
    /// The roles; `public` is everybody
    to: Option<Names>,
    /// The condition as the server prints it: SELECT qual FROM pg_policies
    using: Option<String>,
    /// The condition on new rows as the server prints it
    with_check: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Combines {
    #[default]
    Permissive,
    Restrictive,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Command {
    Select,
    Insert,
    Update,
    Delete,
    All,
}

impl Policy {
    fn expectation(self) -> PolicyExpectation {
        let command = self.command.map(|command| match command {
            Command::Select => "SELECT",
            Command::Insert => "INSERT",
            Command::Update => "UPDATE",
            Command::Delete => "DELETE",
            Command::All => "ALL",
        });
        PolicyExpectation {
            command: command.map(str::to_owned),
            roles: self.to.map(|roles| roles.texts()),
            using: self.using,
            with_check: self.with_check,
            restrictive: self.combines == Combines::Restrictive,
        }
    }
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
                only: self.only,
                allow: self.allow,
                require: self.require.into_iter().map(|(table, names)| (table, names.texts())).collect(),
                policies: self
                    .policies
                    .into_iter()
                    .map(|(table, policies)| {
                        (table, policies.into_iter().map(|(name, p)| (name, p.expectation())).collect())
                    })
                    .collect(),
            }),
        }]
    }
}
