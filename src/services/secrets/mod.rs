//! Use cases of signing secrets: every change is one transaction with its audit row, written by
//! compare-and-set.

mod bootstrap;
pub mod keyring;
mod operations;
mod product;
mod reports;
mod signals;
mod status;
mod upkeep;

use std::sync::Arc;

pub use bootstrap::{Started, start, take_in};
pub use keyring::{Keyring, Unsealable};
pub use operations::{Operation, Outcome, Who, add, confirm_product, give_up, plan_rotation, run};
pub(crate) use operations::{apply, audit};
pub use product::{Reported, fingerprint_text, product_fingerprint, report_product};
pub(crate) use reports::{FirstUse, provider_switched};
pub(crate) use signals::{compromised_signal, key, nearby, product_key, stale_signal, subject};
pub use status::{RotationView, SlotView, VersionView, last_end, status};
pub use upkeep::upkeep;

use crate::domain::clock::SignedDuration;
use crate::domain::secret::{Policy, plan::Refusal};
use crate::domain::signature::scheme::BadSecret;
use crate::settings::Settings;
use crate::store::StoreError;

/// Why a use case of secrets did not happen.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Notation(#[from] BadSecret),
    #[error("there is no webhook source named {0}; sources are configured under [webhooks.sources]")]
    UnknownSource(String),
    #[error(
        "no secret of this slot has this fingerprint; `deploywatch secret status` shows how the product computes it"
    )]
    UnknownFingerprint,
    #[error("somebody else changed this slot at the same moment; look at it and try again")]
    Conflict,
    #[error("the store is not available")]
    Store(#[from] StoreError),
}

/// The store's handle and the key that opens what it holds.
pub type SharedKeyring = Arc<Keyring>;

pub(crate) fn policy(settings: &Settings) -> Policy {
    let seconds = |n: u64| SignedDuration::from_secs(i64::try_from(n).unwrap_or(i64::MAX / 4));
    let secrets = &settings.secrets;
    Policy {
        overlap: seconds(secrets.overlap_seconds),
        quiet: seconds(secrets.quiet_seconds),
        detection: SignedDuration::from_hours(24 * i64::from(secrets.detection_days)),
        stage_deadline: seconds(secrets.stage_deadline_seconds),
    }
}

/// The environment that a source belongs to: the configured one, else the only one there is.
pub fn environment_of(settings: &Settings, source: &str) -> String {
    let configured = settings.webhooks.sources.get(source).and_then(|s| s.environment.clone());
    configured
        .or_else(|| match settings.environments.len() {
            1 => settings.environments.keys().next().cloned(),
            _ => None,
        })
        .unwrap_or_default()
}
