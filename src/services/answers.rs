//! Telling those who asked, or who show verdicts, what became of a release: an outbox that holds places and
//! not messages. A change of the verdict makes its places due in the same transaction; what is sent is the
//! verdict as it is at that moment. So nothing is lost, nothing overtakes, and an hour without the provider
//! ends with one call.

use std::collections::HashMap;
use std::time::Instant;

use crate::callbacks::app_key::AppKey;
use crate::callbacks::github::{self, CheckRun, Credentials, Github, Place};
use crate::callbacks::vercel::{self, Vercel};
use crate::callbacks::{CALL, CallError};
use crate::domain::answer::{Permission, Report, retry_after};
use crate::domain::check::Stage;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::deploy::{Deploy, DeployKind};
use crate::domain::explain::explain;
use crate::domain::gate::{FailOn, GatePolicy};
use crate::domain::ids::{DeployId, uuid_v7};
use crate::domain::trigger::{Address, Provider, is_commit};
use crate::services::Context;
use crate::services::gate::{Question, ask};
use crate::settings::Trigger;
use crate::store::answers::{self, AnswerAttempt, AnswerClaim, AnswerRow, Settled};
use crate::store::deploys;
use crate::store::{StoreError, Tx};

/// The job's name in the scheduler's table.
pub const JOB: &str = "answers";

/// Places of one activation; the next one continues.
const MOST: u64 = 100;
/// A place needs at most five calls.
const LEASE: SignedDuration = SignedDuration::from_secs(CALL.as_secs() as i64 * 5 + 15);
/// A question that is not decided is put again, in case that nothing touches it.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Adds a place. Nothing is added where the settings have nothing to answer with.
pub async fn add(
    ctx: &Context,
    tx: &mut Tx,
    source: &str,
    environment: &str,
    deploy: Option<&DeployId>,
    address: &Address,
    next_kind: Option<DeployKind>,
) -> Result<(), StoreError> {
    let Some(trigger) = ctx.settings.triggers.get(source) else { return Ok(()) };
    let wanted = match address {
        Address::GithubDeployment { .. } => trigger.deployment_status,
        _ => true,
    };
    if !trigger.can_answer() || !wanted {
        return Ok(());
    }
    let now = ctx.now();
    let row = AnswerRow {
        id: format!("ans_{}", uuid_v7(now, ctx.entropy.as_ref()).simple()),
        deploy_id: deploy.cloned(),
        environment: environment.to_owned(),
        source: source.to_owned(),
        address: address.clone(),
        next_kind,
        created_at: now,
    };
    answers::insert(tx, &row).await.map(drop)
}

/// A deploy was announced, by whomever: where the settings know its repository, its commit shows the verdict.
pub async fn announced(ctx: &Context, tx: &mut Tx, deploy: &Deploy) -> Result<(), StoreError> {
    let Some(commit) = deploy.commit.as_ref().filter(|commit| is_commit(commit)) else { return Ok(()) };
    for (source, trigger) in &ctx.settings.triggers {
        let [repository] = trigger.repositories.as_slice() else { continue };
        if trigger.provider_of(source) != Some(Provider::Github)
            || !watches(ctx, trigger, &deploy.environment)
        {
            continue;
        }
        let address =
            Address::GithubCommit { repository: repository.clone(), sha: commit.clone(), installation: None };
        add(ctx, tx, source, &deploy.environment, Some(&deploy.id), &address, None).await?;
    }
    Ok(())
}

/// Whether a trigger is about this environment.
fn watches(ctx: &Context, trigger: &Trigger, environment: &str) -> bool {
    if trigger.environments.is_empty() {
        return ctx.settings.environments.len() == 1;
    }
    trigger.names().any(|(_, ours)| ours == Some(environment))
}

/// The verdict of a deploy has changed: its places are due. Part of the transaction that changes it.
pub async fn changed(ctx: &Context, tx: &mut Tx, deploy: &Deploy) -> Result<(), StoreError> {
    if answers::touch(tx, &deploy.id, &deploy.environment, ctx.now()).await? > 0 {
        // At the latest the ticker comes by; a nudge before the commit costs at most that.
        ctx.nudge.job(JOB);
    }
    Ok(())
}

