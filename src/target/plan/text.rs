//! The user's SQL as tokens: parameters become placeholders, and fragments are kept from leaving their place.

use sqlparser::dialect::{PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::measurement::{MeasureError, MeasureErrorCode};
use crate::domain::params::LineIndex;

use super::super::Params;
use super::sql::Dialect;

/// A statement with placeholders and the texts to bind to them, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    pub sql: String,
    pub values: Vec<String>,
}

/// The named parameters of the user's SQL, with the instant that stands for now.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    pub params: &'a Params,
    pub as_of: Timestamp,
}

/// A parameter has no value in this scan, so the check cannot mean anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset(pub &'static str);

impl Unset {
    pub fn reason(&self) -> String {
        format!("there is no :{} outside of a deploy", self.0)
    }
}

/// Replaces `:deployed_at`, `:baseline_at`, `:now` and `:environment` outside of literals and comments.
pub fn bind(sql: &str, arguments: Arguments<'_>, dialect: Dialect) -> Result<Bound, Unset> {
    let mut bound = Bound { sql: String::with_capacity(sql.len()), values: Vec::new() };
    for piece in pieces(sql, dialect) {
        let name = match piece {
            Piece::Verbatim(text) => {
                bound.sql.push_str(text);
                continue;
            }
            Piece::Parameter(name) => name,
        };
        bound.values.push(argument(name, arguments, dialect)?);
        let n = bound.values.len();
        bound.sql.push_str(&match (dialect, name) {
            (Dialect::Postgres, "environment") => format!("CAST(${n} AS text)"),
            (Dialect::Postgres, _) => format!("CAST(${n} AS timestamptz)"),
            (Dialect::Sqlite, _) => format!("${n}"),
        });
    }
    Ok(bound)
}

/// The statement as a person can paste it into a shell: parameters as literals.
pub fn spelled_out(sql: &str, arguments: Arguments<'_>, dialect: Dialect) -> String {
    let spell = |piece| match piece {
        Piece::Verbatim(text) => text.to_owned(),
        Piece::Parameter(name) => match argument(name, arguments, dialect) {
            Ok(value) => super::sql::literal(&value),
            Err(Unset(name)) => format!(":{name}"),
        },
    };
    pieces(sql, dialect).into_iter().map(spell).collect()
}

/// Refuses a fragment that would leave the place it is put in: unbalanced parentheses, a semicolon.
pub fn check_fragment(sql: &str, dialect: Dialect) -> Result<(), MeasureError> {
    let refuse = |what: &str| {
        Err(MeasureError {
            code: MeasureErrorCode::Sql,
            message: format!("the condition `{}` {what}", sql.trim()),
            hint: Some("write one SQL condition on a row, as in a WHERE clause".into()),
        })
    };
    let mut depth = 0_i32;
    for token in tokens(sql, dialect) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::SemiColon => return refuse("contains a semicolon"),
            _ => {}
        }
        if depth < 0 {
            return refuse("closes a parenthesis that it did not open");
        }
    }
    if depth > 0 { refuse("leaves a parenthesis open") } else { Ok(()) }
}

/// The user's query without a trailing semicolon. More than one statement is refused by the server.
pub fn query(sql: &str) -> &str {
    sql.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

/// Words followed by an opening parenthesis, lower-cased: the functions that a text may call.
pub fn called_functions(sql: &str, dialect: Dialect) -> Vec<String> {
    let tokens: Vec<Token> =
        tokens(sql, dialect).into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let mut names: Vec<String> = tokens
        .windows(2)
        .filter_map(|pair| match pair {
            [Token::Word(word), Token::LParen] => Some(word.value.to_lowercase()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Every name that a text mentions, as the server folds it.
pub fn words(sql: &str, dialect: Dialect) -> Vec<String> {
    let mut words: Vec<String> = tokens(sql, dialect)
        .into_iter()
        .filter_map(|token| match token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
            Token::Word(word) => Some(word.value),
            _ => None,
        })
        .collect();
    words.sort();
    words.dedup();
    words
}

/// Whether a text's value changes with time, session or chance without any write to a table.
pub fn depends_on_more_than_rows(sql: &str, dialect: Dialect) -> bool {
    const WORDS: &[&str] = &[
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "current_user",
        "session_user",
        "user",
        "tablesample",
    ];
    const LITERALS: &[&str] = &["now", "today", "tomorrow", "yesterday"];
    let tokens = tokens(sql, dialect);
    tokens.iter().enumerate().any(|(index, token)| match token {
        Token::Word(word) => {
            let value = word.value.to_lowercase();
            (word.quote_style.is_none() && WORDS.contains(&value.as_str()))
                || (value == "now" && parameter(&tokens, index.wrapping_sub(1)).is_some())
        }
        Token::SingleQuotedString(text) => LITERALS.contains(&text.trim().to_lowercase().as_str()),
        _ => false,
    })
}

/// A part of the user's text.
enum Piece<'s> {
    /// As it was written; a comment is a line break, since what follows it may share its line.
    Verbatim(&'s str),
    Parameter(&'static str),
}

/// The text cut at its parameters and comments. What is between them is never written anew, since a literal
/// has more spellings than a tokenizer remembers.
fn pieces(sql: &str, dialect: Dialect) -> Vec<Piece<'_>> {
    let Some(located) = located(sql, dialect) else { return vec![Piece::Verbatim(sql)] };
    let index = LineIndex::of(sql);
    let starts: Vec<usize> = located.iter().map(|token| index.byte(token.span.start)).collect();
    let tokens: Vec<Token> = located.into_iter().map(|token| token.token).collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let name = parameter(&tokens, at);
        let next = at + if name.is_some() { 2 } else { 1 };
        let end = starts.get(next).copied().unwrap_or(sql.len());
        pieces.push(match name {
            Some(name) => Piece::Parameter(name),
            None if is_comment(&tokens[at]) => Piece::Verbatim("\n"),
            None => Piece::Verbatim(&sql[starts[at]..end]),
        });
        at = next;
    }
    pieces
}

/// Tokens without comments. A text that cannot be tokenized is left to the server to complain about.
pub fn tokens(sql: &str, dialect: Dialect) -> Vec<Token> {
    let Some(located) = located(sql, dialect) else { return vec![Token::make_word(sql, None)] };
    located
        .into_iter()
        .map(|token| match token.token {
            comment if is_comment(&comment) => Token::Whitespace(Whitespace::Newline),
            other => other,
        })
        .collect()
}

fn located(sql: &str, dialect: Dialect) -> Option<Vec<TokenWithSpan>> {
    match dialect {
        Dialect::Postgres => Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location(),
        Dialect::Sqlite => Tokenizer::new(&SQLiteDialect {}, sql).tokenize_with_location(),
    }
    .ok()
}

fn is_comment(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)))
}

