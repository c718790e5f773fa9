//! Proposals as the text of a suite, with the reason above each. Pure.

use crate::domain::check::Severity;
use crate::domain::clock::rfc3339;
use crate::domain::inspection::Inspection;

use super::{Body, Place, Proposal, Trial};

const WIDTH: usize = 100;

/// The suite, commented. `trials` answers each proposal; what does not hold is written as a comment.
pub fn render(seen: &Inspection, proposals: &[Proposal], trials: &[Trial]) -> String {
    let mut lines = vec![
        format!("# A first suite for the schema {} of {}, drafted by `deploywatch init`", tame(&seen.schema), tame(&seen.database)),
        format!("# from the catalog and the planner's statistics of {} on {}.", tame(&seen.server), rfc3339(seen.as_of)),
        "# Every check below held then. Read the reasons, keep what you mean, and commit it beside your code.".to_owned(),
        "# What a constraint already proves (NOT NULL, UNIQUE, FOREIGN KEY, CHECK) is not read again; that the".to_owned(),
        "# constraints are still there is checked at the end.".to_owned(),
    ];
    for table in &seen.tables {
        if let Some(why) = &table.unreadable {
            let text = format!("Left out: {}, since the role {} {why}", table.name, seen.role);
            comment(&mut lines, "", &text);
        }
    }
    lines.push(format!("suite: {}", inline(&suite_name(&seen.database))));
    let all: Vec<Entry<'_>> = proposals
        .iter()
        .zip(trials)
        .map(|(proposal, trial)| Entry { proposal, trial, number: None })
        .collect();
    sections(&mut lines, &seen.schema, &all);
    lines.join("\n") + "\n"
}

/// The suite to try: each proposal alone, under its number as key.
pub fn numbered(seen: &Inspection, proposals: &[Proposal]) -> String {
    let mut lines = vec!["suite: trial".to_owned()];
    let entries = proposals.iter().enumerate();
    let all: Vec<Entry<'_>> = entries
        .map(|(at, proposal)| Entry { proposal, trial: &Trial::Holds, number: Some(number(at)) })
        .collect();
    sections(&mut lines, &seen.schema, &all);
    lines.join("\n") + "\n"
}

/// The key of a proposal while it is tried.
pub fn number(at: usize) -> String {
    format!("proposal_{at}")
}

/// A text as a YAML scalar that fits into a flow list or mapping.
pub fn inline(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.' | '(' | ')');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !text.ends_with(' ');
    let word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    if begins && text.chars().all(plain) && !word.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    // JSON's strings are YAML's.
    serde_json::Value::from(text).to_string()
}

/// Names or texts as a flow list; what looks like a number or a truth value stays a text.
pub fn list(names: &[&str]) -> String {
    format!("[{}]", names.iter().map(|name| inline(name)).collect::<Vec<_>>().join(", "))
}

/// `user_credits(user_id)`, or nothing for a name that cannot be written so.
pub fn reference(schema: &str, table: &str, column: &str) -> Option<String> {
    let plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    plain(column).then(|| format!("{}({column})", table_name(schema, table)))
}

pub fn table_name(schema: &str, table: &str) -> String {
    let part = |name: &str| if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() };
    if schema == "public" { part(table) } else { format!("{}.{}", part(schema), part(table)) }
}

/// Lower-case words, as the names of the shipped suites.
fn suite_name(database: &str) -> String {
    let words = database.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-").to_lowercase();
    if name.is_empty() { "database".to_owned() } else { name }
}

struct Entry<'a> {
    proposal: &'a Proposal,
    trial: &'a Trial,
    number: Option<String>,
}

impl Entry<'_> {
    fn holds(&self) -> bool {
        *self.trial == Trial::Holds
    }

    /// Both are NULL checks for the same reason, so that one list says it.
    fn goes_with(&self, next: &Entry<'_>) -> bool {
        let (a, b) = (self.proposal, next.proposal);
        let columns = matches!((&a.body, &b.body), (Body::NotNull(_), Body::NotNull(_)));
        let alike = a.place == b.place && a.reason == b.reason && a.severity == b.severity;
        columns && alike && self.holds() && next.holds() && self.number.is_none()
    }
}

