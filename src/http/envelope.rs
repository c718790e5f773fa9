//! What every answer has around it: a request id, headers that keep browsers strict, errors in one form, and
//! a line in the metrics.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, ResponseError, web};
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{ApiError, problem_page};
use crate::api::problem::Code;
use crate::services::Context;

/// Pages load from here alone, and nobody frames them.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const STRICT: [(&str, &str); 6] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    // What is shown here is about one team's product: no shared cache keeps it.
    ("cache-control", "no-store"),
];

/// Wraps every request.
pub async fn envelope(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let ctx = request.app_data::<web::Data<Context>>().expect("the server hands the context to all").clone();
    let id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
    let method = request.method().clone();
    // What no route matched is counted together, or callers could make labels.
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".into());
    let mut response = match next.call(request).await {
        Ok(response) => in_our_form(response.map_into_boxed_body(), &id),
        // An error that passed every handler of actix's own has no request to answer any more.
        Err(error) => return Err(error),
    };
    let https = ctx.settings.http.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    dress(response.headers_mut(), &id, https);
    ctx.metrics.request(method.as_str(), &route, response.status().as_u16(), began.elapsed());
    Ok(response)
}

fn dress(headers: &mut HeaderMap, id: &str, https: bool) {
    let mut put = |name: &'static str, value: &str| {
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    };
    for (name, value) in STRICT {
        put(name, value);
    }
    put("x-request-id", id);
    if https {
        put("strict-transport-security", "max-age=31536000");
    }
}

/// Logs an error once with its causes, and gives it the request's id. Errors that actix itself made get our
/// form here.
fn in_our_form(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else { return response };
    let status = response.status();
    let mut problem = match error.as_error::<ApiError>() {
        Some(error) => {
            log(error);
            error.problem.clone()
        }
        None => {
            let code = match status.as_u16() {
                404 => Code::NotFound,
                405 => Code::MethodNotAllowed,
                408 => Code::RequestTimeout,
                413 => Code::PayloadTooLarge,
                400..=499 => Code::InvalidRequest,
                _ => Code::Internal,
            };
            let detail =
                if status.is_client_error() { error.to_string() } else { "please tell the operator".into() };
            if status.is_server_error() {
                tracing::error!(%status, "a request failed: {error}");
            }
            let mut problem = ApiError::new(code, detail).problem;
            problem.status = status.as_u16();
            problem
        }
    };
    problem.request_id = Some(id.to_owned()).filter(|id| !id.is_empty());
    let mut answer = problem_page::page(response.request(), &problem)
        .unwrap_or_else(|| ApiError { problem, cause: None }.error_response());
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE
            && name != header::CONTENT_LENGTH
            && !answer.headers().contains_key(name)
        {
            answer.headers_mut().append(name.clone(), value.clone());
        }
    }
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, answer)
}

fn log(error: &ApiError) {
    let mut causes = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        source = cause.source();
    }
    let (status, detail) = (error.problem.status, &error.problem.detail);
    if status >= 500 {
        tracing::error!(status, "a request failed: {detail}{causes}");
    } else {
        tracing::debug!(status, "a request was refused: {detail}{causes}");
    }
}

/// What answers where no route is.
pub async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(Code::NotFound, "there is nothing at this address"))
}

/// The span of a request: what was asked and how it ended, nothing of what was carried. The path and its query
/// stay out, since they can hold identifiers that people paste.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let route = request.match_pattern().unwrap_or_else(|| "unmatched".into());
        let id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        let span = tracing::info_span!(
            "request",
            http.method = %request.method(),
            http.route = %route,
            http.status_code = tracing::field::Empty,
            otel.name = %format!("{} {route}", request.method()),
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            request_id = %id,
        );
        let parent = opentelemetry::global::get_text_map_propagator(|known| {
            known.extract(&Carried(request.headers()))
        });
        // Fails where nothing exports, which is the usual case.
        let _ = span.set_parent(parent);
        span
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, actix_web::Error>) {
        let status = match outcome {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        span.record("http.status_code", status.as_u16());
        span.record("otel.status_code", if status.is_server_error() { "ERROR" } else { "OK" });
    }
}

/// Request headers as a carrier of trace context.
struct Carried<'a>(&'a HeaderMap);

impl opentelemetry::propagation::Extractor for Carried<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
