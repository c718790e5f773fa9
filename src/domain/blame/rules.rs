//! Which check tells a fault. From the closest to it to the farthest: an object that is missing, rows that are lost,
//! rows that are wrong, what should have kept them right, what somebody sees of them.

use crate::domain::measure::{Catalog, Partners, Query, RowAggregate, TableName, What};
use crate::domain::measurement::MeasureErrorCode;
use crate::domain::observation::Outcome;
use crate::domain::problem::{Object, ObjectKind, Problem, place_of, words};

use super::Case;

/// Why another check tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It says the same.
    Same,
    /// This is why what the other one found could happen.
    Cause,
    /// This follows from what the other one found.
    Effect,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// By position; none where the whole check is told.
    pub problem: Option<usize>,
    pub to: usize,
    pub why: Why,
}

/// For each case, what of it is told by which other one.
pub fn links(cases: &[Case<'_>]) -> Vec<Vec<Link>> {
    (0..cases.len()).map(|index| of_one(cases, index)).collect()
}

fn of_one(cases: &[Case<'_>], index: usize) -> Vec<Link> {
    let own = &cases[index];
    if !own.troubled() || own.standing {
        return Vec::new();
    }
    let others = || {
        cases
            .iter()
            .enumerate()
            .filter(move |(at, other)| *at != index && other.troubled() && other.outranks(own))
    };
    let first = |at: usize| comes_first(cases, at, index);
    let whole = others().filter_map(|(to, other)| {
        let why = told_whole(own, other, first(to))?;
        Some(Link { problem: None, to, why })
    });
    // What it follows from says more than another one that says the same.
    let whole = whole.min_by_key(|link| link.why == Why::Same);
    if let Some(link) = whole {
        return vec![link];
    }
    let problems = own.measured().map_or(&[][..], |measured| measured.problems.as_slice());
    let told = |(position, problem): (usize, &Problem)| {
        others().find_map(|(to, other)| {
            let why = told_in_part(own, problem, other, first(to))?;
            Some(Link { problem: Some(position), to, why })
        })
    };
    problems.iter().enumerate().filter_map(told).collect()
}

/// Of two that say the same, the one that matters more speaks, then the one that is closest to the rows, then the one
/// that was named first.
fn comes_first(cases: &[Case<'_>], one: usize, other: usize) -> bool {
    let rank = |at: usize| {
        let case = &cases[at];
        // Whose own rows are counted, or whose partner is missed by the row that must have one.
        let closest = matches!(
            case.check.measure.what,
            What::Rows {
                aggregate: RowAggregate::RowCount
                    | RowAggregate::JoinIntegrity { partners: Partners::ExactlyOne, .. },
                ..
            }
        );
        (!case.standing, case.check.policy.severity, !closest, at)
    };
    rank(one) < rank(other)
}

fn told_whole(own: &Case<'_>, other: &Case<'_>, first: bool) -> Option<Why> {
    let (what, others) = (&own.check.measure.what, &other.check.measure.what);
    let failed = other.observation.outcome == Outcome::Fail;
    // Who writes the same twice in one suite means two things by it, such as two thresholds.
    let twice = what == others && own.check.policy.suite != other.check.policy.suite;
    if first && twice && own.observation.outcome == other.observation.outcome {
        return Some(Why::Same);
    }
    if let Err(error) = &own.measurement.result {
        let same = first
            && is_of_rows(what)
            && is_of_rows(others)
            && error.code == MeasureErrorCode::Sql
            && other.measurement.result.as_ref().err() == Some(error);
        let broken = |object: &Object| match object.kind {
            ObjectKind::Table => object.missing && reads_table(what, &object.name),
            ObjectKind::Column => {
                object.table.as_deref().is_some_and(|table| reads_column(what, table, &object.name))
            }
            _ => false,
        };
        let seen_by = match what {
            What::Catalog(Catalog::VisibleRows { table, role, .. }) => hides(other, &place_of(table), role),
            _ => false,
        };
        let explained = error.code == MeasureErrorCode::Sql && (seen_by || objects(other).any(broken));
        return if explained {
            Some(Why::Effect)
        } else if same {
            Some(Why::Same)
        } else {
            None
        };
    }
    let emptied = matches!(others, What::Rows { aggregate: RowAggregate::RowCount, .. }) && failed;
    let rows_of = |what: &What| match what {
        What::Rows { table, .. } => Some(place_of(table)),
        _ => None,
    };
    match what {
        What::Rows { aggregate: RowAggregate::JoinIntegrity { to, to_columns, .. }, .. } => {
            if emptied && rows_of(others) == Some(place_of(to)) {
                return Some(Why::Effect);
            }
            match others {
                What::Rows {
                    aggregate: RowAggregate::JoinIntegrity { to: theirs, to_columns: their_columns, .. },
                    ..
                } if first && failed && place_of(theirs) == place_of(to) && to_columns == their_columns => {
                    Some(Why::Effect)
                }
                _ => None,
            }
        }
        What::Rows { aggregate: RowAggregate::Reconcile { equals, .. }, .. } if emptied => {
            let emptied = rows_of(others)?;
            let name = emptied.rsplit('.').next().unwrap_or(&emptied);
            words(equals).contains(&name).then_some(Why::Effect)
        }
        // Rows that are not there at all do not add up either.
        What::Rows { table, aggregate: RowAggregate::Reconcile { .. }, .. } => match others {
            What::Rows { aggregate: RowAggregate::JoinIntegrity { to, partners, .. }, .. } => {
                let fewer = own.observation.value <= other.observation.value;
                let lost = *partners != Partners::AtMostOne && place_of(to) == place_of(table);
                (failed && fewer && lost).then_some(Why::Effect)
            }
            _ => None,
        },
        What::Rows { .. } if emptied && own.observation.outcome == Outcome::NoData => {
            (rows_of(what) == rows_of(others)).then_some(Why::Effect)
        }
        What::Catalog(Catalog::VisibleRows { table, role, .. }) => {
            hides(other, &place_of(table), role).then_some(Why::Effect)
        }
        _ => None,
    }
}

fn told_in_part(own: &Case<'_>, problem: &Problem, other: &Case<'_>, first: bool) -> Option<Why> {
    let theirs = || other.measured().into_iter().flat_map(|measured| &measured.problems);
    let own_fingerprint = own.measured().is_some_and(|measured| measured.fingerprint.is_some());
    if own_fingerprint {
        return None;
    }
    let same = |their: &Problem| {
        their.text == problem.text
            || their.about.as_ref().zip(problem.about.as_ref()).is_some_and(|(a, b)| a.is(b))
    };
    if first && theirs().any(same) {
        return Some(Why::Same);
    }
    let Some(about) = problem.about.as_ref() else {
        return objects(other).any(|object| words_follow(problem, object)).then_some(Why::Effect);
    };
    if objects(other).any(|gone| goes_with(about, gone)) {
        return Some(Why::Effect);
    }
    let failed = other.observation.outcome == Outcome::Fail && other.measurement.result.is_ok();
    (failed && guards(about, &other.check.measure.what)).then_some(Why::Cause)
}

/// Somebody's own words that say what follows from an object's state: of its function, or of a foreign key that has no
/// index any more.
fn words_follow(problem: &Problem, object: &Object) -> bool {
    match (object.kind, &object.table, object.columns.first()) {
        (ObjectKind::Function, ..) => problem.is_of_function(&object.name),
        (ObjectKind::Index, Some(table), Some(column)) if object.missing => {
            let said = words(&problem.text);
            let named = [table.rsplit('.').next().unwrap_or(table), column, "index"];
            named.iter().all(|word| said.contains(word))
        }
        _ => false,
    }
}

fn objects<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Object> {
    case.measured()
        .into_iter()
        .flat_map(|measured| &measured.problems)
        .filter_map(|problem| problem.about.as_ref())
}

/// Whether an object went with another one that is gone.
fn goes_with(object: &Object, gone: &Object) -> bool {
    if !gone.missing || object.kind == gone.kind {
        return false;
    }
    match (gone.kind, &gone.table) {
        (ObjectKind::Table, _) => object.belongs_to(&gone.name),
        (ObjectKind::Column, Some(table)) => {
            object.kind != ObjectKind::Table && object.belongs_to(table) && object.has_to_do_with(&gone.name)
        }
        (ObjectKind::Function, _) => {
            let name = gone.name.split('(').next().unwrap_or(&gone.name);
            object.kind == ObjectKind::Trigger && object.columns.iter().any(|function| function == name)
        }
        _ => false,
    }
}

/// Whether an object is what should keep the rows right that a check found wrong.
fn guards(object: &Object, what: &What) -> bool {
    let What::Rows { table, aggregate, .. } = what else { return false };
    let own = place_of(table);
    let covers = |columns: &[String]| columns.iter().all(|column| object.has_to_do_with(column));
    let on = |table: &str, columns: &[String]| object.belongs_to(table) && covers(columns);
    let key = |table: &str| object.name == format!("{}_pkey", table.rsplit('.').next().unwrap_or(table));
    match (object.kind, aggregate) {
        (_, RowAggregate::RowCount | RowAggregate::Freshness { .. }) => false,
        (ObjectKind::Column, _) => {
            !object.missing
                && object.table.as_deref() == Some(own.as_str())
                && reads_column(what, &own, &object.name)
        }
        (ObjectKind::Index, RowAggregate::Unique { columns }) => {
            !object.name.ends_with("_idx") && on(&own, columns)
        }
        (ObjectKind::Constraint, RowAggregate::Unique { columns }) => on(&own, columns),
        (
            ObjectKind::Index | ObjectKind::Constraint,
            RowAggregate::JoinIntegrity { to, to_columns, partners, .. },
        ) if *partners != Partners::AtLeastOne && object.belongs_to(&place_of(to)) => {
            covers(to_columns) || (object.columns.is_empty() && key(&place_of(to)))
        }
        (ObjectKind::Constraint, RowAggregate::JoinIntegrity { columns, .. }) => on(&own, columns),
        // It makes the partners.
        (ObjectKind::Trigger, RowAggregate::JoinIntegrity { partners, .. }) => {
            *partners != Partners::AtMostOne && object.table.as_deref() == Some(own.as_str())
        }
        (ObjectKind::Constraint, RowAggregate::RowRule { expression }) => {
            let named = words(expression);
            object.belongs_to(&own)
                && match object.columns.is_empty() {
                    true => named.iter().any(|word| object.has_to_do_with(word)),
                    false => {
                        object.columns.iter().any(|word| !is_keyword(word) && named.contains(&word.as_str()))
                    }
                }
        }
        (ObjectKind::Constraint, aggregate) => {
            column_of(aggregate).is_some_and(|column| on(&own, std::slice::from_ref(column)))
        }
        _ => false,
    }
}

fn is_keyword(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// The one column that a rule of single rows is about.
fn column_of(aggregate: &RowAggregate) -> Option<&String> {
    match aggregate {
        RowAggregate::NotNull { column }
        | RowAggregate::AcceptedValues { column, .. }
        | RowAggregate::InRange { column, .. }
        | RowAggregate::MatchesPattern { column, .. }
        | RowAggregate::Backfill { column } => Some(column),
        _ => None,
    }
}

/// Whether what another check found changes what a role sees of a table.
fn hides(other: &Case<'_>, table: &str, role: &str) -> bool {
    if other.observation.outcome != Outcome::Fail || matches!(other.check.measure.what, What::Rows { .. }) {
        return matches!(&other.check.measure.what, What::Rows { table: of, aggregate: RowAggregate::RowCount, .. }
            if other.observation.outcome == Outcome::Fail && place_of(of) == table);
    }
    let bare = table.rsplit('.').next().unwrap_or(table);
    other.measured().into_iter().flat_map(|measured| &measured.problems).any(|problem| match &problem.about {
        Some(about) => match about.kind {
            ObjectKind::Policy => about.table.as_deref() == Some(table),
            ObjectKind::Table => about.name == table,
            // Policies ask functions.
            ObjectKind::Function => true,
            _ => false,
        },
        None => {
            let said = words(&problem.text);
            (said.contains(&role) && (said.contains(&bare) || said.contains(&"schema")))
                || problem.text.starts_with("function ")
        }
    })
}

/// The problems of a check, for a comparison of catalogs; of one that reads rows, what should have kept them right.
pub fn found(case: &Case<'_>) -> Vec<Problem> {
    if let Some(measured) = case.measured().filter(|measured| !measured.problems.is_empty()) {
        return measured.problems.clone();
    }
    if let What::Catalog(Catalog::VisibleRows { table, .. }) = &case.check.measure.what {
        let seen = Object::new(ObjectKind::Policy, "").of(place_of(table));
        let message = &case.observation.message;
        return vec![Problem::about(message.clone(), seen), Problem::from(message.clone())];
    }
    let What::Rows { table, aggregate, .. } = &case.check.measure.what else { return Vec::new() };
    if let Err(error) = &case.measurement.result {
        return not_there(table, &error.message).into_iter().collect();
    }
    let table = place_of(table);
    let about = |kind, name: &str, columns: Vec<String>| {
        let object = Object::new(kind, name).of(table.clone()).over(columns);
        Problem::about(case.observation.message.clone(), object)
    };
    match aggregate {
        RowAggregate::Unique { columns } => vec![about(ObjectKind::Index, "", columns.clone())],
        RowAggregate::JoinIntegrity { columns, .. } => {
            vec![about(ObjectKind::Constraint, "", columns.clone())]
        }
        other => column_of(other).map_or_else(Vec::new, |column| {
            vec![
                about(ObjectKind::Column, column, Vec::new()),
                about(ObjectKind::Constraint, "", vec![column.clone()]),
            ]
        }),
    }
}

/// The table or the column without which it could not be measured.
fn not_there(table: &TableName, message: &str) -> Option<Problem> {
    let name = table.to_string();
    let rest = message.strip_prefix(&format!("table {name} "))?;
    let object = match rest.strip_prefix("has no column ") {
        Some(column) => Object::new(ObjectKind::Column, column).of(place_of(table)),
        None if rest.starts_with("does not exist") => Object::new(ObjectKind::Table, &place_of(table)),
        None => return None,
    };
    Some(Problem::about(message.to_owned(), object.gone()))
}

fn is_of_rows(what: &What) -> bool {
    matches!(what, What::Rows { .. })
}

fn reads_table(what: &What, table: &str) -> bool {
    let is = |name: &TableName| place_of(name) == table;
    let bare = table.rsplit('.').next().unwrap_or(table);
    match what {
        What::Rows { table, aggregate, .. } => {
            is(table)
                || match aggregate {
                    RowAggregate::JoinIntegrity { to, .. } => is(to),
                    RowAggregate::Reconcile { equals, .. } => words(equals).contains(&bare),
                    _ => false,
                }
        }
        What::Catalog(Catalog::VisibleRows { table, .. }) => is(table),
        What::Query(Query::FailedRows { sql, .. } | Query::Value { sql }) => words(sql).contains(&bare),
        _ => false,
    }
}

fn reads_column(what: &What, table: &str, column: &str) -> bool {
    let names = |columns: &[String]| columns.iter().any(|name| name == column);
    let says = |sql: &str| words(sql).contains(&column);
    match what {
        What::Rows { table: own, filter, aggregate } => {
            let here = place_of(own) == table;
            let filtered = here && filter.as_deref().is_some_and(says);
            let read = match aggregate {
                RowAggregate::JoinIntegrity { columns, to, to_columns, to_filter, .. } => {
                    let there = place_of(to) == table;
                    (here && names(columns))
                        || (there && (names(to_columns) || to_filter.as_deref().is_some_and(says)))
                }
                RowAggregate::Reconcile { key, value, equals } => {
                    (here && (key == column || value == column)) || (reads_table(what, table) && says(equals))
                }
                RowAggregate::Unique { columns } => here && names(columns),
                RowAggregate::RowRule { expression } => here && says(expression),
                RowAggregate::ColumnsEqual { left, right } => here && (left == column || right == column),
                RowAggregate::Freshness { column: own } => here && own == column,
                RowAggregate::RowCount => false,
                other => here && column_of(other).is_some_and(|own| own == column),
            };
            filtered || read
        }
        What::Catalog(Catalog::VisibleRows { table: own, filter, .. }) => {
            place_of(own) == table && filter.as_deref().is_some_and(says)
        }
        What::Query(Query::FailedRows { sql, .. } | Query::Value { sql }) => {
            reads_table(what, table) && says(sql)
        }
        _ => false,
    }
}
