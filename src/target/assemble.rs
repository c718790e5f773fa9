//! Sorting the checks of a scan into what is answered, what shares statements and what stands apart, and
//! putting the answers back into the order in which they were asked for.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::measurement::{Measured, Measurement};

use super::plan::prepare::Prepared;
use super::plan::rows::RowSql;
use super::plan::sql::Dialect;
use super::plan::{single, units};
use super::run::{Answer, Job, Work};
use super::{Fusion, ScanRequest};

/// A scan's checks, sorted.
pub struct Assembly {
    /// The compiled row checks, by position.
    pub rows: Vec<Option<Box<RowSql>>>,
    pub answers: Vec<Answer>,
    proofs: Vec<Option<String>>,
    carried: Vec<bool>,
    /// On the scan's snapshot.
    pub together: VecDeque<Job>,
    /// Each in a transaction of its own.
    pub apart: VecDeque<Job>,
}

impl Assembly {
    pub fn new(prepared: Vec<Prepared>, request: &ScanRequest, dialect: Dialect, fusion: Fusion) -> Self {
        let isolated = |index: usize| request.checks[index].measure.isolated;
        let mut sorted = Self {
            rows: Vec::with_capacity(prepared.len()),
            answers: Vec::new(),
            proofs: vec![None; prepared.len()],
            carried: vec![false; prepared.len()],
            together: VecDeque::new(),
            apart: VecDeque::new(),
        };
        let mut others = VecDeque::new();
        for (check, prepared) in prepared.into_iter().enumerate() {
            let mut row = None;
            match prepared {
                Prepared::Answered(result) => {
                    sorted.answers.push(Answer { check, result, duration: Duration::ZERO })
                }
                Prepared::Proved(by) => {
                    sorted.proofs[check] = Some(by);
                    sorted.answers.push(Answer {
                        check,
                        result: Ok(Measured { value: Some(0.0), ..Measured::default() }),
                        duration: Duration::ZERO,
                    });
                }
                Prepared::Carried(measured) => {
                    sorted.carried[check] = true;
                    sorted.answers.push(Answer { check, result: Ok(measured), duration: Duration::ZERO });
                }
                Prepared::Rows(compiled) => row = Some(compiled),
                Prepared::Other if isolated(check) => sorted.apart.push_back(Job::Other(check)),
                Prepared::Other => others.push_back(Job::Other(check)),
            }
            sorted.rows.push(row);
        }
        let compiled =
            || sorted.rows.iter().enumerate().filter_map(|(index, row)| Some((index, row.as_deref()?)));
        let fused: Vec<(usize, &RowSql)> = compiled().filter(|(index, _)| !isolated(*index)).collect();
        sorted.together = units(&fused, dialect, fusion).into_iter().map(Job::Fused).chain(others).collect();
        for (index, row) in compiled().filter(|(index, _)| isolated(*index)) {
            sorted.apart.push_back(Job::Fused(single(index, row, dialect)));
        }
        sorted
    }

    /// The constraint that answers a check.
    pub fn proof(&self, check: usize) -> Option<&str> {
        self.proofs[check].as_deref()
    }

    /// Whether a check's value comes from the rows of this scan.
    pub fn was_read(&self, check: usize) -> bool {
        !self.carried[check] && self.proofs[check].is_none()
    }

    /// One measurement for each check, in the order of the request.
    pub fn measurements(&self, work: &Work<'_>, mut answers: Vec<Answer>) -> Vec<Measurement> {
        answers.sort_by_key(|answer| answer.check);
        answers
            .into_iter()
            .map(|answer| Measurement {
                duration_ms: u64::try_from(answer.duration.as_millis()).unwrap_or(u64::MAX),
                carried: self.carried[answer.check],
                proved: self.proofs[answer.check].clone(),
                isolated: work.request.checks[answer.check].measure.isolated,
                ..work.measurement(answer.check, answer.result)
            })
            .collect()
    }
}
