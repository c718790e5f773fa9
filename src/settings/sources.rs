//! Where values come from: a TOML text with line numbers, and the environment. Both become flat entries,
//! each with its path and its origin; nothing is judged here but what cannot be read at all.

use std::collections::BTreeMap;

use config::ValueKind;
use toml::de::{DeTable, DeValue};

use super::schema::FIELDS;

/// Variables with our prefix start with this; the rest names section and field, separated by `__`.
pub const PREFIX: &str = "DEPLOYWATCH__";

/// Variables of the commands themselves, which are not settings.
pub const COMMAND_VARIABLES: &[&str] =
    &["DEPLOYWATCH_CONFIG", "DEPLOYWATCH_URL", "DEPLOYWATCH_TOKEN", "DEPLOYWATCH_ENVIRONMENT"];

/// Variables that work under the names which products already use, weaker than any other source but the
/// defaults.
pub const PLAIN_VARIABLES: &[(&str, &str)] = &[
    ("LEMONSQUEEZY_WEBHOOK_SECRET", "webhooks.sources.lemonsqueezy.secret"),
    ("LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS", "webhooks.sources.lemonsqueezy.secret_previous"),
];

/// One value as it was written.
#[derive(Debug, Clone)]
pub struct Entry {
    pub path: Vec<String>,
    pub value: Written,
    /// `deploywatch.toml:12` or `DEPLOYWATCH__HTTP__LISTEN`.
    pub origin: String,
}

#[derive(Debug, Clone)]
pub enum Written {
    /// A TOML value, typed by its author.
    Typed(ValueKind),
    /// Text from the environment, to be read as the field's kind.
    Text(String),
    /// A table without fields, which still names an environment or a source.
    EmptyTable,
}

/// Reads a TOML text. `name` is how messages call it. All syntax errors come at once.
pub fn from_toml(name: &str, text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    if !errors.is_empty() {
        let message = |error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            format!("{name}:{line}: {}", error.message())
        };
        return Err(errors.into_iter().map(message).collect());
    }
    let mut entries = Vec::new();
    walk(name, text, table.get_ref(), &mut Vec::new(), &mut entries);
    Ok(entries)
}

fn walk(name: &str, text: &str, table: &DeTable<'_>, path: &mut Vec<String>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        let origin = format!("{name}:{}", line_of(text, key.span().start));
        match value.get_ref() {
            DeValue::Table(inner) if inner.is_empty() => {
                entries.push(Entry { path: path.clone(), value: Written::EmptyTable, origin });
            }
            DeValue::Table(inner) => walk(name, text, inner, path, entries),
            other => {
                let value = Written::Typed(plain(other));
                entries.push(Entry { path: path.clone(), value, origin });
            }
        }
        path.pop();
    }
}

fn plain(value: &DeValue<'_>) -> ValueKind {
    match value {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Boolean(yes) => ValueKind::Boolean(*yes),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| ValueKind::String(number.as_str().to_owned()), ValueKind::I64),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| ValueKind::String(number.as_str().to_owned()), ValueKind::Float),
        DeValue::Datetime(at) => ValueKind::String(at.to_string()),
        DeValue::Array(items) => ValueKind::Array(
            items.iter().map(|item| config::Value::new(None, plain(item.get_ref()))).collect(),
        ),
        DeValue::Table(_) => ValueKind::Nil,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Reads the variables that carry our prefix. Names that the user chooses (environments, sources) are
/// lower-cased with `-` for `_`, unless `known` has the name spelled otherwise.
pub fn from_environment(env: &BTreeMap<String, String>, known: &[Entry]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (variable, text) in env {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        let mut path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        if let Some(at) = name_position(&path) {
            path[at] = chosen_name(&path[at], at, known);
        }
        // An empty variable means "not set", as in a compose file's `${X:-}`. Empty lists and empty secrets
        // stay, the one as a wish and the other as a mistake to report.
        let keep_empty = FIELDS.iter().any(|f| {
            f.is_at(&path)
                && (matches!(f.kind, super::schema::Kind::List(_))
                    || f.secret && !rest.ends_with("_PREVIOUS"))
        });
        if text.is_empty() && !keep_empty {
            continue;
        }
        entries.push(Entry { path, value: Written::Text(text.clone()), origin: variable.clone() });
    }
    entries
}

/// Where in a path stands a name of the user's choice.
fn name_position(path: &[String]) -> Option<usize> {
    match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["environments" | "triggers", _, ..] => Some(1),
        ["webhooks", "sources", _, ..] | ["signals", "metrics" | "logs", _, ..] => Some(2),
        _ => None,
    }
}

fn chosen_name(written: &str, at: usize, known: &[Entry]) -> String {
    let dashed = written.replace('_', "-");
    let same = |entry: &&Entry| entry.path.get(at).is_some_and(|name| name.replace('_', "-") == dashed);
    known
        .iter()
        .filter(|e| name_position(&e.path) == Some(at))
        .find(same)
        .map_or(dashed, |e| e.path[at].clone())
}

/// The variable that sets a path: `http.listen` → `DEPLOYWATCH__HTTP__LISTEN`.
pub fn variable_of(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").replace('-', "_").to_ascii_uppercase())
}

/// Variables that look meant for us and are read by nobody, each with what was probably meant.
pub fn strays(env: &BTreeMap<String, String>) -> Vec<String> {
    let squashed = |name: &str| name.replace('_', "");
    let stray = |name: &String| {
        if name.starts_with(PREFIX)
            || !name.starts_with("DEPLOYWATCH_")
            || COMMAND_VARIABLES.contains(&name.as_str())
        {
            return None;
        }
        let meant = FIELDS.iter().map(|f| variable_of(&f.path)).find(|v| squashed(v) == squashed(name))?;
        Some(format!("{name} is read by nothing; the sections are separated by two underscores: {meant}"))
    };
    env.keys().filter_map(stray).collect()
}