/// Tells every place that is due. The number that was told; a place that fails does not hold up the others.
pub async fn send_due(ctx: &Context) -> Result<u64, StoreError> {
    if ctx.settings.triggers.is_empty() {
        return Ok(0);
    }
    let mut told = 0;
    let mut clients = Clients::default();
    for _ in 0..MOST {
        let Some(claim) = claim(ctx).await? else { break };
        if tell(ctx, &mut clients, &claim).await? {
            told += 1;
        }
    }
    Ok(told)
}

async fn claim(ctx: &Context) -> Result<Option<AnswerClaim>, StoreError> {
    let now = ctx.now();
    let lease = uuid_v7(now, ctx.entropy.as_ref()).simple().to_string();
    let mut tx = ctx.db.begin().await?;
    let claim = answers::claim(&mut tx, ctx.db.engine(), now, &lease, now + LEASE).await?;
    tx.commit().await?;
    Ok(claim)
}

/// The clients of one activation, by trigger.
#[derive(Default)]
struct Clients {
    github: HashMap<String, Github>,
    vercel: HashMap<String, Vercel>,
}

/// What is to be said, made from the store alone.
enum Message {
    Verdict(Box<Said>),
    Permission(Permission),
    /// The deploy was taken back before anybody heard of it.
    Nothing,
}

/// A verdict with what is shown around it.
struct Said {
    report: Report,
    environment: String,
    link: Option<String>,
    started_at: Timestamp,
    /// When an override ends, and the verdict changes by itself.
    until: Option<Timestamp>,
}

impl Message {
    /// The same text needs not be said twice.
    fn text(&self) -> String {
        match self {
            Self::Verdict(said) => {
                let report = &said.report;
                format!("{}\n{}\n{}", report.conclusion.as_str(), report.title, report.summary)
            }
            Self::Permission(permission) => format!("{}\n{}", self.word(), permission.comment),
            Self::Nothing => String::new(),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Verdict(said) => said.report.conclusion.as_str(),
            Self::Permission(Permission { approved: Some(true), .. }) => "approved",
            Self::Permission(Permission { approved: Some(false), .. }) => "rejected",
            Self::Permission(_) => "in_progress",
            Self::Nothing => "nothing",
        }
    }
}

/// Tells one place. `false`: it could not be told.
async fn tell(ctx: &Context, clients: &mut Clients, claim: &AnswerClaim) -> Result<bool, StoreError> {
    let stored = &claim.stored;
    let message = message(ctx, stored).await?;
    let text = message.text();
    let began = Instant::now();
    let unchanged = stored.told.as_deref() == Some(text.as_str());
    let done = if unchanged || matches!(message, Message::Nothing) {
        Ok(stored.remote_id.clone())
    } else {
        send(ctx, clients, claim, &message).await
    };
    let now = ctx.now();
    let attempt = AnswerAttempt {
        at: now,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        said: message.word().to_owned(),
        status: done.as_ref().err().and_then(|error| error.status),
        failure: done.as_ref().err().map(|error| error.text.clone()),
    };
    let mut tx = ctx.db.begin().await?;
    let channel = stored.row.address.channel();
    match &done {
        Ok(remote) => {
            let settled = Settled {
                told: &text,
                remote_id: remote.as_deref(),
                next_at: again(&message, now),
                done: matches!(message, Message::Permission(Permission { approved: Some(_), .. })),
                at: now,
            };
            answers::settle(&mut tx, claim, &settled).await?;
        }
        Err(error) => {
            let wait = retry_after(stored.attempts, error.status, error.retry_after);
            let next_at = wait.map(|wait| now + wait);
            answers::fail(&mut tx, claim, stored.remote_id.as_deref(), next_at, &error.text).await?;
            let given_up = next_at.is_none();
            ctx.metrics.answer(channel, if given_up { "dead" } else { "retry" });
            tracing::warn!(answer = %stored.row.id, channel, failure = %error.text, given_up, "a verdict was not taken");
        }
    }
    if !unchanged || done.is_err() {
        let id = uuid_v7(now, ctx.entropy.as_ref()).simple().to_string();
        answers::add_attempt(&mut tx, &id, &stored.row.id, &attempt).await?;
    }
    tx.commit().await?;
    if done.is_ok() && !unchanged {
        ctx.metrics.answer(channel, "told");
        tracing::info!(answer = %stored.row.id, channel, said = message.word(), "a verdict was told");
    }
    Ok(done.is_ok())
}

