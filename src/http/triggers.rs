//! `POST /triggers/{name}`: reads the raw bytes, and answers once they are verified and stored.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::{ApiError, auth, peer};
use crate::api::problem::Code;
use crate::api::triggers::{AnswerList, AnswerView, AttemptView, TriggerEventList, TriggerEventView};
use crate::domain::access::Scope;
use crate::domain::ids::DeployId;
use crate::domain::trigger::Provider;
use crate::services::refusals::Refusals;
use crate::services::triggers::{Received, Request, TriggerError, receive};
use crate::services::{Context, access, verification};
use crate::store::answers::StoredAnswer;
use crate::store::triggers::StoredEvent;
use crate::store::{answers, triggers};

const LISTED: i64 = 100;

/// Takes a provider's request. 202: stored and about to be carried out; 200: nothing to do.
pub async fn take(
    ctx: web::Data<Context>,
    request: HttpRequest,
    source: web::Path<String>,
    payload: web::Payload,
    refusals: web::Data<Refusals>,
) -> Result<HttpResponse, ApiError> {
    // Nobody fills our memory for a name that does not exist.
    let Some(trigger) = ctx.settings.triggers.get(source.as_str()) else {
        return Err(TriggerError::Unknown.into());
    };
    let body = read(&ctx, payload).await?;
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let provider = trigger.provider_of(&source);
    let (signature, delivery) = match provider {
        Some(Provider::Vercel) => (text("x-vercel-signature"), None),
        Some(Provider::Generic) => (text("x-deploywatch-signature"), None),
        _ => (text("x-hub-signature-256"), text("x-github-delivery")),
    };
    let vouched = match text(header::AUTHORIZATION.as_str()) {
        Some(value) if provider == Some(Provider::Generic) && signature.is_none() => {
            is_vouched(&ctx, value).await?
        }
        _ => false,
    };
    let event = text("x-github-event");
    let received =
        receive(&ctx, &Request { source: &source, signature, event, delivery, vouched, body: &body }).await;
    let outcome = match &received {
        Ok(Received::Accepted { .. }) => "accepted",
        Ok(Received::Duplicate) => "duplicate",
        Ok(Received::Ignored(_)) => "ignored",
        Err(_) => "refused",
    };
    ctx.metrics.trigger(&source, outcome);
    if matches!(received, Err(TriggerError::Signature))
        && refusals.too_many(peer::sender(&request, &ctx.settings))
    {
        return Err(ApiError::new(
            Code::RateLimited,
            "too many requests that are not signed; try again later",
        ));
    }
    let received = received?;
    Ok(match received {
        Received::Accepted { action, environment, version } => HttpResponse::Accepted().json(
            json!({ "status": "accepted", "action": action, "environment": environment, "version": version }),
        ),
        Received::Duplicate => HttpResponse::Ok().json(json!({ "status": "duplicate" })),
        Received::Ignored(why) => HttpResponse::Ok().json(json!({ "status": "ignored", "reason": why })),
    })
}

/// The limits of webhooks hold here too.
async fn read(ctx: &Context, payload: web::Payload) -> Result<web::Bytes, ApiError> {
    let limits = &ctx.settings.webhooks;
    let reading = payload.to_bytes_limited(limits.max_body_bytes);
    match tokio::time::timeout(Duration::from_secs(limits.body_seconds), reading).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(_))) => Err(ApiError::new(Code::InvalidRequest, "the body broke off")),
        Ok(Err(_)) => {
            Err(ApiError::new(Code::PayloadTooLarge, "the body is larger than webhooks.max_body_bytes"))
        }
        Err(_) => Err(ApiError::new(Code::RequestTimeout, "the body did not arrive in time")),
    }
}

/// Whether one of our tokens that may deploy stands behind the request.
async fn is_vouched(ctx: &Context, authorization: &str) -> Result<bool, ApiError> {
    let Some(presented) = auth::presented(authorization) else { return Ok(false) };
    let Some(grant) = access::authenticate(ctx, &presented).await? else { return Ok(false) };
    if !grant.scopes.allow(Scope::Deploy) {
        let detail = format!("the token has the scopes \"{}\" and this needs deploy", grant.scopes);
        return Err(ApiError::new(Code::Forbidden, detail));
    }
    Ok(true)
}

impl From<TriggerError> for ApiError {
    fn from(error: TriggerError) -> Self {
        let code = match &error {
            TriggerError::Unknown => Code::NotFound,
            TriggerError::Signature => Code::Unauthenticated,
            TriggerError::Malformed(_) => Code::InvalidRequest,
            TriggerError::Store(_) => Code::StoreUnavailable,
        };
        match error {
            TriggerError::Store(cause) => cause.into(),
            other => Self::new(code, other.to_string()),
        }
    }
}

/// `GET /api/v1/triggers`: what was taken in, newest first, and what came of it.
pub async fn list(ctx: web::Data<Context>) -> Result<HttpResponse, ApiError> {
    let events = triggers::list(&mut *ctx.db.reader().await?, LISTED).await?;
    let events = events.into_iter().map(event_view).collect();
    Ok(HttpResponse::build(StatusCode::OK).json(TriggerEventList { events }))
}

/// `GET /api/v1/deploys/{id}/answers`: who was told of this deploy, what, and whether they took it.
pub async fn answers_of(ctx: web::Data<Context>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let id = DeployId::from_text(id.into_inner());
    verification::get(&ctx, &id).await?;
    let mut c = ctx.db.reader().await?;
    let mut list = Vec::new();
    for stored in answers::list_of_deploy(&mut c, &id).await? {
        let attempts = answers::list_attempts(&mut c, &stored.row.id).await?;
        list.push(answer_view(stored, attempts));
    }
    Ok(HttpResponse::Ok().json(AnswerList { answers: list }))
}

fn event_view(stored: StoredEvent) -> TriggerEventView {
    let event = stored.event;
    TriggerEventView {
        id: event.id,
        source: event.source,
        event: event.event,
        action: event.action.word().to_owned(),
        environment: event.environment,
        version: event.action.release().map(|release| release.version.clone()),
        received_at: event.received_at,
        attempts: stored.attempts,
        outcome: stored.outcome,
        deploy: stored.deploy_id.map(|id| id.to_string()),
    }
}

fn answer_view(stored: StoredAnswer, attempts: Vec<answers::AnswerAttempt>) -> AnswerView {
    AnswerView {
        id: stored.row.id,
        source: stored.row.source,
        channel: stored.row.address.channel().to_owned(),
        place: stored.row.address.place(),
        state: stored.state,
        said: stored.told.and_then(|told| told.lines().next().map(str::to_owned)),
        told_at: stored.told_at,
        next_at: stored.next_at,
        failure: stored.failure,
        attempts: attempts
            .into_iter()
            .map(|attempt| AttemptView {
                at: attempt.at,
                duration_ms: attempt.duration_ms,
                said: attempt.said,
                status: attempt.status,
                failure: attempt.failure,
            })
            .collect(),
    }
}
