//! Which releases a breach may come from: windows overlap where a team deploys daily, and a check that begins
//! to fail is the newest release's doing only most of the time.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::ids::DeployId;

/// A release with the time for which it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub id: DeployId,
    pub label: String,
    pub started_at: Timestamp,
    /// The planned end of its window, whatever ended its watch before.
    pub until: Timestamp,
}

/// A release that may be at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    pub id: DeployId,
    pub version: String,
    pub started_at: Timestamp,
    /// The last one started before the first fail; the others are older and still within their window.
    pub prime: bool,
}

/// Every release whose window covers the first fail, the prime suspect first, then from newer to older.
pub fn suspects(first_failed_at: Timestamp, releases: &[Span]) -> Vec<Suspect> {
    let mut covering: Vec<&Span> =
        releases.iter().filter(|r| r.started_at <= first_failed_at && first_failed_at <= r.until).collect();
    covering.sort_by(|a, b| (b.started_at, &b.id).cmp(&(a.started_at, &a.id)));
    let suspect = |(index, span): (usize, &Span)| Suspect {
        id: span.id.clone(),
        version: span.label.clone(),
        started_at: span.started_at,
        prime: index == 0,
    };
    covering.into_iter().enumerate().map(suspect).collect()
}

/// One sentence: `v2 (started last before it); v1 was still in its window`. Nothing where `own` is the only one.
pub fn sentence(suspects: &[Suspect], own: &str) -> Option<String> {
    let (prime, others) = suspects.split_first()?;
    if others.is_empty() && prime.id.as_str() == own {
        return None;
    }
    let mut text = format!("{}, the last one started before it", prime.version);
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|other| other.version.as_str()).collect();
        let rest = if names.len() == 1 { "was still within its window" } else { "were still within theirs" };
        text.push_str(&format!("; {} {rest}", names.join(", ")));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::at;

    fn span(id: &str, started: i64, until: i64) -> Span {
        Span {
            id: DeployId::from_text(id),
            label: id.replace("dep_", "v"),
            started_at: at(started),
            until: at(until),
        }
    }

    fn named(first_failed: i64, releases: &[Span]) -> Vec<(String, bool)> {
        suspects(at(first_failed), releases).into_iter().map(|s| (s.version, s.prime)).collect()
    }

    #[test]
    fn every_release_whose_window_covers_the_first_fail_is_listed_and_the_last_one_started_is_prime() {
        let releases =
            [span("dep_1", 0, 86_400), span("dep_2", 50_000, 136_400), span("dep_3", 90_000, 176_400)];
        type Named<'a> = &'a [(&'a str, bool)];
        let cases: [(&str, i64, Named<'_>); 6] = [
            ("before the first", -1, &[]),
            ("in the first alone", 100, &[("v1", true)]),
            ("as the second starts", 50_000, &[("v2", true), ("v1", false)]),
            ("in two", 60_000, &[("v2", true), ("v1", false)]),
            ("the first's window is over", 95_000, &[("v3", true), ("v2", false)]),
            ("after all", 200_000, &[]),
        ];
        for (name, first_failed, expected) in cases {
            let expected: Vec<(String, bool)> = expected.iter().map(|(v, p)| ((*v).to_owned(), *p)).collect();
            assert_eq!(named(first_failed, &releases), expected, "{name}");
        }
    }

    #[test]
    fn a_lone_suspect_goes_without_saying() {
        let releases = [span("dep_1", 0, 86_400), span("dep_2", 50_000, 136_400)];
        assert_eq!(sentence(&suspects(at(100), &releases), "dep_1"), None);
        let text = sentence(&suspects(at(60_000), &releases), "dep_2").unwrap();
        assert_eq!(text, "v2, the last one started before it; v1 was still within its window");
    }
}
