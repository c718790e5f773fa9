//! The server: limits, the envelope, and the table of routes with its guards.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::{Method, header};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio_util::sync::CancellationToken;
use tracing_actix_web::TracingLogger;

use super::envelope::{self, RequestSpan};
use super::routes::{self, Route};
use super::{ApiError, auth};
use crate::api::problem::Code;
use crate::services::Context;
use crate::services::refusals::Refusals;
use crate::services::signals::Drains;
use crate::services::webhooks::Ingest;

/// A client that has not sent its headers by then is cut off.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// JSON bodies of the API; webhooks have their own limit.
const JSON_BYTES: usize = 1 << 20;
const CONNECTIONS: usize = 1024;

/// Which routes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Whole,
    /// What supervisors and Prometheus ask of a process that answers nobody else.
    Health,
}

/// Binds and starts to serve. Port 0 takes a free one; the address in the answer is the real one.
pub fn start(
    ctx: Context,
    surface: Surface,
    stopping: CancellationToken,
) -> std::io::Result<(Server, SocketAddr)> {
    let listener = TcpListener::bind(ctx.settings.http.listen)?;
    let address = listener.local_addr()?;
    let patience = ctx.settings.http.shutdown_seconds;
    let ingest = web::Data::new(Ingest::start(ctx.clone()));
    let drains = web::Data::new(Drains::new(ctx.clone()));
    let refusals = web::Data::new(Refusals::default());
    let context = web::Data::new(ctx);
    let stopping = web::Data::new(stopping);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(context.clone())
            .app_data(stopping.clone())
            .app_data(ingest.clone())
            .app_data(drains.clone())
            .app_data(refusals.clone())
            .configure(|config| configure(config, surface))
            .default_service(web::to(envelope::not_found))
            .wrap(from_fn(envelope::envelope))
            .wrap(TracingLogger::<RequestSpan>::new())
    })
    .workers(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8))
    .max_connections(CONNECTIONS)
    .client_request_timeout(HEADERS_WITHIN)
    .keep_alive(KEEP_ALIVE)
    .disable_signals()
    .shutdown_timeout(patience)
    .listen(listener)?
    .run();
    Ok((server, address))
}

/// Mounts the routes of the table, each behind its guard.
pub fn configure(config: &mut web::ServiceConfig, surface: Surface) {
    let invalid = |error: &dyn std::fmt::Display| ApiError::new(Code::InvalidRequest, error.to_string());
    config
        .app_data(web::JsonConfig::default().limit(JSON_BYTES).error_handler(move |error, _| {
            use actix_web::error::JsonPayloadError as E;
            match error {
                E::Overflow { .. } | E::OverflowKnownLength { .. } => {
                    ApiError::new(Code::PayloadTooLarge, "a JSON body has at most 1 MiB").into()
                }
                E::ContentType => ApiError::new(
                    Code::InvalidRequest,
                    "the body must be sent as `Content-Type: application/json`",
                )
                .into(),
                E::Deserialize(error) => {
                    invalid(&format!("the JSON body is not what this takes: {error}")).into()
                }
                other => invalid(&other).into(),
            }
        }))
        .app_data(web::QueryConfig::default().error_handler(move |error, _| {
            invalid(&format!("the query is not what this takes: {error}")).into()
        }))
        .app_data(web::PathConfig::default().error_handler(move |error, _| invalid(&error).into()))
        .app_data(web::FormConfig::default().limit(64 * 1024).error_handler(move |error, _| {
            invalid(&format!("the form is not what this takes: {error}")).into()
        }));
    let mut by_path: BTreeMap<&'static str, Vec<Route>> = BTreeMap::new();
    // actix takes the first resource that matches, so that paths keep the order of the table.
    let mut order = Vec::new();
    for route in routes::table().into_iter().filter(|r| surface == Surface::Whole || r.is_about_health()) {
        let here = by_path.entry(route.path).or_default();
        if here.is_empty() {
            order.push(route.path);
        }
        here.push(route);
    }
    for path in order {
        let mut resource = web::resource(path);
        let mut allowed: Vec<&str> = Vec::new();
        for route in &by_path[path] {
            let access = route.access;
            // Monitors ask with HEAD: what GET answers, of which actix sends the headers alone.
            let methods: &[&str] = if route.method == "GET" { &["GET", "HEAD"] } else { &[route.method] };
            for name in methods {
                let method = Method::from_bytes(name.as_bytes()).expect("the table names methods");
                let handler = (route.handler)().method(method);
                resource = resource
                    .route(handler.wrap(from_fn(move |request, next| auth::guard(access, request, next))));
            }
            allowed.extend_from_slice(methods);
        }
        config.service(resource.default_service(not_allowed(allowed.join(", "))));
    }
}

fn not_allowed(allowed: String) -> actix_web::Route {
    web::to(move || {
        let allowed = allowed.clone();
        async move {
            let detail = format!("this address takes {allowed}");
            let error = ApiError::new(Code::MethodNotAllowed, detail);
            let mut response = actix_web::HttpResponse::from_error(error);
            if let Ok(value) = header::HeaderValue::from_str(&allowed) {
                response.headers_mut().insert(header::ALLOW, value);
            }
            response
        }
    })
}
