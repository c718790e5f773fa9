//! Every route in one table with who may use it. A route that is not here does not exist; a test walks all
//! routes with all scopes.

use actix_web::web;

/// Who may use a route. The default is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody: liveness, the sign-in page, webhooks (which authenticate by signature).
    Public,
    /// A token with this scope, or a session made with one.
    Scope(Scope),
    /// Scope `read`, or any caller on loopback.
    ReadOrLoopback,
}

/// What a token allows. `admin` includes all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Deploy,
    Gate,
    Read,
    Ack,
    Admin,
}

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    /// actix syntax: `/api/v1/deploys/{id}`.
    pub path: &'static str,
    pub access: Access,
    /// Builds the handler.
    pub handler: fn() -> actix_web::Route,
}

/// The whole surface.
pub fn table() -> Vec<Route> {
    vec![Route {
        method: "GET",
        path: "/livez",
        access: Access::Public,
        handler: || web::get().to(async || actix_web::HttpResponse::Ok().body("ok\n")),
    }]
}
