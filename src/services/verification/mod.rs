//! Watching deploys: announce, capture the baseline, open the window, answer its slots, end it.

mod finish;
mod judge;
mod known;
mod measure;
mod mute;
mod reverify;
mod start;
mod tick;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::attribution::{self, Span, Suspect};
use crate::domain::check::{Check, CheckKey};
use crate::domain::check_state::CheckState;
use crate::domain::clock::Timestamp;
use crate::domain::deploy::{Deploy, DeployKind, DeployState, OverrideError};
use crate::domain::explain;
use crate::domain::ids::DeployId;
use crate::domain::verdict::{Assessed, Verdict, VerdictState};
use crate::services::Context;
use crate::services::targets::TargetsError;
use crate::settings::Settings;
use crate::store::{StoreError, deploys::DeployRow};

pub use finish::{cancel, decide_by_hand, finish, finish_version, withdraw_decision};
pub use mute::{Muting, mute};
pub use reverify::{Again, reverify};
pub use start::{Started, start};
pub use tick::run_due;

/// A release as somebody announces it.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// May be left out when the settings hold one environment.
    pub environment: Option<String>,
    pub version: String,
    pub commit: Option<String>,
    pub kind: DeployKind,
    pub actor: Option<String>,
    pub link: Option<String>,
    pub attempt: Attempt,
    /// Instead of the settings', in seconds.
    pub smoke_seconds: Option<u32>,
    pub window_seconds: Option<u32>,
}

/// Whether the same environment and version mean the same deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Same,
    New,
}

/// Why a deploy cannot be announced or changed.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    #[error("which environment? the settings hold {}; name one", .0.join(", "))]
    WhichEnvironment(Vec<String>),
    #[error("the settings hold no environment; add [environments.NAME] with its database_url")]
    NoEnvironment,
    #[error("the version must not be empty; give the commit or the release's name")]
    NoVersion,
    #[error("smoke must be at least a second and not longer than the window")]
    Stages,
    #[error(transparent)]
    Targets(#[from] TargetsError),
    #[error("the environment `{0}` has no checks, so nothing could vouch for a deploy; add a suite")]
    NoChecks(String),
    #[error("the baseline could not be captured, so nothing was started: {0}")]
    Baseline(String),
    #[error("there is no deploy {0}")]
    NotFound(DeployId),
    #[error("{0}")]
    State(String),
    #[error("nobody has decided about deploy {0}, so there is nothing to withdraw")]
    NotDecided(String),
    #[error("deploy {label} has no check `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    NoCheck { label: String, key: String, nearest: Option<String> },
    #[error(transparent)]
    Override(#[from] OverrideError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The environment that is meant.
pub fn environment(settings: &Settings, given: Option<&str>) -> Result<String, VerificationError> {
    let mut names = settings.environments.keys();
    match (given, names.next(), names.next()) {
        (Some(name), _, _) if settings.environments.contains_key(name) => Ok(name.to_owned()),
        (Some(name), ..) => Err(TargetsError::UnknownEnvironment(name.to_owned()).into()),
        (None, None, _) => Err(VerificationError::NoEnvironment),
        (None, Some(only), None) => Ok(only.clone()),
        (None, Some(_), Some(_)) => {
            Err(VerificationError::WhichEnvironment(settings.environments.keys().cloned().collect()))
        }
    }
}

/// Checks and their states side by side, in the order of the check set.
struct Watched {
    checks: Arc<[Arc<Check>]>,
    states: Vec<CheckState>,
}

impl Watched {
    async fn load(ctx: &Context, c: &mut sqlx::AnyConnection, row: &DeployRow) -> Result<Self, StoreError> {
        use crate::store::observations;
        let checks = ctx.check_sets.get(c, &row.check_set).await?;
        let mut known: std::collections::HashMap<_, _> = observations::list_states(c, &row.deploy.id)
            .await?
            .into_iter()
            .map(|state| (state.key.clone(), state))
            .collect();
        let states = checks
            .iter()
            .map(|check| {
                known.remove(check.key()).unwrap_or_else(|| CheckState::new(&check.policy, &row.deploy.plan))
            })
            .collect();
        Ok(Self { checks, states })
    }

    fn assessed(&self) -> Vec<Assessed<'_>> {
        self.checks
            .iter()
            .zip(&self.states)
            .map(|(check, state)| Assessed { policy: &check.policy, state })
            .collect()
    }

    /// The next instant at which any check wants something, or at which the time of an undecided smoke is up,
    /// so that the gate hears of it then; the window's end when there is neither.
    fn next_due_at(&self, deploy: &Deploy, verdict: &Verdict, now: Timestamp) -> Timestamp {
        let wanted = self.states.iter().filter_map(CheckState::due_at).min();
        let undecided = verdict.smoke == VerdictState::Verifying;
        let smoke_up = deploy.smoke_ends_at().filter(|end| undecided && *end > now);
        wanted.into_iter().chain(smoke_up).min().unwrap_or(deploy.plan.ends_at())
    }
}

/// A deploy as it stands, or why not.
pub async fn get(ctx: &Context, id: &DeployId) -> Result<DeployRow, VerificationError> {
    let found = crate::store::deploys::get_deploy(&mut *ctx.db.reader().await?, id).await?;
    found.ok_or_else(|| VerificationError::NotFound(id.clone()))
}

/// How far back a breach may come from.
const SUSPECTS_LOOKED_AT: i64 = 20;

/// Which releases each failing check of a deploy may come from, by the check's key.
pub async fn suspects(
    c: &mut sqlx::AnyConnection,
    row: &DeployRow,
) -> Result<BTreeMap<CheckKey, Vec<Suspect>>, StoreError> {
    let failing: Vec<(CheckKey, Timestamp)> = explain::failing(&row.verdict)
        .into_iter()
        .filter_map(|check| Some((check.key.clone(), check.first_failed_at?)))
        .collect();
    let Some(latest) = failing.iter().map(|(_, at)| *at).max() else { return Ok(BTreeMap::new()) };
    let rows = crate::store::deploys::list_started_by(c, &row.deploy.environment, latest, SUSPECTS_LOOKED_AT);
    let spans: Vec<Span> = rows.await?.iter().map(|row| span(&row.deploy)).collect();
    Ok(failing.into_iter().map(|(key, at)| (key, attribution::suspects(at, &spans))).collect())
}

/// The time for which a release answers: from its start, since that is when its migration began, to the planned
/// end of its window.
fn span(deploy: &Deploy) -> Span {
    Span {
        id: deploy.id.clone(),
        label: deploy.label(),
        started_at: deploy.released_at.unwrap_or(deploy.started_at),
        until: deploy.plan.ends_at(),
    }
}

fn is_over(state: &DeployState) -> bool {
    state.is_terminal()
}
