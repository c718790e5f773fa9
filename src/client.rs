//! The typed client behind the commands that CI runs.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::api::deploys::{
    AnnounceRequest, CancelRequest, DeployList, DeployView, MuteRequest, OverrideRequest, ReverifyRequest,
};
use crate::api::gate::GateView;
use crate::api::problem::{Code, Problem};

/// Longer than one long poll, and than a baseline's scan may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(75);
const START_WITHIN: Duration = Duration::from_secs(300);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where the server is and who asks.
#[derive(Debug, Clone)]
pub struct Client {
    base: Url,
    token: Option<SecretString>,
    http: reqwest::Client,
}

/// Why there is no answer; each with its own exit code.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0:?} is not the address of a server; give http://HOST:PORT or https://HOST")]
    Address(String),
    #[error("{base} cannot be reached ({because}); is the server up, and is the address right?")]
    Unreachable { base: String, because: String },
    #[error("{}", refused(.0))]
    Refused(Problem),
    #[error("{}", .0.detail)]
    Problem(Problem),
    #[error("{base} answered with something that is not deploywatch ({because}); is the address right?")]
    NotOurs { base: String, because: String },
}

fn refused(problem: &Problem) -> String {
    format!("{} (the token comes from --token or DEPLOYWATCH_TOKEN)", problem.detail)
}

impl ClientError {
    /// 2 usage, 3 the target could not be measured, 5 unknown, 6 unreachable, 7 token refused.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Address(_) => 2,
            Self::Unreachable { .. } | Self::NotOurs { .. } => 6,
            Self::Refused(_) => 7,
            Self::Problem(problem) => match problem.code {
                Code::TargetUnavailable => 3,
                Code::NotFound => 5,
                Code::StoreUnavailable | Code::Internal | Code::RateLimited => 6,
                _ => 2,
            },
        }
    }

    /// Whether the same question may have an answer in a moment.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => matches!(problem.code, Code::StoreUnavailable | Code::RateLimited),
            _ => false,
        }
    }
}

/// What to ask the gate.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GateQuestion {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy: Option<String>,
    pub stage: Option<crate::domain::check::Stage>,
    pub fail_on: Option<crate::domain::gate::FailOn>,
    /// Asked by the next release, of this kind, about the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_of: Option<crate::domain::deploy::DeployKind>,
}

