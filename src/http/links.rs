//! Where the links of mails lead: a page with the facts and one button. Looking changes nothing; only the form
//! acts, and only when it comes from that page.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;

use super::dashboard::view::Fact;
use super::dashboard::{Frame, pages, times};
use super::{ApiError, Caller, auth, peer};
use crate::api::problem::Code;
use crate::domain::access::Scope;
use crate::domain::clock::Timestamp;
use crate::domain::incident::{Incident, IncidentState};
use crate::domain::link::LinkAction;
use crate::services::Context;
use crate::services::links::{self, LinkError, Looked, Pressed, Reports};
use crate::settings::LinkPolicy;

#[derive(Template)]
#[template(path = "http/dashboard/templates/act.html")]
struct Page {
    frame: Frame,
    title: String,
    /// What stands over the facts: what the button would do, or what was done.
    lead: String,
    facts: Vec<Fact>,
    button: Option<Button>,
    /// Where to sign in first, where that is asked for.
    sign_in: Option<String>,
    more: Option<(&'static str, String)>,
}

struct Button {
    label: &'static str,
    token: String,
    /// `off` or `on`; only for reports.
    reports: &'static str,
}

/// The form of the page; `List-Unsubscribe` is the one click of a mail program (RFC 8058).
#[derive(Debug, Default, Deserialize)]
pub struct Form {
    #[serde(default)]
    token: String,
    #[serde(default)]
    reports: String,
    #[serde(default, rename = "List-Unsubscribe")]
    one_click: String,
}

/// `GET /act/{token}`
pub async fn look(
    ctx: web::Data<Context>,
    caller: Caller,
    token: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let looked = match links::look(&ctx, &token).await {
        Ok(looked) => looked,
        Err(error) => return refused(error),
    };
    let now = ctx.now();
    let again = looked.used || already(&looked);
    let lead = match (&looked.incident, looked.link.action) {
        (_, LinkAction::ReportsOff) => reports_lead(&looked),
        (None, _) => return refused(LinkError::Gone),
        (Some(incident), action) => {
            if again {
                standing(incident, now)
            } else {
                offer(action).to_owned()
            }
        }
    };
    let may = may_act(&ctx, &caller);
    let offered = looked.link.action == LinkAction::ReportsOff || !again;
    let sign_in = (offered && !may)
        .then(|| format!("/sign-in?{}", auth::form_encoded("next", &format!("/act/{token}"))));
    let button = (offered && may).then(|| button(&looked, &token));
    page(&ctx, &caller, &looked, lead, button, sign_in)
}

/// `POST /act/{token}`
pub async fn press(
    ctx: web::Data<Context>,
    caller: Caller,
    request: HttpRequest,
    token: web::Path<String>,
    form: web::Form<Form>,
) -> Result<HttpResponse, ApiError> {
    let one_click = form.one_click == "One-Click";
    if !one_click && (peer::is_cross_site(&request) || form.token != *token) {
        return Err(ApiError::new(
            Code::Forbidden,
            "the form is not from the page of this link; open it again",
        ));
    }
    let from = peer::client_ip(&request, &ctx.settings);
    let looked = match links::look(&ctx, &token).await {
        Ok(looked) => looked,
        Err(error) => return refused(error),
    };
    let of_reports = looked.link.action == LinkAction::ReportsOff;
    if of_reports {
        let wanted = if form.reports == "on" && !one_click { Reports::On } else { Reports::Off };
        let pressed = links::set_reports(&ctx, looked, wanted, from).await.or_else(refused_as)?;
        let (Pressed::Done(looked) | Pressed::Already(looked)) = pressed;
        let lead = reports_lead(&looked);
        let button = Some(button(&looked, &token));
        return page(&ctx, &caller, &looked, lead, button, None);
    }
    if one_click {
        return Err(ApiError::new(
            Code::InvalidRequest,
            "this link ends no subscription; open it in a browser",
        ));
    }
    if !may_act(&ctx, &caller) {
        return Err(ApiError::new(Code::Unauthenticated, "sign in first; the settings ask for that here"));
    }
    let pressed = match links::press(&ctx, &token, from).await {
        Ok(pressed) => pressed,
        Err(error) => return refused(error),
    };
    let (lead, looked) = match pressed {
        Pressed::Done(looked) => (done(looked.link.action).to_owned(), looked),
        Pressed::Already(looked) => {
            let lead = looked.incident.as_ref().map(|incident| standing(incident, ctx.now()));
            (lead.unwrap_or_default(), looked)
        }
    };
    page(&ctx, &caller, &looked, lead, None, None)
}

fn may_act(ctx: &Context, caller: &Caller) -> bool {
    ctx.settings.alerts.links == LinkPolicy::Act || caller.scopes.allow(Scope::Ack)
}

fn already(looked: &Looked) -> bool {
    let Some(incident) = &looked.incident else { return false };
    match looked.link.action {
        LinkAction::Acknowledge => incident.state != IncidentState::Open,
        _ => incident.state.is_resolved(),
    }
}

fn button(looked: &Looked, token: &str) -> Button {
    let (label, reports) = match (looked.link.action, looked.reports_off) {
        (LinkAction::Acknowledge, _) => ("I am on it: stop the reminders", ""),
        (LinkAction::SnoozeHour, _) => ("No mail for an hour", ""),
        (LinkAction::SnoozeFourHours, _) => ("No mail for four hours", ""),
        (LinkAction::ReportsOff, false) => ("No more reports", "off"),
        (LinkAction::ReportsOff, true) => ("Send me the reports again", "on"),
    };
    Button { label, token: token.to_owned(), reports }
}

fn offer(action: LinkAction) -> &'static str {
    match action {
        LinkAction::Acknowledge => "Nothing has changed yet. The button says that you are on it.",
        _ => "Nothing has changed yet. The button holds back the mails about this for a while.",
    }
}

