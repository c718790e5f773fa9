//! Which suites fit a target when nobody names any: those that travel inside the program.

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::check::{Check, CheckPolicy, Measure};
use crate::domain::measure::{Query, What};
use crate::suite::{self, Suite, SuiteError};
use crate::target::{self, Engine, Params, ScanRequest, Target, TargetError};

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum SuitesError {
    #[error(transparent)]
    Files(#[from] SuiteError),
    #[error(transparent)]
    Unreachable(#[from] TargetError),
    #[error("{0}")]
    Unfit(String),
    #[error("no suite inside the program fits a SQLite database; name your own: `deploywatch check checks/`")]
    NoneFits,
}

/// The named files; without any, `core` on PostgreSQL, and `supabase` where there is an `auth` schema.
pub async fn fitting(target: &Target, paths: &[PathBuf]) -> Result<Vec<Suite>, SuitesError> {
    if !paths.is_empty() {
        let suites = suite::load(paths)?;
        let unfit = unfit(target, &suites);
        return if unfit.is_empty() { Ok(suites) } else { Err(SuitesError::Unfit(unfit.join("\n"))) };
    }
    if target.engine() == Some(Engine::Sqlite) {
        return Err(SuitesError::NoneFits);
    }
    let mut names = vec!["core"];
    if has_auth_schema(target).await? {
        names.push("supabase");
    }
    let suites: Result<Vec<Suite>, SuiteError> = names.into_iter().filter_map(suite::embedded).collect();
    Ok(suites?)
}

/// What this engine can never answer, one line for each check; better said at once than at every scan.
fn unfit(target: &Target, suites: &[Suite]) -> Vec<String> {
    if target.engine() != Some(Engine::Sqlite) {
        return Vec::new();
    }
    let checks = suites.iter().flat_map(|suite| suite.checks.iter().map(move |check| (suite, check)));
    checks
        .filter_map(|(suite, check)| {
            let why = target::sqlite_refuses(&check.measure.what)?;
            Some(format!("{} of {} cannot be measured on SQLite: {why}", check.key(), suite.origin))
        })
        .collect()
}

async fn has_auth_schema(target: &Target) -> Result<bool, TargetError> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'auth'".to_owned();
    let check = Check {
        policy: CheckPolicy::new("suites.auth_schema", "value"),
        measure: Measure::of(What::Query(Query::Value { sql })),
    };
    let request = ScanRequest { checks: vec![Arc::new(check)], params: Params::default(), carry: None };
    let scan = target.scan(&request).await?;
    let found = scan.measurements.first().and_then(|measurement| measurement.result.as_ref().ok()?.value);
    Ok(found.is_some_and(|count| count > 0.0))
}
