//! The parameters of a user's SQL, `:deployed_at` and the like, found by a SQL tokenizer: a colon in a
//! literal, a comment, a cast (`::text`) or an array slice (`a[1:n]`) is not one.

use std::ops::Range;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

/// What a parameter stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Param {
    DeployedAt,
    BaselineAt,
    Now,
    Environment,
}

impl Param {
    pub const ALL: [Self; 4] = [Self::DeployedAt, Self::BaselineAt, Self::Now, Self::Environment];

    pub fn name(self) -> &'static str {
        match self {
            Self::DeployedAt => "deployed_at",
            Self::BaselineAt => "baseline_at",
            Self::Now => "now",
            Self::Environment => "environment",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|param| param.name() == name)
    }
}

/// One `:name` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// As written, without the colon; [`Param::parse`] says whether it is one of ours.
    pub name: String,
    /// Bytes of the SQL, the colon included.
    pub bytes: Range<usize>,
    pub place: Place,
}

/// A place in the SQL text, counted from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// The text is no sequence of SQL tokens: an open quote, an open comment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotSql {
    pub message: String,
    pub place: Place,
}

/// One thing about the shape of the SQL that the caller may refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    pub placeholders: Vec<Placeholder>,
    /// Where a second statement begins, after a `;` that is not the last token.
    pub second_statement: Option<Place>,
    /// Nothing but white space and comments.
    pub empty: bool,
    /// The text up to a closing `;`, for wrapping in a subquery.
    pub body: Range<usize>,
}

/// Goes over the tokens of `sql`.
pub fn scan(sql: &str) -> Result<Scanned, NotSql> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| NotSql { message: error.message, place: place(error.location) })?;
    let index = LineIndex::of(sql);
    let mut scanned =
        Scanned { placeholders: Vec::new(), second_statement: None, empty: true, body: 0..sql.len() };
    let mut brackets = 0_usize;
    let mut closed = None;
    for (position, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::EOF | Token::Whitespace(_) => continue,
            Token::SemiColon => {
                closed = closed.or(Some(index.byte(token.span.start)));
                continue;
            }
            Token::LBracket => brackets += 1,
            Token::RBracket => brackets = brackets.saturating_sub(1),
            Token::Colon if brackets == 0 => {
                if let Some(next) = tokens.get(position + 1)
                    && let Token::Word(word) = &next.token
                    && word.quote_style.is_none()
                    && next.span.start == token.span.end
                {
                    scanned.placeholders.push(Placeholder {
                        name: word.value.clone(),
                        bytes: index.byte(token.span.start)..index.byte(next.span.end),
                        place: place(token.span.start),
                    });
                }
            }
            _ => {}
        }
        scanned.empty = false;
        if closed.is_some() && scanned.second_statement.is_none() {
            scanned.second_statement = Some(place(token.span.start));
        }
    }
    scanned.body.end = closed.unwrap_or(sql.len());
    Ok(scanned)
}

fn place(at: Location) -> Place {
    let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Place { line: to_usize(at.line), column: to_usize(at.column) }
}

/// From the tokenizer's lines and columns to bytes.
pub struct LineIndex<'s> {
    sql: &'s str,
    starts: Vec<usize>,
}

impl<'s> LineIndex<'s> {
    pub fn of(sql: &'s str) -> Self {
        let starts = std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { sql, starts }
    }

    pub fn byte(&self, at: Location) -> usize {
        let at = place(at);
        let Some(&start) = self.starts.get(at.line.saturating_sub(1)) else { return self.sql.len() };
        self.sql[start..]
            .char_indices()
            .nth(at.column.saturating_sub(1))
            .map_or(self.sql.len(), |(offset, _)| start + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_parameters_are_found() {
        for (sql, names) in [
            ("SELECT 1 WHERE created_at > :deployed_at", vec!["deployed_at"]),
            ("SELECT ':now', a::text, b[1:n] -- :now\n/* :now */", vec![]),
            ("SELECT $$ :now $$, \":now\", E'\\':now', :now", vec!["now"]),
            ("SELECT :now::date - ':x'::text, :oops", vec!["now", "oops"]),
            ("SELECT a->>'b' FROM t WHERE j @> '{\"a\": 1}' AND x = :environment", vec!["environment"]),
        ] {
            let scanned = scan(sql).unwrap();
            let found: Vec<&str> = scanned.placeholders.iter().map(|p| p.name.as_str()).collect();
            assert_eq!(found, names, "{sql}");
            for placeholder in &scanned.placeholders {
                assert_eq!(sql[placeholder.bytes.clone()], format!(":{}", placeholder.name));
            }
        }
    }

    #[test]
    fn places_count_characters_after_other_lines() {
        let sql = "SELECT 'ä'\n  , 'ö' || :now;";
        let scanned = scan(sql).unwrap();
        assert_eq!(scanned.placeholders[0].place, Place { line: 2, column: 12 });
        assert_eq!(&sql[scanned.placeholders[0].bytes.clone()], ":now");
        assert_eq!(&sql[scanned.body.clone()], "SELECT 'ä'\n  , 'ö' || :now");
    }

    #[test]
    fn second_statements_open_quotes_and_nothing_are_seen() {
        assert!(scan("SELECT 1; ; -- end\n").unwrap().second_statement.is_none());
        assert_eq!(
            scan("SELECT 1; DROP TABLE x").unwrap().second_statement,
            Some(Place { line: 1, column: 11 })
        );
        assert!(scan("SELECT ';'").unwrap().second_statement.is_none());
        assert!(scan(" -- nothing\n;").unwrap().empty);
        assert!(scan("SELECT 'open").is_err());
    }
}
