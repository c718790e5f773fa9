//! Lemon Squeezy's API, as far as it concerns webhooks: the list of those that are set up. It is read and never
//! written to, a page of 100 at a time, and its limit of calls is left to others.

mod wire;

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::domain::provider::Registered;

/// Where the API is.
pub const API: &str = "https://api.lemonsqueezy.com";

/// One call as a whole.
const PATIENCE: Duration = Duration::from_secs(15);
/// Stores have a handful of webhooks, so that more pages than this are a mistake of somebody's.
const MOST_PAGES: u32 = 5;
/// Of the 300 calls a minute, these stay for others who use the key.
const LEFT_FOR_OTHERS: u32 = 30;
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const LARGEST_ANSWER: usize = 4 << 20;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(
        "Lemon Squeezy refuses the API key ({0}); keys end after a year and see one mode only, so make a new one in Settings > API"
    )]
    Key(u16),
    #[error("Lemon Squeezy asks for a pause of {} s, since too many calls were made with this key", .0.as_secs())]
    Busy(Duration),
    #[error("Lemon Squeezy's API answered {0}")]
    Status(u16),
    #[error("Lemon Squeezy's API could not be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("Lemon Squeezy's API did not answer within 15 seconds")]
    Slow,
    #[error("Lemon Squeezy's API answered with something that is not a list of webhooks")]
    Shape,
}

/// Every webhook that the key can see.
pub async fn webhooks(base: &Url, key: &SecretString) -> Result<Vec<Registered>, ApiError> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .map_err(ApiError::Unreachable)?;
    let mut found = Vec::new();
    for page in 1..=MOST_PAGES {
        let (answer, remaining) = call(&client, base, key, page).await?;
        let last = answer.last_page();
        found.extend(answer.registered());
        if page >= last {
            return Ok(found);
        }
        if remaining.is_some_and(|remaining| remaining <= LEFT_FOR_OTHERS) {
            return Err(ApiError::Busy(Duration::from_secs(60)));
        }
    }
    Err(ApiError::Shape)
}

/// One page, and how many calls are left.
async fn call(
    client: &reqwest::Client,
    base: &Url,
    key: &SecretString,
    page: u32,
) -> Result<(wire::List, Option<u32>), ApiError> {
    let mut url = base.clone();
    url.set_path(&format!("{}/v1/webhooks", base.path().trim_end_matches('/')));
    url.query_pairs_mut().append_pair("page[number]", &page.to_string()).append_pair("page[size]", "100");
    let answer = client
        .get(url)
        .bearer_auth(key.expose_secret())
        .header("accept", "application/vnd.api+json")
        .header("content-type", "application/vnd.api+json")
        .header("user-agent", concat!("deploywatch/", env!("CARGO_PKG_VERSION")))
        .send()
        .await
        .map_err(unreachable)?;
    let headers = answer.headers().clone();
    match answer.status() {
        status if status.is_success() => {}
        StatusCode::TOO_MANY_REQUESTS => return Err(ApiError::Busy(pause(&headers))),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            return Err(ApiError::Key(status.as_u16()));
        }
        status => return Err(ApiError::Status(status.as_u16())),
    }
    let body = read(answer).await?;
    let list = serde_json::from_slice(&body).map_err(|_| ApiError::Shape)?;
    Ok((list, number(&headers, "x-ratelimit-remaining").and_then(|n| u32::try_from(n).ok())))
}

/// Reads an answer that is not larger than any list can be.
async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(ApiError::Shape);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> ApiError {
    if error.is_timeout() { ApiError::Slow } else { ApiError::Unreachable(error.without_url()) }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// What `Retry-After` asks for, a minute where it says nothing, an hour at most.
fn pause(headers: &HeaderMap) -> Duration {
    let asked = number(headers, "retry-after").map_or(Duration::from_secs(60), Duration::from_secs);
    asked.clamp(Duration::from_secs(1), LONGEST_WAIT)
}
