//! One read-only snapshot on one connection of its own, from BEGIN to ROLLBACK.
//!
//! Works through a transaction pooler: no statement is ever named, everything happens inside an explicit
//! transaction, and nothing outlives it. The simple protocol carries only this file's own fixed texts, since it
//! would let a user's text end the transaction.

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::domain::clock::Timestamp;
use crate::domain::measurement::{MeasureError, MeasureErrorCode};

use super::super::TargetOptions;
use super::super::plan::text::Bound;
use super::errors;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after its own timeout a statement is cancelled from outside, for checks that unset the timeout.
const GRACE: Duration = Duration::from_secs(1);

/// Who and where we are, from the first query.
#[derive(Debug, Clone)]
pub struct Facts {
    pub now: Timestamp,
    pub role: String,
    pub server: String,
}

/// An open snapshot.
pub struct Session {
    conn: PgConnection,
    statement_timeout: Duration,
    lock_timeout: Duration,
    flight: Flight,
    pub facts: Facts,
    pub statements: u32,
    /// The connection is gone; nothing more can be measured.
    pub lost: Option<MeasureError>,
}

/// What the watchdog must still find before it cancels: a pooler may have lent the server to somebody else.
#[derive(Debug, Clone)]
struct Backend {
    pid: i32,
    started: String,
}

/// Which snapshot a session looks at.
#[derive(Debug, Clone, Copy)]
pub enum Snapshot<'a> {
    Own,
    /// Another session's exported one.
    Shared(&'a str),
}

pub fn connect_options(options: &TargetOptions) -> Result<PgConnectOptions, MeasureError> {
    // The parser's own message may repeat the URL with its password, so it is not passed on.
    let parsed = PgConnectOptions::from_str(options.url.expose_secret()).map_err(|_| MeasureError {
        code: MeasureErrorCode::Connect,
        message: "the database URL is not understood".into(),
        hint: Some(
            "write postgres://USER:PASSWORD@HOST:PORT/DATABASE, special characters percent-encoded".into(),
        ),
    })?;
    let parsed = parsed.application_name("deploywatch").statement_cache_capacity(0).extra_float_digits(None);
    Ok(match &options.ca_file {
        Some(file) => parsed.ssl_root_cert(file),
        None => parsed,
    })
}

pub async fn connect(options: &PgConnectOptions, at_most: Duration) -> Result<PgConnection, MeasureError> {
    match tokio::time::timeout(at_most.min(CONNECT_TIMEOUT), PgConnection::connect_with(options)).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(errors::connecting(&error, options)),
        Err(_) => Err(errors::not_answering(options)),
    }
}

