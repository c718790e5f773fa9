//! The watched databases by environment: which checks an environment has, and one scan of its target.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;

use crate::domain::check::Check;
use crate::services::suites::{self, SuitesError};
use crate::settings::{RowSecurity, Settings};
use crate::target::{Carry, Fusion, Params, Scan, ScanRequest, Target, TargetError, TargetOptions};

/// Whether tables that nothing has written to may keep their last measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Reads everything: baselines, confirm samples, the last slot, and at least hourly.
    Full,
    Carry,
    /// Reads everything, and leaves alone what the environment's own scans carry over.
    Aside,
}

/// One scan as a use case asks for it.
#[derive(Debug, Clone)]
pub struct Probe {
    pub environment: String,
    pub checks: Vec<Arc<Check>>,
    pub params: Params,
    pub reading: Reading,
}

/// Why an environment has no checks to run.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    #[error("there is no environment named `{0}` in the settings; add [environments.{0}]")]
    UnknownEnvironment(String),
    #[error(transparent)]
    Suites(#[from] SuitesError),
}

/// Measures environments. Production scans databases ([`Targets`]); tests script the answers, so that a window
/// of 24 hours runs in seconds.
pub trait Prober: Send + Sync + 'static {
    /// The checks of an environment as its suites say now.
    fn checks<'a>(&'a self, environment: &'a str) -> BoxFuture<'a, Result<Vec<Check>, TargetsError>>;

    /// One pass over the environment's target, one measurement for each check asked for.
    fn scan(&self, probe: Probe) -> BoxFuture<'_, Result<Scan, TargetError>>;
}

/// The targets of the settings. What a scan carries over to the next one lives here, in memory: after a
/// restart the first scan reads everything, which is what one wants then anyway.
pub struct Targets {
    settings: Arc<Settings>,
    digest_key: [u8; 32],
    carries: Mutex<HashMap<String, Carry>>,
}

impl Targets {
    /// `digest_key` keys the digests of failing rows, so that they say nothing elsewhere.
    pub fn new(settings: Arc<Settings>, digest_key: [u8; 32]) -> Self {
        Self { settings, digest_key, carries: Mutex::default() }
    }

    /// The target of an environment, with the options of the settings.
    pub fn target(&self, environment: &str) -> Option<Target> {
        let found = self.settings.environments.get(environment)?;
        let scan = &self.settings.scan;
        Some(Target::new(TargetOptions {
            url: found.database_url.expose_secret().into(),
            ca_file: found.ca_file.clone(),
            row_security_off: found.row_security == RowSecurity::Off,
            budget: Duration::from_secs(scan.budget_seconds.into()),
            statement_timeout: Duration::from_secs(scan.statement_timeout_seconds.into()),
            lock_timeout: Duration::from_millis(scan.lock_timeout_millis.into()),
            connections: scan.connections,
            max_cost: scan.max_cost,
            proofs: true,
            trust_foreign_keys: scan.trust_foreign_keys,
            digest_key: self.digest_key,
            fusion: Fusion::Whole,
        }))
    }
}

impl Prober for Targets {
    fn checks<'a>(&'a self, environment: &'a str) -> BoxFuture<'a, Result<Vec<Check>, TargetsError>> {
        Box::pin(async move {
            let found = self
                .settings
                .environments
                .get(environment)
                .ok_or_else(|| TargetsError::UnknownEnvironment(environment.to_owned()))?;
            let target = self
                .target(environment)
                .ok_or_else(|| TargetsError::UnknownEnvironment(environment.to_owned()))?;
            let suites = suites::fitting(&target, &found.suites).await?;
            Ok(suites.into_iter().flat_map(|suite| suite.checks).collect())
        })
    }

    fn scan(&self, probe: Probe) -> BoxFuture<'_, Result<Scan, TargetError>> {
        Box::pin(async move {
            let Some(target) = self.target(&probe.environment) else {
                return Err(unknown(&probe.environment));
            };
            let carry = match probe.reading {
                Reading::Full | Reading::Aside => None,
                Reading::Carry => self.lock().remove(&probe.environment),
            };
            let aside = probe.reading == Reading::Aside;
            let scan =
                target.scan(&ScanRequest { checks: probe.checks, params: probe.params, carry }).await?;
            if !aside {
                self.lock().insert(probe.environment, scan.carry.clone());
            }
            Ok(scan)
        })
    }
}

impl Targets {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Carry>> {
        self.carries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Targets").finish_non_exhaustive()
    }
}

fn unknown(environment: &str) -> TargetError {
    use crate::domain::measurement::{MeasureError, MeasureErrorCode};
    TargetError {
        error: MeasureError {
            code: MeasureErrorCode::Connect,
            message: format!("the environment `{environment}` is no longer in the settings"),
            hint: Some(format!("add [environments.{environment}] again, or cancel the deploy")),
        },
    }
}
