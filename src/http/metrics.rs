//! Prometheus' text format.

use actix_web::{HttpResponse, web};

use crate::services::Context;

pub async fn metrics(ctx: web::Data<Context>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(ctx.metrics.render())
}
