//! Files and folders in, suites out, every problem of every file at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::build::{Frame, Placed, item};
use super::format::{Defaults, Head};
use super::kinds::Section;
use super::problems::{Mark, Problems};
use super::read::{read, unknown};
use super::tree::{Entry, Node, Value};
use super::{EMBEDDED, Suite, SuiteError};
use crate::domain::measure::TableName;

/// Reads what `load` was given, in a stable order.
pub fn paths(paths: &[PathBuf]) -> Result<Vec<Suite>, SuiteError> {
    let mut loader = Loader::default();
    for path in paths {
        if let Some(name) = path.to_str().and_then(|path| path.strip_prefix("embedded:")) {
            loader.embedded(name);
            continue;
        }
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => loader.folder(path),
            Ok(_) => loader.file(path),
            Err(error) => loader.unreadable(path, &error),
        }
    }
    loader.finish()
}

/// Reads one text, such as a suite that travels inside the program.
pub fn text(origin: &str, source: &str) -> Result<Suite, SuiteError> {
    let mut loader = Loader::default();
    loader.text(origin, source, None);
    loader.finish().map(|mut suites| suites.remove(0))
}

#[derive(Default)]
struct Loader {
    suites: Vec<Suite>,
    problems: Vec<String>,
    /// Where each key was first written.
    keys: HashMap<String, String>,
}

impl Loader {
    fn finish(self) -> Result<Vec<Suite>, SuiteError> {
        if self.problems.is_empty() { Ok(self.suites) } else { Err(SuiteError { problems: self.problems }) }
    }

    fn embedded(&mut self, name: &str) {
        match EMBEDDED.iter().find(|(known, _)| *known == name) {
            Some((_, source)) => self.text(&format!("embedded:{name}"), source, None),
            None => {
                let names: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
                self.problems.push(format!("embedded:{name}: {}", unknown("suite", name, &names)));
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let what = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file or folder; check the path".to_owned(),
            std::io::ErrorKind::PermissionDenied => {
                "it may not be read by this user; change its permissions".to_owned()
            }
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text; save it as UTF-8".to_owned(),
            _ => format!("it cannot be read: {error}"),
        };
        self.problems.push(format!("{}: {what}", path.display()));
    }

    fn folder(&mut self, folder: &Path) {
        let before = (self.suites.len(), self.problems.len());
        self.descend(folder);
        if before == (self.suites.len(), self.problems.len()) {
            self.problems.push(format!(
                "{}: there is no *.yaml or *.yml file in this folder; name a folder of check suites",
                folder.display()
            ));
        }
    }

    fn descend(&mut self, folder: &Path) {
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(folder, &error),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.descend(&path);
            } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                self.file(&path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(source) => self.text(&path.display().to_string(), &source, path.parent()),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn text(&mut self, origin: &str, source: &str, folder: Option<&Path>) {
        let problems = Problems::of(origin, source);
        let read = match Node::parse(source) {
            Ok(node) => suite(&node, &problems, folder),
            Err((at, message)) => {
                problems.report(at, message);
                None
            }
        };
        if let Some((head, checks)) = read {
            let mut kept = Vec::with_capacity(checks.len());
            for Placed { check, at } in checks {
                let place = format!("{origin}:{}", at.line);
                if let Some(first) = self.keys.get(check.key().as_str()) {
                    let key = check.key();
                    problems.report(
                        at,
                        format!(
                            "the key `{key}` is already that of {first}; give one of them a `key:` of its own"
                        ),
                    );
                    continue;
                }
                self.keys.insert(check.key().as_str().to_owned(), place);
                kept.push(check);
            }
            if problems.is_empty() {
                let (name, owner) = (head.suite.value, head.owner);
                self.suites.push(Suite { name, owner, origin: origin.to_owned(), checks: kept });
            }
        }
        self.problems.extend(problems.render());
    }
}

/// The whole document. The checks are read even where the head is wrong, so that everything is said at once.
fn suite(node: &Node, problems: &Problems<'_>, folder: Option<&Path>) -> Option<(Head, Vec<Placed>)> {
    let Value::Map(entries) = &node.value else {
        let message = match node.value {
            Value::Null => "this file is empty; a suite begins with `suite: name`".to_owned(),
            _ => format!("expected a suite, which begins with `suite: name`, found {}", node.noun()),
        };
        problems.report(node.at, message);
        return None;
    };
    let section = |entry: &Entry| Section::ALL.into_iter().find(|section| section.word() == entry.key);
    let (sections, rest): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|entry| section(entry).is_some());
    let words =
        ["suite", "owner", "description", "defaults", "tables", "schema", "server", "queries", "signals"];
    let (known, strangers): (Vec<&Entry>, Vec<&Entry>) =
        rest.into_iter().partition(|entry| words.contains(&entry.key.as_str()));
    for stranger in strangers {
        problems.report(stranger.at, unknown("key", &stranger.key, &words));
    }
    let head_node = Node { at: node.at, value: Value::Map(known.into_iter().cloned().collect()) };
    let head = read::<Head>(&head_node, problems);
    let no_defaults = Defaults::default();
    let frame = Frame {
        problems,
        suite: head.as_ref().map_or("", |head| &head.suite.value),
        owner: head.as_ref().and_then(|head| head.owner.as_deref()),
        defaults: head.as_ref().map_or(&no_defaults, |head| &head.defaults),
        folder,
    };
    let mut checks = Vec::new();
    for entry in sections {
        match section(entry) {
            Some(Section::Tables) => tables(&frame, entry, &mut checks),
            Some(other) => items(&frame, other, None, entry, &mut checks),
            None => {}
        }
    }
    if checks.is_empty() && problems.is_empty() {
        problems.report(
            Mark { length: 1, ..node.at },
            "this suite has no checks; write some under `tables:`, `schema:`, `server:`, `queries:` or `signals:`",
        );
    }
    head.map(|head| (head, checks))
}

fn tables(frame: &Frame<'_>, entry: &Entry, checks: &mut Vec<Placed>) {
    let Value::Map(tables) = &entry.node.value else {
        let message = format!("expected tables with their checks, found {}", entry.node.noun());
        return frame.problems.report(entry.at, message);
    };
    for table in tables {
        match TableName::parse(&table.key) {
            Some(name) => items(frame, Section::Tables, Some(&name), table, checks),
            None => {
                let message = format!("expected `table` or `schema.table`, found `{}`", table.key);
                frame.problems.report(table.at, message);
            }
        }
    }
}

fn items(
    frame: &Frame<'_>,
    section: Section,
    table: Option<&TableName>,
    entry: &Entry,
    checks: &mut Vec<Placed>,
) {
    match &entry.node.value {
        Value::List(items) => {
            for node in items {
                checks.extend(item(frame, section, table, node));
            }
        }
        _ => {
            let example = match section {
                Section::Tables => "- not_null: [email]",
                Section::Schema => "- rls: { schema: public }",
                Section::Server => "- connections: {}",
                Section::Queries | Section::Signals => "- key: …",
            };
            frame.problems.report(
                entry.at,
                format!("expected a list of checks (`{example}`), found {}", entry.node.noun()),
            );
        }
    }
}
