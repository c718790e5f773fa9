//! The gate: its answer is the status code, its reasons the body.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::ApiError;
use super::deploys::{Detail, view, wait};
use crate::api::gate::{GateView, RollbackView};
use crate::api::problem::Code;
use crate::domain::check::Stage;
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
    if let Some(id) = &query.deploy {
        return Ok(Question::Deploy(DeployId::from_text(id.as_str())));
    }
    let environment = verification::environment(&ctx.settings, query.environment.as_deref());
    let environment = environment.map_err(|error| match error {
        // The gate's own 404 has a body that says so; this one names the settings.
        verification::VerificationError::NoEnvironment => ApiError::new(Code::NotFound, error.to_string()),
        other => other.into(),
    })?;
    Ok(match &query.version {
        Some(version) => Question::Version { environment, version: version.clone() },
        None => Question::Newest { environment },
    })
}

fn policy(query: &GateQuery) -> GatePolicy {
    GatePolicy { stage: query.stage.unwrap_or(Stage::Smoke), fail_on: query.fail_on.unwrap_or_default() }
}

fn gate_view(ctx: &Context, answered: &Answered) -> GateView {
    let decision = &answered.decision;
    let explanation = match &answered.row {
        Some(row) => explain(&row.deploy, &row.verdict, decision, answered.at),
        None => decision.reasons.iter().map(|r| format!("UNKNOWN: {}", r.message)).collect(),
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
