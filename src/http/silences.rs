//! Silences: the API, the page that lists them and the form that begins one.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::dashboard::view::{Badge, Fact};
use super::dashboard::{Frame, pages, times};
use super::{ApiError, Caller};
use crate::api::length;
use crate::api::problem::Code;
use crate::api::silences::{SilenceList, SilenceRequest, SilenceView};
use crate::domain::access::Scope;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{IncidentId, SilenceId};
use crate::domain::incident::{Incident, IncidentKind};
use crate::domain::silence::Silence;
use crate::services::Context;
use crate::services::silences::{self as service, SilenceError, Wish};
use crate::store::{incidents, silences};

const LISTED: u32 = 200;

#[derive(Template)]
#[template(path = "http/dashboard/templates/silences.html")]
struct Page {
    frame: Frame,
    silences: Vec<Row>,
    can_act: bool,
}

struct Row {
    id: String,
    what: String,
    badge: Badge,
    reason: String,
    facts: Vec<Fact>,
    active: bool,
}

#[derive(Template)]
#[template(path = "http/dashboard/templates/new_silence.html")]
struct NewPage {
    frame: Frame,
    /// Why the last try was refused.
    problem: Option<String>,
    given: Form,
    environments: Vec<String>,
    /// Checks of the incident that led here.
    checks: Vec<String>,
}

/// The form.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Form {
    #[serde(default)]
    environment: String,
    #[serde(default)]
    deploy: String,
    #[serde(default)]
    check: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    length: String,
}

#[derive(Debug, Deserialize)]
pub struct From {
    incident: Option<String>,
}

/// `active`, the default, or `all`.
#[derive(Debug, Deserialize)]
pub struct Query {
    state: Option<String>,
}

/// `GET /api/v1/silences`
pub async fn list(ctx: web::Data<Context>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let mut reader = ctx.db.reader().await?;
    let found = match query.state.as_deref() {
        None | Some("active") => silences::list_active(&mut reader, now).await?,
        Some("all") => silences::list_all(&mut reader, LISTED).await?,
        Some(_) => return Err(ApiError::new(Code::InvalidRequest, "state is `active` or `all`")),
    };
    let silences = found.iter().map(|silence| SilenceView::of(silence, now)).collect();
    Ok(HttpResponse::Ok().json(SilenceList { silences }))
}

/// `POST /api/v1/silences`
pub async fn add(
    ctx: web::Data<Context>,
    caller: Caller,
    body: web::Json<SilenceRequest>,
) -> Result<HttpResponse, ApiError> {
    let asked = body.into_inner();
    let ends_at = match (asked.length, asked.ends_at) {
        (Some(_), Some(_)) => return Err(invalid("give `length` or `ends_at`, not both")),
        (Some(text), None) => Some(ends_at(&ctx, &text)?),
        (None, ends_at) => ends_at,
    };
    let wish = Wish {
        environment: asked.environment,
        deploy: asked.deploy,
        check: asked.check,
        kind: asked.kind.as_deref().map(kind).transpose()?,
        owner: asked.owner.unwrap_or_else(|| caller.actor.clone()),
        reason: asked.reason,
        ends_at,
    };
    let silence = service::add(&ctx, &caller.actor, wish).await.map_err(answer)?;
    Ok(HttpResponse::Created().json(SilenceView::of(&silence, ctx.now())))
}

/// `POST /api/v1/silences/{id}/end`
pub async fn end(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = SilenceId::from_text(id.into_inner());
    let silence = service::end(&ctx, &caller.actor, &id).await.map_err(answer)?;
    Ok(HttpResponse::Ok().json(SilenceView::of(&silence, ctx.now())))
}

/// `GET /silences`
pub async fn page(ctx: web::Data<Context>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let mut found = silences::list_all(&mut *ctx.db.reader().await?, LISTED).await?;
    found.sort_by_key(|silence| !silence.is_active(now));
    pages::render(&Page {
        frame: Frame::new(&caller, "silences", now),
        silences: found.iter().map(|silence| row(silence, now)).collect(),
        can_act: caller.scopes.allow(Scope::Ack),
    })
}

/// `GET /silences/new?incident=ID`
pub async fn new_page(
    ctx: web::Data<Context>,
    caller: Caller,
    from: web::Query<From>,
) -> Result<HttpResponse, ApiError> {
    let incident = match &from.incident {
        Some(id) => incidents::get(&mut *ctx.db.reader().await?, &IncidentId::from_text(id.as_str())).await?,
        None => None,
    };
    let incident = incident.map(|stored| stored.incident);
    let mut given = incident.as_ref().map(prefilled).unwrap_or_default();
    given.owner = caller.actor.strip_prefix("token ").unwrap_or_default().to_owned();
    given.length = "4h".into();
    form(&ctx, &caller, given, incident.as_ref(), None)
}

