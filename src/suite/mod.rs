//! Check files: YAML suites in, checks out, every problem of every file at once.

mod amount;
mod build;
mod format;
mod kinds;
mod load;
mod problems;
mod read;
mod scalar;
mod schema;
mod statuses;
mod tree;

use std::path::PathBuf;

use crate::domain::check::Check;

pub use schema::json_schema;

/// One loaded file.
#[derive(Debug, Clone)]
pub struct Suite {
    pub name: String,
    pub owner: Option<String>,
    /// Where it came from, for messages: a path, or `embedded:core`.
    pub origin: String,
    pub checks: Vec<Check>,
}

/// Everything that is wrong with the given files.
#[derive(Debug, thiserror::Error)]
#[error("{}:\n\n{}", headline(problems.len()), problems.join("\n\n"))]
pub struct SuiteError {
    /// Each rendered with file, line, column, the offending text and the nearest valid word.
    pub problems: Vec<String>,
}

fn headline(count: usize) -> String {
    match count {
        1 => "1 problem in the check files".to_owned(),
        count => format!("{count} problems in the check files"),
    }
}

/// Loads files, folders (`*.yaml`, `*.yml`, recursively, sorted) and `embedded:NAME`. Keys are unique over all of them.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Suite>, SuiteError> {
    load::paths(paths)
}

/// Loads one suite from text. `origin` stands for the file in messages.
pub fn parse(origin: &str, source: &str) -> Result<Suite, SuiteError> {
    load::text(origin, source)
}

/// The suites that travel inside the program, by name.
const EMBEDDED: [(&str, &str); 3] = [
    ("core", include_str!("../../checks/core/core.yaml")),
    ("supabase", include_str!("../../checks/supabase/supabase.yaml")),
    ("agentzero", include_str!("../../checks/agentzero/agentzero.yaml")),
];

/// The suites that travel inside the program: `core`, `supabase`, `agentzero`.
pub fn embedded(name: &str) -> Option<Result<Suite, SuiteError>> {
    let (name, source) = EMBEDDED.iter().find(|(known, _)| *known == name)?;
    Some(parse(&format!("embedded:{name}"), source))
}

/// Names of all kinds, with the section of a suite in which each stands.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    kinds::KINDS.iter().map(|kind| (kind.name, kind.section.word()))
}

#[cfg(test)]
mod tests;
