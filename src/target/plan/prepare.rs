//! What is left to read of each check, once its condition, its table and the constraints on it are known.

use std::sync::Arc;

use crate::domain::check::Check;
use crate::domain::measure::{Catalog, Condition, RowAggregate, TableName, What};
use crate::domain::measurement::{MeasureError, Measured};

use super::columns::problems;
use super::prove::{Trust, prove};
use super::relation::{Relation, Relations};
use super::rows::{RowSql, compile};
use super::sql::Dialect;

/// One check of a scan, ready to be read or already answered.
#[derive(Debug)]
pub enum Prepared {
    /// Nothing to read: skipped, refused, or wrong for this schema.
    Answered(Result<Measured, MeasureError>),
    Proved(String),
    /// Nothing that it depends on has changed since this was measured.
    Carried(Measured),
    Rows(Box<RowSql>),
    /// Catalog, server or the user's own SQL: a statement of its own.
    Other,
}

/// What the plan may assume.
#[derive(Debug, Clone, Copy)]
pub struct Assumptions {
    pub dialect: Dialect,
    /// `None` reads whatever the constraints say.
    pub proofs: Option<Trust>,
    /// Rows hidden by row-level security are fine where a policy shows them all.
    pub policies: bool,
}

/// Every table that the checks name, once.
pub fn tables(checks: &[Arc<Check>]) -> Vec<TableName> {
    let mut tables = Vec::new();
    for check in checks {
        if let Some(Condition::TableExists(table) | Condition::ColumnExists(table, _)) = &check.measure.when {
            tables.push(table.clone());
        }
        tables.extend(read_by(&check.measure.what));
        if let What::Catalog(Catalog::Columns { expect }) = &check.measure.what {
            tables.extend(expect.iter().map(|(table, _)| table.clone()));
        }
    }
    tables.sort();
    tables.dedup();
    tables
}

/// Every role that a condition asks for, once.
pub fn roles(checks: &[Arc<Check>]) -> Vec<String> {
    let mut roles: Vec<String> = checks
        .iter()
        .filter_map(|check| match &check.measure.when {
            Some(Condition::MayActAs(role)) => Some(role.clone()),
            _ => None,
        })
        .collect();
    roles.sort();
    roles.dedup();
    roles
}

/// The tables that a row check reads.
pub fn read_by(what: &What) -> Vec<TableName> {
    match what {
        What::Rows { table, aggregate: RowAggregate::JoinIntegrity { to, .. }, .. } => {
            vec![table.clone(), to.clone()]
        }
        What::Rows { table, .. } => vec![table.clone()],
        _ => Vec::new(),
    }
}

pub fn prepare(
    check: &Check,
    relations: &Relations,
    assume: Assumptions,
    hidden: impl Fn(&Relation) -> MeasureError,
) -> Prepared {
    if let Some(reason) = check.measure.when.as_ref().and_then(|when| unmet(when, relations)) {
        return Prepared::Answered(Ok(Measured { skipped: Some(reason), ..Measured::default() }));
    }
    // Every table was looked up already, those of `columns` with the others.
    if let What::Catalog(Catalog::Columns { expect }) = &check.measure.what {
        let unreadable = expect.iter().find_map(|(table, _)| relations.unreadable(table));
        return Prepared::Answered(match unreadable {
            Some(why) => Err(why.clone()),
            None => Ok(Measured::of_problems(problems(relations, expect))),
        });
    }
    let What::Rows { table, filter, aggregate } = &check.measure.what else { return Prepared::Other };
    let row = match compile(table, filter.as_deref(), aggregate, relations, assume.dialect) {
        Ok(row) => row,
        Err(error) => return Prepared::Answered(Err(error)),
    };
    let own = if check.measure.trust_foreign_keys { Some(Trust::ForeignKeysToo) } else { None };
    let believed = assume.proofs.map(|trust| own.unwrap_or(trust));
    if let Some(proof) = believed.and_then(|trust| prove(table, aggregate, relations, trust)) {
        return Prepared::Proved(proof);
    }
    for relation in read_by(&check.measure.what).iter().filter_map(|table| relations.get(table)) {
        if relation.hidden && !(assume.policies && relation.open) {
            return Prepared::Answered(Err(hidden(relation)));
        }
    }
    Prepared::Rows(Box::new(row))
}

/// Why the condition does not hold, if it does not.
fn unmet(condition: &Condition, relations: &Relations) -> Option<String> {
    match condition {
        Condition::TableExists(table) => relations
            .get(table)
            .is_none()
            .then(|| format!("table {} does not exist", super::relation::display(table))),
        Condition::ColumnExists(table, column) => relations
            .get(table)
            .and_then(|r| r.column(column))
            .is_none()
            .then(|| format!("column {}.{column} does not exist", super::relation::display(table))),
        Condition::MayActAs(role) => (!relations.may_act_as(role)).then(|| {
            let role = super::sql::ident(role);
            format!("the scanning role may not act as {role}; as an administrator, GRANT {role} to it")
        }),
    }
}
