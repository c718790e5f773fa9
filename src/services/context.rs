//! What every use case needs, handed in once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::Entropy;
use crate::email::Mailer;
use crate::services::check_sets::CheckSets;
use crate::services::heartbeat::Progress;
use crate::services::targets::{Prober, Targets};
use crate::settings::Settings;
use crate::store::Db;
use crate::telemetry::Metrics;

/// Cheap to clone; shared by handlers, jobs and commands.
#[derive(Clone)]
pub struct Context {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub settings: Arc<Settings>,
    /// Measures the watched databases; [`crate::services::targets::Targets`] but in tests.
    pub prober: Arc<dyn Prober>,
    pub keys: Keys,
    pub metrics: Metrics,
    pub nudge: Nudge,
    pub mailer: Mailer,
    pub progress: Progress,
    pub check_sets: CheckSets,
    /// The process was asked to stop: long work takes nothing new.
    pub stopping: CancellationToken,
}

impl Context {
    /// A context that measures the targets of the settings, with its own metrics and nobody listening to
    /// nudges.
    pub fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        settings: Arc<Settings>,
        keys: Keys,
    ) -> Self {
        let prober = Arc::new(Targets::new(settings.clone(), keys.derive("row-digests")));
        let (metrics, nudge) = (Metrics::default(), Nudge::default());
        let mailer = Mailer::of(&settings.email);
        let progress = Progress::default();
        let (check_sets, stopping) = (CheckSets::default(), CancellationToken::new());
        Self {
            db,
            clock,
            entropy,
            settings,
            prober,
            keys,
            metrics,
            nudge,
            mailer,
            progress,
            check_sets,
            stopping,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// The instance's master key. Only keys derived from it are ever used, one for each purpose, so that no two
/// uses can be confused.
#[derive(Clone)]
pub struct Keys(Arc<Zeroizing<[u8; 32]>>);

impl Keys {
    pub fn new(master: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(master)))
    }

    /// The key for one purpose: `webhook-secrets`, `fingerprints`, `row-digests`.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys([redacted])")
    }
}

/// Tells the ticker that a job has work now, so that a mail does not wait for the next tick. Losing a nudge
/// costs only that wait, since the job finds its work in the store.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Nudged>);

#[derive(Debug, Default)]
struct Nudged {
    jobs: Mutex<BTreeSet<String>>,
    bell: Notify,
}

impl Nudge {
    /// Asks for `job` (its name in `scheduler::jobs`) as soon as possible. Call it after the commit.
    pub fn job(&self, job: &str) {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(job.to_owned());
        self.0.bell.notify_one();
    }

    /// What was asked for since the last call.
    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something is asked for.
    pub async fn rung(&self) {
        self.0.bell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_differ_by_purpose_and_master_and_stay_the_same() {
        let keys = Keys::new([7; 32]);
        assert_eq!(keys.derive("a"), Keys::new([7; 32]).derive("a"));
        assert_ne!(keys.derive("a"), keys.derive("b"));
        assert_ne!(keys.derive("a"), Keys::new([8; 32]).derive("a"));
        assert_eq!(format!("{keys:?}"), "Keys([redacted])");
    }

    #[tokio::test]
    async fn a_nudge_before_the_wait_is_not_lost() {
        let nudge = Nudge::default();
        nudge.job("send");
        nudge.job("send");
        nudge.rung().await;
        assert_eq!(nudge.take().into_iter().collect::<Vec<_>>(), ["send"]);
        assert!(nudge.take().is_empty());
    }
}
