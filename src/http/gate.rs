//! The gate: its answer is the status code, its reasons the body.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::ApiError;
use super::deploys::{Detail, known_etag, pause, quoted, view, wait};
use crate::api::gate::{GateView, RollbackView, VerdictView};
use crate::api::problem::Code;
use crate::domain::check::Stage;
use crate::domain::deploy::DeployKind;
use crate::domain::explain::explain;
use crate::domain::gate::{FailOn, GateAnswer, GatePolicy};
use crate::domain::ids::DeployId;
use crate::domain::verdict::VerdictState;
use crate::services::gate::{Answered, Question, ask, ask_waiting};
use crate::services::{Context, verification};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateQuery {
    /// On `/api/v1/gate` alone.
    environment: Option<String>,
    version: Option<String>,
    deploy: Option<String>,
    wait: Option<String>,
    stage: Option<Stage>,
    fail_on: Option<FailOn>,
    /// Asked by the next release about the last one, and of which kind that next one is.
    #[serde(default)]
    previous: bool,
    kind: Option<DeployKind>,
}

/// `GET /api/v1/environments/{environment}/gate`
pub async fn of_environment(
    ctx: web::Data<Context>,
    stopping: web::Data<CancellationToken>,
    environment: web::Path<String>,
    query: web::Query<GateQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = GateQuery { environment: Some(environment.into_inner()), ..query.into_inner() };
    gate(ctx, stopping, query).await
}

/// `GET /api/v1/gate`: the same, for a server that watches one environment, or for one deploy.
pub async fn any(
    ctx: web::Data<Context>,
    stopping: web::Data<CancellationToken>,
    query: web::Query<GateQuery>,
) -> Result<HttpResponse, ApiError> {
    gate(ctx, stopping, query.into_inner()).await
}

/// `GET /api/v1/environments/{environment}/verdict`: the same in the body alone, always 200, for systems that
/// take any other status for an error of ours (Argo's web metric) and for caches that hold an ETag.
pub async fn verdict(
    ctx: web::Data<Context>,
    stopping: web::Data<CancellationToken>,
    request: HttpRequest,
    environment: web::Path<String>,
    query: web::Query<GateQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = GateQuery { environment: Some(environment.into_inner()), ..query.into_inner() };
    let (question, policy) = (question(&ctx, &query)?, policy(&query));
    let known = known_etag(&request);
    let deadline = tokio::time::Instant::now() + wait(query.wait.as_deref())?;
    loop {
        let view = verdict_view(&ctx, &ask(&ctx, &question, policy).await?);
        let tag = (header::ETAG, quoted(&view.etag));
        let over = tokio::time::Instant::now() >= deadline || stopping.is_cancelled();
        // Without an ETag it is an answer that is waited for, with one it is another answer.
        let news = match &known {
            Some(known) => *known != view.etag,
            None => over || view.answer != GateAnswer::Wait,
        };
        if news {
            return Ok(HttpResponse::Ok().insert_header(tag).json(view));
        }
        if over {
            return Ok(HttpResponse::NotModified().insert_header(tag).finish());
        }
        pause(deadline, &stopping).await;
    }
}

/// `GET /api/v1/environments/{environment}/gate/rollback`
pub async fn rollback(
    ctx: web::Data<Context>,
    environment: web::Path<String>,
    query: web::Query<GateQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = GateQuery { environment: Some(environment.into_inner()), ..query.into_inner() };
    let answered = ask(&ctx, &question(&ctx, &query)?, policy(&query)).await?;
    let rollback = answered.decision.effective == Some(VerdictState::Failed);
    let status = if rollback { StatusCode::OK } else { StatusCode::CONFLICT };
    Ok(HttpResponse::build(status).json(RollbackView { rollback, gate: gate_view(&ctx, &answered) }))
}

async fn gate(
    ctx: web::Data<Context>,
    stopping: web::Data<CancellationToken>,
    query: GateQuery,
) -> Result<HttpResponse, ApiError> {
    let (question, policy) = (question(&ctx, &query)?, policy(&query));
    let patience = wait(query.wait.as_deref())?;
    let answered = tokio::select! {
        answered = ask_waiting(&ctx, &question, policy, patience) => answered?,
        // A server that stops answers what it knows; the caller asks the next one.
        () = stopping.cancelled() => ask(&ctx, &question, policy).await?,
    };
    let status = StatusCode::from_u16(answered.decision.answer.http_status()).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    if answered.decision.answer == GateAnswer::Wait {
        response.insert_header(("Retry-After", Duration::from_secs(15).as_secs().to_string()));
    }
    Ok(response.json(gate_view(&ctx, &answered)))
}

