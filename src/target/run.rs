//! Running the planned statements on whatever engine, and turning their rows into measurements.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::domain::check::Check;
use crate::domain::clock::Timestamp;
use crate::domain::measure::{Catalog, Query, RowAggregate, Server, What};
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measured, Measurement, Unit as ValueUnit};

use crate::domain::wording::number;

use super::plan::rows::{RowSql, Shape};
use super::plan::sql::Dialect;
use super::plan::text::{Arguments, query as trimmed, spelled_out, words};
use super::plan::{Unit, failing, several, single};
use super::progress::Pass;
use super::rows::{JsonRow, single_number};
use super::{ScanRequest, TargetOptions, digest};

/// What stands before a statement whose rows are counted.
pub const COUNTED: &str = "SELECT count(*) AS v FROM (\n";
/// The column of a `failed_rows` statement that says in words what is wrong with its row.
const PROBLEM: &str = "problem";
/// By how many seconds a healthy product's clock may be ahead of the database's.
const CLOCKS_DIFFER: f64 = 300.0;
/// How many failing rows are shown.
const SAMPLES: usize = 5;

/// One connection on the scan's snapshot.
pub trait Reader: Send {
    /// Runs one statement and gives its rows as JSON objects. `user` is how many characters of the text
    /// stand before the user's own.
    fn read(
        &mut self,
        sql: &str,
        user: Option<usize>,
        limit: usize,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<String>, ReadError>> + Send;

    /// Measures what only this engine's catalog or server knows.
    fn catalog(
        &mut self,
        catalog: &Catalog,
        timeout: Duration,
    ) -> impl Future<Output = Result<Measured, MeasureError>> + Send;

    fn server(
        &mut self,
        server: &Server,
        timeout: Duration,
    ) -> impl Future<Output = Result<Measured, MeasureError>> + Send;

    /// Why nothing more can be read.
    fn lost(&self) -> Option<MeasureError>;
}

/// Why a statement gave no rows.
#[derive(Debug)]
pub enum ReadError {
    /// A parameter that it uses has no value in this scan.
    Skipped(String),
    Failed(MeasureError),
}

impl From<MeasureError> for ReadError {
    fn from(error: MeasureError) -> Self {
        Self::Failed(error)
    }
}

/// One statement to run.
#[derive(Debug)]
pub enum Job {
    Fused(Unit),
    Other(usize),
}

/// What all workers of a scan share.
pub struct Work<'a> {
    pub request: &'a ScanRequest,
    pub options: &'a TargetOptions,
    pub dialect: Dialect,
    pub as_of: Timestamp,
    pub deadline: Instant,
    /// The compiled row checks, by position.
    pub rows: &'a [Option<Box<RowSql>>],
    pub queue: Mutex<VecDeque<Job>>,
    pub over_budget: fn() -> MeasureError,
    pub progress: Pass<'a>,
}

/// The answer to one check.
#[derive(Debug)]
pub struct Answer {
    pub check: usize,
    pub result: Result<Measured, MeasureError>,
    pub duration: Duration,
}