impl Session {
    /// Opens the snapshot. `conn` must be outside of any transaction.
    pub async fn begin(
        mut conn: PgConnection,
        connect: PgConnectOptions,
        options: &TargetOptions,
        snapshot: Snapshot<'_>,
    ) -> Result<Self, MeasureError> {
        let settings = settings(options);
        let import = match snapshot {
            Snapshot::Own => String::new(),
            Snapshot::Shared(name) => {
                format!("SET TRANSACTION SNAPSHOT {}; ", super::super::plan::sql::literal(name))
            }
        };
        let failed = |error: sqlx::Error| errors::connecting(&error, &connect);
        let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {import}{settings}");
        let opening = async {
            sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut conn).await?;
            // The first query takes the snapshot, and from here on SET TRANSACTION READ WRITE is refused.
            sqlx::query(
                "SELECT pg_catalog.now()::text, current_user::text, pg_catalog.pg_backend_pid(), \
                 pg_catalog.current_setting('server_version')",
            )
            .persistent(false)
            .fetch_one(&mut conn)
            .await
        };
        let row = tokio::time::timeout(CONNECT_TIMEOUT, opening)
            .await
            .map_err(|_| errors::not_answering(&connect))?
            .map_err(failed)?;
        let started: String = row.try_get(0).map_err(failed)?;
        let facts = Facts {
            now: parse_timestamp(&started).ok_or_else(|| errors::lost("its clock is not understood"))?,
            role: row.try_get(1).map_err(failed)?,
            server: format!("PostgreSQL {}", row.try_get::<String, _>(3).map_err(failed)?),
        };
        let backend = Backend { pid: row.try_get(2).map_err(failed)?, started };
        Ok(Self {
            conn,
            statement_timeout: options.statement_timeout,
            lock_timeout: options.lock_timeout,
            flight: Flight { connect, backend, airborne: false },
            facts,
            statements: 0,
            lost: None,
        })
    }

    /// Lends the snapshot to other sessions; before any savepoint.
    pub async fn export(&mut self) -> Result<String, sqlx::Error> {
        sqlx::query("SELECT pg_catalog.pg_export_snapshot()")
            .persistent(false)
            .fetch_one(&mut self.conn)
            .await?
            .try_get(0)
    }

    /// Marks the place to which every statement returns.
    pub async fn ready(&mut self) -> Result<(), MeasureError> {
        match sqlx::raw_sql("SAVEPOINT dw").execute(&mut self.conn).await {
            Ok(_) => Ok(()),
            Err(error) => Err(errors::connecting(&error, &self.flight.connect)),
        }
    }

    /// Runs one statement that gives one text column, in the savepoint, under its own timeouts. What a
    /// statement before it has set or locked is undone first.
    pub async fn rows(
        &mut self,
        bound: &Bound,
        timeout: Option<Duration>,
    ) -> Result<Vec<String>, sqlx::Error> {
        self.rows_after("", bound, timeout).await
    }

    /// The same, after some settings of ours that the next statement undoes.
    pub async fn rows_after(
        &mut self,
        preparation: &str,
        bound: &Bound,
        timeout: Option<Duration>,
    ) -> Result<Vec<String>, sqlx::Error> {
        let timeout = timeout.unwrap_or(self.statement_timeout).max(Duration::from_millis(1));
        let prelude = format!(
            "ROLLBACK TO SAVEPOINT dw; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; {preparation}",
            timeout.as_millis(),
            self.lock_timeout.as_millis()
        );
        self.statements += 1;
        self.flight.airborne = true;
        let conn = &mut self.conn;
        let run = async {
            sqlx::raw_sql(AssertSqlSafe(prelude)).execute(&mut *conn).await?;
            let mut query = sqlx::query(AssertSqlSafe(bound.sql.clone())).persistent(false);
            for value in &bound.values {
                query = query.bind(value);
            }
            query.fetch_all(&mut *conn).await
        };
        tokio::pin!(run);
        let result = match tokio::time::timeout(timeout + GRACE, &mut run).await {
            Ok(result) => result,
            Err(_) => {
                // It has lifted its own timeout. Dropping the future would not stop it.
                cancel(&self.flight.connect, &self.flight.backend).await;
                match tokio::time::timeout(GRACE * 2, &mut run).await {
                    Ok(result) => result,
                    Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
                }
            }
        };
        self.flight.airborne = false;
        if let Err(error) = &result
            && is_loss(error)
        {
            self.lost = Some(errors::lost(&error.to_string()));
        }
        result?.iter().map(|row| Ok(row.try_get::<Option<String>, _>(0)?.unwrap_or_default())).collect()
    }

    /// The plan of a statement, as JSON.
    pub async fn explain(&mut self, bound: &Bound) -> Result<serde_json::Value, sqlx::Error> {
        let prelude = format!(
            "ROLLBACK TO SAVEPOINT dw; SET LOCAL statement_timeout = {}",
            self.statement_timeout.as_millis()
        );
        sqlx::raw_sql(AssertSqlSafe(prelude)).execute(&mut self.conn).await?;
        let mut query = sqlx::query(AssertSqlSafe(bound.sql.clone())).persistent(false);
        for value in &bound.values {
            query = query.bind(value);
        }
        query.fetch_one(&mut self.conn).await?.try_get(0)
    }

    /// Undoes everything, gives back session-level locks that a check may have taken, and leaves the
    /// connection outside of any transaction.
    pub async fn end(mut self) -> Option<PgConnection> {
        if self.lost.is_some() {
            return None;
        }
        let undo = "ROLLBACK TO SAVEPOINT dw; SELECT pg_catalog.pg_advisory_unlock_all(); ROLLBACK";
        self.flight.airborne = true;
        let conn = &mut self.conn;
        let ended = tokio::time::timeout(GRACE * 2, sqlx::raw_sql(undo).execute(conn)).await;
        self.flight.airborne = false;
        match ended {
            Ok(Ok(_)) => Some(self.into_connection()),
            _ => None,
        }
    }

    fn into_connection(self) -> PgConnection {
        self.conn
    }
}

/// The settings of a scan's transaction. A constant search path, since a pooler may lend us somebody else's.
fn settings(options: &TargetOptions) -> String {
    let row_security = if options.row_security_off { "off" } else { "on" };
    format!(
        "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL row_security = {row_security}; \
         SET LOCAL search_path = \"$user\", public, extensions; SET LOCAL TimeZone = 'UTC'; \
         SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL standard_conforming_strings = on; \
         SET LOCAL extra_float_digits = 1",
        options.statement_timeout.as_millis(),
        options.lock_timeout.as_millis(),
        (options.budget + Duration::from_secs(10)).as_millis(),
    )
}

/// Cancels the statement from another connection, if it is still ours.
async fn cancel(connect: &PgConnectOptions, backend: &Backend) {
    let attempt = async {
        let mut conn = PgConnection::connect_with(connect).await?;
        sqlx::raw_sql("BEGIN READ ONLY").execute(&mut conn).await?;
        sqlx::query(
            "SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE pid = $1 AND xact_start = CAST($2 AS timestamptz) AND application_name = 'deploywatch'",
        )
        .bind(backend.pid)
        .bind(&backend.started)
        .persistent(false)
        .execute(&mut conn)
        .await?;
        sqlx::raw_sql("ROLLBACK").execute(&mut conn).await?;
        conn.close().await
    };
    match tokio::time::timeout(Duration::from_secs(3), attempt).await {
        Ok(Ok(())) => {}
        _ => tracing::warn!("an overrunning statement could not be cancelled"),
    }
}

/// A scan that is dropped in the middle must not leave its statement running on the server.
struct Flight {
    connect: PgConnectOptions,
    backend: Backend,
    airborne: bool,
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.airborne
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (connect, backend) = (self.connect.clone(), self.backend.clone());
            runtime.spawn(async move { cancel(&connect, &backend).await });
        }
    }
}

fn is_loss(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(db) => {
            db.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
        }
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// PostgreSQL's ISO style under UTC: `2026-05-01 12:04:31.123456+00`.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    text.replacen(' ', "T", 1).parse().ok()
}
