//! Who is on call, and standing in for somebody.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::{ApiError, Caller};
use crate::api::oncall::OverrideRequest;
use crate::api::problem::Code;
use crate::domain::oncall::{Substitute, parse_moment};
use crate::services::Context;
use crate::services::oncall::view::{override_view, view};
use crate::services::oncall::{OverrideError, add_override, remove_override, standing};
use crate::settings::oncall_plan;

const DAYS: u32 = 14;

#[derive(Debug, Deserialize)]
pub struct Query {
    at: Option<String>,
    days: Option<u32>,
}

/// `GET /api/v1/oncall`
pub async fn show(ctx: web::Data<Context>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let at = match &query.at {
        Some(text) => moment(&ctx, text)?,
        None => ctx.now(),
    };
    let days = query.days.unwrap_or(DAYS);
    if !(1..=366).contains(&days) {
        return Err(ApiError::new(Code::InvalidRequest, "days is from 1 to 366"));
    }
    Ok(HttpResponse::Ok().json(view(&standing(&ctx, at, days).await?)))
}

/// `POST /api/v1/oncall/overrides`
pub async fn add(
    ctx: web::Data<Context>,
    caller: Caller,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let asked: OverrideRequest = serde_json::from_slice(&body).map_err(|error| {
        ApiError::new(Code::InvalidRequest, format!("the body is not understood: {error}"))
    })?;
    let substitute = Substitute {
        rotation: asked.rotation,
        person: asked.person,
        from: moment(&ctx, &asked.from)?,
        until: moment(&ctx, &asked.until)?,
    };
    match add_override(&ctx, substitute, &asked.reason, &caller.actor).await {
        Ok(over) => Ok(HttpResponse::Created().json(override_view(&over))),
        Err(OverrideError::Refused(why)) => Err(ApiError::new(Code::InvalidRequest, why)),
        Err(OverrideError::Store(error)) => Err(error.into()),
    }
}

/// `DELETE /api/v1/oncall/overrides/{id}`
pub async fn remove(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    match remove_override(&ctx, &id, &caller.actor).await? {
        Some(over) => Ok(HttpResponse::Ok().json(override_view(&over))),
        None => Err(ApiError::new(
            Code::NotFound,
            "nobody stands in under this id; GET /api/v1/oncall lists them",
        )),
    }
}

fn moment(ctx: &Context, text: &str) -> Result<crate::domain::clock::Timestamp, ApiError> {
    let (plan, _) = oncall_plan(&ctx.settings.oncall);
    parse_moment(text, &plan.zone).map_err(|problem| ApiError::new(Code::InvalidRequest, problem))
}