/// `POST /silences`: the form.
pub async fn add_by_form(
    ctx: web::Data<Context>,
    caller: Caller,
    given: web::Form<Form>,
) -> Result<HttpResponse, ApiError> {
    let given = given.into_inner();
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.trim().is_empty());
    let wish = || -> Result<Wish, ApiError> {
        Ok(Wish {
            environment: some(&given.environment),
            deploy: some(&given.deploy),
            check: some(&given.check),
            kind: some(&given.kind).as_deref().map(kind).transpose()?,
            owner: given.owner.clone(),
            reason: given.reason.clone(),
            ends_at: Some(ends_at(&ctx, given.length.trim())?),
        })
    };
    let added = match wish() {
        Ok(wish) => service::add(&ctx, &caller.actor, wish).await.map_err(answer),
        Err(error) => Err(error),
    };
    match added {
        Ok(_) => Ok(HttpResponse::SeeOther().insert_header(("Location", "/silences")).finish()),
        Err(error) if error.problem.code == Code::InvalidRequest => {
            let problem = error.problem.detail;
            form(&ctx, &caller, given, None, Some(problem))
        }
        Err(error) => Err(error),
    }
}

/// `POST /silences/{id}/end`: the button.
pub async fn end_by_form(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    service::end(&ctx, &caller.actor, &SilenceId::from_text(id.into_inner())).await.map_err(answer)?;
    Ok(HttpResponse::SeeOther().insert_header(("Location", "/silences")).finish())
}

fn form(
    ctx: &Context,
    caller: &Caller,
    given: Form,
    incident: Option<&Incident>,
    problem: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let checks = incident.map(|i| i.facts.members.iter().map(|member| member.key.clone()).collect());
    let refused = problem.is_some();
    let mut answer = pages::render(&NewPage {
        // A page that refreshes itself would lose what was typed.
        frame: Frame { live: false, ..Frame::new(caller, "silences", ctx.now()) },
        problem,
        given,
        environments: ctx.settings.environments.keys().cloned().collect(),
        checks: checks.unwrap_or_default(),
    })?;
    if refused {
        *answer.status_mut() = actix_web::http::StatusCode::BAD_REQUEST;
    }
    Ok(answer)
}

/// An incident of checks offers its deploy; with a single check, that check.
fn prefilled(incident: &Incident) -> Form {
    let of_checks = incident.key.kind == IncidentKind::ChecksFailed;
    let check = match incident.facts.members.as_slice() {
        [only] if of_checks => only.key.clone(),
        _ => String::new(),
    };
    Form {
        environment: incident.key.environment.clone(),
        deploy: if incident.key.scope.starts_with("dep_") {
            incident.key.scope.clone()
        } else {
            String::new()
        },
        kind: if check.is_empty() { incident.key.kind.as_str().into() } else { String::new() },
        check,
        ..Form::default()
    }
}

fn row(silence: &Silence, now: Timestamp) -> Row {
    let active = silence.is_active(now);
    let mut facts = vec![
        Fact::new("owner", silence.owner.clone()),
        Fact::new("since", times::ago(silence.starts_at, now)),
        Fact::new(if active { "ends" } else { "ended" }, times::ago(silence.ends_at, now)),
    ];
    if let Some(by) = &silence.ended_by {
        facts.push(Fact::new("ended by", by.clone()));
    }
    Row {
        id: silence.id.to_string(),
        what: silence.matchers.in_words(),
        badge: if active { Badge::busy("silent") } else { Badge::quiet("over") },
        reason: silence.reason.clone(),
        facts,
        active,
    }
}

fn kind(text: &str) -> Result<IncidentKind, ApiError> {
    IncidentKind::parse(text.trim()).ok_or_else(|| {
        let known: Vec<&str> = IncidentKind::ALL.iter().map(|kind| kind.as_str()).collect();
        invalid(format!("{text:?} is no kind of incident; there are {}", known.join(", ")))
    })
}

fn ends_at(ctx: &Context, text: &str) -> Result<Timestamp, ApiError> {
    let seconds = length::parse(text).map_err(invalid)?;
    Ok(service::end_after(ctx.now(), seconds))
}

fn invalid(detail: impl Into<String>) -> ApiError {
    ApiError::new(Code::InvalidRequest, detail)
}

fn answer(error: SilenceError) -> ApiError {
    match error {
        SilenceError::Store(cause) => ApiError::from(cause),
        SilenceError::Invalid(detail) => invalid(detail),
        SilenceError::Unknown => ApiError::new(
            Code::NotFound,
            "there is no such silence; GET /api/v1/silences?state=all lists them",
        ),
    }
}
