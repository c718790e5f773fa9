//! `POST /logs/{source}`: takes the requests of a log drain. The drain authenticates by its secret.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::peer;
use super::webhooks::{Unreadable, closing, read, refusal, retry_later, text};
use crate::services::Context;
use crate::services::refusals::Refusals;
use crate::services::signals::{Delivered, Drains, Taken};
use crate::services::webhooks::Body;

/// A batch as it arrives; Supabase packs up to 250 events.
const BATCH_BYTES: usize = 5 << 20;

/// Answers `GET` too, since Vercel looks whether the endpoint is ours before it sends anything.
pub async fn handshake(source: web::Path<String>, drains: web::Data<Drains>) -> HttpResponse {
    match drains.source(&source).is_some_and(|source| source.verify.is_some()) {
        true => proved(&drains, &source, HttpResponse::Ok().json(serde_json::json!({ "status": "ready" }))),
        false => refusal(StatusCode::NOT_FOUND, "no such log drain"),
    }
}

/// Counts the lines of one request. Only 200 means counted.
pub async fn receive(
    request: HttpRequest,
    source: web::Path<String>,
    mut payload: web::Payload,
    ctx: web::Data<Context>,
    drains: web::Data<Drains>,
    refusals: web::Data<Refusals>,
) -> HttpResponse {
    if drains.source(&source).is_none() {
        return refusal(StatusCode::NOT_FOUND, "no such log drain");
    }
    let headers = request.headers();
    let encoding = text(headers, "content-encoding").unwrap_or_default().to_ascii_lowercase();
    if !matches!(encoding.as_str(), "" | "identity" | "gzip") {
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bodies are plain or gzip");
    }
    // As long as webhooks may take.
    let deadline = Duration::from_secs(ctx.settings.webhooks.body_seconds);
    let body = match read(&mut payload, |kib| drains.reserve_kib(kib), BATCH_BYTES, deadline).await {
        Ok(Body::Whole(body)) => body,
        Ok(Body::TooLarge { .. }) => {
            return closing(refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"), payload);
        }
        Ok(Body::TooSlow { .. }) => {
            return closing(refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long"), payload);
        }
        Err(Unreadable::Broken) => return refusal(StatusCode::BAD_REQUEST, "the body broke off"),
        Err(Unreadable::NoRoom) => return closing(unavailable(), payload),
    };
    let delivered = Delivered {
        body,
        signature: text(headers, "x-vercel-signature").or_else(|| text(headers, "x-signature")),
        token: token(headers),
        gzip: encoding == "gzip",
    };
    let answer = match drains.take(&source, delivered).await {
        Taken::Counted { lines, .. } => {
            HttpResponse::Ok().json(serde_json::json!({ "status": "counted", "lines": lines }))
        }
        Taken::Repeated => HttpResponse::Ok().json(serde_json::json!({ "status": "repeated" })),
        Taken::Handshake => HttpResponse::Ok().json(serde_json::json!({ "status": "ready" })),
        Taken::Refused if refusals.too_many(peer::sender(&request, &ctx.settings)) => {
            retry_later(refusal(StatusCode::TOO_MANY_REQUESTS, "too many refused requests"))
        }
        Taken::Refused => refusal(StatusCode::UNAUTHORIZED, "not signed with the drain's secret"),
        Taken::Unreadable => {
            refusal(StatusCode::BAD_REQUEST, "the body is not what this drain's format says")
        }
        Taken::TooLarge => refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body unpacks to too much"),
        Taken::Unavailable => unavailable(),
    };
    proved(&drains, &source, answer)
}

fn token(headers: &HeaderMap) -> Option<String> {
    let bearer = text(headers, "authorization")
        .and_then(|value| value.strip_prefix("Bearer ").map(|token| token.trim().to_owned()));
    bearer.or_else(|| text(headers, "x-deploywatch-token"))
}

fn unavailable() -> HttpResponse {
    retry_later(refusal(StatusCode::SERVICE_UNAVAILABLE, "not counted, send it again"))
}

/// Proves to Vercel that the endpoint is ours.
fn proved(drains: &Drains, source: &str, mut answer: HttpResponse) -> HttpResponse {
    let verify = drains.source(source).and_then(|source| source.verify.as_deref());
    if let Some(value) = verify.and_then(|verify| HeaderValue::from_str(verify).ok()) {
        answer.headers_mut().insert(HeaderName::from_static("x-vercel-verify"), value);
    }
    answer
}
