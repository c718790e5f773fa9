//! Telling the systems that release our users' product what became of it: GitHub and Vercel, by their own APIs.
//!
//! Nothing here decides what is said; it only knows how, and what an answer of theirs means.

pub mod app_key;
pub mod github;
pub mod vercel;

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

/// One call as a whole.
pub const CALL: Duration = Duration::from_secs(15);

/// An answer is JSON of a few KiB; more is not read.
const ANSWER_BYTES: usize = 1 << 20;

/// Why a call was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct CallError {
    /// None where there was no answer.
    pub status: Option<u16>,
    /// Seconds to wait, where the provider said so.
    pub retry_after: Option<u32>,
    /// A sentence without addresses or secrets.
    pub text: String,
}

impl CallError {
    pub(crate) fn before(text: impl Into<String>) -> Self {
        Self { status: None, retry_after: None, text: text.into() }
    }
}

/// A JSON API below one address.
#[derive(Clone)]
pub(crate) struct Json {
    http: reqwest::Client,
    base: Url,
    name: &'static str,
}

impl Json {
    pub fn new(name: &'static str, base: &Url) -> Result<Self, CallError> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("deploywatch/", env!("CARGO_PKG_VERSION")))
            .timeout(CALL)
            // A redirect would carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        let local = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = if local { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|_| CallError::before("no HTTP client can be made"))?;
        Ok(Self { http, base: base.clone(), name })
    }

    /// An address below the base; the segments are escaped.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Whether an address that came from outside is one of this API's, so that it may see our token.
    pub fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin() && url.path().starts_with(self.base.path().trim_end_matches('/'))
    }

    pub fn request(&self, method: Method, url: Url, token: &SecretString) -> RequestBuilder {
        self.http.request(method, url).bearer_auth(token.expose_secret()).header("accept", "application/json")
    }

    /// Sends it and gives the JSON of a 2xx, null where it has no body.
    pub async fn send(&self, request: RequestBuilder) -> Result<Value, CallError> {
        let unreachable = |error: reqwest::Error| {
            let why = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
            CallError::before(format!("{} {why}", self.name))
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(json);
        }
        let said = json["message"].as_str().or_else(|| json["error"]["message"].as_str()).unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        let text = format!("{} answered {} {said}", self.name, status.as_u16()).trim_end().to_owned();
        Err(CallError { status: Some(status.as_u16()), retry_after, text })
    }
}

fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<u32> {
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()
}
