//! The fields that every kind which asks over HTTP has, and how they become a request.

use std::collections::BTreeMap;

use super::Scope;
use crate::domain::signal::{HttpRequest, references};
use crate::suite::read::At;
use crate::suite::statuses::Statuses;

/// Tries of one measurement; more would be a load test.
const MOST_TRIES: u32 = 20;
const MOST_REDIRECTS: u32 = 10;
/// What may be asked for; the others mean nothing here.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Declares a kind's body with the fields of a request and its own.
macro_rules! request_kind {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The address, http:// or https://; `${NAME}` stands for `signals.values.NAME` of the settings
            url: crate::suite::read::At<String>,
            /// GET where nothing else is said
            method: Option<crate::suite::read::At<String>>,
            /// Headers; `${NAME}` stands for a value of the settings, so that no secret is written here
            #[serde(default)]
            headers: std::collections::BTreeMap<String, crate::suite::read::At<String>>,
            /// The body to send; `${NAME}` stands for a value of the settings
            body: Option<crate::suite::read::At<String>>,
            /// The expected statuses: `200`, `2xx`, `[200, 204]`; 2xx where nothing else is said
            status: Option<crate::suite::statuses::Statuses>,
            /// A text, or several, that the body must contain
            contains: Option<crate::suite::format::Names>,
            /// JSON pointers and what must stand there: `{ /status: ok }`
            json: Option<crate::suite::read::At<std::collections::BTreeMap<String, serde_json::Value>>>,
            /// How many redirects are followed, on the same host only; none where nothing else is said
            redirects: Option<crate::suite::read::At<u32>>,
            /// How often it is asked in one measurement
            tries: Option<crate::suite::read::At<u32>>,
            $($(#[$doc])* $field: $kind,)*
        }

        impl $name {
            fn parts(&self) -> $crate::suite::kinds::request::Parts<'_> {
                $crate::suite::kinds::request::Parts {
                    url: &self.url,
                    method: self.method.as_ref(),
                    headers: &self.headers,
                    body: self.body.as_ref(),
                    status: self.status.as_ref(),
                    contains: self.contains.as_ref(),
                    json: self.json.as_ref(),
                    redirects: self.redirects.as_ref(),
                    tries: self.tries.as_ref(),
                }
            }
        }
    };
}
pub(super) use request_kind;

/// The fields of a request as they were written.
pub struct Parts<'a> {
    pub url: &'a At<String>,
    pub method: Option<&'a At<String>>,
    pub headers: &'a BTreeMap<String, At<String>>,
    pub body: Option<&'a At<String>>,
    pub status: Option<&'a Statuses>,
    pub contains: Option<&'a crate::suite::format::Names>,
    pub json: Option<&'a At<BTreeMap<String, serde_json::Value>>>,
    pub redirects: Option<&'a At<u32>>,
    pub tries: Option<&'a At<u32>>,
}

impl Parts<'_> {
    /// The request; what is wrong with it is reported.
    pub fn request(&self, scope: &Scope<'_>, tries: u32) -> HttpRequest {
        self.check_url(scope);
        let texts = self.headers.values().chain(self.body).chain([self.url]);
        texts.for_each(|text| check_references(scope, text));
        for (name, value) in self.headers {
            let valid =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if !valid {
                scope.problems.report(value.at, format!("`{name}` cannot be the name of a header"));
            }
        }
        let method = self.method.map_or_else(|| "GET".to_owned(), |method| method.value.to_ascii_uppercase());
        if let Some(written) = self.method.filter(|_| !METHODS.contains(&method.as_str())) {
            scope
                .problems
                .report(written.at, crate::suite::read::unknown("method", &written.value, &METHODS));
        }
        let bounded = |field: &str, written: Option<&At<u32>>, least: u32, most: u32, otherwise: u32| {
            let Some(written) = written else { return otherwise };
            if !(least..=most).contains(&written.value) {
                scope.problems.report(written.at, format!("`{field}` is between {least} and {most}"));
            }
            written.value
        };
        for pointer in self.json.iter().flat_map(|json| json.value.keys()) {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let at = self.json.map_or(scope.at, |json| json.at);
                let message = format!("expected a JSON pointer such as `/{pointer}`, found `{pointer}`");
                scope.problems.report(at, message);
            }
        }
        HttpRequest {
            method,
            url: self.url.value.clone(),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect(),
            body: self.body.map(|body| body.value.clone()),
            status: self.status.map_or_else(|| vec![(200, 299)], |status| status.0.clone()),
            contains: self.contains.map(|contains| contains.texts()).unwrap_or_default(),
            json: self.json.map(|json| json.value.clone().into_iter().collect()).unwrap_or_default(),
            redirects: bounded("redirects", self.redirects, 0, MOST_REDIRECTS, 0),
            tries: bounded("tries", self.tries, 1, MOST_TRIES, tries),
            certificate_days: None,
        }
    }

    fn check_url(&self, scope: &Scope<'_>) {
        let report = |message: &str| scope.problems.report(self.url.at, message);
        // A reference may stand for any part of the address but its scheme.
        let sample = crate::domain::signal::fill(&self.url.value, |_| Some("x".to_owned()));
        let Ok(url) = url::Url::parse(&sample.unwrap_or_default()) else {
            return report("expected an address such as `https://app.example.com/health`");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            report("expected an address that begins with `https://` or `http://`");
        }
        if !url.username().is_empty() || url.password().is_some() {
            report(
                "an address with a password would be shown to everybody; send it in a header, such as \
                 `Authorization: Bearer ${TOKEN}`",
            );
        }
    }

    /// `GET https://app.example.com/health`: what is asked, without the query, which may hold what nobody
    /// should read in a mail.
    pub fn label(&self) -> String {
        let method = self.method.map_or("GET", |method| method.value.as_str()).to_ascii_uppercase();
        let url = self.url.value.split(['?', '#']).next().unwrap_or_default();
        format!("{method} {url}")
    }
}

fn check_references(scope: &Scope<'_>, text: &At<String>) {
    for name in references(&text.value) {
        let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !valid {
            scope.problems.report(
                text.at,
                format!("`${{{name}}}` names no value; a name is made of letters, digits and `_`"),
            );
        }
    }
}
