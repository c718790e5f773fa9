//! Who is calling, and whether the route is for them. Every route of the table is wrapped in [`guard`], so
//! that a handler runs only for callers whom its line admits.

use std::future::{Ready, ready};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};

use super::ApiError;
use super::routes::{Access, Scope};
use super::{peer, problem_page};
use crate::api::problem::Code;
use crate::domain::access::{Grant, Scopes};
use crate::services::{Context, access};

/// The session's cookie.
pub const COOKIE: &str = "deploywatch_session";

/// Forms are small.
const FORM_BYTES: usize = 64 * 1024;

/// Who is behind a request; an extractor for handlers.
#[derive(Debug, Clone)]
pub struct Caller {
    /// For the audit log: `token ci`, `loopback`.
    pub actor: String,
    pub scopes: Scopes,
    /// The text that a form of this session must carry in its field `csrf`.
    pub csrf: Option<String>,
    /// The cookie, so that the session can be ended.
    pub(super) cookie: Option<String>,
}

impl Caller {
    fn of_token(grant: Grant) -> Self {
        Self { actor: format!("token {}", grant.name), scopes: grant.scopes, csrf: None, cookie: None }
    }

    /// A caller on loopback while no token exists: everything but administration.
    fn local() -> Self {
        let scopes = [Scope::Deploy, Scope::Gate, Scope::Read, Scope::Ack].into_iter().collect();
        Self { actor: "loopback".into(), scopes, csrf: None, cookie: None }
    }

    fn nobody() -> Self {
        Self { actor: "nobody".into(), scopes: Scopes::default(), csrf: None, cookie: None }
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_else(Self::nobody)))
    }
}

/// Lets a request through to its handler, or answers why not.
pub async fn guard(
    access: Access,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match admit(access, &mut request).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        // People are sent to the page where they can help themselves.
        Err(refusal)
            if refusal.problem.code == Code::Unauthenticated
                && problem_page::is_wanted(request.method(), request.headers()) =>
        {
            let here = request.uri().path_and_query().map_or("/", |p| p.as_str());
            let target = format!("/sign-in?{}", form_encoded("next", here));
            let answer = HttpResponse::SeeOther().insert_header((header::LOCATION, target)).finish();
            Ok(request.into_response(answer).map_into_boxed_body())
        }
        // As an answer and not as an error, which would pass by the envelope.
        Err(refusal) => Ok(request.error_response(refusal)),
    }
}

async fn admit(access: Access, request: &mut ServiceRequest) -> Result<Caller, ApiError> {
    let ctx = request
        .app_data::<web::Data<Context>>()
        .expect("the server hands the context to every route")
        .clone();
    let needed = match access {
        Access::Public => {
            // A page that anybody may see still greets whom it knows; a store that is down hides nobody.
            return Ok(identify(&ctx, request).await.ok().flatten().unwrap_or_else(Caller::nobody));
        }
        Access::Signature => return Ok(Caller::nobody()),
        Access::ReadOrLoopback if peer::is_local(request.request()) => return Ok(Caller::local()),
        Access::ReadOrLoopback => Scope::Read,
        Access::Scope(scope) => scope,
    };
    let Some(caller) = identify(&ctx, request).await? else {
        return Err(ApiError::new(Code::Unauthenticated, unauthenticated(request)));
    };
    if !caller.scopes.allow(needed) {
        let detail = if caller.actor == "loopback" {
            format!("this needs a token with the scope {needed}; `deploywatch token create` makes one")
        } else {
            format!("the token has the scopes \"{}\" and this needs {needed}", caller.scopes)
        };
        return Err(ApiError::new(Code::Forbidden, detail));
    }
    if caller.csrf.is_some() && !is_safe(request.method()) {
        check_form(&caller, request).await?;
    }
    Ok(caller)
}

/// The caller behind a token, a session, or loopback while no token exists; `None` for everybody else.
async fn identify(ctx: &Context, request: &ServiceRequest) -> Result<Option<Caller>, ApiError> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        let Some(presented) = presented(text) else { return Ok(None) };
        // A browser sends a remembered password along whoever made it ask; a bearer it never sends by itself.
        if peer::is_cross_site(request.request()) && !text.to_ascii_lowercase().starts_with("bearer ") {
            return Ok(None);
        }
        return Ok(access::authenticate(ctx, &presented).await?.map(Caller::of_token));
    }
    if let Some(cookie) = request.cookie(COOKIE) {
        let found = access::session(ctx, cookie.value()).await?;
        if let Some((grant, csrf)) = found {
            let cookie = Some(cookie.value().to_owned());
            return Ok(Some(Caller { csrf: Some(csrf), cookie, ..Caller::of_token(grant) }));
        }
    }
    let local = peer::is_local(request.request()) && !peer::is_cross_site(request.request());
    Ok((local && !access::any_token(ctx).await?).then(Caller::local))
}

/// The token in an `Authorization` header: as a bearer, or as the password of HTTP Basic for systems that can
/// say nothing but `https://user:password@host/` (Flagger's hooks).
pub(super) fn presented(authorization: &str) -> Option<String> {
    use base64::Engine as _;
    let (scheme, rest) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let pair = String::from_utf8(bytes).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

fn unauthenticated(request: &ServiceRequest) -> &'static str {
    if request.headers().contains_key(header::AUTHORIZATION) {
        "the token is not known, has expired or was revoked; `deploywatch token list` shows what there is"
    } else {
        "send `Authorization: Bearer TOKEN`; `deploywatch token create` on the server makes one"
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A change that a browser sends must come from a form of ours. The body is read for that and put back.
async fn check_form(caller: &Caller, request: &mut ServiceRequest) -> Result<(), ApiError> {
    let refused =
        || ApiError::new(Code::Forbidden, "this form is not from this session; load the page again");
    if peer::is_cross_site(request.request()) {
        return Err(refused());
    }
    let expected = caller.csrf.as_deref().unwrap_or_default();
    if let Some(header) = request.headers().get("x-csrf-token").and_then(|value| value.to_str().ok()) {
        return if access::same_text(header, expected) { Ok(()) } else { Err(refused()) };
    }
    let body = request.take_payload();
    let bytes = actix_web::body::to_bytes_limited(PayloadBody(body), FORM_BYTES)
        .await
        .map_err(|_| ApiError::new(Code::PayloadTooLarge, "a form has at most 64 KiB"))?
        .map_err(|_| ApiError::new(Code::InvalidRequest, "the form did not arrive"))?;
    let carried =
        url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "csrf").map(|(_, value)| value);
    let same = carried.is_some_and(|carried| access::same_text(&carried, expected));
    request.set_payload(actix_web::dev::Payload::from(bytes));
    if same { Ok(()) } else { Err(refused()) }
}

/// `next=%2Fdeploys`
pub(super) fn form_encoded(name: &str, value: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

/// A request's payload as a body, so that actix reads it up to a limit.
struct PayloadBody(Payload);

impl MessageBody for PayloadBody {
    type Error = actix_web::error::PayloadError;

    fn size(&self) -> actix_web::body::BodySize {
        actix_web::body::BodySize::Stream
    }

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<web::Bytes, Self::Error>>> {
        futures_util::Stream::poll_next(std::pin::Pin::new(&mut self.get_mut().0), cx)
    }
}
