//! The handlers of the pages: read, shape, render.

use std::collections::{BTreeSet, HashMap};

use actix_web::{HttpResponse, web};
use askama::Template;

use super::verdicts::{self, Shown};
use super::view::{Card, Fact, IncidentRow, LinkRow, SourceRow, ToldRow};
use super::{Frame, assets, incidents as problems, secrets as slots_view, times, told as told_view};
use crate::api::problem::Code;
use crate::domain::check::{CheckKey, Stage};
use crate::domain::clock::{SignedDuration, Timestamp, rfc3339};
use crate::domain::gate::{self, FailOn, GatePolicy};
use crate::domain::ids::DeployId;
use crate::domain::observation::Observation;
use crate::http::ApiError;
use crate::http::auth::Caller;
use crate::services::Context;
use crate::services::{oncall, secrets, verification};
use crate::store::deploys::{self, DeployRow};
use crate::store::incidents::{self, Which};
use crate::store::{answers, deliveries, observations, provider};

const DEPLOYS: i64 = 20;
const INCIDENTS: u32 = 20;

#[derive(Template)]
#[template(path = "http/dashboard/templates/home.html")]
struct Home {
    frame: Frame,
    title: String,
    cards: Vec<Card>,
    sources: Vec<SourceRow>,
    webhook_url: String,
    incidents: Vec<IncidentRow>,
    deploys: Vec<LinkRow>,
}

#[derive(Template)]
#[template(path = "http/dashboard/templates/deploy.html")]
struct DeployPage {
    frame: Frame,
    title: String,
    card: Card,
    incidents: Vec<IncidentRow>,
    told: Vec<ToldRow>,
}

/// `GET /`
pub async fn home(ctx: web::Data<Context>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let mut c = ctx.db.reader().await?;
    let recent = deploys::list_deploys(&mut c, None, DEPLOYS).await?;
    let mut names: BTreeSet<&str> = ctx.settings.environments.keys().map(String::as_str).collect();
    names.extend(recent.iter().map(|row| row.deploy.environment.as_str()));
    let mut cards = Vec::new();
    for name in names {
        cards.push(match deploys::get_newest(&mut c, name).await? {
            Some(row) => card(&mut c, &row, now).await?,
            None => verdicts::waiting(name),
        });
    }
    let standing = oncall::standing(&ctx, now, 14).await?;
    for card in &mut cards {
        card.facts.extend(on_call(&standing, &card.environment, now));
    }
    let found = incidents::list(&mut c, Which::All, None, INCIDENTS).await?;
    let sources = sources(&ctx, &mut c, now).await?;
    let title = cards.first().map(|card: &Card| format!("{} · {}", card.verdict.word, card.environment));
    render(&Home {
        frame: Frame::new(&caller, "now", now),
        title: title.map_or_else(|| "deploywatch".to_owned(), |title| format!("{title} · deploywatch")),
        cards,
        sources,
        webhook_url: webhook_url(&ctx),
        incidents: found.iter().map(|stored| problems::row(&stored.incident, now)).collect(),
        deploys: recent
            .iter()
            .map(|row| verdicts::link(&row.deploy, &row.verdict, row.decided.as_ref(), now))
            .collect(),
    })
}

/// `GET /deploys/{id}`
pub async fn deploy(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let mut c = ctx.db.reader().await?;
    let id = DeployId::from_text(id.into_inner());
    let row = deploys::get_deploy(&mut c, &id)
        .await?
        .ok_or_else(|| ApiError::new(Code::NotFound, "there is no deploy with this id"))?;
    let card = card(&mut c, &row, now).await?;
    let environment = row.deploy.environment.as_str();
    let found = incidents::list(&mut c, Which::All, Some(environment), 200).await?;
    let told = answers::list_of_deploy(&mut c, &row.deploy.id).await?;
    let own = found.iter().filter(|stored| stored.incident.key.scope == row.deploy.id.as_str());
    render(&DeployPage {
        frame: Frame::new(&caller, "deploy", now),
        title: format!("{} · {} · deploywatch", card.verdict.word, row.deploy.label()),
        incidents: own.map(|stored| problems::row(&stored.incident, now)).collect(),
        told: told.iter().map(|stored| told_view::row(stored, now)).collect(),
        card,
    })
}

async fn card(c: &mut sqlx::AnyConnection, row: &DeployRow, now: Timestamp) -> Result<Card, ApiError> {
    let mut runs: HashMap<CheckKey, Vec<Observation>> = HashMap::new();
    for seen in observations::list_observations(c, &row.deploy.id).await? {
        runs.entry(seen.observation.key.clone()).or_default().push(seen.observation);
    }
    let policy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Failure };
    let decided = row.decided.as_ref();
    let gate = gate::decide(&row.verdict, decided, policy, now).answer;
    let suspects = verification::suspects(c, row).await?;
    let shown =
        Shown { deploy: &row.deploy, verdict: &row.verdict, decided, gate, runs: &runs, suspects: &suspects };
    Ok(verdicts::card(shown, now))
}

async fn sources(
    ctx: &Context,
    c: &mut sqlx::AnyConnection,
    now: Timestamp,
) -> Result<Vec<SourceRow>, ApiError> {
    let slots = secrets::status(ctx, None).await.map_err(|error| {
        ApiError::new(Code::StoreUnavailable, "the secrets cannot be read").caused_by(error)
    })?;
    let since = now - SignedDuration::from_hours(24);
    let mut rows: Vec<SourceRow> = Vec::new();
    let mut audited = BTreeSet::new();
    for slot in &slots {
        let (total, refused) = deliveries::count_since(c, &slot.source, since).await?;
        let mut row = slots_view::source(slot, (total, refused), now);
        if audited.insert(&slot.source) {
            row.audit =
                provider::get_audit(c, &slot.source).await?.map(|found| slots_view::audit(&found, now));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Who is told of an environment's critical matters, and until when.
fn on_call(standing: &oncall::Standing, environment: &str, now: Timestamp) -> Option<Fact> {
    let view = oncall::view::view(standing);
    let duty = view.environments.iter().find(|duty| duty.environment == environment)?;
    let turns = |name: &String| standing.turns.iter().find(|turns| turns.rotation == *name);
    let turns: Vec<_> =
        duty.critical.iter().filter_map(|called| called.rotation.as_ref()).filter_map(turns).collect();
    let until = turns.iter().filter_map(|turns| turns.shifts.first()).map(|shift| shift.until).min();
    let until = until.map(|until| format!(", until {}", times::at(until, now))).unwrap_or_default();
    Some(Fact::new("On call", format!("{}{until}", oncall::view::line(&duty.critical))))
}

fn webhook_url(ctx: &Context) -> String {
    let base = ctx.settings.http.public_url.as_ref().map(ToString::to_string);
    let base = base.unwrap_or_else(|| format!("http://{}/", ctx.settings.http.listen));
    format!("{}/webhooks/lemonsqueezy", base.trim_end_matches('/'))
}

impl Frame {
    pub fn new(caller: &Caller, page: &'static str, now: Timestamp) -> Self {
        Self {
            assets: assets::addresses(),
            signed_in: true,
            page,
            csrf: caller.csrf.clone(),
            now: rfc3339(now),
            live: page != "mail",
        }
    }
}

/// A page as an answer.
pub fn render(page: &impl Template) -> Result<HttpResponse, ApiError> {
    let text = page
        .render()
        .map_err(|error| ApiError::new(Code::Internal, "the page could not be drawn").caused_by(error))?;
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(text))
}
