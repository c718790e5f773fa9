//! The plan of a scan as a person reads it: statements, what shares them, what is not read at all.

use std::collections::VecDeque;

use crate::domain::check::CheckKey;
use crate::domain::measure::{Query, What};

use super::ScanRequest;
use super::assemble::Assembly;
use super::plan::sql::Dialect;
use super::plan::text::{Arguments, query, spelled_out};
use super::run::{COUNTED, Job};

/// What a scan would do; no row was read for it.
#[derive(Debug, Clone)]
pub struct ScanPlan {
    pub server: String,
    /// In the order in which they would begin.
    pub steps: Vec<Step>,
    /// Checks that a constraint makes 0, and which.
    pub proved: Vec<(CheckKey, String)>,
    /// Checks whose last measurement still stands.
    pub carried: Vec<CheckKey>,
    /// Checks that looking up the tables has answered.
    pub known: Vec<CheckKey>,
    /// Checks that are answered without a statement, and how: skipped, or wrong for this schema.
    pub answered: Vec<(CheckKey, String)>,
    /// Checks that a later scan need not read while nothing writes to their tables.
    pub carriable: Vec<CheckKey>,
}

/// One statement and the checks that it answers.
#[derive(Debug, Clone)]
pub struct Step {
    pub checks: Vec<CheckKey>,
    /// Which column of the answer is whose, where it has several.
    pub columns: Vec<usize>,
    /// As it is sent, parameters spelled out; `None` where the catalog or the server is asked.
    pub sql: Option<String>,
    /// In a short transaction of its own.
    pub isolated: bool,
    /// The planner's estimate, where the engine has one.
    pub cost: Option<f64>,
    /// The nodes of its plan in a line, outermost first.
    pub nodes: Option<String>,
    /// Why it would fail or be skipped.
    pub problem: Option<String>,
}

impl ScanPlan {
    pub fn of(
        server: String,
        steps: Vec<Step>,
        assembly: &Assembly,
        request: &ScanRequest,
        carriable: Vec<CheckKey>,
    ) -> Self {
        let key = |index: usize| request.checks[index].key().clone();
        let mut plan = Self {
            server,
            steps,
            proved: vec![],
            carried: vec![],
            known: vec![],
            answered: vec![],
            carriable,
        };
        for answer in &assembly.answers {
            let check = answer.check;
            match (assembly.proof(check), &answer.result) {
                (Some(by), _) => plan.proved.push((key(check), by.to_owned())),
                _ if !assembly.was_read(check) => plan.carried.push(key(check)),
                (None, Ok(measured)) => match &measured.skipped {
                    Some(why) => plan.answered.push((key(check), why.clone())),
                    None => plan.known.push(key(check)),
                },
                (None, Err(error)) => plan.answered.push((key(check), error.to_string())),
            }
        }
        plan
    }
}

/// The statements of a scan's jobs.
pub fn steps(
    jobs: &VecDeque<Job>,
    request: &ScanRequest,
    arguments: Arguments<'_>,
    dialect: Dialect,
) -> Vec<Step> {
    let one = |job: &Job| {
        let mut columns = Vec::new();
        let (members, sql) = match job {
            Job::Fused(unit) => {
                columns.extend(unit.members.iter().map(|member| member.value));
                (unit.members.iter().map(|member| member.check).collect(), Some(unit.sql.clone()))
            }
            Job::Other(index) => {
                let sql = match &request.checks[*index].measure.what {
                    What::Query(Query::Value { sql }) => Some(query(sql).to_owned()),
                    What::Query(Query::FailedRows { sql, .. }) => {
                        Some(format!("{}{}\n) AS dw_f", COUNTED, query(sql)))
                    }
                    _ => None,
                };
                (vec![*index], sql)
            }
        };
        Step {
            isolated: members.iter().any(|index: &usize| request.checks[*index].measure.isolated),
            checks: members.iter().map(|index| request.checks[*index].key().clone()).collect(),
            columns,
            sql: sql.map(|sql| spelled_out(&sql, arguments, dialect)),
            cost: None,
            nodes: None,
            problem: None,
        }
    };
    jobs.iter().map(one).collect()
}
