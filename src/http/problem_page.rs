//! Errors as a person with a browser reads them.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode, header};
use askama::Template;

use super::dashboard::assets::{Assets, addresses};
use crate::api::problem::Problem;

#[derive(Template)]
#[template(path = "http/dashboard/templates/problem.html")]
struct Page<'a> {
    assets: &'static Assets,
    problem: &'a Problem,
}

/// Whether somebody looks at the answer in a browser, rather than a program asks.
pub fn is_wanted(method: &Method, headers: &header::HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    matches!(*method, Method::GET | Method::HEAD) && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The page, or nothing where a program asks.
pub fn page(request: &HttpRequest, problem: &Problem) -> Option<HttpResponse> {
    if !is_wanted(request.method(), request.headers()) {
        return None;
    }
    let html = Page { assets: addresses(), problem }.render().ok()?;
    let status = StatusCode::from_u16(problem.status).ok()?;
    Some(
        HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header(("Cache-Control", "no-store"))
            .body(html),
    )
}
