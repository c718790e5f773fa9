//! Silences: made and ended by people, each with an owner, a reason and an end, all in the audit log. What is
//! silenced is measured and shown as ever; the mails come when the silence ends and the problem goes on.

use crate::domain::clock::{SignedDuration, Timestamp, rfc3339};
use crate::domain::ids::{DeployId, SilenceId};
use crate::domain::incident::Incident;
use crate::domain::silence::{Cover, LONGEST, Matchers, Silence, cover};
use crate::services::{Context, alerting};
use crate::store::audit::{self, AuditEntry};
use crate::store::incidents::Which;
use crate::store::{StoreError, Tx, deploys, incidents, silences};

/// The job that tells what outlived its silence.
pub const JOB: &str = "silences";

const OWNER_LETTERS: usize = 80;
const REASON_LETTERS: usize = 300;

/// What a person asks for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub environment: Option<String>,
    /// An id or a version.
    pub deploy: Option<String>,
    pub check: Option<String>,
    pub kind: Option<crate::domain::incident::IncidentKind>,
    pub owner: String,
    pub reason: String,
    pub ends_at: Option<Timestamp>,
}

/// Why there is no such silence.
#[derive(Debug, thiserror::Error)]
pub enum SilenceError {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no such silence")]
    Unknown,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Begins a silence at once.
pub async fn add(ctx: &Context, actor: &str, wish: Wish) -> Result<Silence, SilenceError> {
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    let silence = judged(ctx, &mut tx, actor, wish, now).await?;
    silences::insert(&mut tx, &silence).await?;
    note(ctx, &mut tx, actor, "silence.add", &silence).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(silence)
}

/// Ends a silence now. One that has ended stays as it was.
pub async fn end(ctx: &Context, actor: &str, id: &SilenceId) -> Result<Silence, SilenceError> {
    let mut tx = ctx.db.begin().await?;
    let ended = silences::end(&mut tx, id, actor, ctx.now()).await?;
    let silence = silences::get(&mut tx, id).await?.ok_or(SilenceError::Unknown)?;
    if ended {
        note(ctx, &mut tx, actor, "silence.end", &silence).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    ctx.nudge.job(JOB);
    Ok(silence)
}

/// Tells what goes on although its silence has ended. Returns how many silences were settled.
pub async fn catch_up(ctx: &Context) -> Result<u64, StoreError> {
    let now = ctx.now();
    let ended = silences::list_unsettled(&mut *ctx.db.reader().await?, now).await?;
    let mut settled = 0;
    for silence in ended {
        let mut tx = ctx.db.begin().await?;
        if !silences::settle(&mut tx, &silence.id).await? {
            continue;
        }
        let environment = silence.matchers.environment.as_deref();
        for stored in incidents::list(&mut tx, Which::Open, environment, 1_000).await? {
            if silence.touches(&stored.incident) {
                alerting::tell_after_silence(ctx, &mut tx, stored, &silence).await?;
            }
        }
        tx.commit().await?;
        settled += 1;
    }
    if settled > 0 {
        ctx.nudge.job(alerting::OUTBOX_JOB);
    }
    Ok(settled)
}

/// How much of an incident is silenced now.
pub async fn covering(ctx: &Context, tx: &mut Tx, incident: &Incident) -> Result<Cover, StoreError> {
    let now = ctx.now();
    Ok(cover(&silences::list_active(tx, now).await?, incident, now))
}

async fn judged(
    ctx: &Context,
    tx: &mut Tx,
    actor: &str,
    wish: Wish,
    now: Timestamp,
) -> Result<Silence, SilenceError> {
    let invalid = |text: &str| Err(SilenceError::Invalid(text.to_owned()));
    let given = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let mut matchers = Matchers {
        environment: given(wish.environment),
        deploy: given(wish.deploy),
        check: given(wish.check),
        kind: wish.kind,
    };
    if matchers.is_empty() {
        return invalid("say what to silence: an environment, a deploy, a check or a kind of incident");
    }
    if let Some(environment) = &matchers.environment
        && !ctx.settings.environments.contains_key(environment)
        && !is_of_a_source(ctx, environment)
    {
        return Err(SilenceError::Invalid(format!(
            "there is no environment {environment:?} in the settings"
        )));
    }
    if let Some(deploy) = &matchers.deploy {
        matchers.deploy = Some(deploy_id(tx, matchers.environment.as_deref(), deploy).await?);
    }
    let (owner, reason) = (wish.owner.trim(), wish.reason.trim());
    if owner.is_empty() || owner.chars().count() > OWNER_LETTERS {
        return invalid("name the owner of the silence, whom others can ask, in at most 80 letters");
    }
    if reason.is_empty() || reason.chars().count() > REASON_LETTERS {
        return invalid("give the reason of the silence, in at most 300 letters");
    }
    let Some(ends_at) = wish.ends_at else { return invalid("say when the silence ends, such as 4h") };
    if ends_at <= now {
        return invalid("the end of the silence is in the past");
    }
    if ends_at.duration_since(now) > LONGEST {
        return invalid(
            "a silence lasts 30 days at most; mute the check in its suite to silence it for good",
        );
    }
    Ok(Silence {
        id: SilenceId::new(now, ctx.entropy.as_ref()),
        matchers,
        owner: owner.to_owned(),
        reason: reason.to_owned(),
        starts_at: now,
        ends_at,
        created_by: actor.to_owned(),
        ended_by: None,
    })
}

fn is_of_a_source(ctx: &Context, environment: &str) -> bool {
    let mut sources = ctx.settings.webhooks.sources.values();
    sources.any(|source| source.environment.as_deref() == Some(environment))
}

/// The id of a deploy that was given by id or by version.
async fn deploy_id(tx: &mut Tx, environment: Option<&str>, wanted: &str) -> Result<String, SilenceError> {
    if let Some(row) = deploys::get_deploy(tx, &DeployId::from_text(wanted)).await? {
        return Ok(row.deploy.id.to_string());
    }
    let recent = deploys::list_deploys(tx, environment, 200).await?;
    let found = recent.into_iter().find(|row| row.deploy.version == wanted || row.deploy.label() == wanted);
    match found {
        Some(row) => Ok(row.deploy.id.to_string()),
        None => Err(SilenceError::Invalid(format!("there is no deploy {wanted:?}"))),
    }
}

async fn note(
    ctx: &Context,
    tx: &mut Tx,
    actor: &str,
    action: &str,
    silence: &Silence,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: ctx.now(),
        actor: actor.into(),
        action: action.into(),
        subject: silence.id.to_string(),
        detail: serde_json::json!({
            "what": silence.matchers.in_words(),
            "owner": silence.owner,
            "reason": silence.reason,
            "ends_at": rfc3339(silence.ends_at),
        }),
    };
    audit::append(tx, ctx.entropy.as_ref(), &entry).await
}

/// The end of a silence that lasts so long from now.
pub fn end_after(now: Timestamp, seconds: u32) -> Timestamp {
    now + SignedDuration::from_secs(seconds.into())
}
