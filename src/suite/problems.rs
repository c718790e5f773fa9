//! Everything that is wrong with the files, each with its place, its line and the nearest valid word.

use std::cell::RefCell;
use std::fmt::Write as _;

use crate::domain::params::Place;

/// A place in a file. Lines and columns count from 1, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
    /// Characters to underline, at least one.
    pub length: usize,
}

/// Collects the problems of one file while it is read.
#[derive(Debug)]
pub struct Problems<'a> {
    origin: &'a str,
    source: &'a str,
    found: RefCell<Vec<(Mark, String)>>,
}

impl<'a> Problems<'a> {
    pub fn of(origin: &'a str, source: &'a str) -> Self {
        Self { origin, source, found: RefCell::default() }
    }

    pub fn report(&self, at: Mark, message: impl Into<String>) {
        let problem = (at, message.into());
        let mut found = self.found.borrow_mut();
        if !found.contains(&problem) {
            found.push(problem);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Where a place inside a text of the file stands in the file itself.
    pub fn within(&self, at: Mark, text: &str, place: Place) -> Mark {
        let Some(line) = self.line(at.line) else { return at };
        let written: String = line.chars().skip(at.column.saturating_sub(1)).collect();
        let block = |first: usize| {
            let indent = self.line(first).map_or(0, |line| line.len() - line.trim_start().len());
            Mark { line: first + place.line - 1, column: indent + place.column, length: 1 }
        };
        match written.chars().next() {
            Some('|') => block(at.line + 1),
            Some('\'' | '"') if !text.contains('\n') => Mark { column: at.column + place.column, ..at },
            _ if !text.trim_end().contains('\n') && written.starts_with(text.trim_end()) => {
                Mark { column: at.column + place.column - 1, ..at }
            }
            // The place may be that of the first content line rather than of the `|` before it.
            _ if text.lines().next().is_some_and(|first| written.starts_with(first)) => block(at.line),
            _ => at,
        }
    }

    /// The source line, counted from 1.
    pub fn line(&self, line: usize) -> Option<&'a str> {
        self.source.lines().nth(line.checked_sub(1)?)
    }

    /// `checks/credits.yaml:12:7: message`, the line, and a mark under the offending text; in file order.
    pub fn render(self) -> Vec<String> {
        let mut found = self.found.take();
        found.sort_by_key(|(at, _)| (at.line, at.column));
        found.iter().map(|(at, message)| self.render_one(*at, message)).collect()
    }

    fn render_one(&self, at: Mark, message: &str) -> String {
        if at.line == 0 {
            return format!("{}: {message}", self.origin);
        }
        let mut text = format!("{}:{}:{}: {message}", self.origin, at.line, at.column);
        if let Some(line) = self.line(at.line) {
            let gutter = at.line.to_string();
            let indent = " ".repeat(gutter.len());
            let column = at.column.saturating_sub(1);
            // Tabs stay tabs, so that the mark stands below the text whatever their width is.
            let before: String =
                line.chars().take(column).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let room = line.chars().count().saturating_sub(column).max(1);
            let marks = "^".repeat(at.length.clamp(1, room));
            let _ = write!(text, "\n {indent} |\n {gutter} | {line}\n {indent} | {before}{marks}");
        }
        text
    }
}

/// `, did you mean `x`?` for the nearest of the valid words, else nothing.
pub fn did_you_mean<'w>(word: &str, valid: impl IntoIterator<Item = &'w str>) -> String {
    nearest(word, valid).map_or_else(String::new, |near| format!(", did you mean `{near}`?"))
}

/// The valid word that differs least, where it is near enough to be a slip of the keyboard or a plural.
pub fn nearest<'w>(word: &str, valid: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    valid
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3) / 3))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let words = ["not_null", "unique", "freshness", "row_count"];
        for (word, expected) in [
            ("not_nul", Some("not_null")),
            ("not-null", Some("not_null")),
            ("uniqe", Some("unique")),
            ("rowcount", Some("row_count")),
            ("zebra", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }

    #[test]
    fn a_problem_shows_its_place() {
        let problems = Problems::of("checks/a.yaml", "suite: a\ntables:\n  users:\n    - not_nul: email\n");
        problems.report(Mark { line: 4, column: 7, length: 7 }, "unknown kind `not_nul`");
        assert_eq!(
            problems.render(),
            [
                "checks/a.yaml:4:7: unknown kind `not_nul`\n   |\n 4 |     - not_nul: email\n   |       ^^^^^^^"
            ]
        );
    }
}
