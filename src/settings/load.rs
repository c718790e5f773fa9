//! Loads, merges and judges. Every problem is reported at once, each with its field and its origin; the
//! values of secrets appear in none of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, Map, Source, Value, ValueKind};

use super::Settings;
use super::schema::{FIELDS, Field, Kind};
use super::sources::{self, Entry, Written};
use super::validate;

/// Every setting with its default and what it means.
pub const DEFAULTS: &str = include_str!("default.toml");

/// What the loader looks at. Nothing else is read, so that tests can pass a map.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// `--config` or `DEPLOYWATCH_CONFIG`: it must exist.
    pub file: Option<PathBuf>,
    /// Where `deploywatch.toml` is looked for when no file is named.
    pub directory: Option<PathBuf>,
    pub env: BTreeMap<String, String>,
}

/// What the settings are for; the server needs more of them than a command that looks at one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Serve,
    Command,
}

/// The settings and how they came about.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    /// Every value in force, secrets redacted, in the order of the sections.
    pub shown: Vec<Shown>,
    /// Sentences about values that work but are probably not meant.
    pub warnings: Vec<String>,
}

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub path: String,
    pub value: String,
    pub origin: String,
}

/// Everything that is wrong with the settings, a sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", render(problems))]
pub struct SettingsError {
    pub problems: Vec<String>,
}

fn render(problems: &[String]) -> String {
    let head = match problems.len() {
        1 => "the settings have a problem".to_owned(),
        n => format!("the settings have {n} problems"),
    };
    format!("{head}\n  {}", problems.join("\n  "))
}

/// Where each value in force came from.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    /// `http.listen (deploywatch.toml:3)`: how messages name a field.
    pub fn name(&self, path: &str) -> String {
        match self.0.get(path) {
            Some(origin) => format!("{path} ({origin})"),
            None => path.to_owned(),
        }
    }
}

/// Loads everything. Never fails early: the error holds all problems.
pub fn load(inputs: &Inputs, purpose: Purpose) -> Result<Loaded, SettingsError> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let defaults = sources::from_toml("default", DEFAULTS).expect("default.toml is valid, a test reads it");
    let file = read_file(inputs, &mut problems);
    let env = sources::from_environment(&inputs.env, &file);
    problems.extend(sources::strays(&inputs.env));

    let mut layers = vec![defaults, file, env];
    let mut typed: Vec<Vec<(Entry, Value)>> = layers.drain(..).map(|l| judge(l, &mut problems)).collect();
    let plain = judge(plain_entries(&inputs.env, &typed, &mut warnings), &mut problems);
    typed.insert(1, plain);

    let mut builder = Config::builder();
    for layer in &typed {
        builder = builder.add_source(Layer(tree(layer)));
    }
    let merged = match builder.build() {
        Ok(merged) => merged,
        Err(error) => return Err(SettingsError { problems: vec![error.to_string()] }),
    };
    let merged = complete(merged, &mut problems);
    let mut shown = Vec::new();
    let mut origins = Origins::default();
    if let Ok(table) = merged.collect() {
        list(&Value::from(table), &mut Vec::new(), &mut shown, &mut origins);
    }
    match merged.try_deserialize::<Settings>() {
        Ok(settings) => {
            validate::check(&settings, purpose, &origins, &mut problems, &mut warnings);
            if problems.is_empty() {
                return Ok(Loaded { settings, shown, warnings });
            }
        }
        // Types were judged above, so this is a value that only its own parser refuses.
        Err(error) if problems.is_empty() => problems.push(error.to_string()),
        Err(_) => {}
    }
    Err(SettingsError { problems })
}

