//! The API of signing secrets. Values go in and never come out.

use actix_web::{HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{ApiError, Caller};
use crate::api::problem::Code;
use crate::domain::rotation::ProofKind;
use crate::domain::secret::plan::{Insistence, Refusal};
use crate::domain::secret::{Origin, Slot, SlotMode};
use crate::services::secrets::{self, Keyring, Operation, SecretError, Who};
use crate::services::{Context, webhooks};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    source: String,
    #[serde(default = "live")]
    mode: SlotMode,
    secret: SecretString,
    #[serde(default)]
    reason: String,
}

fn live() -> SlotMode {
    SlotMode::Live
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Which version; found by its state where absent.
    version: Option<u32>,
    #[serde(default)]
    reason: String,
    /// Retire what is in use, or revoke the last one.
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The fingerprint of the secret that the product holds: as it computes it, or as `secret status` shows it.
    fingerprint: String,
}

/// `GET /api/v1/secrets`: every slot with its versions by fingerprint, its rotation and the next steps.
pub async fn list(ctx: web::Data<Context>) -> Result<HttpResponse, ApiError> {
    let slots = secrets::status(&ctx, None).await.map_err(answer)?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "slots": slots })))
}

/// `POST /api/v1/secrets`: 201 with the new version.
pub async fn add(
    ctx: web::Data<Context>,
    caller: Caller,
    body: web::Json<Addition>,
) -> Result<HttpResponse, ApiError> {
    let Addition { source, mode, secret, reason } = body.into_inner();
    let slot = Slot { source, mode };
    let keyring = Keyring::new(&ctx.keys);
    let who = Who { actor: caller.actor, reason };
    let value = secret.expose_secret().as_bytes();
    let version = secrets::add(&ctx, &keyring, &slot, value, Origin::Api, &who).await.map_err(answer)?;
    Ok(HttpResponse::Created().json(version))
}

/// `POST /api/v1/secrets/{source}/{mode}/{action}` with promote, retire, revoke or rollback.
pub async fn change(
    ctx: web::Data<Context>,
    caller: Caller,
    path: web::Path<(String, SlotMode, String)>,
    body: Option<web::Json<Change>>,
) -> Result<HttpResponse, ApiError> {
    let (source, mode, action) = path.into_inner();
    let change = body.map(web::Json::into_inner).unwrap_or_default();
    let insistence = if change.force { Insistence::Forced } else { Insistence::Careful };
    let operation = match action.as_str() {
        "promote" => Operation::Promote,
        "retire" => Operation::Retire(insistence),
        "revoke" => Operation::Revoke(insistence),
        "rollback" => Operation::RollBack,
        _ => {
            let detail = "there is no such action; there are promote, retire, revoke and rollback";
            return Err(ApiError::new(Code::NotFound, detail));
        }
    };
    let who = Who { actor: caller.actor, reason: change.reason };
    let slot = Slot { source, mode };
    let outcome = secrets::run(&ctx, &slot, change.version, operation, &who).await.map_err(answer)?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "changes": outcome.changes })))
}

/// `POST /api/v1/secrets/{source}/{mode}/product`: the product, or its deploy job, says which secret it
/// holds. The new secret's fingerprint is the product's proof of the open rotation.
pub async fn report(
    ctx: web::Data<Context>,
    caller: Caller,
    path: web::Path<(String, SlotMode)>,
    body: web::Json<Report>,
) -> Result<HttpResponse, ApiError> {
    let (source, mode) = path.into_inner();
    let (slot, keyring) = (Slot { source, mode }, Keyring::new(&ctx.keys));
    let reported = secrets::report_product(&ctx, &keyring, &slot, &body.fingerprint, &caller.actor);
    Ok(HttpResponse::Ok().json(reported.await.map_err(answer)?))
}

/// `POST /api/v1/secrets/{source}/{mode}/rotation/{action}` with plan, give-up, product-done or probe.
pub async fn rotation(
    ctx: web::Data<Context>,
    caller: Caller,
    path: web::Path<(String, SlotMode, String)>,
    body: Option<web::Json<Reason>>,
) -> Result<HttpResponse, ApiError> {
    let (source, mode, action) = path.into_inner();
    let slot = Slot { source, mode };
    let reason = body.map(|body| body.into_inner().reason).unwrap_or_default();
    let who = Who { actor: caller.actor, reason };
    match action.as_str() {
        "plan" => drop(secrets::plan_rotation(&ctx, &slot, &who).await.map_err(answer)?),
        "give-up" => drop(secrets::give_up(&ctx, &slot, &who).await.map_err(answer)?),
        "product-done" => {
            let by = ProofKind::Operator { actor: who.actor.clone() };
            if !secrets::confirm_product(&ctx, &slot, by, &who.actor).await.map_err(answer)? {
                return Err(ApiError::new(Code::Conflict, format!("no rotation of {slot} is open")));
            }
        }
        "probe" => {
            let probed =
                webhooks::probe(&ctx, &slot, &who.actor).await.map_err(super::deliveries::unpassed)?;
            return Ok(HttpResponse::Ok()
                .json(serde_json::json!({ "probe": probed, "explanation": probed.explain() })));
        }
        _ => {
            let detail = "there is no such action; there are plan, give-up, product-done and probe";
            return Err(ApiError::new(Code::NotFound, detail));
        }
    }
    let slots = secrets::status(&ctx, Some(&slot.source)).await.map_err(answer)?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "slots": slots })))
}

fn answer(error: SecretError) -> ApiError {
    let code = match &error {
        SecretError::Refused(Refusal::Unusable(_)) | SecretError::Notation(_) => Code::InvalidRequest,
        SecretError::Refused(Refusal::Unknown)
        | SecretError::UnknownSource(_)
        | SecretError::UnknownFingerprint => Code::NotFound,
        SecretError::Refused(_) | SecretError::Conflict => Code::Conflict,
        SecretError::Store(_) => Code::StoreUnavailable,
    };
    let text = error.to_string();
    match error {
        SecretError::Store(cause) => ApiError::from(cause),
        _ => ApiError::new(code, text),
    }
}
