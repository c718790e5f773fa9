//! The watched database, read-only: one scan measures every given check over one consistent snapshot.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::check::Check;
use crate::domain::clock::Timestamp;
use crate::domain::measurement::{MeasureError, Measurement};

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
    /// Keys the digests of failing rows; per instance, so that digests say nothing elsewhere.
    pub digest_key: [u8; 32],
}

/// A target that can be scanned; opens a fresh connection for each scan.
#[derive(Debug, Clone)]
pub struct Target {
    pub options: TargetOptions,
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

/// Table fingerprints and last measurements, for [`ScanRequest::carry`]. Serializable; opaque to others.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Carry {}

/// The scan as a whole could not be made: unreachable, refused, wrong URL. `error.code` says which.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct TargetError {
    pub error: MeasureError,
}

impl Target {
    pub fn new(options: TargetOptions) -> Self {
        Self { options }
    }

    /// Measures. A failed connection is one error for the whole scan; anything else blames its check alone.
    pub async fn scan(&self, request: &ScanRequest) -> Result<Scan, TargetError> {
        let _ = request;
        Err(TargetError {
            error: MeasureError {
                code: crate::domain::measurement::MeasureErrorCode::Connect,
                message: "not built yet".into(),
                hint: None,
            },
        })
    }
}
