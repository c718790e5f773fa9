//! Announcing deploys and looking at them.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{ApiError, Caller, idempotent};
use crate::api::deploys::{
    AnnounceRequest, BaselineView, CancelRequest, DeployList, DeployView, FailingView, MuteRequest,
    OverrideRequest, ReverifyRequest, UnmeasuredView,
};
use crate::api::length;
use crate::api::problem::Code;
use crate::domain::announce::since_deploy;
use crate::domain::check::CheckKey;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::deploy::{DeployState, Override};
use crate::domain::explain;
use crate::domain::gate::effective;
use crate::domain::ids::DeployId;
use crate::domain::verdict::CheckStanding;
use crate::domain::wording::quantity;
use crate::services::Context;
use crate::services::gate::LONGEST_WAIT;
use crate::services::targets::TargetsError;
use crate::services::verification::{self, Again, Announcement, Attempt, Muting, Started, VerificationError};
use crate::settings::Settings;
use crate::store::deploys::{self, DeployRow};

/// How often a waiting reader looks again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LISTED: i64 = 50;
const MOST_LISTED: i64 = 500;

/// `POST /api/v1/deploys`: returns when the baseline is captured and the migration may run. 201 for a new
/// deploy, 200 for one that was announced before.
pub async fn start(
    ctx: web::Data<Context>,
    caller: Caller,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let announcement = announcement(&caller, json(&body)?);
    idempotent::once(
        &ctx,
        &caller,
        &request,
        &body,
        Box::pin(async {
            let started = verification::start(&ctx, &announcement).await?;
            let status = if started.new { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, started_view(&ctx, &started)))
        }),
    )
    .await
}

/// Changes a deploy once for each Idempotency-Key, and answers with what it is then.
async fn changed(
    ctx: &Context,
    (caller, request, body): (&Caller, &HttpRequest, &[u8]),
    status: StatusCode,
    work: impl Future<Output = Result<DeployRow, VerificationError>>,
) -> Result<HttpResponse, ApiError> {
    let answered = async {
        let row = work.await?;
        Ok((status, view(ctx, &row, Detail::Whole)))
    };
    idempotent::once(ctx, caller, request, body, answered).await
}

/// `POST /api/v1/deploys/finish`: opens the window of a version, started or not.
pub async fn finish_version(
    ctx: web::Data<Context>,
    caller: Caller,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let announcement = announcement(&caller, json(&body)?);
    let work = verification::finish_version(&ctx, &announcement);
    changed(&ctx, (&caller, &request, &body), StatusCode::OK, Box::pin(work)).await
}

/// `POST /api/v1/deploys/{id}/finish`
pub async fn finish(
    ctx: web::Data<Context>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let id = DeployId::from_text(id.into_inner());
    let work = verification::finish(&ctx, &id);
    changed(&ctx, (&caller, &request, &body), StatusCode::OK, Box::pin(work)).await
}

/// `POST /api/v1/deploys/{id}/cancel`
pub async fn cancel(
    ctx: web::Data<Context>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let id = DeployId::from_text(id.into_inner());
    let CancelRequest { reason } = json(&body)?;
    if reason.trim().is_empty() {
        return Err(ApiError::new(Code::InvalidRequest, "give a reason; it is shown beside the deploy"));
    }
    let work = verification::cancel(&ctx, &id, &caller.actor, reason.trim());
    changed(&ctx, (&caller, &request, &body), StatusCode::OK, Box::pin(work)).await
}

/// `POST /api/v1/deploys/{id}/override`
pub async fn decide(
    ctx: web::Data<Context>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let id = DeployId::from_text(id.into_inner());
    let asked: OverrideRequest = json(&body)?;
    let work = async {
        let at = ctx.now();
        let decided = Override {
            verdict: asked.verdict,
            actor: asked.actor.unwrap_or_else(|| caller.actor.clone()),
            reason: asked.reason,
            at,
            expires_at: at + SignedDuration::from_secs(asked.seconds.into()),
        };
        verification::decide_by_hand(&ctx, &id, decided).await
    };
    changed(&ctx, (&caller, &request, &body), StatusCode::OK, Box::pin(work)).await
}