fn sections(lines: &mut Vec<String>, schema: &str, all: &[Entry<'_>]) {
    let at = |place: Place| all.iter().filter(move |entry| entry.proposal.place == place).collect::<Vec<_>>();
    let (catalog, queries) = (at(Place::Schema), at(Place::Queries));
    let of_table = |entry: &&Entry<'_>| !matches!(entry.proposal.place, Place::Schema | Place::Queries);
    let tables: Vec<&Entry<'_>> = all.iter().filter(of_table).collect();
    if !tables.is_empty() {
        heading(lines, "", "tables:", &tables);
    }
    for of_one in tables.chunk_by(|a, b| a.proposal.place == b.proposal.place) {
        let name = match &of_one[0].proposal.place {
            Place::Table(name) => table_name(schema, name),
            Place::Elsewhere(name) => name.clone(),
            Place::Schema | Place::Queries => continue,
        };
        heading(lines, "  ", &format!("{}:", inline(&name)), of_one);
        items(lines, "    ", of_one);
        lines.push(String::new());
    }
    for (section, entries) in [("schema:", catalog), ("queries:", queries)] {
        if !entries.is_empty() {
            heading(lines, "", section, &entries);
            items(lines, "  ", &entries);
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
}

/// A heading with nothing below it would not load.
fn heading(lines: &mut Vec<String>, indent: &str, text: &str, below: &[&Entry<'_>]) {
    if indent.is_empty() && lines.last().is_some_and(|line| !line.is_empty()) {
        lines.push(String::new());
    }
    let off = if below.iter().any(|entry| entry.holds()) { "" } else { "# " };
    lines.push(format!("{indent}{off}{text}"));
}

fn items(lines: &mut Vec<String>, indent: &str, entries: &[&Entry<'_>]) {
    for group in entries.chunk_by(|a, b| a.goes_with(b)) {
        let Entry { proposal, trial, number } = group[0];
        let columns: Vec<&str> = group
            .iter()
            .filter_map(|entry| match &entry.proposal.body {
                Body::NotNull(column) => Some(column.as_str()),
                Body::Other { .. } => None,
            })
            .collect();
        let (body, own_key) = match &proposal.body {
            Body::NotNull(_) => (format!("not_null: {}", list(&columns)), None),
            Body::Other { yaml, key } => (yaml.clone(), key.clone()),
        };
        comment(lines, indent, &proposal.reason);
        let off = match trial {
            Trial::Holds => "",
            Trial::DoesNotHold(how) => {
                comment(lines, indent, &format!("Off, since it does not hold now: {how}"));
                "# "
            }
        };
        for (at, line) in body.lines().enumerate() {
            lines.push(format!("{indent}{off}{}{line}", if at == 0 { "- " } else { "  " }));
        }
        let key = number.clone().or(own_key);
        let options = [
            ("key", key.map(|key| inline(&key))),
            ("title", proposal.title.as_deref().map(inline)),
            (
                "severity",
                (proposal.severity != Severity::Critical).then(|| proposal.severity.as_str().to_owned()),
            ),
            ("fail", proposal.fail.clone()),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                lines.push(format!("{indent}{off}  {name}: {value}"));
            }
        }
    }
}

/// A comment, wrapped at words.
fn comment(lines: &mut Vec<String>, indent: &str, text: &str) {
    let mut line = format!("{indent}#");
    for word in tame(text).split(' ').filter(|word| !word.is_empty()) {
        if line.chars().count() + word.chars().count() >= WIDTH && line.trim() != "#" {
            lines.push(std::mem::replace(&mut line, format!("{indent}#")));
        }
        line.push(' ');
        line.push_str(word);
    }
    line.push('.');
    lines.push(line);
}

/// A name must not end its comment and begin a line of YAML.
fn tame(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}') { ' ' } else { c })
        .collect()
}
