//! Proving: what a validated constraint makes impossible is 0 without reading the table.

use sqlparser::tokenizer::{Token, Whitespace};

use crate::domain::measure::{Partners, RowAggregate, Scalar, TableName};

use super::relation::{Relation, Relations};
use super::sql::Dialect;
use super::text::tokens;

/// Which constraints are believed beside NOT NULL, UNIQUE and CHECK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Foreign keys are read: replication roles and disabled triggers bypass them.
    Constraints,
    ForeignKeysToo,
}

/// The constraint that makes a violation impossible, by name.
pub fn prove(
    table: &TableName,
    aggregate: &RowAggregate,
    relations: &Relations,
    trust: Trust,
) -> Option<String> {
    let relation = relations.get(table).filter(|r| r.constraints_hold())?;
    match aggregate {
        RowAggregate::NotNull { column } | RowAggregate::Backfill { column } => relation
            .column(column)
            .filter(|c| c.not_null)
            .map(|c| format!("NOT NULL on {}.{}", relation.display(), c.name)),
        RowAggregate::Unique { columns } => {
            relation.unique_on(columns).map(|index| format!("unique index {}", index.name))
        }
        RowAggregate::AcceptedValues { column, values } => accepted(relation, column, values),
        RowAggregate::InRange { column, min, max } => {
            let low = min.as_ref().map(|v| atom(column, ">=", v));
            let high = max.as_ref().map(|v| atom(column, "<=", v));
            conjunction(relation, low.into_iter().chain(high).collect())
        }
        RowAggregate::MatchesPattern { column, pattern } => {
            conjunction(relation, vec![atom(column, "~", &Scalar::Text(pattern.clone()))])
        }
        RowAggregate::RowRule { expression } => conjunction(relation, atoms(expression)?),
        RowAggregate::JoinIntegrity { columns, to, to_columns, to_filter, partners } => {
            let other = relations.get(to).filter(|r| r.constraints_hold())?;
            let unique = other.unique_on(to_columns).map(|index| format!("unique index {}", index.name));
            let key = || foreign_key(relation, columns, other, to_columns);
            match partners {
                Partners::AtMostOne => unique,
                _ if trust == Trust::Constraints || to_filter.is_some() => None,
                Partners::AtLeastOne => key(),
                Partners::ExactlyOne => unique.and_then(|_| key()),
            }
        }
        RowAggregate::RowCount
        | RowAggregate::Freshness { .. }
        | RowAggregate::ColumnsEqual { .. }
        | RowAggregate::Reconcile { .. } => None,
    }
}

fn foreign_key(
    relation: &Relation,
    columns: &[String],
    other: &Relation,
    to_columns: &[String],
) -> Option<String> {
    let wanted: Vec<(&String, &String)> = columns.iter().zip(to_columns).collect();
    relation
        .foreign_keys
        .iter()
        .find(|key| {
            key.to_schema == other.schema
                && key.to_table == other.name
                && key.columns.len() == wanted.len()
                && key.columns.iter().zip(&key.to_columns).all(|pair| wanted.contains(&pair))
        })
        .map(|key| format!("foreign key {}", key.name))
}

/// A CHECK that limits the column to a list, all of which is accepted here.
fn accepted(relation: &Relation, column: &str, values: &[Scalar]) -> Option<String> {
    let accepted: Vec<String> = values.iter().map(plain).collect();
    relation
        .checks
        .iter()
        .find(|check| {
            let words = words(&check.definition);
            let Some(list) = words.strip_prefix(&[
                "check".into(),
                column.to_owned(),
                "=".into(),
                "any".into(),
                "array".into(),
                "[".into(),
            ]) else {
                return false;
            };
            let Some((last, list)) = list.split_last() else { return false };
            last == "]"
                && list.iter().enumerate().all(|(i, word)| match i % 2 {
                    0 => accepted.contains(word),
                    _ => word == ",",
                })
        })
        .map(|check| format!("CHECK {}", check.name))
}