/// `DELETE /api/v1/deploys/{id}/override`
pub async fn withdraw(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = DeployId::from_text(id.into_inner());
    let row = verification::withdraw_decision(&ctx, &id, &caller.actor).await?;
    Ok(HttpResponse::Ok().json(view(&ctx, &row, Detail::Whole)))
}

/// `POST /api/v1/deploys/{id}/mute`
pub async fn mute(
    ctx: web::Data<Context>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let id = DeployId::from_text(id.into_inner());
    let asked: MuteRequest = json(&body)?;
    let work = async {
        let muting = Muting {
            check: CheckKey(asked.check),
            seconds: asked.seconds,
            actor: asked.actor.unwrap_or_else(|| caller.actor.clone()),
            reason: asked.reason,
        };
        verification::mute(&ctx, &id, muting).await
    };
    changed(&ctx, (&caller, &request, &body), StatusCode::OK, Box::pin(work)).await
}

/// `POST /api/v1/deploys/{id}/reverify`
pub async fn reverify(
    ctx: web::Data<Context>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let id = DeployId::from_text(id.into_inner());
    let asked: ReverifyRequest = if body.is_empty() { ReverifyRequest::default() } else { json(&body)? };
    let work = async {
        let again = Again {
            actor: asked.actor.unwrap_or_else(|| caller.actor.clone()),
            link: asked.link,
            smoke_seconds: asked.smoke_seconds,
            window_seconds: asked.window_seconds,
        };
        verification::reverify(&ctx, &id, &again).await
    };
    changed(&ctx, (&caller, &request, &body), StatusCode::CREATED, Box::pin(work)).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    environment: Option<String>,
    version: Option<String>,
    limit: Option<i64>,
}