impl Work<'_> {
    /// Takes jobs until none is left, on one connection.
    pub async fn run(&self, reader: &mut impl Reader) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            let job = self.queue.lock().expect("no worker panics while it holds the queue").pop_front();
            let before = answers.len();
            match job {
                None => return answers,
                Some(Job::Fused(unit)) => self.fused(reader, unit, &mut answers).await,
                Some(Job::Other(check)) => {
                    let begun = Instant::now();
                    let result = self.other(reader, check).await;
                    answers.push(Answer { check, result, duration: begun.elapsed() });
                }
            }
            self.progress.answered(answers.len() - before);
        }
    }

    fn check(&self, index: usize) -> &Check {
        &self.request.checks[index]
    }

    fn row(&self, index: usize) -> &RowSql {
        self.rows[index].as_deref().expect("only compiled checks are put into units")
    }

    fn timeout(&self, index: usize) -> Duration {
        self.check(index)
            .measure
            .timeout
            .map_or(self.options.statement_timeout, |seconds| Duration::from_secs(seconds.into()))
    }

    /// One statement for several checks; when it fails, one for each, so that the wrong one alone is blamed.
    async fn fused(&self, reader: &mut impl Reader, unit: Unit, answers: &mut Vec<Answer>) {
        let mut pending = vec![unit];
        while let Some(unit) = pending.pop() {
            let begun = Instant::now();
            let timeout = unit.members.iter().map(|m| self.timeout(m.check)).max().unwrap_or_default();
            let rows = self.read(reader, &unit.sql, None, 1, timeout).await;
            let share = begun.elapsed() / u32::try_from(unit.members.len()).unwrap_or(1).max(1);
            let row = rows.and_then(|rows| match rows.first() {
                Some(row) => Ok(JsonRow::parse(row)?),
                None => Ok(JsonRow(Vec::new())),
            });
            match row {
                Err(ReadError::Failed(error))
                    if unit.members.len() > 1
                        && !matches!(error.code, MeasureErrorCode::Connect | MeasureErrorCode::Budget) =>
                {
                    // In reverse, since they are taken from the end.
                    pending.extend(
                        unit.members.iter().rev().map(|m| single(m.check, self.row(m.check), self.dialect)),
                    );
                }
                Err(ReadError::Skipped(_)) if unit.members.len() > 1 => {
                    pending.extend(
                        unit.members.iter().rev().map(|m| single(m.check, self.row(m.check), self.dialect)),
                    );
                }
                row => {
                    for member in &unit.members {
                        let result = match &row {
                            Ok(row) => {
                                self.member(reader, member.check, row, member.value, member.tested).await
                            }
                            Err(error) => answered(error),
                        };
                        answers.push(Answer { check: member.check, result, duration: share });
                    }
                }
            }
        }
    }

    async fn member(
        &self,
        reader: &mut impl Reader,
        index: usize,
        row: &JsonRow,
        value: usize,
        tested: Option<usize>,
    ) -> Result<Measured, MeasureError> {
        let compiled = self.row(index);
        let tested = tested.map_or(Ok(None), |column| row.number(column))?;
        let mut value = row.number(value)?;
        if let Shape::Newest { .. } = compiled.shape {
            value = value.map(|newest| age(newest, self.as_of));
        }
        let mut measured = Measured { value, unit: compiled.unit, tested, ..Measured::default() };
        if matches!(compiled.shape, Shape::Newest { .. }) && value.is_some_and(|age| -age > CLOCKS_DIFFER) {
            measured.notes.push("it hides how old the others are".to_owned());
        }
        if let What::Rows { aggregate: RowAggregate::Backfill { .. }, .. } = &self.check(index).measure.what {
            measured.detail = progress(value, tested);
        }
        if measured.unit == ValueUnit::Violations && value.is_some_and(|v| v > 0.0) {
            if compiled.several.is_some() {
                measured.detail = self.partners(reader, index, compiled, value.unwrap_or_default()).await;
            }
            self.failing_rows(reader, index, compiled, &mut measured).await;
        }
        Ok(measured)
    }

    /// Of the rows that do not have exactly one partner: how many have none, how many several.
    async fn partners(
        &self,
        reader: &mut impl Reader,
        index: usize,
        row: &RowSql,
        broken: f64,
    ) -> Option<String> {
        let doubled = match several(row) {
            Some(sql) => {
                single_number(&self.read(reader, &sql, None, 2, self.timeout(index)).await.ok()?).ok()??
            }
            None => 0.0,
        };
        let missing = broken - doubled;
        let parts = [(missing, "without any"), (doubled, "with several")];
        let said: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0.0)
            .map(|(count, what)| format!("{} {what}", number(*count)))
            .collect();
        Some(said.join(", "))
    }

    /// Digests and samples of the failing rows of a row check, where somebody asked for them.
    async fn failing_rows(
        &self,
        reader: &mut impl Reader,
        index: usize,
        row: &RowSql,
        measured: &mut Measured,
    ) {
        let check = self.check(index);
        let (digests, samples) = (wants_digests(check), check.measure.samples.as_ref());
        if !digests && samples.is_none() {
            return;
        }
        let mut columns = row.key.clone();
        columns.extend(samples.iter().flat_map(|s| &s.columns).filter(|c| !row.key.contains(c)).cloned());
        let Some(sql) = failing(row, &columns) else { return };
        let limit = if digests { digest::CAP + 1 } else { SAMPLES };
        if let Ok(rows) = self.read(reader, &sql, None, limit, self.timeout(index)).await {
            self.note(check, &rows, &row.key, measured);
        }
    }

    /// Keeps digests and samples of failing rows. Without key columns the whole row is the key.
    fn note(&self, check: &Check, rows: &[String], key: &[String], measured: &mut Measured) {
        let secret = &self.options.digest_key;
        let parsed: Vec<JsonRow> = rows.iter().filter_map(|row| JsonRow::parse(row).ok()).collect();
        if wants_digests(check) {
            measured.digests_capped = parsed.len() > digest::CAP;
            measured.digests = parsed
                .iter()
                .take(digest::CAP)
                .map(|row| digest::digest(secret, check.key().as_str(), &row.only(key)))
                .collect();
            measured.digests.sort();
            measured.digests.dedup();
        }
        if let Some(samples) = &check.measure.samples {
            let show = |name: &str, value: &serde_json::Value| match value {
                _ if !samples.columns.is_empty() && !samples.columns.iter().any(|c| c == name) => None,
                serde_json::Value::Null => Some(format!("{name} is NULL")),
                value if samples.reveal => Some(format!("{name}={}", plain(value))),
                value => {
                    let digest = digest::digest(secret, check.key().as_str(), &plain(value));
                    Some(format!("{name}=#{}", &digest[..8]))
                }
            };
            measured.samples = parsed
                .iter()
                .take(SAMPLES)
                .map(|row| row.0.iter().filter_map(|(n, v)| show(n, v)).collect::<Vec<_>>().join(", "))
                .collect();
        }
    }

    async fn other(&self, reader: &mut impl Reader, index: usize) -> Result<Measured, MeasureError> {
        let timeout = self.timeout(index);
        let check = self.check(index);
        match &check.measure.what {
            What::Query(Query::Value { sql }) => {
                let rows = self.read(reader, trimmed(sql), Some(0), 2, timeout).await;
                match rows {
                    Ok(rows) => Ok(Measured {
                        value: single_number(&rows)?,
                        unit: ValueUnit::Number,
                        ..Measured::default()
                    }),
                    Err(error) => answered(&error),
                }
            }
            What::Query(Query::FailedRows { sql, tested }) => {
                match self.failed_rows(reader, check, sql, tested.as_deref(), timeout).await {
                    Ok(measured) => Ok(measured),
                    Err(error) => answered(&error),
                }
            }
            What::Catalog(catalog) => match self.time(timeout) {
                Ok(timeout) => reader.catalog(catalog, timeout).await,
                Err(error) => Err(error),
            },
            What::Server(server) => match self.time(timeout) {
                Ok(timeout) => reader.server(server, timeout).await,
                Err(error) => Err(error),
            },
            What::Rows { .. } => unreachable!("row checks are in units"),
            What::Signal(_) => Err(MeasureError {
                code: MeasureErrorCode::Shape,
                message: "a database does not know this signal".into(),
                hint: None,
            }),
        }
    }

    async fn failed_rows(
        &self,
        reader: &mut impl Reader,
        check: &Check,
        sql: &str,
        tested: Option<&str>,
        timeout: Duration,
    ) -> Result<Measured, ReadError> {
        let sql = trimmed(sql);
        let count = format!("{COUNTED}{sql}\n) AS dw_f");
        let rows = self.read(reader, &count, Some(COUNTED.len()), 1, timeout).await?;
        let value = single_number(&rows)?;
        let mut measured = Measured { value, unit: ValueUnit::Violations, ..Measured::default() };
        if let Some(tested) = tested {
            let rows = self.read(reader, trimmed(tested), Some(0), 2, timeout).await?;
            measured.tested = single_number(&rows)?;
        }
        if value.is_some_and(|v| v > 0.0)
            && words(sql, self.dialect).iter().any(|word| word == PROBLEM)
            && let Ok(rows) = self.read(reader, sql, Some(0), SAMPLES, timeout).await
        {
            let said = problems_of(&rows);
            measured.detail = named_problems(&said, value.unwrap_or_default());
            // Only when each of them was said can one be told from another.
            #[expect(clippy::cast_precision_loss, reason = "at most five")]
            if value == Some(said.len() as f64) {
                measured.problems = said.into_iter().map(Into::into).collect();
            }
        }
        if value.is_some_and(|v| v > 0.0) && (wants_digests(check) || check.measure.samples.is_some()) {
            let limit = if wants_digests(check) { digest::CAP + 1 } else { SAMPLES };
            let rows = self.read(reader, sql, Some(0), limit, timeout).await?;
            let key = check.measure.samples.as_ref().map(|s| s.columns.clone()).unwrap_or_default();
            self.note(check, &rows, &key, &mut measured);
        }
        Ok(measured)
    }

    /// The statement's own timeout, cut to what is left of the scan's time.
    fn time(&self, wanted: Duration) -> Result<Duration, MeasureError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(5) { Err((self.over_budget)()) } else { Ok(wanted.min(left)) }
    }

    async fn read(
        &self,
        reader: &mut impl Reader,
        sql: &str,
        user: Option<usize>,
        limit: usize,
        timeout: Duration,
    ) -> Result<Vec<String>, ReadError> {
        if let Some(lost) = reader.lost() {
            return Err(lost.into());
        }
        let allowed = self.time(timeout)?;
        match reader.read(sql, user, limit, allowed).await {
            Err(ReadError::Failed(error)) if error.code == MeasureErrorCode::Timeout && allowed < timeout => {
                Err(MeasureError { code: MeasureErrorCode::Budget, ..error }.into())
            }
            other => other,
        }
    }

    /// The statement to rerun by hand: the failing rows where there are some, else what was measured.
    pub fn statement(&self, index: usize) -> Option<String> {
        let arguments = Arguments { params: &self.request.params, as_of: self.as_of };
        let sql = match &self.check(index).measure.what {
            What::Query(Query::Value { sql } | Query::FailedRows { sql, .. }) => trimmed(sql).to_owned(),
            What::Rows { .. } => {
                let row = self.rows[index].as_deref()?;
                failing(row, &[]).unwrap_or_else(|| single(index, row, self.dialect).sql)
            }
            _ => return None,
        };
        Some(format!("{};", spelled_out(&sql, arguments, self.dialect)))
    }

    /// The measurement of one check.
    pub fn measurement(&self, index: usize, result: Result<Measured, MeasureError>) -> Measurement {
        let check = self.check(index);
        Measurement {
            key: check.key().clone(),
            definition_hash: check.policy.definition_hash.clone(),
            result,
            duration_ms: 0,
            carried: false,
            proved: None,
            isolated: false,
            statement: self.statement(index),
        }
    }
}