fn parameter(tokens: &[Token], index: usize) -> Option<&'static str> {
    match (tokens.get(index)?, tokens.get(index + 1)?) {
        (Token::Colon, Token::Word(word)) if word.quote_style.is_none() => {
            ["deployed_at", "baseline_at", "now", "environment"].into_iter().find(|name| *name == word.value)
        }
        _ => None,
    }
}

fn argument(name: &'static str, arguments: Arguments<'_>, dialect: Dialect) -> Result<String, Unset> {
    let instant = match name {
        "environment" => return Ok(arguments.params.environment.clone()),
        "deployed_at" => arguments.params.deployed_at,
        "baseline_at" => arguments.params.baseline_at,
        _ => Some(arguments.as_of),
    };
    let instant = instant.ok_or(Unset(name))?;
    Ok(match dialect {
        Dialect::Postgres => instant.to_string(),
        // Whole seconds: texts are compared as texts, and a fraction would sort before the `Z`.
        Dialect::Sqlite => rfc3339(instant),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Params {
        Params {
            environment: "it's".into(),
            deployed_at: Some("2026-05-01T00:00:00Z".parse().unwrap()),
            ..Params::default()
        }
    }

    #[test]
    fn parameters_are_found_by_tokens_and_bound() {
        let params = params();
        let arguments = Arguments { params: &params, as_of: "2026-05-01T01:00:00Z".parse().unwrap() };
        let sql =
            "SELECT ':now', a::text, \":now\" -- :now\n FROM t WHERE c > :deployed_at AND e = :environment";
        let bound = bind(sql, arguments, Dialect::Postgres).unwrap();
        assert_eq!(bound.values, ["2026-05-01T00:00:00Z", "it's"]);
        assert!(bound.sql.contains("':now', a::text, \":now\""), "{}", bound.sql);
        assert!(bound.sql.contains("c > CAST($1 AS timestamptz) AND e = CAST($2 AS text)"), "{}", bound.sql);
        assert_eq!(bind("SELECT :baseline_at", arguments, Dialect::Postgres), Err(Unset("baseline_at")));
        assert!(spelled_out(sql, arguments, Dialect::Postgres).contains("e = 'it''s'"));
    }

    #[test]
    fn texts_come_back_as_they_were() {
        let params = params();
        let arguments = Arguments { params: &params, as_of: "2026-05-01T01:00:00Z".parse().unwrap() };
        for sql in [
            r"SELECT E'a\'b', 'it''s', $$x:now$$, a[1:2], b->>'k', '{}'::jsonb, U&'\0041', x'ff', 1e-3",
            r#"SELECT "a""b", 'back\slash', e ~ '^\d+$', f @> '{a}', :: g"#,
        ] {
            assert_eq!(bind(sql, arguments, Dialect::Postgres).unwrap().sql, sql);
        }
    }

    #[test]
    fn a_fragment_stays_in_its_place() {
        for bad in ["a = 1) OR (b = 2", "(a = 1", "true; DROP TABLE t"] {
            assert!(check_fragment(bad, Dialect::Postgres).is_err(), "{bad}");
        }
        for good in ["a = ')'", "(a = 1) -- (", "f(a) > 0"] {
            assert!(check_fragment(good, Dialect::Postgres).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_moves_by_itself_is_known() {
        for (sql, moves) in [
            ("created_at < now()", false), // a function: asked of the catalog
            ("created_at < CURRENT_TIMESTAMP", true),
            ("created_at < 'now'::timestamptz", true),
            ("created_at < :now", true),
            ("\"user\" = 1 AND a > 'nowhere'", false),
        ] {
            assert_eq!(depends_on_more_than_rows(sql, Dialect::Postgres), moves, "{sql}");
        }
        assert_eq!(called_functions("Lower(a) = b AND count (x)", Dialect::Postgres), ["count", "lower"]);
    }
}
