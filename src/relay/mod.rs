//! Passing a verified delivery on to the product: the exact bytes, no redirects, and never to an address
//! that only machines inside a cloud should see.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One attempt as a whole; a product that answers later is busy, not broken.
const ATTEMPT: Duration = Duration::from_secs(15);

/// What is sent: raw bytes and the headers that the provider would send.
#[derive(Clone)]
pub struct Forward<'a> {
    pub url: &'a url::Url,
    pub body: Vec<u8>,
    /// The signature and what goes with it, as the provider would send them.
    pub headers: Vec<(String, String)>,
    pub event_name: String,
    /// W3C trace context, so that the product's traces join ours.
    pub traceparent: String,
    pub delivery: String,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("the product's address {0} is not one to send to")]
    Forbidden(IpAddr),
    #[error("the product's name could not be resolved")]
    Name(#[source] std::io::Error),
    #[error("the product did not answer within 15 seconds")]
    Slow,
    #[error("the product could not be reached")]
    Unreachable(#[source] reqwest::Error),
}

/// Sends one delivery and returns the status of the answer, whatever it is.
pub async fn forward(forward: Forward<'_>) -> Result<u16, ForwardError> {
    let addresses = resolve(forward.url).await?;
    let host = forward.url.host_str().unwrap_or_default().to_owned();
    rustls::crypto::ring::default_provider().install_default().ok();
    // The addresses that were judged are the ones that are used: a name that resolves anew cannot differ.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ATTEMPT)
        .no_proxy()
        .resolve_to_addrs(&host, &addresses)
        .build()
        .map_err(ForwardError::Unreachable)?;
    let mut request = client.post(forward.url.clone());
    for (name, value) in forward.headers {
        request = request.header(name, value);
    }
    let answer = request
        .header("user-agent", crate::domain::delivery::HOOKSHOT)
        .header("content-type", "application/json")
        .header("x-event-name", forward.event_name)
        .header("traceparent", forward.traceparent)
        .header("x-deploywatch-delivery", forward.delivery)
        .body(forward.body)
        .send()
        .await;
    match answer {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) if error.is_timeout() => Err(ForwardError::Slow),
        // The URL may hold a token, so it stays out of the text.
        Err(error) => Err(ForwardError::Unreachable(error.without_url())),
    }
}

async fn resolve(url: &url::Url) -> Result<Vec<SocketAddr>, ForwardError> {
    let port = url.port_or_known_default().unwrap_or(443);
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let found = tokio::net::lookup_host((host, port)).await.map_err(ForwardError::Name)?;
    let addresses: Vec<SocketAddr> = found.collect();
    match addresses.iter().find(|address| is_forbidden(address.ip())) {
        Some(address) => Err(ForwardError::Forbidden(address.ip())),
        None => Ok(addresses),
    }
}

/// Link-local addresses hold the cloud's metadata services; the others are no hosts. Private and loopback
/// addresses are fine: the operator configures them, nobody else can.
fn is_forbidden(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            let metadata = v6.segments()[0] == 0xfd00 && v6.segments()[1] == 0x0ec2;
            v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || metadata
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_non_hosts_are_forbidden() {
        for (address, forbidden) in [
            ("169.254.169.254", true),
            ("::ffff:169.254.169.254", true),
            ("fd00:ec2::254", true),
            ("fe80::1", true),
            ("0.0.0.0", true),
            ("224.0.0.1", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("203.0.113.7", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_forbidden(address.parse().unwrap()), forbidden, "{address}");
        }
    }
}