fn done(action: LinkAction) -> &'static str {
    match action {
        LinkAction::Acknowledge => "Done. You are on it; reminders have stopped, unless it grows worse.",
        LinkAction::SnoozeHour => "Done. No mail about this comes within an hour.",
        _ => "Done. No mail about this comes within four hours.",
    }
}

fn reports_lead(looked: &Looked) -> String {
    let about = &looked.mail.environment;
    if looked.reports_off {
        format!("You get no reports about {about}. Alerts come as ever.")
    } else {
        format!("You get the reports about {about}: what each deploy came to. Alerts come in any case.")
    }
}

/// How it stands, for whoever comes late.
fn standing(incident: &Incident, now: Timestamp) -> String {
    match &incident.state {
        IncidentState::Resolved { at, .. } => format!("It is over: resolved {}.", times::ago(*at, now)),
        IncidentState::Superseded { at, by } => {
            format!("Deploy {by} took over, {}.", times::ago(*at, now))
        }
        IncidentState::Acknowledged { at, by } => format!("{by} is on it, since {}.", times::ago(*at, now)),
        IncidentState::Open => match incident.snoozed_until.filter(|until| *until > now) {
            Some(until) => format!("No mail about this comes before {} UTC.", times::at(until, now)),
            None => "This link was used before, and it is open again.".to_owned(),
        },
    }
}

fn page(
    ctx: &Context,
    caller: &Caller,
    looked: &Looked,
    lead: String,
    button: Option<Button>,
    sign_in: Option<String>,
) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let mut frame = Frame::new(caller, "mail", now);
    // Whoever comes from a mail need not have an account here.
    frame.signed_in = caller.scopes.allow(Scope::Read);
    let (title, facts, more) = match &looked.incident {
        Some(incident) => (
            incident.facts.headline.clone(),
            shown(incident, now),
            Some(("Open the incident", format!("/incidents/{}", incident.id))),
        ),
        None => (
            format!("Reports about {}", looked.mail.environment),
            vec![Fact::new("to", crate::email::mask(&looked.mail.recipient))],
            None,
        ),
    };
    pages::render(&Page { frame, title, lead, facts, button, sign_in, more })
}

/// Counts and names, as in the mail: the page is for whoever has the link.
fn shown(incident: &Incident, now: Timestamp) -> Vec<Fact> {
    let facts = &incident.facts;
    let mut shown = vec![
        Fact::new("about", facts.subject.clone()),
        Fact::new("state", incident.state.as_str()),
        Fact::new("severity", facts.severity.as_str()),
        Fact::new("since", times::ago(facts.since, now)),
    ];
    shown.extend(
        facts
            .members
            .iter()
            .take(10)
            .map(|member| Fact::new("what", format!("{}: {}", member.title, member.observed))),
    );
    shown
}

fn refused_as(error: LinkError) -> Result<Pressed, ApiError> {
    Err(problem(error).1)
}

fn refused(error: LinkError) -> Result<HttpResponse, ApiError> {
    let (status, mut error) = problem(error);
    error.problem.status = status.as_u16();
    Err(error)
}

fn problem(error: LinkError) -> (StatusCode, ApiError) {
    let text = error.to_string();
    match error {
        LinkError::Store(cause) => (StatusCode::SERVICE_UNAVAILABLE, ApiError::from(cause)),
        LinkError::Expired | LinkError::Gone => {
            let text = format!("{text}; the incident's page shows how it stands");
            (StatusCode::GONE, ApiError::new(Code::NotFound, text))
        }
        LinkError::Broken => (StatusCode::NOT_FOUND, ApiError::new(Code::NotFound, text)),
    }
}