/// The file that was named, or `deploywatch.toml` where there is one.
fn read_file(inputs: &Inputs, problems: &mut Vec<String>) -> Vec<Entry> {
    let named = inputs
        .file
        .clone()
        .or_else(|| inputs.env.get("DEPLOYWATCH_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
    let path = match (named, &inputs.directory) {
        (Some(path), _) => path,
        (None, Some(directory)) => {
            let path = directory.join("deploywatch.toml");
            if !path.exists() {
                return Vec::new();
            }
            path
        }
        (None, None) => return Vec::new(),
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(format!("{}: the settings file cannot be read: {error}", path.display()));
            return Vec::new();
        }
    };
    // A file in the working directory is called by its name alone.
    let name = match &inputs.directory {
        Some(directory) => path.strip_prefix(directory).unwrap_or(&path).display().to_string(),
        None => path.display().to_string(),
    };
    sources::from_toml(&name, &text).unwrap_or_else(|found| {
        problems.extend(found);
        Vec::new()
    })
}

/// `DATABASE_URL` and its like, where nothing stronger says otherwise.
fn plain_entries(
    env: &BTreeMap<String, String>,
    typed: &[Vec<(Entry, Value)>],
    warnings: &mut Vec<String>,
) -> Vec<Entry> {
    let mut environments: BTreeMap<&str, bool> = BTreeMap::new();
    for (entry, _) in typed.iter().flatten() {
        if let [section, name, rest @ ..] = &entry.path[..]
            && section == "environments"
        {
            *environments.entry(name).or_default() |= rest.first().is_some_and(|f| f == "database_url");
        }
    }
    let mut wanted: Vec<(&str, String)> =
        sources::PLAIN_VARIABLES.iter().map(|(variable, path)| (*variable, (*path).to_owned())).collect();
    match environments.iter().collect::<Vec<_>>()[..] {
        [] => wanted.push(("DATABASE_URL", "environments.production.database_url".into())),
        [(name, false)] => wanted.push(("DATABASE_URL", format!("environments.{name}.database_url"))),
        _ if env.contains_key("DATABASE_URL") => warnings.push(
            "DATABASE_URL is not used, since the settings name the environments and their databases".into(),
        ),
        _ => {}
    }
    let mut entries = Vec::new();
    for (variable, path) in wanted {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        for (variable, suffix) in [(variable.to_owned(), ""), (format!("{variable}_FILE"), "_file")] {
            let Some(text) = env.get(&variable) else { continue };
            if text.is_empty() && (variable.contains("_PREVIOUS") || !suffix.is_empty()) {
                continue;
            }
            let mut path = path.clone();
            path.last_mut().expect("a path has a field").push_str(suffix);
            entries.push(Entry { path, value: Written::Text(text.clone()), origin: variable });
        }
    }
    entries
}

/// Gives each entry the kind of its field. What does not fit is reported and left out, so that a weaker
/// value keeps the rest loadable.
fn judge(entries: Vec<Entry>, problems: &mut Vec<String>) -> Vec<(Entry, Value)> {
    let mut kept: Vec<(Entry, Value)> = Vec::new();
    for mut entry in entries {
        if let Written::EmptyTable = entry.value {
            if FIELDS.iter().any(|f| f.path.len() > entry.path.len() && f.is_under(&entry.path)) {
                let value = Value::new(Some(&entry.origin), Map::<String, Value>::new());
                kept.push((entry, value));
                continue;
            }
        } else if let Some(secret) = secret_of_file(&entry.path) {
            match read_secret(&entry) {
                Ok(text) => {
                    entry.path = secret;
                    entry.value = Written::Text(text);
                }
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            }
        }
        let Some(field) = FIELDS.iter().find(|f| f.is_at(&entry.path)) else {
            problems.push(unknown(&entry));
            continue;
        };
        if let Some((other, _)) = kept.iter().find(|(other, _)| other.path == entry.path) {
            problems.push(format!(
                "{} is set twice, by {} and by {}; keep one",
                entry.path.join("."),
                other.origin,
                entry.origin
            ));
            continue;
        }
        match typed(&entry, &field.kind) {
            Ok(kind) => {
                let value = Value::new(Some(&entry.origin), kind);
                kept.push((entry, value));
            }
            Err(wanted) => {
                problems.push(refusal(&entry, field, &wanted));
                // What it belongs to was still named, and the rest of it is still judged.
                entry.path.pop();
                if kept.iter().all(|(other, _)| !other.path.starts_with(&entry.path)) {
                    let value = Value::new(Some(&entry.origin), Map::<String, Value>::new());
                    entry.value = Written::EmptyTable;
                    kept.push((entry, value));
                }
            }
        }
    }
    kept
}

fn refusal(entry: &Entry, field: &Field, wanted: &str) -> String {
    let path = entry.path.join(".");
    let origin = &entry.origin;
    let written = match &entry.value {
        _ if field.secret => String::new(),
        Written::Text(text) => format!(", not {text:?}"),
        Written::Typed(ValueKind::String(text)) => format!(", not {text:?}"),
        Written::Typed(ValueKind::Array(_)) => ", not a list".into(),
        Written::Typed(other) => format!(", not {other}"),
        Written::EmptyTable => ", not a table".into(),
    };
    let (wanted, guess) = wanted.split_once(';').unwrap_or((wanted, ""));
    let guess = if guess.is_empty() { String::new() } else { format!(";{guess}") };
    format!("{path} ({origin}) must be {wanted}{written}{guess}")
}

/// The value as the field's kind, or what it should have been.
fn typed(entry: &Entry, kind: &Kind) -> Result<ValueKind, String> {
    let text = match &entry.value {
        Written::Typed(ValueKind::Array(items)) => {
            let Kind::List(inner) = kind else { return Err(wanted(kind)) };
            let mut out = Vec::new();
            for item in items {
                let item = Entry { value: Written::Typed(item.kind.clone()), ..entry.clone() };
                let value = typed(&item, inner).map_err(|_| wanted(kind))?;
                out.push(Value::new(Some(&entry.origin), value));
            }
            return Ok(ValueKind::Array(out));
        }
        Written::Typed(ValueKind::String(text)) => {
            // A file says what it means: a number or a list in quotes is a mistake.
            return match kind {
                Kind::Integer(..) | Kind::Number | Kind::Bool | Kind::List(_) => Err(wanted(kind)),
                _ => read(text, kind, &entry.origin),
            };
        }
        Written::Typed(ValueKind::I64(number)) => {
            return match kind {
                Kind::Integer(low, high) if (low..=high).contains(&number) => Ok(ValueKind::I64(*number)),
                #[expect(clippy::cast_precision_loss, reason = "costs are not counted to the last unit")]
                Kind::Number => Ok(ValueKind::Float(*number as f64)),
                _ => Err(wanted(kind)),
            };
        }
        Written::Typed(ValueKind::Float(number)) if *kind == Kind::Number => {
            return Ok(ValueKind::Float(*number));
        }
        Written::Typed(ValueKind::Boolean(yes)) if *kind == Kind::Bool => {
            return Ok(ValueKind::Boolean(*yes));
        }
        Written::Typed(_) | Written::EmptyTable => return Err(wanted(kind)),
        Written::Text(text) => text,
    };
    read(text, kind, &entry.origin)
}

/// Reads text as a kind.
fn read(text: &str, kind: &Kind, origin: &str) -> Result<ValueKind, String> {
    let text_value = || ValueKind::String(text.to_owned());
    let trimmed = text.trim();
    match kind {
        Kind::Text => Some(text_value()),
        Kind::Url => {
            let url = url::Url::parse(trimmed).ok();
            url.filter(|u| matches!(u.scheme(), "http" | "https"))
                .map(|_| ValueKind::String(trimmed.to_owned()))
        }
        Kind::Address => {
            trimmed.parse::<std::net::SocketAddr>().ok().map(|a| ValueKind::String(a.to_string()))
        }
        Kind::Ip => trimmed.parse::<std::net::IpAddr>().ok().map(|ip| ValueKind::String(ip.to_string())),
        Kind::Integer(low, high) => {
            trimmed.parse().ok().filter(|n| (low..=high).contains(&n)).map(ValueKind::I64)
        }
        Kind::Number => trimmed.parse().ok().map(ValueKind::Float),
        Kind::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(ValueKind::Boolean(true)),
            "false" | "0" | "no" | "off" => Some(ValueKind::Boolean(false)),
            _ => None,
        },
        Kind::Choice(words) => words.iter().find(|w| *w == trimmed).map(|w| ValueKind::String(w.clone())),
        Kind::List(inner) => {
            let parts = trimmed.split(',').map(str::trim).filter(|part| !part.is_empty());
            let items: Result<Vec<Value>, String> = parts
                .map(|part| Ok(Value::new(Some(&origin.to_owned()), read(part, inner, origin)?)))
                .collect();
            items.ok().map(ValueKind::Array)
        }
    }
    .ok_or_else(|| match kind {
        Kind::Choice(words) => match nearest(trimmed, words.iter().map(String::as_str)) {
            Some(word) => format!("{}; did you mean {word:?}?", wanted(kind)),
            None => wanted(kind),
        },
        _ => wanted(kind),
    })
}

fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Url => "an http:// or https:// address".into(),
        Kind::Address => "an address with a port, such as 127.0.0.1:8080".into(),
        Kind::Ip => "an IP address".into(),
        Kind::Integer(low, i64::MAX) => format!("a whole number from {low}"),
        Kind::Integer(low, high) => format!("a whole number from {low} to {high}"),
        Kind::Number => "a number".into(),
        Kind::Bool => "true or false".into(),
        Kind::Choice(words) => {
            let quoted: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
            format!("one of {}", quoted.join(", "))
        }
        Kind::List(inner) => match **inner {
            Kind::Text => "a list (in the environment: separated by commas)".into(),
            ref inner => format!("a list in which each item is {}", wanted(inner)),
        },
    }
}

fn unknown(entry: &Entry) -> String {
    let path = entry.path.join(".");
    // The user's own names stand in for `*`, so that the suggestion can be pasted.
    let known: Vec<String> = FIELDS
        .iter()
        .map(|field| {
            let part = |(i, p): (usize, &String)| match (p.as_str(), entry.path.get(i)) {
                ("*", Some(chosen)) => chosen.clone(),
                ("*", None) => "NAME".to_owned(),
                _ => p.clone(),
            };
            field.path.iter().enumerate().map(part).collect::<Vec<_>>().join(".")
        })
        .collect();
    let from_env = entry.origin.starts_with(sources::PREFIX);
    let guess = nearest(&path, known.iter().map(String::as_str)).map(|guess| {
        if from_env {
            sources::variable_of(&guess.split('.').map(str::to_owned).collect::<Vec<_>>())
        } else {
            guess.to_owned()
        }
    });
    let what = if from_env { entry.origin.clone() } else { format!("{path} ({})", entry.origin) };
    match guess {
        Some(guess) => format!("{what} is not a setting; did you mean {guess}?"),
        None => format!("{what} is not a setting; `deploywatch config show` lists them"),
    }
}

