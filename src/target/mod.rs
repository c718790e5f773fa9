//! The watched database, read-only: one scan measures every given check over one consistent snapshot.

mod assemble;
mod digest;
mod outline;
mod plan;
mod postgres;
mod progress;
mod rows;
mod run;
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use outline::{ScanPlan, Step};
pub use plan::carry::Carry;
pub use progress::Progress;
pub use sqlite::refuses as sqlite_refuses;

use secrecy::{ExposeSecret, SecretString};

use crate::domain::check::Check;
use crate::domain::clock::Timestamp;
use crate::domain::inspection::Inspection;
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measurement};

/// How to reach a target and how to behave there.
#[derive(Debug, Clone)]
pub struct TargetOptions {
    /// `postgres://…` or `sqlite:PATH`.
    pub url: SecretString,
    pub ca_file: Option<PathBuf>,
    /// False keeps `row_security` on and demands a `USING (true)` policy for our role on every table read.
    pub row_security_off: bool,
    pub budget: Duration,
    pub statement_timeout: Duration,
    pub lock_timeout: Duration,
    pub connections: u32,
    pub max_cost: Option<f64>,
    /// Report 0 "proved by …" where a validated constraint makes a violation impossible.
    pub proofs: bool,
    /// Believe foreign keys too. Replication roles and disabled triggers bypass them, so they are read otherwise.
    pub trust_foreign_keys: bool,
    pub fusion: Fusion,
    /// Keys the digests of failing rows; per instance, so that digests say nothing elsewhere.
    pub digest_key: [u8; 32],
}

impl TargetOptions {
    /// The defaults of a careful guest: 30 s for a scan, 10 s for a statement, one connection.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            ca_file: None,
            row_security_off: true,
            budget: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_millis(500),
            connections: 1,
            max_cost: None,
            proofs: true,
            trust_foreign_keys: false,
            fusion: Fusion::Whole,
            digest_key: [0; 32],
        }
    }
}

/// How many checks may share one pass over a table. Less than all of them is for measuring what sharing gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fusion {
    #[default]
    Whole,
    /// Checks of one table together, those that join another each alone.
    WithoutJoins,
    /// One statement for each check.
    Off,
}

/// A target that can be scanned; opens a fresh connection for each scan.
#[derive(Debug, Clone)]
pub struct Target {
    pub options: TargetOptions,
    progress: Progress,
}

/// What one scan measures.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    pub checks: Vec<Arc<Check>>,
    pub params: Params,
    /// The last scan's carry state; `None` reads everything.
    pub carry: Option<Carry>,
}

/// The parameters of the user's SQL. `now` overrides the snapshot's `now()` as `as_of` (tests only).
#[derive(Debug, Clone, Default)]
pub struct Params {
    pub environment: String,
    pub deployed_at: Option<Timestamp>,
    pub baseline_at: Option<Timestamp>,
    pub now: Option<Timestamp>,
}

/// What a scan brings back: one measurement for each check asked for, in that order.
#[derive(Debug, Clone)]
pub struct Scan {
    pub as_of: Timestamp,
    pub measurements: Vec<Measurement>,
    pub carry: Carry,
    pub statements: u32,
    pub duration: Duration,
    pub server: String,
}

/// The scan as a whole could not be made: unreachable, refused, wrong URL. `error.code` says which.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct TargetError {
    pub error: MeasureError,
}

impl Target {
    pub fn new(options: TargetOptions) -> Self {
        Self { options, progress: Progress::default() }
    }

    /// Tells `progress` how far each scan has come.
    #[must_use]
    pub fn telling(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Measures. A failed connection is one error for the whole scan; anything else blames its check alone.
    pub async fn scan(&self, request: &ScanRequest) -> Result<Scan, TargetError> {
        match self.engine() {
            Some(Engine::Postgres) => postgres::scan(&self.options, request, &self.progress).await,
            Some(Engine::Sqlite) => sqlite::scan(&self.options, request, &self.progress).await,
            None => Err(unknown_scheme()),
        }
    }

    /// Says what [`Self::scan`] would do, without reading any row.
    pub async fn explain(&self, request: &ScanRequest) -> Result<ScanPlan, TargetError> {
        match self.engine() {
            Some(Engine::Postgres) => postgres::explain(&self.options, request).await,
            Some(Engine::Sqlite) => sqlite::explain(&self.options, request).await,
            None => Err(unknown_scheme()),
        }
    }

    /// Looks at one schema: the catalog and the planner's statistics, read-only, and no row of any table.
    pub async fn inspect(&self, schema: &str) -> Result<Inspection, TargetError> {
        match self.engine() {
            Some(Engine::Postgres) => postgres::inspect(&self.options, schema).await,
            Some(Engine::Sqlite) => Err(TargetError {
                error: MeasureError {
                    code: MeasureErrorCode::Sql,
                    message: "SQLite keeps no statistics from which checks could be proposed".into(),
                    hint: Some("name a PostgreSQL database, or write the suite by hand".into()),
                },
            }),
            None => Err(unknown_scheme()),
        }
    }

    /// Which engine the URL names.
    pub fn engine(&self) -> Option<Engine> {
        let url = self.options.url.expose_secret();
        match url.split(':').next()? {
            "postgres" | "postgresql" => Some(Engine::Postgres),
            "sqlite" => Some(Engine::Sqlite),
            _ => None,
        }
    }
}

/// What is behind a target's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Postgres,
    Sqlite,
}

fn unknown_scheme() -> TargetError {
    TargetError {
        error: MeasureError {
            code: MeasureErrorCode::Connect,
            message: "the database URL names no engine that is known".into(),
            hint: Some("write postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:PATH".into()),
        },
    }
}