fn answered(error: &ReadError) -> Result<Measured, MeasureError> {
    match error {
        ReadError::Skipped(reason) => Ok(Measured { skipped: Some(reason.clone()), ..Measured::default() }),
        ReadError::Failed(error) => Err(error.clone()),
    }
}

/// What the suite's author has the rows themselves say.
fn problems_of(rows: &[String]) -> Vec<String> {
    let problem = |row: &String| {
        let row = JsonRow::parse(row).ok()?;
        let (_, value) = row.0.into_iter().find(|(name, _)| name == PROBLEM)?;
        Some(plain(&value))
    };
    rows.iter().filter_map(problem).collect()
}

fn named_problems(said: &[String], all: f64) -> Option<String> {
    let mut said = said.to_vec();
    if said.is_empty() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most five")]
    if all > said.len() as f64 {
        said.push("…".to_owned());
    }
    Some(said.join("; "))
}

/// Whether a threshold compares failing keys with the baseline's.
pub fn wants_digests(check: &Check) -> bool {
    check.policy.warn.iter().chain(&check.policy.fail).any(|t| t.new_above.is_some())
}

/// Seconds from the newest instant to `as_of`. Integer columns may count in milli- or microseconds.
pub fn age(newest: f64, as_of: Timestamp) -> f64 {
    let seconds = match newest.abs() {
        n if n > 1e14 => newest / 1e6,
        n if n > 1e11 => newest / 1e3,
        _ => newest,
    };
    #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit into 53 bits until 2255")]
    let now = as_of.as_microsecond() as f64 / 1e6;
    ((now - seconds) * 1e3).round() / 1e3
}

fn progress(left: Option<f64>, all: Option<f64>) -> Option<String> {
    let (left, all) = (left?, all?);
    if all <= 0.0 {
        return None;
    }
    Some(format!("{:.1} % done, {left} of {all} rows left", (all - left) / all * 100.0))
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
