//! Incidents: what is open, and what a person does about it. Reading never changes anything, so that mail
//! scanners may follow every link.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::dashboard::view::{Badge, Fact};
use super::dashboard::{Frame, pages, times};
use super::{ApiError, Caller};
use crate::api::incidents::{ActRequest, IncidentList, IncidentView};
use crate::api::length;
use crate::api::problem::Code;
use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::IncidentId;
use crate::domain::incident::{Incident, IncidentState, Member};
use crate::domain::notification::NotificationState;
use crate::services::Context;
use crate::services::alerting::act::{Act, Acted, act};
use crate::store::incidents::{self, Event, Which};
use crate::store::notifications;

const LISTED: u32 = 200;
const SNOOZE: &str = "1h";
/// Longer needs a silence with a reason.
const LONGEST_SNOOZE: u32 = 24 * 3_600;

#[derive(Debug, Deserialize)]
pub struct Query {
    /// `open`, the default, or `all`.
    state: Option<String>,
    environment: Option<String>,
}

#[derive(Template)]
#[template(path = "http/dashboard/templates/incident_page.html")]
struct Page {
    frame: Frame,
    id: String,
    title: String,
    headline: String,
    badge: Badge,
    facts: Vec<Fact>,
    members: Vec<Member>,
    steps: Vec<String>,
    history: Vec<String>,
    mails: Vec<String>,
    can_act: bool,
}

/// `GET /api/v1/incidents`
pub async fn list(ctx: web::Data<Context>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let which = match query.state.as_deref() {
        None | Some("open") => Which::Open,
        Some("all") => Which::All,
        Some(_) => return Err(ApiError::new(Code::InvalidRequest, "state is `open` or `all`")),
    };
    let mut reader = ctx.db.reader().await?;
    let found = incidents::list(&mut reader, which, query.environment.as_deref(), LISTED).await?;
    let incidents = found.iter().map(|stored| IncidentView::of(&stored.incident)).collect();
    Ok(HttpResponse::Ok().json(IncidentList { incidents }))
}

/// `GET /api/v1/incidents/{id}`
pub async fn get(ctx: web::Data<Context>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let incident = find(&ctx, &id).await?;
    Ok(HttpResponse::Ok().json(IncidentView::of(&incident)))
}

/// `POST /api/v1/incidents/{id}/acknowledge`
pub async fn acknowledge(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    answer(perform(&ctx, &caller, &id, Act::Acknowledge).await?)
}

/// `POST /api/v1/incidents/{id}/resolve`
pub async fn resolve(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let note = request(&body)?.note.unwrap_or_else(|| format!("resolved by {}", caller.actor));
    answer(perform(&ctx, &caller, &id, Act::Resolve { note }).await?)
}

/// `POST /api/v1/incidents/{id}/snooze`
pub async fn snooze(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let length = request(&body)?.length.unwrap_or_else(|| SNOOZE.into());
    answer(perform(&ctx, &caller, &id, snoozing(&ctx, &length)?).await?)
}

/// `POST /incidents/{id}/acknowledge`: the button on the page.
pub async fn acknowledge_by_form(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    perform(&ctx, &caller, &id, Act::Acknowledge).await?;
    Ok(back(&id))
}

/// `POST /incidents/{id}/snooze`: the other button.
pub async fn snooze_by_form(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    perform(&ctx, &caller, &id, snoozing(&ctx, SNOOZE)?).await?;
    Ok(back(&id))
}

/// `GET /incidents/{id}`
pub async fn page(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let incident = find(&ctx, &id).await?;
    let now = ctx.now();
    let mut reader = ctx.db.reader().await?;
    let history = incidents::list_events(&mut reader, &incident.id).await?;
    let mails = notifications::list_of_incident(&mut reader, &incident.id).await?;
    let facts = &incident.facts;
    pages::render(&Page {
        frame: Frame::new(&caller, "incident", now),
        id: incident.id.to_string(),
        title: format!("{} #{}", facts.subject, incident.short_id()),
        headline: facts.headline.clone(),
        badge: badge(&incident),
        facts: shown(&incident, now),
        members: facts.members.clone(),
        steps: if incident.state.is_resolved() { Vec::new() } else { facts.next_steps.clone() },
        history: history.iter().map(|event| told(event, now)).collect(),
        mails: mails.iter().map(|stored| mail(stored, now)).collect(),
        can_act: incident.state == IncidentState::Open,
    })
}

