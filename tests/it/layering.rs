//! The house rules that a compiler does not know: layers, file lengths, and no bare `unwrap`.

use std::path::{Path, PathBuf};

/// Lowest first. A file imports from its own layer only its own module, and everything of the layers below.
const LAYERS: &[&[&str]] = &[
    &["domain"],
    &["settings", "api"],
    &["suite", "target", "store", "email", "relay", "lemonsqueezy", "signals", "channels", "callbacks"],
    &["services"],
    &["http", "scheduler", "client"],
    &["app"],
    &["demo", "cli"],
];

/// Leaves: they import nothing of ours but what is named, and only those named use them. Everybody above the
/// services may use the metrics.
const LEAVES: &[(&str, &[&str], &[&str])] = &[
    ("shutdown", &[], &["app", "cli", "demo"]),
    ("system", &["domain"], &["app", "cli", "demo"]),
    ("telemetry", &[], &["services", "http", "scheduler", "app", "cli", "demo"]),
];

const LONGEST: usize = 600;

struct Source {
    path: PathBuf,
    module: String,
    /// Without the tests at the end of the file.
    lines: Vec<String>,
    length: usize,
}

fn sources() -> Vec<Source> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("src can be listed") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    visit(&root, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| std::fs::read_to_string(path).expect("a source can be read");
    let mut for_tests = Vec::new();
    for path in &paths {
        for name in test_files(&read(path)) {
            let folder = path.parent().expect("a file is in a folder");
            let beside =
                matches!(path.file_name().and_then(|n| n.to_str()), Some("mod.rs" | "lib.rs" | "main.rs"));
            let folder = if beside { folder.to_owned() } else { path.with_extension("") };
            for_tests.extend([folder.join(format!("{name}.rs")), path.with_file_name(&name)]);
        }
    }
    let source = |path: PathBuf| {
        let relative = path.strip_prefix(&root).expect("it is below src").to_owned();
        let first = relative.components().next().expect("it has a name").as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        let lines: Vec<String> = read(&path).lines().map(str::to_owned).collect();
        let length = lines.len();
        let opens_tests = |pair: &[String]| pair[0].trim() == "#[cfg(test)]" && pair[1].ends_with('{');
        let tests = lines.windows(2).position(opens_tests).unwrap_or(length);
        let kept = if for_tests.contains(&path) { 0 } else { tests };
        Source { path: relative, module, lines: lines[..kept].to_vec(), length }
    };
    paths.into_iter().map(source).collect()
}

/// The modules in files of their own that a text declares for tests only: a name, or a `#[path]`.
fn test_files(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = |at: usize| -> Option<String> {
        let next = lines.get(at + 1)?;
        if let Some(path) = next.strip_prefix("#[path = \"") {
            return Some(path.trim_end_matches("\"]").to_owned());
        }
        let name = next.split_once("mod ")?.1.strip_suffix(';')?;
        Some(name.to_owned())
    };
    (0..lines.len()).filter(|at| lines[*at] == "#[cfg(test)]").filter_map(declared).collect()
}

/// The top-level modules that a line names after `crate::`, in `use crate::{a, b}` too.
fn named(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("crate::")
        // A macro's `$crate::` and a word that ends so are not ours.
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .flat_map(|(at, word)| {
            let rest = &code[at + word.len()..];
            let name = |text: &str| -> String {
                text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
            };
            match rest.strip_prefix('{') {
                Some(list) => list.split(',').map(name).collect(),
                None => vec![name(rest)],
            }
        })
        .filter(|name| !name.is_empty())
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn leaf(module: &str) -> Option<&'static (&'static str, &'static [&'static str], &'static [&'static str])> {
    LEAVES.iter().find(|(name, ..)| *name == module)
}

fn allowed(from: &str, to: &str) -> bool {
    if from == to || matches!(from, "main" | "lib") {
        return true;
    }
    if let Some((_, _, users)) = leaf(to) {
        return users.contains(&from);
    }
    if let Some((_, uses, _)) = leaf(from) {
        return uses.contains(&to);
    }
    match (layer(from), layer(to)) {
        // `settings` and `api` know nothing of each other; drivers, adapters and the rest likewise.
        // The demo is a command that needs a module of its own, and prints as commands do.
        (Some(from), Some(to)) => to < from || (from == to && to == LAYERS.len() - 1),
        _ => false,
    }
}

#[test]
fn every_file_imports_only_what_is_below_it() {
    let mut broken = Vec::new();
    for source in sources() {
        assert!(
            layer(&source.module).is_some()
                || leaf(&source.module).is_some()
                || matches!(source.module.as_str(), "main" | "lib"),
            "{} belongs to no layer; give it one here and in docs/ARCHITECTURE.md",
            source.path.display()
        );
        for (i, line) in source.lines.iter().enumerate() {
            for name in named(line) {
                let ours = layer(&name).is_some() || leaf(&name).is_some();
                if ours && !allowed(&source.module, &name) {
                    broken.push(format!("src/{}:{}: {}", source.path.display(), i + 1, line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "these look up or sideways:\n{}", broken.join("\n"));
}

#[test]
fn the_rules_catch_what_they_forbid() {
    for (from, to, fine) in [
        ("services", "store", true),
        ("store", "services", false),
        ("store", "target", false),
        ("domain", "settings", false),
        ("http", "scheduler", false),
        ("http", "store", true),
        ("services", "telemetry", true),
        ("domain", "telemetry", false),
        ("domain", "system", false),
        ("cli", "system", true),
    ] {
        assert_eq!(allowed(from, to), fine, "{from} → {to}");
    }
    assert_eq!(named("use crate::store::{Db, Tx};"), ["store"]);
    assert_eq!(named("use crate::{app, http::auth};"), ["app", "http"]);
    assert_eq!(named("let x = crate::system::environment(); // crate::cli"), ["system"]);
}

/// The engine room of SQL: our statements live in `store` alone. The watched database has its own adapter.
#[test]
fn our_sql_lives_in_the_store_alone() {
    let holds = |source: &Source| {
        let ours = |line: &String| {
            ["sqlx::query(", "sqlx::query_as(", "sqlx::raw_sql("].iter().any(|call| line.contains(call))
        };
        source.lines.iter().any(ours)
    };
    let strangers: Vec<String> = sources()
        .iter()
        .filter(|source| !matches!(source.module.as_str(), "store" | "target" | "demo"))
        .filter(|source| holds(source))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(strangers.is_empty(), "these hold SQL: {strangers:?}");
}

#[test]
fn nothing_is_unwrapped_without_a_reason() {
    let mut bare = Vec::new();
    for source in sources() {
        for (i, line) in source.lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(".unwrap()") || code.contains(".expect(\"\")") {
                bare.push(format!("src/{}:{}: {}", source.path.display(), i + 1, line.trim()));
            }
        }
    }
    assert!(bare.is_empty(), "say with `expect` why it cannot fail:\n{}", bare.join("\n"));
}

#[test]
fn files_stay_short_enough_to_read() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.length > LONGEST)
        .map(|source| format!("src/{} has {} lines", source.path.display(), source.length))
        .collect();
    assert!(long.is_empty(), "split these by what they are about:\n{}", long.join("\n"));
}