/// All atoms stand in validated CHECK constraints or follow from NOT NULL.
fn conjunction(relation: &Relation, wanted: Vec<Vec<String>>) -> Option<String> {
    if wanted.is_empty() {
        return None;
    }
    let known: Vec<(String, Vec<Vec<String>>)> = relation
        .checks
        .iter()
        .filter_map(|check| {
            let body = check.definition.strip_prefix("CHECK ")?;
            Some((format!("CHECK {}", check.name), atoms(body)?))
        })
        .collect();
    let mut names: Vec<String> = Vec::new();
    for atom in &wanted {
        let name = match atom.as_slice() {
            [column, is, not, null] if is == "is" && not == "not" && null == "null" => {
                relation.column(column).filter(|c| c.not_null).map(|c| format!("NOT NULL on {}", c.name))?
            }
            _ => known.iter().find(|(_, atoms)| atoms.contains(atom)).map(|(name, _)| name.clone())?,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names.join(", "))
}

fn atom(column: &str, operator: &str, value: &Scalar) -> Vec<String> {
    vec![column.to_owned(), operator.to_owned(), plain(value)]
}

fn plain(value: &Scalar) -> String {
    match value {
        Scalar::Number(number) => number.clone(),
        Scalar::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Scalar::Bool(value) => value.to_string(),
    }
}

/// The atoms of a conjunction of plain comparisons (`a >= 0 AND b IS NOT NULL`); `None` for anything else,
/// since only of those is it known that dropping parentheses changes nothing.
fn atoms(expression: &str) -> Option<Vec<Vec<String>>> {
    let words = words(expression);
    let atoms: Vec<Vec<String>> = words.split(|w| w == "and").map(<[String]>::to_vec).collect();
    let simple = |atom: &Vec<String>| match atom.as_slice() {
        [left, operator, right] => {
            is_name(left)
                && [">=", "<=", ">", "<", "=", "<>", "~"].contains(&operator.as_str())
                && (is_name(right) || right.starts_with('\'') || right.parse::<f64>().is_ok())
        }
        [left, is, not, null] => is_name(left) && is == "is" && not == "not" && null == "null",
        _ => false,
    };
    atoms.iter().all(simple).then_some(atoms)
}

fn is_name(word: &str) -> bool {
    let reserved = ["or", "not", "case", "between", "like", "in", "any", "all", "select", "null", "array"];
    word.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_') && !reserved.contains(&word)
}

/// Words without white space, parentheses and casts; unquoted ones in lower case.
fn words(sql: &str) -> Vec<String> {
    let tokens: Vec<Token> = tokens(sql, Dialect::Postgres)
        .into_iter()
        .filter(|t| !matches!(t, Token::Whitespace(_) | Token::LParen | Token::RParen))
        .filter(|t| !matches!(t, Token::Whitespace(Whitespace::Newline)))
        .collect();
    let mut words = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        match &tokens[index] {
            Token::DoubleColon => {
                index += 2;
                // `character varying`, `double precision`, `timestamp with time zone`, `text[]`
                while let Some(Token::Word(word)) = tokens.get(index) {
                    if !["varying", "precision", "with", "without", "time", "zone"]
                        .contains(&word.value.as_str())
                    {
                        break;
                    }
                    index += 1;
                }
                if let (Some(Token::LBracket), Some(Token::RBracket)) =
                    (tokens.get(index), tokens.get(index + 1))
                {
                    index += 2;
                }
                continue;
            }
            Token::Word(word) if word.quote_style.is_none() => words.push(word.value.to_lowercase()),
            Token::Word(word) => words.push(word.value.clone()),
            Token::Neq => words.push("<>".into()),
            // A sign belongs to its number.
            Token::Minus if matches!(tokens.get(index + 1), Some(Token::Number(..))) => {
                index += 1;
                words.push(format!("-{}", tokens[index]));
            }
            other => words.push(other.to_string()),
        }
        index += 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::relation::{Column, Constraint, UniqueIndex};
    use super::*;
    use std::collections::BTreeMap;

    fn relations(checks: &[&str]) -> (TableName, Relations) {
        let name = TableName { schema: None, name: "t".into() };
        let relation = Relation {
            schema: "public".into(),
            name: "t".into(),
            kind: "r".into(),
            columns: vec![
                Column { name: "a".into(), data_type: "integer".into(), not_null: true, default: None },
                Column { name: "b".into(), data_type: "integer".into(), not_null: false, default: None },
            ],
            unique: vec![UniqueIndex { name: "t_a_b".into(), columns: vec!["b".into(), "a".into()] }],
            checks: checks
                .iter()
                .enumerate()
                .map(|(i, d)| Constraint { name: format!("c{i}"), definition: (*d).into() })
                .collect(),
            ..Relation::default()
        };
        (name.clone(), Relations::new(BTreeMap::from([(name, relation)]), vec![]))
    }

    fn rule(expression: &str, checks: &[&str]) -> Option<String> {
        let (table, relations) = relations(checks);
        let aggregate = RowAggregate::RowRule { expression: expression.into() };
        prove(&table, &aggregate, &relations, Trust::Constraints)
    }

    #[test]
    fn rules_follow_from_checks_that_say_the_same() {
        assert_eq!(rule("a >= 0", &["CHECK ((a >= 0))"]).as_deref(), Some("CHECK c0"));
        assert_eq!(
            rule("b >= 0 AND a >= 0 AND a IS NOT NULL", &["CHECK (((a >= 0) AND (b >= 0)))"]).as_deref(),
            Some("CHECK c0, NOT NULL on a")
        );
        assert_eq!(rule("a > -1", &["CHECK ((a > '-1'::integer))"]), None, "not understood is not proved");
        for (expression, check) in [
            ("a >= 0 OR b >= 0", "CHECK (((a >= 0) OR (b >= 0)))"),
            ("a >= 0", "CHECK (((a >= 0) OR (b >= 0)))"),
            ("a >= 0", "CHECK ((a >= 1))"),
            ("a * (b + 1) > 0", "CHECK ((((a * b) + 1) > 0))"),
            ("b IS NOT NULL", "CHECK ((a >= 0))"),
            ("NOT a >= 0", "CHECK ((a >= 0))"),
        ] {
            assert_eq!(rule(expression, &[check]), None, "{expression} from {check}");
        }
    }

    #[test]
    fn a_list_is_proved_by_a_narrower_one() {
        let values = |list: &[&str]| RowAggregate::AcceptedValues {
            column: "b".into(),
            values: list.iter().map(|v| Scalar::Text((*v).into())).collect(),
        };
        for check in [
            "CHECK ((b = ANY (ARRAY['x'::text, 'y'::text])))",
            "CHECK (((b)::text = ANY ((ARRAY['x'::character varying, 'y'::character varying])::text[])))",
        ] {
            let (table, relations) = relations(&[check]);
            let proved =
                |list: &[&str]| prove(&table, &values(list), &relations, Trust::Constraints).is_some();
            assert!(proved(&["x", "y"]) && proved(&["y", "z", "x"]), "{check}");
            assert!(!proved(&["x"]), "{check}");
        }
    }

    #[test]
    fn unique_needs_exactly_those_columns() {
        let (table, relations) = relations(&[]);
        let unique = |columns: &[&str]| {
            let columns = columns.iter().map(|c| (*c).to_owned()).collect();
            prove(&table, &RowAggregate::Unique { columns }, &relations, Trust::Constraints)
        };
        assert_eq!(unique(&["a", "b"]).as_deref(), Some("unique index t_a_b"));
        assert_eq!(unique(&["a"]), None);
    }
}
