//! Carrying out what triggers asked for. Every step is one that may be repeated, so that a process that dies
//! in the middle costs only the time until another one takes over.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::JOB;
use crate::domain::clock::SignedDuration;
use crate::domain::deploy::{DeployKind, DeployState};
use crate::domain::ids::{DeployId, uuid_v7};
use crate::domain::trigger::{Action, Release};
use crate::services::verification::{self, Announcement, Attempt, VerificationError};
use crate::services::{Context, answers};
use crate::store::triggers::{self, EventClaim, TriggerEvent};
use crate::store::{StoreError, Tx, deploys};

/// A claim ends this long after its last renewal, so that another process takes over within half a minute.
const LEASE: SignedDuration = SignedDuration::from_secs(20);
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Carried out at the same time; those of one version wait for each other.
const PARALLEL: usize = 4;
/// Of one activation; the next one continues.
const MOST: u64 = 100;
/// A baseline that cannot be captured is tried again, but not for so long that the finish comes late.
const STARTS: u32 = 3;
const START_AGAIN: SignedDuration = SignedDuration::from_secs(10);
/// Everything else is tried for about an hour.
const TRIES: u32 = 30;
const AGAIN: SignedDuration = SignedDuration::from_secs(120);

/// Carries out everything that is due. The number of requests that are over.
pub async fn run_due(ctx: &Context) -> Result<u64, StoreError> {
    // Without triggers nothing can have come in, and the store is left in peace.
    if ctx.settings.triggers.is_empty() {
        return Ok(0);
    }
    let (mut done, mut problem) = (0, None);
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < PARALLEL && done + (running.len() as u64) < MOST && problem.is_none() {
            let Some(claim) = claim(ctx).await? else { break };
            running.push(carry_out(ctx, claim));
        }
        match running.next().await {
            Some(Ok(())) => done += 1,
            Some(Err(error)) => problem = Some(error),
            None => break,
        }
    }
    problem.map_or(Ok(done), Err)
}

async fn claim(ctx: &Context) -> Result<Option<EventClaim>, StoreError> {
    let now = ctx.now();
    let lease = uuid_v7(now, ctx.entropy.as_ref()).simple().to_string();
    let mut tx = ctx.db.begin().await?;
    let claim = triggers::claim(&mut tx, ctx.db.engine(), now, &lease, now + LEASE).await?;
    tx.commit().await?;
    Ok(claim)
}

/// Renews the claim for as long as it is ours. These are real seconds: a baseline takes as many.
async fn lost(ctx: &Context, claim: &EventClaim) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let renewed = async {
            let mut tx = ctx.db.begin().await?;
            let ours = triggers::renew(&mut tx, claim, ctx.now() + LEASE).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(ours)
        };
        if matches!(renewed.await, Ok(false)) {
            return;
        }
    }
}

/// What one try came to.
enum Outcome {
    Over { said: String, deploy: Option<DeployId> },
    Again { because: String },
}

async fn carry_out(ctx: &Context, claim: EventClaim) -> Result<(), StoreError> {
    let event = &claim.stored.event;
    let acted = tokio::select! {
        acted = act(ctx, event) => acted,
        () = lost(ctx, &claim) => {
            tracing::warn!(trigger = %event.id, "the claim was taken over");
            return Ok(());
        }
    };
    let outcome = match acted {
        Ok(outcome) => outcome,
        Err(VerificationError::Store(error)) => return Err(error),
        // What is wrong with the request or with where a deploy stands does not get better by itself.
        Err(
            error @ (VerificationError::State(_) | VerificationError::NoVersion | VerificationError::Stages),
        ) => Outcome::Over { said: error.to_string(), deploy: None },
        Err(error) => Outcome::Again { because: error.to_string() },
    };
    let (most, pause) = match event.action {
        Action::Start(_) => (STARTS, START_AGAIN),
        _ => (TRIES, AGAIN),
    };
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    match &outcome {
        Outcome::Over { said, deploy } => {
            if let Some(deploy) = deploy {
                arrange(ctx, &mut tx, event, deploy).await?;
            }
            triggers::finish(&mut tx, &claim, now, said, deploy.as_ref()).await?;
        }
        Outcome::Again { because } if claim.stored.attempts >= most => {
            let said = format!("given up after {} tries: {because}", claim.stored.attempts);
            triggers::finish(&mut tx, &claim, now, &said, None).await?;
        }
        Outcome::Again { because } => {
            triggers::postpone(&mut tx, &claim, now + pause, because).await?;
        }
    }
    tx.commit().await?;
    match &outcome {
        Outcome::Over { said, .. } => {
            tracing::info!(trigger = %event.id, event = %event.event, %said, "trigger carried out")
        }
        Outcome::Again { because } => {
            tracing::warn!(trigger = %event.id, event = %event.event, %because, "trigger not carried out")
        }
    }
    // The next one of the same version waits for this one.
    ctx.nudge.job(JOB);
    ctx.nudge.job(answers::JOB);
    Ok(())
}