/// The word that was probably meant.
fn nearest<'a>(written: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = words.map(|word| (strsim::jaro_winkler(written, word), word));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, word)| word)
}

/// `store.url_file` → `store.url`, for secrets only.
fn secret_of_file(path: &[String]) -> Option<Vec<String>> {
    let mut secret = path.to_vec();
    let last = secret.last_mut()?;
    *last = last.strip_suffix("_file")?.to_owned();
    FIELDS.iter().any(|f| f.secret && f.is_at(&secret)).then_some(secret)
}

fn read_secret(entry: &Entry) -> Result<String, String> {
    let (Written::Text(path) | Written::Typed(ValueKind::String(path))) = &entry.value else {
        return Err(format!("{} ({}) must be the path of a file", entry.path.join("."), entry.origin));
    };
    match std::fs::read_to_string(Path::new(path)) {
        // Editors and `echo` end a file with a newline that is no part of the secret.
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => Err(format!(
            "{} ({}): the file {path} cannot be read: {error}",
            entry.path.join("."),
            entry.origin
        )),
    }
}

/// Adds what a half-described environment lacks, after saying so, so that the rest can still be judged.
fn complete(merged: Config, problems: &mut Vec<String>) -> Config {
    let Ok(environments) = merged.get_table("environments") else { return merged };
    let mut filler = Map::new();
    for (name, value) in environments {
        let has = value.into_table().is_ok_and(|table| table.contains_key("database_url"));
        if !has {
            let path = ["environments".to_owned(), name.clone(), "database_url".to_owned()];
            problems.push(format!(
                "{} is missing; set it, or {}, or its _FILE form",
                path.join("."),
                sources::variable_of(&path)
            ));
            let inner: Map<String, Value> = [("database_url".into(), "postgres://missing".into())].into();
            filler.insert(name, Value::from(inner));
        }
    }
    if filler.is_empty() {
        return merged;
    }
    let filler: Map<String, Value> = [("environments".to_owned(), Value::from(filler))].into();
    let again = Config::builder().add_source(merged.clone()).add_source(Layer(filler)).build();
    again.unwrap_or(merged)
}

/// A layer that was already read.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn tree(entries: &[(Entry, Value)]) -> Map<String, Value> {
    fn put(map: &mut Map<String, Value>, path: &[String], value: Value) {
        match path {
            [] => {}
            [last] => {
                map.entry(last.clone()).or_insert(value);
            }
            [first, rest @ ..] => {
                let child = map.entry(first.clone()).or_insert_with(|| Map::<String, Value>::new().into());
                if let ValueKind::Table(inner) = &mut child.kind {
                    put(inner, rest, value);
                }
            }
        }
    }
    let mut root = Map::new();
    for (entry, value) in entries {
        put(&mut root, &entry.path, value.clone());
    }
    root
}

/// Flattens the merged values in the order of the fields.
fn list(value: &Value, path: &mut Vec<String>, shown: &mut Vec<Shown>, origins: &mut Origins) {
    if let ValueKind::Table(table) = &value.kind {
        let mut names: Vec<&String> = table.keys().collect();
        names.sort();
        for name in names {
            path.push(name.clone());
            list(&table[name], path, shown, origins);
            path.pop();
        }
        return;
    }
    let Some(field) = FIELDS.iter().find(|f| f.is_at(path)) else { return };
    let origin = value.origin().unwrap_or("default").to_owned();
    // A line number in our own file would send people looking for a file that is not there.
    let origin = if origin.starts_with("default:") { "default".to_owned() } else { origin };
    if origin != "default" {
        origins.0.insert(path.join("."), origin.clone());
    }
    shown.push(Shown { path: path.join("."), value: super::redact::show(field, value), origin });
}

impl Field {
    fn is_under(&self, path: &[String]) -> bool {
        self.path.iter().zip(path).all(|(a, b)| a == "*" || a == b)
    }
}