impl Client {
    pub fn new(address: &str, token: Option<SecretString>) -> Result<Self, ClientError> {
        let wrong = || ClientError::Address(address.to_owned());
        let mut base = Url::parse(address).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong());
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        // reqwest is built without a TLS provider of its own; a second call changes nothing.
        rustls::crypto::ring::default_provider().install_default().ok();
        let local = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = reqwest::Client::builder()
            .user_agent(concat!("deploywatch/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .redirect(reqwest::redirect::Policy::none());
        // A proxy for the outside world does not know our loopback.
        let builder = if local { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|_| wrong())?;
        Ok(Self { base, token, http })
    }

    /// Announces a deploy; returns when its baseline is captured.
    pub async fn start(&self, request: &AnnounceRequest) -> Result<DeployView, ClientError> {
        let request = self.request(Method::POST, "api/v1/deploys", START_WITHIN).json(request);
        self.answer(request).await
    }

    pub async fn finish(&self, id: &str) -> Result<DeployView, ClientError> {
        let path = format!("api/v1/deploys/{}/finish", segment(id));
        self.answer(self.request(Method::POST, &path, ANSWER_WITHIN)).await
    }

    pub async fn finish_version(&self, request: &AnnounceRequest) -> Result<DeployView, ClientError> {
        let request = self.request(Method::POST, "api/v1/deploys/finish", ANSWER_WITHIN).json(request);
        self.answer(request).await
    }

    pub async fn cancel(&self, id: &str, request: &CancelRequest) -> Result<DeployView, ClientError> {
        let path = format!("api/v1/deploys/{}/cancel", segment(id));
        self.answer(self.request(Method::POST, &path, ANSWER_WITHIN).json(request)).await
    }

    pub async fn decide(&self, id: &str, request: &OverrideRequest) -> Result<DeployView, ClientError> {
        let path = format!("api/v1/deploys/{}/override", segment(id));
        self.answer(self.request(Method::POST, &path, ANSWER_WITHIN).json(request)).await
    }

    /// Takes a decision by hand back.
    pub async fn withdraw(&self, id: &str) -> Result<DeployView, ClientError> {
        let path = format!("api/v1/deploys/{}/override", segment(id));
        self.answer(self.request(Method::DELETE, &path, ANSWER_WITHIN)).await
    }

    /// Keeps one check of a deploy quiet for a while.
    pub async fn mute(&self, id: &str, request: &MuteRequest) -> Result<DeployView, ClientError> {
        let path = format!("api/v1/deploys/{}/mute", segment(id));
        self.answer(self.request(Method::POST, &path, ANSWER_WITHIN).json(request)).await
    }

    /// Another window over a release that is out.
    pub async fn reverify(&self, id: &str, request: &ReverifyRequest) -> Result<DeployView, ClientError> {
        let path = format!("api/v1/deploys/{}/reverify", segment(id));
        self.answer(self.request(Method::POST, &path, ANSWER_WITHIN).json(request)).await
    }

    pub async fn deploy(&self, id: &str) -> Result<DeployView, ClientError> {
        let path = format!("api/v1/deploys/{}", segment(id));
        self.answer(self.request(Method::GET, &path, ANSWER_WITHIN)).await
    }

    pub async fn deploys(
        &self,
        environment: Option<&str>,
        version: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Vec<DeployView>, ClientError> {
        let limit = limit.map(|limit| limit.to_string());
        let query: Vec<(&str, &str)> =
            [("environment", environment), ("version", version), ("limit", limit.as_deref())]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
        let list: DeployList =
            self.answer(self.query(Method::GET, "api/v1/deploys", &query, ANSWER_WITHIN)).await?;
        Ok(list.deploys)
    }

    /// The gate's answer, at once or after at most `wait` seconds (the server holds at most 60).
    pub async fn gate(&self, question: &GateQuestion, wait: u64) -> Result<GateView, ClientError> {
        let wait = format!("{wait}s");
        let (stage, fail_on) = (word(question.stage), word(question.fail_on));
        let kind = word(question.previous_of);
        let query: Vec<(&str, &str)> = [
            ("environment", question.environment.as_deref()),
            ("version", question.version.as_deref()),
            ("deploy", question.deploy.as_deref()),
            ("stage", stage.as_deref()),
            ("fail_on", fail_on.as_deref()),
            ("previous", kind.as_ref().map(|_| "true")),
            ("kind", kind.as_deref()),
            ("wait", Some(wait.as_str())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        let request = self.query(Method::GET, "api/v1/gate", &query, ANSWER_WITHIN);
        let (status, body) = self.send(request).await?;
        // The gate says its answer in the status code; a refusal is a problem like any other.
        match serde_json::from_slice(&body) {
            Ok(view) => Ok(view),
            Err(_) => Err(self.failure(status, &body)),
        }
    }

    fn query(&self, method: Method, path: &str, query: &[(&str, &str)], within: Duration) -> RequestBuilder {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        self.with_token(self.http.request(method, url).timeout(within))
    }

    fn request(&self, method: Method, path: &str, within: Duration) -> RequestBuilder {
        self.with_token(self.http.request(method, self.url(path)).timeout(within))
    }

    fn url(&self, path: &str) -> Url {
        self.base.join(path).expect("our own paths are valid")
    }

    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let (status, body) = self.send(request).await?;
        if !status.is_success() {
            return Err(self.failure(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| self.not_ours(error.to_string()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let unreachable =
            |error: reqwest::Error| ClientError::Unreachable { base: self.shown(), because: reason(&error) };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        Ok((status, body.to_vec()))
    }

    fn failure(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) if matches!(problem.code, Code::Unauthenticated | Code::Forbidden) => {
                ClientError::Refused(problem)
            }
            Ok(problem) => ClientError::Problem(problem),
            Err(_) => self.not_ours(format!("status {}", status.as_u16())),
        }
    }

    fn not_ours(&self, because: String) -> ClientError {
        ClientError::NotOurs { base: self.shown(), because }
    }

    /// The address without anything that could be a password.
    fn shown(&self) -> String {
        self.base.origin().ascii_serialization()
    }
}

/// The innermost cause, which is what a person can act on; reqwest's own text repeats the URL.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn segment(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect()
}

fn word<T: Serialize>(value: Option<T>) -> Option<String> {
    let value = serde_json::to_value(value?).ok()?;
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_is_sent() {
        for wrong in ["", "deploywatch.example.com", "ftp://x", "http://"] {
            assert_eq!(Client::new(wrong, None).map(|_| ()).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
        let client = Client::new("https://x.example/watch", None).unwrap();
        assert_eq!(client.url("api/v1/gate").as_str(), "https://x.example/watch/api/v1/gate");
    }

    #[test]
    fn each_failure_has_its_exit_code() {
        let client = Client::new("http://127.0.0.1:1", None).unwrap();
        let problem = |code: Code| serde_json::to_vec(&Problem::new(code, "why")).unwrap();
        for (code, exit) in [
            (Code::Unauthenticated, 7),
            (Code::Forbidden, 7),
            (Code::NotFound, 5),
            (Code::TargetUnavailable, 3),
            (Code::StoreUnavailable, 6),
            (Code::Conflict, 2),
        ] {
            assert_eq!(client.failure(StatusCode::BAD_REQUEST, &problem(code)).exit_code(), exit, "{code:?}");
        }
        assert_eq!(client.failure(StatusCode::OK, b"<html>").exit_code(), 6);
    }
}
