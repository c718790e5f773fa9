//! docs/API.md against the table of routes, in both directions.

use std::collections::BTreeSet;

use deploywatch::http::routes;

const DOCS: &str = include_str!("../../docs/API.md");

/// What programs use; pages and forms are for people with a browser.
fn is_for_programs(path: &str) -> bool {
    ["/api/", "/logs/", "/webhooks/", "/triggers/", "/livez", "/readyz", "/metrics"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

/// `METHOD path` of everything in backquotes in the first cell of a table, without its query.
fn documented() -> BTreeSet<String> {
    let cells = DOCS.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').step_by(2))
        .map(|route| route.split('?').next().unwrap_or(route).to_owned())
        .filter(|route| route.split_once(' ').is_some_and(|(_, path)| path.starts_with('/')))
        .collect()
}

#[test]
fn every_route_for_programs_is_in_the_docs_and_every_route_in_the_docs_exists() {
    let served: BTreeSet<String> = routes::table()
        .iter()
        .filter(|route| is_for_programs(route.path))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let documented = documented();
    let missing: Vec<&String> = served.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/API.md says nothing of {missing:?}");
    let gone: Vec<&String> = documented.difference(&served).collect();
    assert!(gone.is_empty(), "docs/API.md has what is not served: {gone:?}");
}
