//! The delivery log: what arrived, what was answered, and why. Bodies and addresses never leave by here.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::{ApiError, Caller};
use crate::api::problem::Code;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::Delivery;
use crate::domain::diagnosis::Class;
use crate::domain::ids::{DeliveryId, EventId, SecretVersionId};
use crate::services::Context;
use crate::services::webhooks::{self, PassingError};
use crate::store::deliveries;
use crate::store::relays::Selection;

const MOST: u32 = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    source: Option<String>,
    class: Option<String>,
    event: Option<String>,
    version: Option<String>,
    event_id: Option<String>,
    since: Option<Timestamp>,
    /// The `next` of the page before.
    before: Option<String>,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Page {
    deliveries: Vec<Delivery>,
    /// Give it as `before` to go on; absent on the last page.
    next: Option<DeliveryId>,
}

/// `GET /api/v1/deliveries`: the newest first, at most 200 at once.
pub async fn list(ctx: web::Data<Context>, search: web::Query<Search>) -> Result<HttpResponse, ApiError> {
    let search = search.into_inner();
    let limit = search.limit.unwrap_or(50).clamp(1, MOST);
    let filter = deliveries::Filter {
        source: search.source,
        class: search.class,
        event_name: search.event,
        version: search.version.map(SecretVersionId::from_text),
        event: search.event_id.map(EventId::from_text),
        since: search.since,
        before: search.before.map(DeliveryId::from_text),
        limit: limit + 1,
    };
    let mut found = deliveries::list(&mut *ctx.db.reader().await?, &filter).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = if more { found.last().map(|delivery| delivery.id.clone()) } else { None };
    Ok(HttpResponse::Ok().json(Page { deliveries: found, next }))
}

/// `GET /api/v1/deliveries/{id}`: one delivery with its finding and what to do.
pub async fn show(ctx: web::Data<Context>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let id = DeliveryId::from_text(id.into_inner());
    let found = deliveries::get(&mut *ctx.db.reader().await?, &id).await?;
    let found = found.ok_or_else(|| ApiError::new(Code::NotFound, "there is no such delivery"))?;
    let class = Class::parse(&found.class);
    Ok(HttpResponse::Ok().json(serde_json::json!({
        "finding": class.map(Class::explain),
        "certain": class.map(Class::is_certain),
        "next_steps": class.map(|class| class.next_steps(&found.source, &ctx.settings.webhooks.scheme(&found.source))),
        "delivery": found,
    })))
}

/// What to send to the product again: these deliveries, or all of a source and time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    #[serde(default)]
    ids: Vec<String>,
    source: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Only those that were given up.
    #[serde(default)]
    only_dead: bool,
}

/// `POST /api/v1/deliveries/replay`: 202 with how many were queued.
pub async fn replay(
    ctx: web::Data<Context>,
    caller: Caller,
    body: web::Json<Again>,
) -> Result<HttpResponse, ApiError> {
    let Again { ids, source, since, until, only_dead } = body.into_inner();
    let replayed = match source {
        None if ids.is_empty() => {
            let detail = "say what to send again: `ids`, or a `source` with `since`, `until` or `only_dead`";
            return Err(ApiError::new(Code::InvalidRequest, detail));
        }
        None => {
            for id in &ids {
                let id = DeliveryId::from_text(id.clone());
                webhooks::replay(&ctx, &id, &caller.actor).await.map_err(unpassed)?;
            }
            webhooks::Replayed { queued: ids.len() as u64, more: false }
        }
        Some(source) => {
            let selection = Selection { source, since, until, only_dead };
            webhooks::replay_all(&ctx, &selection, &caller.actor).await.map_err(unpassed)?
        }
    };
    Ok(HttpResponse::Accepted().json(replayed))
}

/// Why nothing was sent to the product.
pub(super) fn unpassed(error: PassingError) -> ApiError {
    let text = error.to_string();
    match error {
        PassingError::Store(cause) => ApiError::from(cause),
        PassingError::NotQueued(_) | PassingError::NoProduct(_) | PassingError::NothingToCompare(_) => {
            ApiError::new(Code::Conflict, text)
        }
        PassingError::Forward(_) => ApiError::new(Code::TargetUnavailable, text),
        PassingError::Keys(_) | PassingError::Secrets(_) => ApiError::new(Code::Internal, text),
    }
}