/// When to look again although nothing changes: an override ends by itself, a question waits for its answer.
fn again(message: &Message, now: Timestamp) -> Option<Timestamp> {
    match message {
        Message::Verdict(said) => said.until.filter(|at| *at > now),
        Message::Permission(Permission { approved: None, .. }) => Some(now + ASK_AGAIN),
        _ => None,
    }
}

async fn message(ctx: &Context, stored: &answers::StoredAnswer) -> Result<Message, StoreError> {
    let row = &stored.row;
    let Some(id) = &row.deploy_id else { return permission(ctx, row).await.map(Message::Permission) };
    let said = match deploys::get_deploy(&mut *ctx.db.reader().await?, id).await? {
        Some(found) => Said {
            report: Report::of(&found.deploy, &found.verdict, found.decided.as_ref(), ctx.now()),
            environment: found.deploy.environment,
            link: page(ctx, id),
            started_at: found.deploy.started_at,
            until: found.decided.map(|decided| decided.expires_at),
        },
        None if stored.told.is_none() => return Ok(Message::Nothing),
        None => Said {
            report: Report::taken_back(),
            environment: row.environment.clone(),
            link: None,
            started_at: row.created_at,
            until: None,
        },
    };
    Ok(Message::Verdict(Box::new(said)))
}

async fn permission(ctx: &Context, row: &AnswerRow) -> Result<Permission, StoreError> {
    let soak = ctx.settings.triggers.get(&row.source).is_some_and(|trigger| !trigger.allow_during_soak);
    let policy =
        GatePolicy { stage: if soak { Stage::Soak } else { Stage::Smoke }, fail_on: FailOn::Failure };
    let next = row.next_kind.unwrap_or(DeployKind::Normal);
    let question = Question::Previous { environment: row.environment.clone(), next };
    let answered = ask(ctx, &question, policy).await?;
    let decision = &answered.decision;
    let lines = match &answered.row {
        // While it waits, the text must not change with the time that is left.
        Some(_) if decision.answer == crate::domain::gate::GateAnswer::Wait => {
            decision.reasons.iter().map(|reason| format!("WAIT: {}", reason.message)).collect()
        }
        Some(found) => explain(&found.deploy, &found.verdict, decision, answered.at),
        None => decision.reasons.iter().map(|reason| reason.message.clone()).collect(),
    };
    let link = answered.row.as_ref().and_then(|found| page(ctx, &found.deploy.id));
    Ok(Permission::of(decision, &lines, link.as_deref()))
}

fn page(ctx: &Context, deploy: &DeployId) -> Option<String> {
    let base = ctx.settings.http.public_url.as_ref()?;
    base.join(&format!("deploys/{deploy}")).ok().map(String::from)
}