async fn find(ctx: &Context, id: &str) -> Result<Incident, ApiError> {
    let mut reader = ctx.db.reader().await?;
    let found = incidents::get(&mut reader, &IncidentId::from_text(id)).await?;
    found.map(|stored| stored.incident).ok_or_else(unknown)
}

fn unknown() -> ApiError {
    ApiError::new(Code::NotFound, "there is no such incident; GET /api/v1/incidents?state=all lists them")
}

async fn perform(ctx: &Context, caller: &Caller, id: &str, what: Act) -> Result<Incident, ApiError> {
    match act(ctx, &IncidentId::from_text(id), &caller.actor, what).await? {
        Acted::Unknown => Err(unknown()),
        Acted::Unchanged(incident) | Acted::Done(incident) => Ok(incident),
    }
}

fn snoozing(ctx: &Context, text: &str) -> Result<Act, ApiError> {
    let seconds = length::parse(text).map_err(|problem| ApiError::new(Code::InvalidRequest, problem))?;
    if seconds == 0 || seconds > LONGEST_SNOOZE {
        return Err(ApiError::new(Code::InvalidRequest, "snooze for at most 24h"));
    }
    Ok(Act::Snooze { until: ctx.now() + SignedDuration::from_secs(seconds.into()) })
}

fn request(body: &[u8]) -> Result<ActRequest, ApiError> {
    if body.is_empty() {
        return Ok(ActRequest::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(Code::InvalidRequest, format!("the body is not understood: {error}")))
}

fn answer(incident: Incident) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(IncidentView::of(&incident)))
}

fn back(id: &str) -> HttpResponse {
    let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    HttpResponse::SeeOther().insert_header(("Location", format!("/incidents/{id}"))).finish()
}

fn badge(incident: &Incident) -> Badge {
    match (&incident.state, incident.facts.severity) {
        (IncidentState::Resolved { .. }, _) => Badge::good("resolved"),
        (IncidentState::Superseded { .. }, _) => Badge::quiet("superseded"),
        (IncidentState::Open, _) if incident.told.flaps.is_flapping() => Badge::warn("flapping"),
        (IncidentState::Acknowledged { .. }, _) => Badge::busy("acknowledged"),
        (IncidentState::Open, Severity::Critical) => Badge::bad("open"),
        (IncidentState::Open, _) => Badge::warn("open"),
    }
}

fn shown(incident: &Incident, now: Timestamp) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("environment", incident.key.environment.clone()),
        Fact::new("since", times::relative(incident.facts.since, now)),
        Fact::new("severity", incident.facts.severity.as_str()),
    ];
    match &incident.state {
        IncidentState::Open => {}
        IncidentState::Acknowledged { at, by } => {
            facts.push(Fact::new("acknowledged", format!("by {by}, {}", times::relative(*at, now))));
        }
        IncidentState::Resolved { at, note } => {
            facts.push(Fact::new("resolved", format!("{}: {note}", times::relative(*at, now))));
        }
        IncidentState::Superseded { at, by } => {
            let told = format!("{} by deploy {by}, which tells what still fails", times::relative(*at, now));
            facts.push(Fact::new("superseded", told));
        }
    }
    if let Some(since) = incident.told.flaps.since() {
        let told = format!("since {}; held open until it is calm for an hour", times::relative(since, now));
        facts.push(Fact::new("comes and goes", told));
    }
    if let Some(at) = incident.told.escalated_at {
        facts.push(Fact::new("second step told", times::relative(at, now)));
    }
    if let Some(until) = incident.snoozed_until.filter(|until| *until > now) {
        facts.push(Fact::new("no mail before", times::at(until, now)));
    }
    facts
}

fn told(event: &Event, now: Timestamp) -> String {
    let detail = if event.detail.is_empty() { String::new() } else { format!(": {}", event.detail) };
    format!("{}, {} by {}{detail}", times::relative(event.at, now), event.event, event.actor)
}

fn mail(stored: &notifications::Stored, now: Timestamp) -> String {
    let mail = &stored.notification;
    let state = match stored.state {
        NotificationState::Sent => "handed over".to_owned(),
        NotificationState::Pending if stored.attempts > 0 => {
            format!("tried {} times, waiting", stored.attempts)
        }
        NotificationState::Dead => "given up".into(),
        other => other.as_str().into(),
    };
    let to = crate::email::mask(&mail.recipient);
    format!("{}, {} to {to}: {state}", times::relative(mail.created_at, now), mail.notice.as_str())
}
