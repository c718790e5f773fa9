//! The mails that were written: for the demo, and to see what became of each.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::dashboard::view::{Badge, Fact, LinkRow};
use super::dashboard::words::counted;
use super::dashboard::{Frame, pages, times};
use super::{ApiError, Caller};
use crate::api::problem::Code;
use crate::domain::clock::Timestamp;
use crate::domain::ids::NotificationId;
use crate::domain::notification::NotificationState;
use crate::email::mask;
use crate::services::Context;
use crate::store::notifications::{self, Attempt, Stored};

const LISTED: u32 = 100;

/// The page around a mail may show it in a frame; nothing else changes.
const FRAMING: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
     connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The mail itself: its own styles, no scripts, nothing fetched, framed by our pages alone.
const FRAMED: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; sandbox allow-popups";

#[derive(Template)]
#[template(path = "http/dashboard/templates/inbox.html")]
struct Inbox {
    frame: Frame,
    summary: String,
    mails: Vec<LinkRow>,
}

#[derive(Template)]
#[template(path = "http/dashboard/templates/mail.html")]
struct MailPage {
    frame: Frame,
    subject: String,
    badge: Badge,
    facts: Vec<Fact>,
    text: String,
    html_link: Option<String>,
}

/// `GET /inbox`
pub async fn list(ctx: web::Data<Context>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let found = notifications::list_recent(&mut *ctx.db.reader().await?, LISTED).await?;
    let waiting = found.iter().filter(|stored| stored.finished_at.is_none()).count();
    let summary = match waiting {
        0 => counted(found.len(), "mail"),
        n => format!("{}, {n} waiting", counted(found.len(), "mail")),
    };
    let mails = found.iter().map(|stored| row(stored, now)).collect();
    pages::render(&Inbox { frame: Frame::new(&caller, "inbox", now), summary, mails })
}

/// `GET /inbox/{id}`
pub async fn mail(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let now = ctx.now();
    let stored = find(&ctx, &id).await?;
    let mail = &stored.notification;
    let attempts = notifications::list_attempts(&mut *ctx.db.reader().await?, &mail.id).await?;
    let mut facts = vec![
        Fact::new("to", mask(&mail.recipient)),
        Fact::new("written", times::relative(mail.created_at, now)),
        Fact { mono: true, ..Fact::new("message id", mail.content.message_id.clone()) },
    ];
    if let Some(incident) = &mail.incident {
        facts.push(Fact {
            link: Some(format!("/incidents/{incident}")),
            ..Fact::new("incident", incident.as_str())
        });
    }
    facts.extend(attempts.iter().map(|attempt| Fact::new("attempt", tried(attempt, now))));
    let page = MailPage {
        frame: Frame::new(&caller, "mail", now),
        subject: mail.content.subject.clone(),
        badge: badge(&stored),
        facts,
        text: without_links(&mail.content.text, &caller),
        html_link: (!mail.content.html.is_empty()).then(|| format!("/inbox/{}/html", mail.id)),
    };
    let mut answer = pages::render(&page)?;
    let value = actix_web::http::header::HeaderValue::from_static(FRAMING);
    answer.headers_mut().insert(actix_web::http::header::CONTENT_SECURITY_POLICY, value);
    Ok(answer)
}

/// `GET /inbox/{id}/html`
pub async fn html(
    ctx: web::Data<Context>,
    caller: Caller,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let stored = find(&ctx, &id).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("Content-Security-Policy", FRAMED))
        .insert_header(("X-Frame-Options", "SAMEORIGIN"))
        .body(without_links(&stored.notification.content.html, &caller)))
}

async fn find(ctx: &Context, id: &str) -> Result<Stored, ApiError> {
    let found = notifications::get(&mut *ctx.db.reader().await?, &NotificationId::from_text(id)).await?;
    found.ok_or_else(|| ApiError::new(Code::NotFound, "there is no such mail; /inbox lists them"))
}

/// A mail's links act in the name of whoever got it, so that no other reader sees them whole. Without any token
/// there is but one reader, on this machine, who may do all of it anyway.
fn without_links(text: &str, caller: &Caller) -> String {
    if caller.actor == "loopback" {
        return text.to_owned();
    }
    let mut parts = text.split("/act/");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest =
            part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        shown.push_str("/act/of-the-recipient");
        shown.push_str(rest);
    }
    shown
}

fn row(stored: &Stored, now: Timestamp) -> LinkRow {
    let mail = &stored.notification;
    LinkRow {
        link: format!("/inbox/{}", mail.id),
        title: mail.content.subject.clone(),
        badge: badge(stored),
        summary: format!("to {}, {}", mask(&mail.recipient), times::relative(mail.created_at, now)),
    }
}

fn badge(stored: &Stored) -> Badge {
    match stored.state {
        NotificationState::Sent => Badge::good("handed over"),
        NotificationState::Dead => Badge::bad("given up"),
        NotificationState::Cancelled => Badge::quiet("withdrawn"),
        NotificationState::Digested => Badge::quiet("told in a digest"),
        NotificationState::Pending | NotificationState::Sending if stored.attempts == 0 => {
            Badge::busy("waiting")
        }
        NotificationState::Pending | NotificationState::Sending => Badge::warn("trying again"),
    }
}

fn tried(attempt: &Attempt, now: Timestamp) -> String {
    let what = match (attempt.sent, attempt.stage) {
        (true, _) => "taken".to_owned(),
        (false, Some(stage)) => format!("failed at the step {}", stage.as_str()),
        (false, None) => "failed".into(),
    };
    let took = attempt.duration_ms;
    format!("{}, {what} in {took} ms: {}", times::relative(attempt.at, now), attempt.answer)
}
