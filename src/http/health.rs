//! Liveness and readiness.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::services::Context;
use crate::services::outbox::path;
use crate::store::migrate;

/// The process runs. Nothing is asked, so that a slow store does not get the process killed.
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// `ok`, or what is wrong.
    store: String,
    /// `ok`, what waits, or since when no mail can be sent. A detail: it never makes us unready.
    mail: String,
    stopping: bool,
}

/// 200 while requests can be served: the store answers, its schema is current, and no stop was asked for.
/// The watched databases and the mail server are no reason to take the process away.
pub async fn readyz(
    ctx: web::Data<Context>,
    stopping: web::Data<tokio_util::sync::CancellationToken>,
) -> HttpResponse {
    let asked = tokio::time::timeout(std::time::Duration::from_secs(2), migrate::applied(&ctx.db)).await;
    let store = match asked {
        Ok(Ok(Some(version))) if version == migrate::newest() => "ok".to_owned(),
        Ok(Ok(version)) => {
            format!("the schema is {} and this program needs {}", version.unwrap_or(0), migrate::newest())
        }
        Ok(Err(_)) => "the store does not answer".to_owned(),
        Err(_) => "the store did not answer within 2 s".to_owned(),
    };
    let asked = tokio::time::timeout(std::time::Duration::from_secs(2), path::standing(&ctx)).await;
    let mail = match asked {
        Ok(Ok(standing)) => standing,
        _ => "unknown: the store does not answer".to_owned(),
    };
    let stopping = stopping.is_cancelled();
    let ready = store == "ok" && !stopping;
    let mut answer = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(Readiness { ready, store, mail, stopping })
}
