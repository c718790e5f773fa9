//! Passing a verified delivery on to the product: the exact bytes, no redirects, and never to an address
//! that only machines inside a cloud should see.

mod guard;

use std::time::Duration;

use futures_util::StreamExt;
pub use guard::Forbidden;

/// One attempt as a whole; a product that answers later is busy, not broken.
const ATTEMPT: Duration = Duration::from_secs(15);
/// What is read of an answer, at most: enough to tell two answers apart.
const ANSWER_BYTES: usize = 16 * 1024;

/// What is sent: raw bytes, the headers that came with them, and ours.
#[derive(Clone)]
pub struct Forward<'a> {
    pub url: &'a url::Url,
    pub body: Vec<u8>,
    /// As received, or as the provider would have sent them.
    pub headers: Vec<(String, String)>,
    /// W3C trace context, so that the product's traces join ours.
    pub traceparent: String,
    pub delivery: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the product's name could not be resolved")]
    Name(#[source] reqwest::Error),
    #[error("the product did not answer within 15 seconds")]
    Slow,
    #[error("the product could not be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the client could not be set up")]
    Client(#[source] reqwest::Error),
}

/// Sends to products. Connections are kept for as long as it lives.
#[derive(Debug, Clone)]
pub struct Outbound(reqwest::Client);

impl Outbound {
    pub fn new() -> Result<Self, ForwardError> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ATTEMPT)
            .no_proxy()
            // Judged where names become addresses: a name that resolves anew cannot slip past.
            .dns_resolver(guard::Guarded)
            .build()
            .map_err(ForwardError::Client)?;
        Ok(Self(client))
    }

    /// Sends one delivery and returns the answer, whatever it is.
    pub async fn send(&self, forward: Forward<'_>) -> Result<Reply, ForwardError> {
        guard::literal(forward.url)?;
        let mut request = self.0.post(forward.url.clone());
        for (name, value) in &forward.headers {
            request = request.header(name, value);
        }
        let sent = request
            .header("traceparent", forward.traceparent)
            .header("x-deploywatch-delivery", forward.delivery)
            .body(forward.body)
            .send()
            .await;
        match sent {
            Ok(answer) => Ok(Reply { status: answer.status().as_u16(), body: beginning(answer).await }),
            Err(error) if error.is_timeout() => Err(ForwardError::Slow),
            // The URL may hold a token, so it stays out of the text.
            Err(error) => Err(why(error.without_url())),
        }
    }
}

/// The status decides, so an answer that breaks off is as good as a whole one.
async fn beginning(answer: reqwest::Response) -> Vec<u8> {
    let mut body = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(Ok(chunk)) = stream.next().await {
        let room = ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == ANSWER_BYTES {
            break;
        }
    }
    body
}

fn why(error: reqwest::Error) -> ForwardError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(forbidden) = inner.downcast_ref::<Forbidden>() {
            return ForwardError::Forbidden(*forbidden);
        }
        if inner.is::<guard::Unresolved>() {
            return ForwardError::Name(error);
        }
        cause = inner.source();
    }
    ForwardError::Unreachable(error)
}
