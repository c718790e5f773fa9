//! SQLite: the embedded engine, for the demo, for the language's tests and for products that keep their data in it.

mod catalog;
mod reader;

pub use catalog::refuses;

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};

use crate::domain::clock::Timestamp;
use crate::domain::measurement::{MeasureError, MeasureErrorCode};

use super::assemble::Assembly;
use super::outline::{ScanPlan, steps};
use super::plan::Trust;
use super::plan::prepare::{Assumptions, prepare, tables};
use super::plan::sql::Dialect;
use super::plan::text::Arguments;
use super::run::Work;
use super::{Carry, Progress, Scan, ScanRequest, TargetError, TargetOptions};
use reader::SqliteReader;

/// Measures every check of the request in one read transaction.
pub async fn scan(
    options: &TargetOptions,
    request: &ScanRequest,
    progress: &Progress,
) -> Result<Scan, TargetError> {
    let begun = Instant::now();
    let mut conn = open(options).await?;
    let (as_of, server) = begin(&mut conn).await.map_err(|e| unusable(&e))?;
    let as_of = request.params.now.unwrap_or(as_of);
    let relations = catalog::load(&mut conn, &tables(&request.checks)).await.map_err(|e| unusable(&e))?;
    let assume = assumptions(options);
    let never_hidden = |_: &_| over_budget();
    let prepared = request.checks.iter().map(|c| prepare(c, &relations, assume, never_hidden)).collect();
    let mut assembly = Assembly::new(prepared, request, Dialect::Sqlite, options.fusion);
    let mut jobs: VecDeque<_> = std::mem::take(&mut assembly.together);
    jobs.append(&mut assembly.apart);
    let work = Work {
        request,
        options,
        dialect: Dialect::Sqlite,
        as_of,
        deadline: begun + options.budget,
        rows: &assembly.rows,
        queue: Mutex::new(jobs),
        over_budget,
        progress: progress.begin(assembly.answers.len()),
    };
    let mut reader = SqliteReader::new(conn, &relations, request, as_of).await.map_err(|e| unusable(&e))?;
    let mut answers = work.run(&mut reader).await;
    let statements = reader.statements;
    reader.end().await;
    answers.append(&mut assembly.answers);
    let measurements = assembly.measurements(&work, answers);
    Ok(Scan { as_of, measurements, carry: Carry::default(), statements, duration: begun.elapsed(), server })
}

/// What a scan would do, without reading any row. SQLite's planner tells no cost.
pub async fn explain(options: &TargetOptions, request: &ScanRequest) -> Result<ScanPlan, TargetError> {
    let mut conn = open(options).await?;
    let (as_of, server) = begin(&mut conn).await.map_err(|e| unusable(&e))?;
    let as_of = request.params.now.unwrap_or(as_of);
    let relations = catalog::load(&mut conn, &tables(&request.checks)).await.map_err(|e| unusable(&e))?;
    close(conn).await;
    let prepared = request
        .checks
        .iter()
        .map(|c| prepare(c, &relations, assumptions(options), |_: &_| over_budget()))
        .collect();
    let mut assembly = Assembly::new(prepared, request, Dialect::Sqlite, options.fusion);
    let mut jobs = std::mem::take(&mut assembly.together);
    jobs.append(&mut assembly.apart);
    let arguments = Arguments { params: &request.params, as_of };
    let steps = steps(&jobs, request, arguments, Dialect::Sqlite);
    Ok(ScanPlan::of(server, steps, &assembly, request, Vec::new()))
}

fn assumptions(options: &TargetOptions) -> Assumptions {
    Assumptions {
        dialect: Dialect::Sqlite,
        proofs: options.proofs.then_some(Trust::Constraints),
        policies: true,
    }
}

pub async fn open(options: &TargetOptions) -> Result<SqliteConnection, MeasureError> {
    let url = options.url.expose_secret();
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = path.split('?').next().unwrap_or(path).to_owned();
    let refuse = |message: String, hint: &str| MeasureError {
        code: MeasureErrorCode::Connect,
        message,
        hint: Some(hint.into()),
    };
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|_| refuse("the database URL is not understood".into(), "write sqlite:PATH"))?
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(options.lock_timeout)
        .with_regexp()
        .statement_cache_capacity(0);
    match connect.connect().await {
        Ok(conn) => Ok(conn),
        Err(_) if !std::path::Path::new(&path).exists() => Err(refuse(
            format!("there is no SQLite file {path}"),
            "check the path after sqlite: in the database URL",
        )),
        Err(error) => Err(refuse(
            format!("the SQLite file {path} cannot be opened: {error}"),
            "check that it is a SQLite database and that this user may read it",
        )),
    }
}

/// Opens the snapshot and says when and with what.
async fn begin(conn: &mut SqliteConnection) -> Result<(Timestamp, String), sqlx::Error> {
    sqlx::raw_sql("PRAGMA query_only = ON; BEGIN").execute(&mut *conn).await?;
    // The first read takes the snapshot.
    let row = sqlx::query(
        "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), sqlite_version(), (SELECT count(*) FROM sqlite_master)",
    )
    .persistent(false)
    .fetch_one(&mut *conn)
    .await?;
    let micros: i64 = row.try_get(0)?;
    Ok((crate::domain::clock::from_micros(micros), format!("SQLite {}", row.try_get::<String, _>(1)?)))
}

pub async fn close(mut conn: SqliteConnection) {
    let _ = sqlx::raw_sql("ROLLBACK").execute(&mut conn).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), conn.close()).await;
}

fn unusable(error: &sqlx::Error) -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Connect,
        message: format!("the SQLite database could not be read: {}", reader::said(error)),
        hint: Some("check that it is a SQLite database and that nobody holds it exclusively".into()),
    }
}

fn over_budget() -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Budget,
        message: "the time for the whole scan was used up before this check's turn".into(),
        hint: Some("raise scan.budget_seconds, or run the slow checks less often".into()),
    }
}
