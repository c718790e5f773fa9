//! Carrying: a table that nothing has written to since the last scan is not read again.
//!
//! The fingerprint of every table that a check may read is taken *before* the snapshot opens, so that a write
//! between the two makes the next scan read again; a change is missed by one slot at most.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::check::{Check, CheckKey};
use crate::domain::clock::Timestamp;
use crate::domain::measure::{Query, RowAggregate, TableName, What};
use crate::domain::measurement::{Measured, Measurement, Unit};

use super::super::Params;
use super::prepare::read_by;
use super::sql::Dialect;
use super::text::{called_functions, depends_on_more_than_rows, words};

/// However quiet its tables are, a check is read again after an hour (in seconds).
const READ_ANEW_AFTER: f64 = 3600.0;

/// Table fingerprints and last measurements, for [`super::super::ScanRequest::carry`]. Opaque to others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Carry {
    kept: BTreeMap<CheckKey, Kept>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    definition_hash: String,
    /// `None` where it may not be carried; kept all the same, to tell the speed of a backfill.
    fingerprint: Option<String>,
    measured: Measured,
    as_of: Timestamp,
}

/// What was found about the names that the checks mention, before the snapshot.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Database, role and statistics: another one of these makes every fingerprint another.
    pub identity: Option<String>,
    pub relations: Vec<Fingerprinted>,
    /// Functions that are not the server's own: they may read what the text does not name.
    pub foreign: BTreeSet<String>,
    /// The server's own functions whose answer may change by itself.
    pub unsteady: BTreeSet<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Fingerprinted {
    pub schema: String,
    pub name: String,
    /// `None` for what is never carried: views, partition parents, foreign tables, catalogs.
    pub print: Option<String>,
    /// Which file holds its rows; another one after TRUNCATE or a rewrite.
    pub file: String,
}

impl Surroundings {
    /// A table of the check whose file is another one afterwards: a snapshot from before shows it empty.
    pub fn rewritten(&self, after: &Self, check: &Check) -> Option<String> {
        let names = names(check);
        self.relations
            .iter()
            .filter(|before| names.iter().any(|name| before.is(name)))
            .find(|before| {
                let same = |r: &&Fingerprinted| r.schema == before.schema && r.name == before.name;
                after.relations.iter().find(same).is_none_or(|now| now.file != before.file)
            })
            .map(|before| format!("{}.{}", before.schema, before.name))
    }

    /// Identifies all that a check's value depends on; `None` where that cannot be known.
    pub fn fingerprint(&self, check: &Check, params: &Params) -> Option<String> {
        let mut parts = vec![self.identity.clone()?];
        for text in texts(&check.measure.what)? {
            if depends_on_more_than_rows(text, Dialect::Postgres) {
                return None;
            }
            let mentioned = words(text, Dialect::Postgres);
            let called = called_functions(text, Dialect::Postgres);
            // A foreign function can be called without parentheses too: `row.function`.
            if mentioned.iter().any(|word| self.foreign.contains(word))
                || called.iter().any(|word| self.unsteady.contains(word))
            {
                return None;
            }
            if text.contains(':') {
                parts.push(format!("{:?} {:?}", params.deployed_at, params.baseline_at));
            }
        }
        for name in &names(check) {
            for found in self.relations.iter().filter(|found| found.is(name)) {
                parts.push(found.print.clone()?);
            }
        }
        // A check that reads no known table is measured anew.
        (parts.len() > 1).then(|| parts.join("|"))
    }
}

impl Fingerprinted {
    fn is(&self, name: &TableName) -> bool {
        self.name == name.name && name.schema.as_ref().is_none_or(|schema| *schema == self.schema)
    }
}

/// Every name in a check that may be a table which it reads.
fn names(check: &Check) -> BTreeSet<TableName> {
    let mut names: BTreeSet<TableName> = read_by(&check.measure.what).into_iter().collect();
    for text in texts(&check.measure.what).into_iter().flatten() {
        let mentioned = words(text, Dialect::Postgres);
        names.extend(mentioned.into_iter().map(|name| TableName { schema: None, name }));
    }
    names
}

/// Every name that some check mentions and that may be a table or a function.
pub fn mentioned<'a>(checks: impl Iterator<Item = &'a Check>) -> Vec<String> {
    let mut names = BTreeSet::new();
    for check in checks {
        names.extend(read_by(&check.measure.what).into_iter().map(|table| table.name));
        for text in texts(&check.measure.what).into_iter().flatten() {
            names.extend(words(text, Dialect::Postgres));
            names.extend(called_functions(text, Dialect::Postgres));
        }
    }
    names.into_iter().collect()
}

/// The user's own SQL in a check; `None` for what is never carried.
fn texts(what: &What) -> Option<Vec<&str>> {
    let mut texts = Vec::new();
    match what {
        What::Rows { filter, aggregate, .. } => {
            texts.extend(filter.as_deref());
            match aggregate {
                RowAggregate::RowRule { expression } => texts.push(expression),
                RowAggregate::JoinIntegrity { to_filter, .. } => texts.extend(to_filter.as_deref()),
                RowAggregate::Reconcile { equals, .. } => texts.push(equals),
                _ => {}
            }
        }
        What::Query(Query::Value { sql }) => texts.push(sql),
        What::Query(Query::FailedRows { sql, tested }) => {
            texts.push(sql);
            texts.extend(tested.as_deref());
        }
        What::Catalog(_) | What::Server(_) | What::Signal(_) => return None,
    }
    Some(texts)
}

impl Carry {
    /// The last measurement, if everything that it depends on is as it was.
    pub fn recall(&self, check: &Check, fingerprint: Option<&str>, as_of: Timestamp) -> Option<Measured> {
        let kept = self.kept.get(check.key())?;
        if kept.definition_hash != check.policy.definition_hash
            || fingerprint.is_none()
            || kept.fingerprint.as_deref() != fingerprint
            || seconds_between(kept.as_of, as_of) >= READ_ANEW_AFTER
        {
            return None;
        }
        let mut measured = kept.measured.clone();
        if let What::Rows { aggregate: RowAggregate::Freshness { .. }, .. } = &check.measure.what {
            // The newest row is as old as it was, and older by the time that has gone by.
            measured.value = measured.value.map(|age| age + seconds_between(kept.as_of, as_of));
        }
        Some(measured)
    }

    /// How long a backfill still takes at the speed since the last scan.
    pub fn eta(&self, key: &CheckKey, measured: &Measured, as_of: Timestamp) -> Option<f64> {
        let kept = self.kept.get(key)?;
        let (before, now) = (kept.measured.value?, measured.value?);
        let rate = (before - now) / seconds_between(kept.as_of, as_of);
        (rate > 0.0 && rate.is_finite() && now > 0.0 && measured.unit == Unit::Violations).then(|| now / rate)
    }

    /// Keeps what was measured; checks that were not due keep what they had.
    pub fn keep(&mut self, measurement: &Measurement, fingerprint: Option<String>, as_of: Timestamp) {
        match &measurement.result {
            Ok(measured) if measured.skipped.is_none() && !measurement.carried => {
                let kept = Kept {
                    definition_hash: measurement.definition_hash.clone(),
                    fingerprint,
                    measured: measured.clone(),
                    as_of,
                };
                self.kept.insert(measurement.key.clone(), kept);
            }
            Ok(_) if measurement.carried => {}
            _ => {
                self.kept.remove(&measurement.key);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a window fit into 53 bits")]
fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    (to.as_microsecond() - from.as_microsecond()) as f64 / 1e6
}
