//! The outbox: what waits, what was given up, and sending it now.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::{ApiError, Caller};
use crate::api::outbox::MessageList;
use crate::api::problem::Code;
use crate::domain::ids::NotificationId;
use crate::services::Context;
use crate::services::outbox::admin::{Retried, retry};
use crate::services::outbox::view::view;
use crate::store::outbox::{self, Which};

const LISTED: u32 = 100;
const MOST: u32 = 200;

#[derive(Debug, Deserialize)]
pub struct Query {
    /// `waiting`, the default, `dead` or `all`.
    state: Option<String>,
    limit: Option<u32>,
}

/// `GET /api/v1/outbox`
pub async fn list(ctx: web::Data<Context>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let which = match query.state.as_deref() {
        None | Some("waiting") => Which::Waiting,
        Some("dead") => Which::Dead,
        Some("all") => Which::All,
        Some(_) => {
            return Err(ApiError::new(Code::InvalidRequest, "state is `waiting`, `dead` or `all`"));
        }
    };
    let limit = query.limit.unwrap_or(LISTED).clamp(1, MOST);
    let found = outbox::list(&mut *ctx.db.reader().await?, which, limit).await?;
    Ok(HttpResponse::Ok().json(MessageList { messages: found.iter().map(view).collect() }))
}

/// `POST /api/v1/outbox/{id}/retry`
pub async fn retry_one(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    match retry(&ctx, &NotificationId::from_text(id.into_inner()), &caller.actor).await? {
        Retried::Due(stored) => Ok(HttpResponse::Ok().json(view(&stored))),
        Retried::TooLate(stored) => Err(ApiError::new(
            Code::Conflict,
            format!("this message is {}, so there is nothing to send", stored.state.as_str()),
        )),
        Retried::Unknown => Err(ApiError::new(
            Code::NotFound,
            "there is no such message; GET /api/v1/outbox?state=all lists them",
        )),
    }
}