/// Says it. Gives what the provider calls the thing that was made or changed.
async fn send(
    ctx: &Context,
    clients: &mut Clients,
    claim: &AnswerClaim,
    message: &Message,
) -> Result<Option<String>, CallError> {
    let stored = &claim.stored;
    let source = &stored.row.source;
    let trigger = ctx.settings.triggers.get(source).filter(|trigger| trigger.can_answer());
    let trigger = trigger.ok_or_else(|| {
        CallError::before(format!(
            "triggers.{source} is no longer in the settings, or has nothing to answer with"
        ))
    })?;
    let now = ctx.now();
    match (&stored.row.address, message) {
        (Address::VercelCheck { deployment, project, team }, Message::Verdict(said)) => {
            let client = match clients.vercel.get(source) {
                Some(client) => client,
                None => clients.vercel.entry(source.clone()).or_insert(vercel(trigger)?),
            };
            let run = vercel::Run {
                deployment,
                project,
                team: team.as_deref(),
                known: stored.remote_id.as_deref(),
                external_id: &stored.row.id,
                report: &said.report,
                link: said.link.as_deref(),
                now,
            };
            client.check_run(&run).await.map(Some)
        }
        (address, message) => {
            let client = match clients.github.get_mut(source) {
                Some(client) => client,
                None => clients.github.entry(source.clone()).or_insert(github(trigger)?),
            };
            send_github(ctx, client, stored, address, message).await
        }
    }
}

async fn send_github(
    ctx: &Context,
    client: &mut Github,
    stored: &answers::StoredAnswer,
    address: &Address,
    message: &Message,
) -> Result<Option<String>, CallError> {
    let now = ctx.now();
    match (address, message) {
        (Address::GithubCommit { repository, sha, installation }, Message::Verdict(said)) => {
            let place = Place { repository, installation: *installation };
            let (environment, report, link) = (&said.environment, &said.report, said.link.as_deref());
            if !client.has_app() {
                client.commit_status(&place, sha, environment, report, link, now).await?;
                return Ok(None);
            }
            let run = CheckRun {
                known: stored.remote_id.as_deref(),
                maybe_made: stored.attempts > 1,
                external_id: &stored.row.id,
                environment,
                report,
                link,
                started_at: said.started_at,
                now,
            };
            client.check_run(&place, sha, &run, now).await.map(Some)
        }
        (Address::GithubDeployment { repository, deployment, installation }, Message::Verdict(said)) => {
            let Some(state) = said.report.conclusion.deployment() else { return Ok(None) };
            let place = Place { repository, installation: *installation };
            let description = format!("{}{}", crate::domain::trigger::github::OURS, said.report.line());
            let description: String = description.chars().take(140).collect();
            let link = said.link.as_deref();
            client.deployment_status(&place, *deployment, state, &description, link, now).await?;
            Ok(None)
        }
        (
            Address::GithubRule { callback, environment, repository, installation },
            Message::Permission(permission),
        ) => {
            let place = Place { repository, installation: *installation };
            client.rule(&place, callback, environment, permission, now).await?;
            Ok(None)
        }
        // The address decides what the message is, so no other pair exists.
        _ => Ok(None),
    }
}

/// Tries what a trigger answers with, and says who we are there.
pub async fn try_credentials(
    ctx: &Context,
    trigger: &Trigger,
    provider: Provider,
) -> Result<String, CallError> {
    match provider {
        Provider::Github => github(trigger)?.who_am_i(ctx.now()).await,
        Provider::Vercel => vercel(trigger)?.who_am_i().await,
        Provider::Generic => Ok("it is listened to and never answered".into()),
    }
}

fn github(trigger: &Trigger) -> Result<Github, CallError> {
    let credentials = match (&trigger.app_id, &trigger.private_key, &trigger.token) {
        (Some(id), Some(key), _) => Credentials::App(Box::new(
            AppKey::new(id, key).map_err(|error| CallError::before(error.to_string()))?,
        )),
        (_, _, Some(token)) => Credentials::Token(token.clone()),
        _ => return Err(CallError::before("there is neither an App nor a token to answer with")),
    };
    Github::new(&base(trigger, github::API)?, credentials)
}

fn vercel(trigger: &Trigger) -> Result<Vercel, CallError> {
    let token = trigger.token.clone().ok_or_else(|| CallError::before("there is no token to answer with"))?;
    Vercel::new(&base(trigger, vercel::API)?, token, trigger.team_id.clone())
}

fn base(trigger: &Trigger, default: &str) -> Result<url::Url, CallError> {
    match &trigger.api_url {
        Some(url) => Ok(url.clone()),
        None => default.parse().map_err(|_| CallError::before("the API has no address")),
    }
}
