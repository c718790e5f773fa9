//! The delivery log: what arrived, what was answered, and why. Bodies and addresses never leave by here.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::dashboard::deliveries::{self as shown, DeliveryRow};
use super::dashboard::secrets::deliveries as counted;
use super::dashboard::view::{Badge, Fact};
use super::dashboard::{Frame, pages};
use super::{ApiError, Caller};
use crate::api::length;
use crate::api::problem::Code;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::diagnosis::Class;
use crate::domain::ids::DeliveryId;
use crate::services::Context;
use crate::services::webhooks::{self, PassingError, Search, SearchError};
use crate::store::deliveries::{self, Outcome};
use crate::store::relays::Selection;
use crate::store::secrets;

/// `GET /api/v1/deliveries`: the newest first, at most 200 at once.
pub async fn list(ctx: web::Data<Context>, search: web::Query<Search>) -> Result<HttpResponse, ApiError> {
    let page = webhooks::search(&ctx, search.into_inner()).await.map_err(answer)?;
    Ok(HttpResponse::Ok().json(page))
}

pub(super) fn answer(error: SearchError) -> ApiError {
    match error {
        SearchError::Store(cause) => ApiError::from(cause),
        other => ApiError::new(Code::InvalidRequest, other.to_string()),
    }
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

/// Lengths of time that the page offers.
const LENGTHS: [&str; 4] = ["1h", "24h", "7d", "30d"];
/// Deliveries of one page.
const A_PAGE: u32 = 50;

/// What the page's form asks for; an empty field asks for nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    source: String,
    outcome: String,
    class: String,
    event: String,
    event_id: String,
    version: String,
    since: String,
    before: String,
}

#[derive(Template)]
#[template(path = "http/dashboard/templates/deliveries.html")]
struct DeliveriesPage {
    frame: Frame,
    summary: String,
    asked: Asked,
    sources: Vec<String>,
    outcomes: Vec<&'static str>,
    classes: Vec<&'static str>,
    lengths: [&'static str; 4],
    problem: Option<String>,
    rows: Vec<DeliveryRow>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "http/dashboard/templates/delivery.html")]
struct DeliveryPage {
    frame: Frame,
    id: String,
    title: String,
    badge: Badge,
    finding: String,
    facts: Vec<Fact>,
    steps: Vec<String>,
}

/// `GET /deliveries`
pub async fn page(
    ctx: web::Data<Context>,
    caller: Caller,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let asked = asked.into_inner();
    let some = |text: &String| Some(text.clone());
    let since =
        length::parse(&asked.since).ok().map(|seconds| now - SignedDuration::from_secs(seconds.into()));
    let search = Search {
        source: some(&asked.source),
        outcome: some(&asked.outcome),
        class: some(&asked.class),
        event: some(&asked.event),
        event_id: some(&asked.event_id),
        version: some(&asked.version),
        before: some(&asked.before),
        since,
        until: None,
        limit: Some(A_PAGE),
    };
    let (found, next, problem) = match webhooks::search(&ctx, search).await {
        Ok(page) => (page.deliveries, page.next, None),
        Err(SearchError::Store(cause)) => return Err(ApiError::from(cause)),
        Err(other) => (Vec::new(), None, Some(other.to_string())),
    };
    let versions = secrets::list(&mut *ctx.db.reader().await?).await?;
    let mut sources: Vec<String> = ctx.settings.webhooks.sources.keys().cloned().collect();
    sources.extend(versions.iter().map(|version| version.slot.source.clone()));
    sources.sort();
    sources.dedup();
    let more = if next.is_some() { ", and older ones" } else { "" };
    pages::render(&DeliveriesPage {
        frame: Frame::new(&caller, "deliveries", now),
        summary: format!("{}{more}", counted(found.len() as u64)),
        sources,
        outcomes: Outcome::ALL.map(Outcome::as_str).to_vec(),
        classes: Class::ALL.map(Class::as_str).to_vec(),
        lengths: LENGTHS,
        problem,
        rows: found.iter().map(|delivery| shown::row(delivery, &versions, now)).collect(),
        next: next.map(|id| older(&asked, id.as_str())),
        asked,
    })
}

/// The address of the next page of the same search.
fn older(asked: &Asked, before: &str) -> String {
    let fields = [
        ("source", asked.source.as_str()),
        ("outcome", &asked.outcome),
        ("class", &asked.class),
        ("event", &asked.event),
        ("event_id", &asked.event_id),
        ("version", &asked.version),
        ("since", &asked.since),
        ("before", before),
    ];
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields.into_iter().filter(|(_, value)| !value.is_empty()));
    format!("/deliveries?{}", query.finish())
}

/// `GET /deliveries/{id}`
pub async fn one(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let id = DeliveryId::from_text(id.into_inner());
    let mut reader = ctx.db.reader().await?;
    let found = deliveries::get(&mut reader, &id).await?;
    let found = found.ok_or_else(|| ApiError::new(Code::NotFound, "there is no such delivery"))?;
    let versions = secrets::list(&mut reader).await?;
    let class = Class::parse(&found.class).filter(|_| found.status != 200 && !found.late);
    let scheme = ctx.settings.webhooks.scheme(&found.source);
    pages::render(&DeliveryPage {
        frame: Frame::new(&caller, "deliveries", now),
        id: found.id.to_string(),
        title: found.event_name.clone().unwrap_or_else(|| "unknown event".to_owned()),
        badge: shown::badge(&found),
        finding: shown::finding(&found),
        facts: shown::facts(&found, &versions, now),
        steps: class.map(|class| class.next_steps(&found.source, &scheme)).unwrap_or_default(),
    })
}
