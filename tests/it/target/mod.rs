//! Scans of real databases: what each kind measures, what it costs, and that nothing is harmed.

mod carry;
mod defects;
mod mishaps;
mod objects;
mod pooler;
mod postgres;
mod safety;
mod sqlite;

use std::sync::Arc;

use deploywatch::domain::check::{
    BaselineMode, Check, CheckKey, CheckPolicy, Measure, Mode, OnNoData, Severity, Stage,
};
use deploywatch::domain::measure::{Partners, Query, RowAggregate, Scalar, TableName, What};
use deploywatch::domain::measurement::{MeasureError, Measured, Measurement};
use deploywatch::target::{Params, Scan, ScanRequest, Target, TargetOptions};

pub fn options(url: &str) -> TargetOptions {
    TargetOptions::new(url.into())
}

pub fn table(name: &str) -> TableName {
    match name.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.into()), name: name.into() },
        None => TableName { schema: None, name: name.into() },
    }
}

pub fn check(key: &str, what: What) -> Check {
    Check {
        policy: CheckPolicy {
            key: CheckKey(key.into()),
            suite: "test".into(),
            kind: key.rsplit('.').next().unwrap_or_default().into(),
            subject: String::new(),
            title: None,
            severity: Severity::Critical,
            mode: Mode::Enforce,
            stages: vec![Stage::Smoke, Stage::Soak],
            every: 300,
            initial_delay: 0,
            timeout: 10,
            warn: None,
            fail: None,
            fail_after: 1,
            fail_within: 0,
            recover_after: 2,
            failure_budget: None,
            min_coverage: 0.8,
            on_no_data: OnNoData::Inconclusive,
            latch: true,
            error_limit: 4,
            baseline: BaselineMode::PreDeploy,
            min_baseline: 100.0,
            definition_hash: format!("hash of {key}"),
            settle: 0,
            owner: None,
            runbook: None,
            tags: Vec::new(),
            wording: Default::default(),
            mutes: Vec::new(),
        },
        measure: Measure::of(what),
    }
}

pub fn rows(key: &str, of: &str, aggregate: RowAggregate) -> Check {
    check(key, What::Rows { table: table(of), filter: None, aggregate })
}

pub fn filtered(mut check: Check, condition: &str) -> Check {
    if let What::Rows { filter, .. } = &mut check.measure.what {
        *filter = Some(condition.into());
    }
    check
}

pub fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub fn not_null(of: &str, column: &str) -> Check {
    rows(&format!("{of}.not_null.{column}"), of, RowAggregate::NotNull { column: column.into() })
}

pub fn unique(of: &str, columns: &[&str]) -> Check {
    rows(&format!("{of}.unique"), of, RowAggregate::Unique { columns: strings(columns) })
}

pub fn accepted(of: &str, column: &str, values: &[&str]) -> Check {
    let values = values.iter().map(|v| Scalar::Text((*v).into())).collect();
    rows(&format!("{of}.accepted"), of, RowAggregate::AcceptedValues { column: column.into(), values })
}

pub fn rule(of: &str, expression: &str) -> Check {
    rows(&format!("{of}.rule"), of, RowAggregate::RowRule { expression: expression.into() })
}

pub fn join(of: &str, column: &str, to: &str, to_column: &str, partners: Partners) -> Check {
    rows(
        &format!("{of}.join.{to}.{partners:?}"),
        of,
        RowAggregate::JoinIntegrity {
            columns: strings(&[column]),
            to: table(to),
            to_columns: strings(&[to_column]),
            to_filter: None,
            partners,
        },
    )
}

pub fn value(sql: &str) -> Check {
    check("query.value", What::Query(Query::Value { sql: sql.into() }))
}

pub fn failed_rows(sql: &str) -> Check {
    check("query.failed_rows", What::Query(Query::FailedRows { sql: sql.into(), tested: None }))
}

pub fn request(checks: Vec<Check>) -> ScanRequest {
    ScanRequest {
        checks: checks.into_iter().map(Arc::new).collect(),
        params: Params { environment: "test".into(), ..Params::default() },
        carry: None,
    }
}

pub async fn scan(options: TargetOptions, checks: Vec<Check>) -> Scan {
    let count = checks.len();
    let scan = Target::new(options).scan(&request(checks)).await.expect("the target can be scanned");
    assert_eq!(scan.measurements.len(), count, "one measurement for each check");
    scan
}

/// One check, measured by reading.
pub async fn one(url: &str, check: Check) -> Measurement {
    let mut options = options(url);
    options.proofs = false;
    scan(options, vec![check]).await.measurements.remove(0)
}

pub fn number(measurement: &Measurement) -> f64 {
    measured(measurement).value.unwrap_or_else(|| panic!("{} has a value", measurement.key))
}

pub fn measured(measurement: &Measurement) -> &Measured {
    match &measurement.result {
        Ok(measured) => measured,
        Err(error) => panic!("{}: {error:?}", measurement.key),
    }
}

pub fn refused(measurement: &Measurement) -> &MeasureError {
    match &measurement.result {
        Err(error) => error,
        Ok(measured) => panic!("{} was measured: {measured:?}", measurement.key),
    }
}
