//! Idempotency-Key: the first answer to a request is the answer to all its repetitions.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use serde::Serialize;

use super::{ApiError, Caller};
use crate::api::problem::Code;
use crate::services::Context;
use crate::services::idempotency::{self, Turn};

/// The longest key that is taken.
const KEY_CHARACTERS: usize = 200;

/// Does `work` once for each key of this caller and address; without a key, always. A failure is not
/// remembered, so that a retry works.
pub async fn once<T: Serialize>(
    ctx: &Context,
    caller: &Caller,
    request: &HttpRequest,
    body: &[u8],
    work: impl Future<Output = Result<(StatusCode, T), ApiError>>,
) -> Result<HttpResponse, ApiError> {
    let Some(key) = request.headers().get("Idempotency-Key") else {
        let (status, answer) = work.await?;
        return Ok(HttpResponse::build(status).json(answer));
    };
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_CHARACTERS);
    let key = key.ok_or_else(|| {
        let detail = format!("an Idempotency-Key has 1 to {KEY_CHARACTERS} visible ASCII characters");
        ApiError::new(Code::InvalidRequest, detail)
    })?;
    let scope = format!("{} {} {}", caller.actor, request.method(), request.path());
    match idempotency::begin(ctx, &scope, key, body).await? {
        Turn::First => {}
        Turn::Again(status, body) => return Ok(again(status, body)),
        Turn::Mismatch => {
            let detail = "this Idempotency-Key came with another body before; use a new key";
            return Err(ApiError::new(Code::IdempotencyMismatch, detail));
        }
        Turn::InFlight => {
            let detail = "the first request with this Idempotency-Key is still being answered; ask again";
            return Err(ApiError::new(Code::IdempotencyInFlight, detail));
        }
    }
    match work.await {
        Ok((status, answer)) => {
            let body = serde_json::to_string(&answer).map_err(|error| {
                ApiError::new(Code::Internal, "the answer could not be written").caused_by(error)
            })?;
            idempotency::finish(ctx, &scope, key, status.as_u16(), &body).await?;
            Ok(again(status.as_u16(), body))
        }
        Err(error) => {
            idempotency::forget(ctx, &scope, key).await?;
            Err(error)
        }
    }
}

fn again(status: u16, body: String) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    HttpResponse::build(status).content_type("application/json").body(body)
}
