//! Where a request comes from, and what a browser says about who made it send.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::settings::Settings;

/// The client's address: the peer's, or what trusted proxies say. The header is read from the right, since
/// everything left of the first untrusted address was written by the client.
pub fn client_ip(request: &HttpRequest, settings: &Settings) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let trusted = |ip: &IpAddr| settings.http.trusted_proxies.contains(ip);
    if !trusted(&peer) {
        return Some(peer);
    }
    let named: Vec<IpAddr> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|part| part.trim().parse().ok())
        .collect();
    Some(named.into_iter().rev().find(|ip| !trusted(ip)).unwrap_or(peer))
}

/// The same for limits by address; whoever has none shares one.
pub fn sender(request: &HttpRequest, settings: &Settings) -> IpAddr {
    client_ip(request, settings).unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

/// Whether the caller sits on this machine and nothing in between speaks for somebody else. A proxy on the
/// same machine is a loopback peer too, hence the headers and the name that was asked for.
pub fn is_local(request: &HttpRequest) -> bool {
    let loopback = request.peer_addr().is_some_and(|peer| peer.ip().is_loopback());
    let forwarded = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"]
        .iter()
        .any(|name| request.headers().contains_key(*name));
    loopback && !forwarded && asked_for_loopback(request)
}

/// A page elsewhere can make a browser resolve its own name to 127.0.0.1; the name in `Host` gives it away.
fn asked_for_loopback(request: &HttpRequest) -> bool {
    let Some(host) = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return request.uri().host().is_none();
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a browser says that another site made it send this. Programs that are no browsers say nothing.
pub fn is_cross_site(request: &HttpRequest) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, named)| named != host),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn from(peer: &str) -> TestRequest {
        TestRequest::default().peer_addr(format!("{peer}:4711").parse().unwrap())
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let mut settings = Settings::defaults();
        settings.http.trusted_proxies = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        for (peer, header, client) in [
            ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "nonsense", "10.0.0.1"),
        ] {
            let request = from(peer).insert_header(("x-forwarded-for", header)).to_http_request();
            assert_eq!(client_ip(&request, &settings), Some(client.parse().unwrap()), "{peer} {header}");
        }
    }

    #[test]
    fn a_proxy_or_a_foreign_name_on_loopback_is_not_local() {
        for (peer, name, value, local) in [
            ("127.0.0.1", "host", "localhost:8080", true),
            ("127.0.0.1", "host", "127.0.0.1", true),
            ("127.0.0.1", "host", "[::1]:8080", true),
            ("127.0.0.1", "host", "evil.example:8080", false),
            ("127.0.0.1", "x-forwarded-for", "203.0.113.9", false),
            ("203.0.113.9", "host", "localhost", false),
        ] {
            let request = from(peer).insert_header((name, value)).to_http_request();
            assert_eq!(is_local(&request), local, "{peer} {name}: {value}");
        }
    }

    #[test]
    fn a_browser_tells_which_site_sent_it() {
        for (name, value, cross) in [
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "none", false),
            ("sec-fetch-site", "cross-site", true),
            ("origin", "http://dw.example", false),
            ("origin", "http://evil.example", true),
            ("origin", "null", true),
            ("accept", "*/*", false),
        ] {
            let request = from("127.0.0.1")
                .insert_header(("host", "dw.example"))
                .insert_header((name, value))
                .to_http_request();
            assert_eq!(is_cross_site(&request), cross, "{name}: {value}");
        }
    }
}
