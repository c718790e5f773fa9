//! One HTTP request to an address from the settings: no redirects, no proxy, and only to places that were
//! judged after their name was resolved.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Failure, Taken};
use crate::domain::notification::{FailureClass, Stage};
use crate::domain::reach::{Reach, reach};

const CONNECT: Duration = Duration::from_secs(5);
/// What is kept of an answer.
const KEPT_BYTES: usize = 300;

/// Where a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allow {
    PublicOnly,
    /// Private networks and this machine too; never a cloud's metadata service.
    Private,
}

/// What to send.
pub struct Call {
    pub url: url::Url,
    pub headers: Vec<(&'static str, String)>,
    /// POST with a body, GET without.
    pub body: Option<String>,
    pub allow: Allow,
}

/// Sends it and returns the answer, whatever its status is.
pub async fn call(call: Call) -> Result<Taken, Failure> {
    let addresses = resolve(&call.url, call.allow).await?;
    let host = call.url.host_str().unwrap_or_default().to_owned();
    rustls::crypto::ring::default_provider().install_default().ok();
    // The addresses that were judged are the ones that are used: a name that resolves anew cannot differ.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(super::ATTEMPT)
        .no_proxy()
        .resolve_to_addrs(&host, &addresses)
        .build()
        .map_err(|error| failed(&error.without_url()))?;
    let mut request = match call.body {
        Some(body) => client.post(call.url).body(body),
        None => client.get(call.url),
    };
    request = request.header("user-agent", concat!("deploywatch/", env!("CARGO_PKG_VERSION")));
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    // The URL may hold a token, so it stays out of every text.
    let mut answer = request.send().await.map_err(|error| failed(&error.without_url()))?;
    let status = answer.status().as_u16();
    let mut kept = Vec::new();
    while kept.len() < KEPT_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        kept.extend_from_slice(&chunk);
    }
    kept.truncate(KEPT_BYTES);
    let text: String = String::from_utf8_lossy(&kept).chars().filter(|c| !c.is_control()).collect();
    Ok(Taken { status, answer: text.trim().to_owned() })
}

async fn resolve(url: &url::Url, allow: Allow) -> Result<Vec<SocketAddr>, Failure> {
    let port = url.port_or_known_default().unwrap_or(443);
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| {
        let text = format!("the name {host} could not be resolved: {error}");
        Failure::new(Stage::Connect, FailureClass::Transient, text)
    })?;
    let addresses: Vec<SocketAddr> = found.collect();
    for address in &addresses {
        let refused = match (reach(address.ip()), allow) {
            (Reach::Public, _) | (Reach::Private, Allow::Private) => continue,
            (Reach::Private, Allow::PublicOnly) => format!(
                "{host} leads to {}, which is in a private network; set allow_private = true for this channel if \
                 that is meant",
                address.ip()
            ),
            (Reach::Never, _) => {
                format!("{host} leads to {}, where nothing is ever sent; correct the url", address.ip())
            }
        };
        return Err(Failure::new(Stage::Connect, FailureClass::Configuration, refused));
    }
    Ok(addresses)
}

fn failed(error: &reqwest::Error) -> Failure {
    let stage = if error.is_connect() { Stage::Connect } else { Stage::Content };
    let text = if error.is_timeout() {
        "no answer came in time".to_owned()
    } else {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    };
    let stage = if error.is_builder() { Stage::Build } else { stage };
    Failure::new(stage, FailureClass::Transient, text)
}
