//! `POST /webhooks/{source}`: reads the raw bytes by hand and answers once they are judged and stored.

use std::time::Duration;

use actix_web::body::{BodySize, MessageBody, SizedStream};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use tokio::sync::SemaphorePermit;

use super::peer;
use crate::domain::delivery::Answer;
use crate::domain::signature::Headers;
use crate::domain::signature::scheme::Text;
use crate::services::Context;
use crate::services::webhooks::{Body, Ingest, Request};

/// Takes a delivery. Only 200 means stored; the caller learns nothing about why it was refused.
pub async fn receive(
    request: HttpRequest,
    source: web::Path<String>,
    mut payload: web::Payload,
    ctx: web::Data<Context>,
    ingest: web::Data<Ingest>,
) -> HttpResponse {
    let source = source.into_inner();
    let Some(wanted) = ingest.wanted(&source) else {
        return refusal(StatusCode::BAD_REQUEST, "unknown source");
    };
    let Some(sender) = peer::client_ip(&request, &ctx.settings) else {
        return refusal(StatusCode::BAD_REQUEST, "no sender");
    };
    let limit = ctx.settings.webhooks.max_body_bytes;
    let deadline = Duration::from_secs(ctx.settings.webhooks.body_seconds);
    let body = match read(&mut payload, |kib| ingest.reserve_kib(kib), limit, deadline).await {
        Ok(body) => body,
        Err(Unreadable::Broken) => return refusal(StatusCode::BAD_REQUEST, "the body broke off"),
        Err(Unreadable::NoRoom) => {
            return closing(answer(&ctx, &source, Answer::Unavailable), payload);
        }
    };
    let headers = request.headers();
    let received = Request {
        headers: named(headers, wanted),
        user_agent: text(headers, "user-agent"),
        event_header: text(headers, "x-event-name"),
        content_encoding: text(headers, "content-encoding"),
        passed_on: if ingest.passes_on(&source) { all(headers) } else { Vec::new() },
        source: source.clone(),
        body,
        sender,
    };
    let unread = !matches!(received.body, Body::Whole(_));
    let judged = ingest.receive(received).await;
    let response = answer(&ctx, &source, judged);
    if unread { closing(response, payload) } else { response }
}

pub(super) enum Unreadable {
    /// The client went away or spoke no HTTP.
    Broken,
    /// Other bodies fill the memory set aside for them.
    NoRoom,
}

/// Reads the bytes as they came, whatever `Content-Encoding` says, within the limit and the deadline. What
/// a slow or large body holds is only what has arrived.
pub(super) async fn read<'r>(
    payload: &mut web::Payload,
    reserve: impl Fn(u32) -> Option<SemaphorePermit<'r>>,
    limit: usize,
    deadline: Duration,
) -> Result<Body, Unreadable> {
    let mut body = Vec::new();
    let mut room = Vec::new();
    let reading = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Unreadable::Broken)?;
            if body.len() + chunk.len() > limit {
                return Ok(false);
            }
            let kib = u32::try_from(chunk.len().div_ceil(1024)).unwrap_or(u32::MAX);
            room.push(reserve(kib).ok_or(Unreadable::NoRoom)?);
            body.extend_from_slice(&chunk);
        }
        Ok(true)
    };
    let whole = tokio::time::timeout(deadline, reading).await;
    let read = body.len() as u64;
    match whole {
        Ok(Ok(true)) => Ok(Body::Whole(body)),
        Ok(Ok(false)) => Ok(Body::TooLarge { read: limit as u64 + 1 }),
        Ok(Err(unreadable)) => Err(unreadable),
        Err(_) => Ok(Body::TooSlow { read }),
    }
}

/// The headers that a source's scheme reads, doubled ones included.
fn named(headers: &HeaderMap, wanted: &[Text]) -> Headers {
    let mut named = Headers::default();
    for name in wanted {
        headers.get_all(&**name).for_each(|value| named.add(name.clone(), value.as_bytes()));
    }
    named
}

/// Every header that is text; what is not cannot be passed on.
fn all(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn answer(ctx: &Context, source: &str, answer: Answer) -> HttpResponse {
    ctx.metrics.delivery(source, answer.status());
    let status = StatusCode::from_u16(answer.status()).expect("answers are HTTP statuses");
    match answer {
        Answer::Stored => HttpResponse::Ok().json(serde_json::json!({ "status": "stored" })),
        Answer::Malformed => refusal(status, "malformed request"),
        Answer::Refused => refusal(status, "invalid signature"),
        Answer::TooSlow => refusal(status, "the body took too long"),
        Answer::TooLarge => refusal(status, "the body is too large"),
        Answer::TooMany => retry_later(refusal(status, "too many refused requests")),
        Answer::Unavailable => retry_later(refusal(status, "not stored, send it again")),
    }
}

pub(super) fn refusal(status: StatusCode, error: &str) -> HttpResponse {
    HttpResponse::build(status).json(serde_json::json!({ "error": error }))
}

/// What is left of the body is not read, so the connection cannot be used again. actix would read a chunked body
/// to its end, however long, once nobody holds it; so the answer holds it, and the connection is closed soon after.
pub(super) fn closing(response: HttpResponse, payload: web::Payload) -> HttpResponse {
    let (mut response, body) = response.into_parts();
    response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    let BodySize::Sized(size) = body.size() else { return response.set_body(body) };
    let mut body = Box::pin(body);
    let held = futures_util::stream::poll_fn(move |cx| {
        let _held = &payload;
        body.as_mut().poll_next(cx)
    });
    response.set_body(SizedStream::new(size, held).boxed())
}

pub(super) fn retry_later(mut response: HttpResponse) -> HttpResponse {
    let value = HeaderValue::from_static("5");
    response.headers_mut().insert(actix_web::http::header::RETRY_AFTER, value);
    response
}