/// `GET /api/v1/deploys?environment=…&version=…&limit=…`: newest first.
pub async fn list(ctx: web::Data<Context>, query: web::Query<ListQuery>) -> Result<HttpResponse, ApiError> {
    let mut c = ctx.db.reader().await?;
    let rows = match &query.version {
        Some(version) => {
            let name = verification::environment(&ctx.settings, query.environment.as_deref())?;
            deploys::get_version(&mut c, &name, version).await?.into_iter().collect()
        }
        None => {
            let limit = query.limit.unwrap_or(LISTED).clamp(1, MOST_LISTED);
            deploys::list_deploys(&mut c, query.environment.as_deref(), limit).await?
        }
    };
    let deploys = rows.iter().map(|row| view(&ctx, row, Detail::Brief)).collect();
    Ok(HttpResponse::Ok().json(DeployList { deploys }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetQuery {
    wait: Option<String>,
}

/// `GET /api/v1/deploys/{id}?wait=30s`: with `If-None-Match` it waits until the verdict is another one, and
/// answers 304 when it is not by then.
pub async fn get(
    ctx: web::Data<Context>,
    stopping: web::Data<CancellationToken>,
    request: HttpRequest,
    id: web::Path<String>,
    query: web::Query<GetQuery>,
) -> Result<HttpResponse, ApiError> {
    let id = DeployId::from_text(id.into_inner());
    let known = known_etag(&request);
    let deadline = tokio::time::Instant::now() + wait(query.wait.as_deref())?;
    loop {
        let row = verification::get(&ctx, &id).await?;
        let etag = etag(&row, ctx.now());
        let same = known.as_ref() == Some(&etag);
        let over = tokio::time::Instant::now() >= deadline || stopping.is_cancelled();
        if !same {
            let answer = whole(&ctx, &row).await?;
            return Ok(HttpResponse::Ok().insert_header((header::ETAG, quoted(&etag))).json(answer));
        }
        if over {
            return Ok(HttpResponse::NotModified().insert_header((header::ETAG, quoted(&etag))).finish());
        }
        pause(deadline, &stopping).await;
    }
}

/// What the caller has seen before, from `If-None-Match`.
pub(super) fn known_etag(request: &HttpRequest) -> Option<String> {
    let known = request.headers().get(header::IF_NONE_MATCH)?.to_str().ok()?;
    Some(known.trim_start_matches("W/").trim_matches('"').to_owned())
}

/// Until the next look, the deadline or the stop, whichever comes first.
pub(super) async fn pause(deadline: tokio::time::Instant, stopping: &CancellationToken) {
    let next = deadline.min(tokio::time::Instant::now() + LOOK_EVERY);
    tokio::select! {
        () = tokio::time::sleep_until(next) => {}
        () = stopping.cancelled() => {}
    }
}

/// The length in a query, at most what one request may be held open for.
pub(super) fn wait(text: Option<&str>) -> Result<Duration, ApiError> {
    let seconds = text.map_or(Ok(0), length::parse);
    let seconds = seconds.map_err(|error| ApiError::new(Code::InvalidRequest, format!("wait: {error}")))?;
    Ok(Duration::from_secs(seconds.into()).min(LONGEST_WAIT))
}

/// How much of a deploy is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    Whole,
    Brief,
}

/// The whole deploy, with the releases that each failing check may come from.
pub(super) async fn whole(ctx: &Context, row: &DeployRow) -> Result<DeployView, ApiError> {
    let mut view = view(ctx, row, Detail::Whole);
    let mut c = ctx.db.reader().await?;
    let mut suspects = verification::suspects(&mut c, row).await?;
    drop(c);
    for check in &mut view.failing {
        check.suspects = suspects.remove(&CheckKey(check.key.clone())).unwrap_or_default();
    }
    Ok(view)
}

pub(super) fn view(ctx: &Context, row: &DeployRow, detail: Detail) -> DeployView {
    let (deploy, verdict, now) = (&row.deploy, &row.verdict, ctx.now());
    let (ended_at, superseded_by, cancel_reason) = match &deploy.state {
        DeployState::Deploying | DeployState::Verifying => (None, None, None),
        DeployState::Closed { at } => (Some(*at), None, None),
        DeployState::Superseded { at, by } => (Some(*at), Some(by.to_string()), None),
        DeployState::Cancelled { at, reason } => (Some(*at), None, Some(reason.clone())),
    };
    let baseline = deploy.baseline_id.as_ref().zip(deploy.baseline_at).map(|(id, captured_at)| {
        BaselineView { id: id.to_string(), captured_at, measured: None, unmeasured: Vec::new() }
    });
    DeployView {
        id: deploy.id.to_string(),
        environment: deploy.environment.clone(),
        version: deploy.version.clone(),
        attempt: deploy.attempt,
        commit: deploy.commit.clone(),
        kind: deploy.kind,
        actor: deploy.actor.clone(),
        link: deploy.link.clone(),
        url: page(&ctx.settings, &deploy.id),
        state: verdict.state,
        provisional: verdict.provisional,
        effective: effective(verdict, row.decided.as_ref(), now),
        decided: row.decided.clone(),
        stage: verdict.stage,
        smoke: verdict.smoke,
        since: row.verdict_at,
        started_at: deploy.started_at,
        finished_at: deploy.finished_at,
        released_at: deploy.released_at,
        reverifies: deploy.reverifies.as_ref().map(ToString::to_string),
        smoke_ends_at: deploy.smoke_ends_at(),
        ends_at: deploy.ends_at(),
        ended_at,
        next_scan_at: row.next_due_at.filter(|_| deploy.state == DeployState::Verifying),
        baseline,
        coverage: verdict.coverage,
        counts: verdict.counts,
        shadow: verdict.shadow,
        reasons: verdict.reasons.clone(),
        failing: explain::failing(verdict).into_iter().map(|c| failing(row, c)).collect(),
        checks: if detail == Detail::Whole { verdict.checks.clone() } else { Vec::new() },
        superseded_by,
        cancel_reason,
        etag: etag(row, now),
    }
}

fn failing(row: &DeployRow, check: &CheckStanding) -> FailingView {
    let said = |value: Option<f64>| value.map(|value| quantity(value, check.unit));
    let since = |at: Timestamp| since_deploy(&row.deploy, at);
    FailingView {
        key: check.key.as_str().to_owned(),
        title: check.title.clone(),
        severity: check.severity,
        breached: check.breached,
        recovered: check.recovered,
        value: check.value,
        observed: said(check.value),
        threshold: check.threshold.clone(),
        baseline: check.baseline,
        before: said(check.baseline),
        reason: check.reason.clone(),
        message: check.message.clone(),
        first_failed_at: check.first_failed_at,
        since: check.first_failed_at.map(since),
        fails: check.fails,
        runs: check.runs,
        runbook: check.runbook.clone(),
        statement: check.statement.clone(),
        suspects: Vec::new(),
    }
}

fn started_view(ctx: &Context, started: &Started) -> DeployView {
    let mut view = view(ctx, &started.row, Detail::Whole);
    if let (Some(shown), Some(baseline)) = (&mut view.baseline, &started.baseline) {
        shown.unmeasured = baseline
            .measurements
            .values()
            .filter_map(|m| {
                let error = m.result.as_ref().err()?;
                Some(UnmeasuredView { key: m.key.as_str().to_owned(), message: error.message.clone() })
            })
            .collect();
        let measured = baseline.measurements.len() - shown.unmeasured.len();
        shown.measured = u32::try_from(measured).ok();
    }
    view
}

/// The effective verdict is part of it: an override that runs out is a change too.
fn etag(row: &DeployRow, now: Timestamp) -> String {
    let effective = effective(&row.verdict, row.decided.as_ref(), now);
    format!("{}-{}-{}", row.verdict_at.as_microsecond(), row.deploy.state.as_str(), effective.as_str())
}

pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn page(settings: &Settings, id: &DeployId) -> Option<String> {
    let base = settings.http.public_url.as_ref()?;
    base.join(&format!("deploys/{id}")).ok().map(String::from)
}

fn announcement(caller: &Caller, asked: AnnounceRequest) -> Announcement {
    Announcement {
        environment: asked.environment,
        version: asked.version.trim().to_owned(),
        commit: asked.commit,
        kind: asked.kind,
        actor: asked.actor.or_else(|| Some(caller.actor.clone())),
        link: asked.link,
        attempt: if asked.new { Attempt::New } else { Attempt::Same },
        smoke_seconds: asked.smoke_seconds,
        window_seconds: asked.window_seconds,
    }
}

/// The raw bytes are needed for the Idempotency-Key, so the JSON is read here.
fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new(Code::InvalidRequest, format!("the JSON body is not what this takes: {error}"))
    })
}

impl From<VerificationError> for ApiError {
    fn from(error: VerificationError) -> Self {
        use VerificationError as E;
        let code = match &error {
            E::WhichEnvironment(_) | E::NoVersion | E::Stages | E::Override(_) | E::NoCheck { .. } => {
                Code::InvalidRequest
            }
            E::Targets(TargetsError::UnknownEnvironment(_)) | E::NotFound(_) => Code::NotFound,
            E::NoEnvironment
            | E::Targets(TargetsError::Suites(_))
            | E::NoChecks(_)
            | E::State(_)
            | E::NotDecided(_) => Code::Conflict,
            E::Baseline(_) => Code::TargetUnavailable,
            E::Store(_) => Code::StoreUnavailable,
        };
        match error {
            E::Store(cause) => cause.into(),
            other => Self::new(code, other.to_string()),
        }
    }
}