async fn arrange(
    ctx: &Context,
    tx: &mut Tx,
    event: &TriggerEvent,
    deploy: &DeployId,
) -> Result<(), StoreError> {
    for address in &event.answers {
        answers::add(ctx, tx, &event.source, &event.environment, Some(deploy), address, None).await?;
    }
    Ok(())
}

async fn act(ctx: &Context, event: &TriggerEvent) -> Result<Outcome, VerificationError> {
    match &event.action {
        Action::Start(release) => {
            let started = verification::start(ctx, &announcement(ctx, event, release).await?).await?;
            let word = if started.new { "started" } else { "known already" };
            Ok(over(format!("{} is {word}", started.row.deploy.label()), Some(started.row.deploy.id)))
        }
        Action::Finish(release) => {
            let announcement = announcement(ctx, event, release).await?;
            let row = verification::finish_version(ctx, &announcement).await?;
            Ok(over(format!("the window of {} is open", row.deploy.label()), Some(row.deploy.id)))
        }
        Action::Cancel { release, reason } => cancel(ctx, event, release, reason).await,
        Action::Permit { kind } => permit(ctx, event, *kind).await,
    }
}

fn over(said: String, deploy: Option<DeployId>) -> Outcome {
    Outcome::Over { said, deploy }
}

/// A release that failed to go out takes its announcement back. One whose window is open is out, whatever a
/// later status says.
async fn cancel(
    ctx: &Context,
    event: &TriggerEvent,
    release: &Release,
    reason: &str,
) -> Result<Outcome, VerificationError> {
    let version = known_version(ctx, event, release).await?;
    let found = deploys::get_version(&mut *ctx.db.reader().await?, &event.environment, &version).await?;
    match found {
        Some(row) if row.deploy.state == DeployState::Deploying => {
            let row = verification::cancel(ctx, &row.deploy.id, &event.source, reason).await?;
            Ok(over(format!("{} is cancelled", row.deploy.label()), Some(row.deploy.id)))
        }
        Some(row) => Ok(over(
            format!("{} is not between start and finish; nothing was done", row.deploy.label()),
            None,
        )),
        None => Ok(over(format!("{version} was never announced; nothing was done"), None)),
    }
}

/// The question is written down; the job of the answers puts it to the gate.
async fn permit(ctx: &Context, event: &TriggerEvent, kind: DeployKind) -> Result<Outcome, VerificationError> {
    let mut tx = ctx.db.begin().await?;
    for address in &event.answers {
        answers::add(ctx, &mut tx, &event.source, &event.environment, None, address, Some(kind)).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(over("the rule is about to be answered".into(), None))
}

async fn announcement(
    ctx: &Context,
    event: &TriggerEvent,
    release: &Release,
) -> Result<Announcement, VerificationError> {
    Ok(Announcement {
        environment: Some(event.environment.clone()),
        version: known_version(ctx, event, release).await?,
        commit: release.commit.clone(),
        kind: release.kind,
        actor: Some(release.actor.clone().unwrap_or_else(|| event.source.clone())),
        link: release.link.clone(),
        attempt: Attempt::Same,
        smoke_seconds: None,
        window_seconds: None,
    })
}

/// CI may have announced the same commit by its whole name; then that is the deploy that is meant.
async fn known_version(
    ctx: &Context,
    event: &TriggerEvent,
    release: &Release,
) -> Result<String, VerificationError> {
    if let Some(commit) = &release.commit {
        let found = deploys::get_version(&mut *ctx.db.reader().await?, &event.environment, commit).await?;
        if found.is_some_and(|row| !row.deploy.state.is_terminal()) {
            return Ok(commit.clone());
        }
    }
    Ok(release.version.clone())
}
