//! Every route in one table with who may use it. A route that is not here does not exist; a test walks all
//! routes with all scopes.

use actix_web::web;

pub use crate::domain::access::Scope;

use super::{
    dashboard, deliveries, deploys, gate, health, inbox, incidents, links, logs, metrics, oncall, outbox,
    secrets, session, silences, triggers, webhooks,
};

/// Who may use a route. The default is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody: liveness, the sign-in page.
    Public,
    /// Anybody, since the handler judges the signature: nothing is looked up about the caller.
    Signature,
    /// A token with this scope, or a session made with one.
    Scope(Scope),
    /// Scope `read`, or any caller on loopback.
    ReadOrLoopback,
}

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Route {
    /// Who answers `GET` answers `HEAD` as well, without the body.
    pub method: &'static str,
    /// actix syntax: `/api/v1/deploys/{id}`.
    pub path: &'static str,
    pub access: Access,
    /// Builds the handler; the server adds the method.
    pub handler: fn() -> actix_web::Route,
}

impl Route {
    /// Whether it is about the process and not about what it watches.
    pub fn is_about_health(&self) -> bool {
        matches!(self.path, "/livez" | "/readyz" | "/metrics")
    }
}

/// The whole surface.
pub fn table() -> Vec<Route> {
    use Access::{Public, ReadOrLoopback, Scope as With, Signature};
    let route = |method, path, access, handler| Route { method, path, access, handler };
    vec![
        // First, since routes are tried in this order and this one is asked most.
        route("POST", "/webhooks/{source}", Signature, || web::to(webhooks::receive)),
        route("GET", "/livez", Public, || web::to(health::livez)),
        route("GET", "/readyz", Public, || web::to(health::readyz)),
        route("GET", "/metrics", ReadOrLoopback, || web::to(metrics::metrics)),
        route("GET", "/", With(Scope::Read), || web::to(dashboard::pages::home)),
        route("GET", "/deploys/{id}", With(Scope::Read), || web::to(dashboard::pages::deploy)),
        route("GET", "/deliveries", With(Scope::Read), || web::to(deliveries::page)),
        route("GET", "/deliveries/{id}", With(Scope::Read), || web::to(deliveries::one)),
        route("GET", "/assets/{digest}/{name}", Public, || web::to(dashboard::assets::asset)),
        route("GET", "/sign-in", Public, || web::to(session::page)),
        route("POST", "/sign-in", Public, || web::to(session::sign_in)),
        route("POST", "/sign-out", With(Scope::Read), || web::to(session::sign_out)),
        route("GET", "/api/v1/whoami", With(Scope::Read), || web::to(session::whoami)),
        route("POST", "/api/v1/deploys", With(Scope::Deploy), || web::to(deploys::start)),
        route("GET", "/api/v1/deploys", With(Scope::Read), || web::to(deploys::list)),
        route("POST", "/api/v1/deploys/finish", With(Scope::Deploy), || web::to(deploys::finish_version)),
        route("GET", "/api/v1/deploys/{id}", With(Scope::Read), || web::to(deploys::get)),
        route("POST", "/api/v1/deploys/{id}/finish", With(Scope::Deploy), || web::to(deploys::finish)),
        route("POST", "/api/v1/deploys/{id}/cancel", With(Scope::Deploy), || web::to(deploys::cancel)),
        route("POST", "/api/v1/deploys/{id}/override", With(Scope::Admin), || web::to(deploys::decide)),
        route("DELETE", "/api/v1/deploys/{id}/override", With(Scope::Admin), || web::to(deploys::withdraw)),
        route("POST", "/api/v1/deploys/{id}/mute", With(Scope::Admin), || web::to(deploys::mute)),
        route("POST", "/api/v1/deploys/{id}/reverify", With(Scope::Deploy), || web::to(deploys::reverify)),
        route("GET", "/api/v1/gate", With(Scope::Gate), || web::to(gate::any)),
        route("GET", "/api/v1/environments/{environment}/gate", With(Scope::Gate), || {
            web::to(gate::of_environment)
        }),
        route("GET", "/api/v1/environments/{environment}/gate/rollback", With(Scope::Gate), || {
            web::to(gate::rollback)
        }),
        // Flagger asks by POST.
        route("POST", "/api/v1/environments/{environment}/gate", With(Scope::Gate), || {
            web::to(gate::of_environment)
        }),
        route("POST", "/api/v1/environments/{environment}/gate/rollback", With(Scope::Gate), || {
            web::to(gate::rollback)
        }),
        route("GET", "/api/v1/environments/{environment}/verdict", With(Scope::Gate), || {
            web::to(gate::verdict)
        }),
        route("GET", "/api/v1/deliveries", With(Scope::Read), || web::to(deliveries::list)),
        route("POST", "/api/v1/deliveries/replay", With(Scope::Admin), || web::to(deliveries::replay)),
        route("GET", "/api/v1/deliveries/{id}", With(Scope::Read), || web::to(deliveries::show)),
        route("GET", "/api/v1/secrets", With(Scope::Read), || web::to(secrets::list)),
        route("POST", "/api/v1/secrets", With(Scope::Admin), || web::to(secrets::add)),
        route("POST", "/api/v1/secrets/{source}/{mode}/product", With(Scope::Deploy), || {
            web::to(secrets::report)
        }),
        route("POST", "/api/v1/secrets/{source}/{mode}/rotation/{action}", With(Scope::Admin), || {
            web::to(secrets::rotation)
        }),
        route("POST", "/api/v1/secrets/{source}/{mode}/{action}", With(Scope::Admin), || {
            web::to(secrets::change)
        }),
        route("GET", "/incidents/{id}", With(Scope::Read), || web::to(incidents::page)),
        route("POST", "/incidents/{id}/acknowledge", With(Scope::Ack), || {
            web::to(incidents::acknowledge_by_form)
        }),
        route("POST", "/incidents/{id}/snooze", With(Scope::Ack), || web::to(incidents::snooze_by_form)),
        route("GET", "/api/v1/incidents", With(Scope::Read), || web::to(incidents::list)),
        route("GET", "/api/v1/incidents/{id}", With(Scope::Read), || web::to(incidents::get)),
        route("POST", "/api/v1/incidents/{id}/acknowledge", With(Scope::Ack), || {
            web::to(incidents::acknowledge)
        }),
        route("POST", "/api/v1/incidents/{id}/resolve", With(Scope::Ack), || web::to(incidents::resolve)),
        route("POST", "/api/v1/incidents/{id}/snooze", With(Scope::Ack), || web::to(incidents::snooze)),
        route("GET", "/api/v1/oncall", With(Scope::Read), || web::to(oncall::show)),
        route("POST", "/api/v1/oncall/overrides", With(Scope::Ack), || web::to(oncall::add)),
        route("DELETE", "/api/v1/oncall/overrides/{id}", With(Scope::Ack), || web::to(oncall::remove)),
        route("GET", "/api/v1/outbox", With(Scope::Read), || web::to(outbox::list)),
        route("POST", "/api/v1/outbox/{id}/retry", With(Scope::Ack), || web::to(outbox::retry_one)),
        route("GET", "/act/{token}", Public, || web::to(links::look)),
        route("POST", "/act/{token}", Public, || web::to(links::press)),
        route("GET", "/silences", With(Scope::Read), || web::to(silences::page)),
        route("POST", "/silences", With(Scope::Ack), || web::to(silences::add_by_form)),
        route("GET", "/silences/new", With(Scope::Ack), || web::to(silences::new_page)),
        route("POST", "/silences/{id}/end", With(Scope::Ack), || web::to(silences::end_by_form)),
        route("GET", "/api/v1/silences", With(Scope::Read), || web::to(silences::list)),
        route("POST", "/api/v1/silences", With(Scope::Ack), || web::to(silences::add)),
        route("POST", "/api/v1/silences/{id}/end", With(Scope::Ack), || web::to(silences::end)),
        route("GET", "/inbox", With(Scope::Read), || web::to(inbox::list)),
        route("GET", "/inbox/{id}", With(Scope::Read), || web::to(inbox::mail)),
        route("GET", "/inbox/{id}/html", With(Scope::Read), || web::to(inbox::html)),
        route("GET", "/api/v1/triggers", With(Scope::Read), || web::to(triggers::list)),
        route("GET", "/api/v1/deploys/{id}/answers", With(Scope::Read), || web::to(triggers::answers_of)),
        route("POST", "/triggers/{name}", Public, || web::to(triggers::take)),
        route("GET", "/logs/{source}", Public, || web::to(logs::handshake)),
        route("POST", "/logs/{source}", Signature, || web::to(logs::receive)),
    ]
}