fn question(ctx: &Context, query: &GateQuery) -> Result<Question, ApiError> {
    if query.previous && (query.deploy.is_some() || query.version.is_some()) {
        let detail =
            "`previous` asks about the last release, whichever it was; leave out `version` and `deploy`";
        return Err(ApiError::new(Code::InvalidRequest, detail));
    }
    if query.kind.is_some() && !query.previous {
        let detail = "`kind` is that of the next release; it belongs to `previous=true`";
        return Err(ApiError::new(Code::InvalidRequest, detail));
    }
    if let Some(id) = &query.deploy {
        return Ok(Question::Deploy(DeployId::from_text(id.as_str())));
    }
    let environment = verification::environment(&ctx.settings, query.environment.as_deref());
    let environment = environment.map_err(|error| match error {
        // The gate's own 404 has a body that says so; this one names the settings.
        verification::VerificationError::NoEnvironment => ApiError::new(Code::NotFound, error.to_string()),
        other => other.into(),
    })?;
    if query.previous {
        return Ok(Question::Previous { environment, next: query.kind.unwrap_or(DeployKind::Normal) });
    }
    Ok(match &query.version {
        Some(version) => Question::Version { environment, version: version.clone() },
        None => Question::Newest { environment },
    })
}

fn policy(query: &GateQuery) -> GatePolicy {
    GatePolicy { stage: query.stage.unwrap_or(Stage::Smoke), fail_on: query.fail_on.unwrap_or_default() }
}

fn verdict_view(ctx: &Context, answered: &Answered) -> VerdictView {
    let decision = &answered.decision;
    let deploy = answered.row.as_ref().map(|row| view(ctx, row, Detail::Brief));
    VerdictView {
        state: deploy.as_ref().map_or_else(|| "unknown".into(), |deploy| deploy.state.as_str().into()),
        answer: decision.answer,
        effective: decision.effective,
        etag: match &deploy {
            Some(deploy) => format!("{}-{}", deploy.etag, decision.answer.as_str()),
            None => decision.answer.as_str().to_owned(),
        },
        provisional: deploy.as_ref().and_then(|deploy| deploy.provisional),
        stage: deploy.as_ref().map(|deploy| deploy.stage),
        smoke: deploy.as_ref().map(|deploy| deploy.smoke),
        since: deploy.as_ref().map(|deploy| deploy.since),
        ends_at: deploy.as_ref().and_then(|deploy| deploy.ends_at),
        coverage: deploy.as_ref().map_or(0.0, |deploy| deploy.coverage),
        counts: deploy.as_ref().map(|deploy| deploy.counts).unwrap_or_default(),
        reasons: decision.reasons.clone(),
        failing: deploy.as_ref().map(|deploy| deploy.failing.clone()).unwrap_or_default(),
        superseded_by: deploy.as_ref().and_then(|deploy| deploy.superseded_by.clone()),
        version: deploy.as_ref().map(|deploy| deploy.version.clone()),
        deploy: deploy.as_ref().map(|deploy| deploy.id.clone()),
        url: deploy.and_then(|deploy| deploy.url),
    }
}

fn gate_view(ctx: &Context, answered: &Answered) -> GateView {
    let decision = &answered.decision;
    let explanation = match &answered.row {
        Some(row) => explain(&row.deploy, &row.verdict, decision, answered.at),
        None => {
            let word = decision.answer.as_str().to_ascii_uppercase();
            decision.reasons.iter().map(|r| format!("{word}: {}", r.message)).collect()
        }
    };
    GateView {
        answer: decision.answer,
        exit_code: decision.answer.exit_code(),
        effective: decision.effective,
        reasons: decision.reasons.clone(),
        explanation,
        at: answered.at,
        deploy: answered.row.as_ref().map(|row| view(ctx, row, Detail::Whole)),
    }
}
