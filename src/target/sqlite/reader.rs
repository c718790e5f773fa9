//! The one connection of a scan on SQLite.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo, ValueRef};

use crate::domain::clock::Timestamp;
use crate::domain::measure::{Catalog, Server};
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measured};

use super::super::ScanRequest;
use super::super::plan::relation::Relations;
use super::super::plan::sql::Dialect;
use super::super::plan::text::{Arguments, bind};
use super::super::run::{ReadError, Reader};
use super::catalog;

pub struct SqliteReader<'a> {
    conn: SqliteConnection,
    relations: &'a Relations,
    request: &'a ScanRequest,
    as_of: Timestamp,
    begun: Instant,
    /// Milliseconds after `begun` at which the running statement is interrupted.
    stop_at: Arc<AtomicU64>,
    pub statements: u32,
}

impl<'a> SqliteReader<'a> {
    pub async fn new(
        mut conn: SqliteConnection,
        relations: &'a Relations,
        request: &'a ScanRequest,
        as_of: Timestamp,
    ) -> Result<Self, sqlx::Error> {
        let (begun, stop_at) = (Instant::now(), Arc::new(AtomicU64::new(u64::MAX)));
        let watched = Arc::clone(&stop_at);
        conn.lock_handle()
            .await?
            .set_progress_handler(5_000, move || millis(begun) < watched.load(Ordering::Relaxed));
        Ok(Self { conn, relations, request, as_of, begun, stop_at, statements: 0 })
    }

    pub async fn end(self) {
        super::close(self.conn).await;
    }

    fn explain(&self, error: &sqlx::Error, timeout: Duration) -> MeasureError {
        let said = said(error);
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().to_string();
        let sql = |hint| MeasureError { code: MeasureErrorCode::Sql, message: said.clone(), hint };
        match code.as_str() {
            "9" => MeasureError {
                code: MeasureErrorCode::Timeout,
                message: format!("the statement was stopped after {} ms", timeout.as_millis()),
                hint: Some("give the check a longer `timeout`, or an index that helps it".into()),
            },
            "5" | "6" | "261" | "517" => MeasureError {
                code: MeasureErrorCode::Lock,
                message: "the database was locked by somebody else for longer than the lock timeout".into(),
                hint: None,
            },
            "8" => sql(Some("a check only reads; nothing was changed".into())),
            _ => match said.strip_prefix("no such table: ") {
                Some(name) => sql(self.relations.suggest(name)),
                None => sql(None),
            },
        }
    }
}

impl Reader for SqliteReader<'_> {
    async fn read(
        &mut self,
        sql: &str,
        _user: Option<usize>,
        limit: usize,
        timeout: Duration,
    ) -> Result<Vec<String>, ReadError> {
        let wrapped = format!("SELECT * FROM (\n{sql}\n) AS dw_q LIMIT {limit}");
        let arguments = Arguments { params: &self.request.params, as_of: self.as_of };
        let bound =
            bind(&wrapped, arguments, Dialect::Sqlite).map_err(|unset| ReadError::Skipped(unset.reason()))?;
        let mut query = sqlx::query(AssertSqlSafe(bound.sql)).persistent(false);
        for value in bound.values {
            query = query.bind(value);
        }
        self.statements += 1;
        let stop = millis(self.begun) + u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX / 2);
        self.stop_at.store(stop, Ordering::Relaxed);
        let rows = query.fetch_all(&mut self.conn).await;
        self.stop_at.store(u64::MAX, Ordering::Relaxed);
        match rows {
            Ok(rows) => Ok(rows.iter().map(json).collect()),
            Err(error) => Err(self.explain(&error, timeout).into()),
        }
    }

    async fn catalog(&mut self, catalog: &Catalog, timeout: Duration) -> Result<Measured, MeasureError> {
        match catalog::measure(&mut self.conn, catalog).await {
            Ok(result) => result,
            Err(error) => Err(self.explain(&error, timeout)),
        }
    }

    async fn server(&mut self, _server: &Server, _timeout: Duration) -> Result<Measured, MeasureError> {
        Err(catalog::refused("SQLite is a file, not a server: it has no connections to count"))
    }

    fn lost(&self) -> Option<MeasureError> {
        None
    }
}

/// The database's own words, without sqlx's frame.
pub fn said(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |e| e.message().to_owned())
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
}

/// One row as a JSON object with its columns in order, also those that share a name.
fn json(row: &SqliteRow) -> String {
    let columns: Vec<String> = row
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let name = serde_json::Value::from(column.name());
            format!("{name}:{}", cell(row, index))
        })
        .collect();
    format!("{{{}}}", columns.join(","))
}

fn cell(row: &SqliteRow, index: usize) -> serde_json::Value {
    let Ok(raw) = row.try_get_raw(index) else { return serde_json::Value::Null };
    if raw.is_null() {
        return serde_json::Value::Null;
    }
    let kind = raw.type_info().name().to_owned();
    match kind.as_str() {
        "INTEGER" | "BOOLEAN" | "INT4" | "INT8" | "BIGINT" => row.get_unchecked::<i64, _>(index).into(),
        "REAL" | "NUMERIC" => row.get_unchecked::<f64, _>(index).into(),
        "BLOB" => hex::encode(row.get_unchecked::<Vec<u8>, _>(index)).into(),
        _ => row.get_unchecked::<String, _>(index).into(),
    }
}
