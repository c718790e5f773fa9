use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::read::At;

/// Migrations that are in the repository and not in the database, or the other way round, or misnamed
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationsApplied {
    /// The folder of migrations; without one, the list that CI uploads with the deploy
    directory: Option<At<String>>,
    /// The table of applied migrations
    #[serde(default = "supabase_table")]
    table: At<String>,
}

fn supabase_table() -> At<String> {
    At { at: Default::default(), value: "supabase_migrations.schema_migrations".to_owned() }
}

impl Kind for MigrationsApplied {
    const NAME: &'static str = "migrations_applied";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Violations;
    const SHORT: Option<&'static str> = Some("directory");

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let Some(table) = scope.table_name(&self.table) else { return Vec::new() };
        let mut files = None;
        if let Some(directory) = &self.directory
            && let Some(folder) = locate(&directory.value, scope.folder)
        {
            match names(&folder) {
                Ok(names) => files = Some(names),
                Err(error) => scope.problems.report(
                    directory.at,
                    format!("the folder `{}` cannot be read: {error}", folder.display()),
                ),
            }
        }
        vec![Draft {
            suffix: String::new(),
            subject: table.to_string(),
            wording: Wording::counted(
                "migration",
                "migrations",
                "is not applied, unknown or misnamed",
                "are not applied, unknown or misnamed",
            ),
            what: What::Catalog(Catalog::MigrationsApplied {
                table,
                directory: self.directory.map(|directory| directory.value),
                files,
            }),
        }]
    }
}

/// The folder as seen from the suite's own folder or one above it, else from here: a suite in `checks/` names
/// `supabase/migrations` from the root of its repository. Where there is none (a server), CI uploads the list.
fn locate(directory: &str, folder: Option<&Path>) -> Option<PathBuf> {
    let here = std::iter::once(PathBuf::from(directory));
    let above = folder.into_iter().flat_map(|folder| folder.ancestors().map(|above| above.join(directory)));
    above.chain(here).find(|candidate| candidate.is_dir())
}

fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
