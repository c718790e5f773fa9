//! Signing in with a token, and out. A session does what its token may do, and ends with it.

use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::auth::{COOKIE, Caller};
use super::dashboard::assets::Assets;
use super::{ApiError, peer};
use crate::api::problem::Code;
use crate::services::{Context, access};

#[derive(Template)]
#[template(path = "http/dashboard/templates/sign_in.html")]
struct SignIn {
    assets: &'static Assets,
    next: String,
    problem: Option<&'static str>,
}

#[derive(Debug, Deserialize)]
pub struct Wish {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct Form {
    token: SecretString,
    #[serde(default)]
    next: String,
}

/// `GET /sign-in`
pub async fn page(wish: web::Query<Wish>) -> Result<HttpResponse, ApiError> {
    render(&mut HttpResponse::Ok(), &wish.next, None)
}

/// `POST /sign-in`
pub async fn sign_in(
    ctx: web::Data<Context>,
    request: HttpRequest,
    form: web::Form<Form>,
) -> Result<HttpResponse, ApiError> {
    if peer::is_cross_site(&request) {
        return Err(ApiError::new(Code::Forbidden, "the form is not from this page; load /sign-in again"));
    }
    let form = form.into_inner();
    let Some(session) = access::sign_in(&ctx, form.token.expose_secret().trim()).await? else {
        let problem = "This token is not known, has expired or was revoked.";
        return render(&mut HttpResponse::Unauthorized(), &form.next, Some(problem));
    };
    let length = session.expires_at.duration_since(ctx.now()).as_secs();
    let mut cookie = cookie(&ctx, session.cookie.expose_secret().to_owned());
    cookie.set_max_age(CookieDuration::seconds(length));
    Ok(HttpResponse::SeeOther().cookie(cookie).insert_header((header::LOCATION, local(&form.next))).finish())
}

/// `POST /sign-out`
pub async fn sign_out(ctx: web::Data<Context>, caller: Caller) -> Result<HttpResponse, ApiError> {
    if let Some(cookie) = &caller.cookie {
        access::sign_out(&ctx, cookie).await?;
    }
    let mut gone = cookie(&ctx, String::new());
    gone.make_removal();
    Ok(HttpResponse::SeeOther().cookie(gone).insert_header((header::LOCATION, "/sign-in")).finish())
}

#[derive(Serialize)]
struct WhoAmI {
    actor: String,
    scopes: Vec<String>,
}

/// `GET /api/v1/whoami`: what the token in use may do.
pub async fn whoami(caller: Caller) -> HttpResponse {
    let scopes = caller.scopes.to_string().split_whitespace().map(str::to_owned).collect();
    HttpResponse::Ok().json(WhoAmI { actor: caller.actor, scopes })
}

fn cookie(ctx: &Context, value: String) -> Cookie<'static> {
    let https = ctx.settings.http.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    Cookie::build(COOKIE, value).path("/").http_only(true).same_site(SameSite::Lax).secure(https).finish()
}

/// Only a path on this server: a link must not send people elsewhere with a fresh session.
fn local(next: &str) -> String {
    let inside = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if inside { next.to_owned() } else { "/".to_owned() }
}

fn render(
    answer: &mut actix_web::HttpResponseBuilder,
    next: &str,
    problem: Option<&'static str>,
) -> Result<HttpResponse, ApiError> {
    let page = SignIn { assets: super::dashboard::assets::addresses(), next: local(next), problem };
    let text = page
        .render()
        .map_err(|error| ApiError::new(Code::Internal, "the page could not be drawn").caused_by(error))?;
    Ok(answer.content_type("text/html; charset=utf-8").body(text))
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn after_signing_in_people_stay_here() {
        for (next, target) in [
            ("/deploys/dep_1?x=1", "/deploys/dep_1?x=1"),
            ("https://evil.example", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(local(next), target);
        }
    }
}
