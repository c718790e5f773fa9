//! One request to one address, guarded, with everything that can go wrong told apart: what we could not do,
//! and what the other side did not do.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use reqwest::header::{HeaderMap, LOCATION};

use crate::domain::address::{Reach, is_allowed, reach};
use crate::domain::clock::Timestamp;

/// As much of a body as is ever read.
pub const BODY_BYTES: usize = 1 << 20;

/// Where requests may go, and which authorities are trusted beside the system's.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    pub private: Vec<IpNet>,
    pub ca_file: Option<PathBuf>,
}

impl Guard {
    /// For addresses that the settings name: the operator may well keep them in the own network.
    pub fn for_settings(ca_file: Option<PathBuf>) -> Self {
        let everything = ["0.0.0.0/0", "::/0"].map(|all| all.parse().expect("these are networks"));
        Self { private: everything.to_vec(), ca_file }
    }
}

/// Why nothing can be said about the other side.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    #[error("{0} leads to {1}, which is in a private network")]
    Private(String, IpAddr),
    #[error(
        "{0} leads to {1}, where no product is but perhaps a cloud's metadata service; it is never asked"
    )]
    Forbidden(String, IpAddr),
    #[error("the name {0} could not be resolved")]
    Name(String),
    #[error("{0} could not be connected to within {1} s")]
    ConnectTimeout(String, u64),
    #[error("the network to {0} could not be reached from here")]
    Network(String),
    #[error("the authority {} cannot be used: {why}", path.display())]
    Authority { path: PathBuf, why: String },
    #[error("the request cannot be made: {0}")]
    Request(String),
}

/// How a request ended.
#[derive(Debug)]
pub enum Reply {
    Answer(Answer),
    /// The other side is there, or should be, and does not answer: refused, broken off, no valid certificate.
    Broken(String),
    /// Connected, and no whole answer in time.
    Slow,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
    /// False where the body is longer than what was read.
    pub whole: bool,
    /// From connecting to the last byte that was read.
    pub seconds: f64,
    /// When the certificate ends that the server showed; none without TLS.
    pub certificate_ends_at: Option<Timestamp>,
}

/// What is sent.
pub struct Outgoing<'a> {
    pub method: reqwest::Method,
    pub url: &'a url::Url,
    pub headers: HeaderMap,
    pub body: Option<String>,
    pub timeout: Duration,
}

/// Asks once, over a connection of its own, without following redirects.
pub async fn ask(guard: &Guard, outgoing: Outgoing<'_>) -> Result<Reply, Unasked> {
    let host = outgoing.url.host_str().unwrap_or_default().to_owned();
    let addresses = resolve(guard, outgoing.url, outgoing.timeout).await?;
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(outgoing.timeout)
        .connect_timeout(outgoing.timeout)
        .no_proxy()
        .tls_info(true)
        .resolve_to_addrs(&host, &addresses);
    if let Some(path) = &guard.ca_file {
        builder = builder.tls_certs_merge(authorities(path)?);
    }
    let client = builder.build().map_err(|error| Unasked::Request(error.without_url().to_string()))?;
    let mut request = client.request(outgoing.method, outgoing.url.clone()).headers(outgoing.headers);
    if let Some(body) = outgoing.body {
        request = request.body(body);
    }
    let begun = Instant::now();
    let failed = |error: reqwest::Error| classify(&error, &host, outgoing.timeout);
    let mut answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return failed(error),
    };
    let status = answer.status().as_u16();
    let certificate_ends_at = answer
        .extensions()
        .get::<reqwest::tls::TlsInfo>()
        .and_then(reqwest::tls::TlsInfo::peer_certificate)
        .and_then(certificate_end);
    let location = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    let whole = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                let room = BODY_BYTES - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    break false;
                }
            }
            Ok(None) => break true,
            Err(error) => return failed(error),
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Reply::Answer(Answer { status, location, body, whole, seconds, certificate_ends_at }))
}

/// The end of a certificate in DER.
fn certificate_end(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// The addresses of the host, if all of them may be asked: one bad one among good ones is an attempt.
async fn resolve(guard: &Guard, url: &url::Url, timeout: Duration) -> Result<Vec<SocketAddr>, Unasked> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::time::timeout(timeout, tokio::net::lookup_host((host.clone(), port))).await;
    let Ok(Ok(found)) = found else { return Err(Unasked::Name(host)) };
    let addresses: Vec<SocketAddr> = found.collect();
    match addresses.iter().find(|address| !is_allowed(address.ip(), &guard.private)) {
        Some(address) if reach(address.ip()) == Reach::Forbidden => {
            Err(Unasked::Forbidden(host, address.ip()))
        }
        Some(address) => Err(Unasked::Private(host, address.ip())),
        None if addresses.is_empty() => Err(Unasked::Name(host)),
        None => Ok(addresses),
    }
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, Unasked> {
    let refused = |why: String| Unasked::Authority { path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    reqwest::Certificate::from_pem_bundle(&text).map_err(|_| refused("it is not a PEM file".to_owned()))
}

/// Our side or theirs. The URL stays out of every text: it may hold a token.
fn classify(error: &reqwest::Error, host: &str, timeout: Duration) -> Result<Reply, Unasked> {
    use std::io::ErrorKind;
    if error.is_timeout() {
        return if error.is_connect() {
            Err(Unasked::ConnectTimeout(host.to_owned(), timeout.as_secs()))
        } else {
            Ok(Reply::Slow)
        };
    }
    if error.is_builder() {
        return Err(Unasked::Request("a header or the address is not valid".to_owned()));
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(tls) = tls_error(current) {
            return Ok(Reply::Broken(certificate(tls)));
        }
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            match io.kind() {
                ErrorKind::ConnectionRefused => {
                    return Ok(Reply::Broken("the connection was refused".to_owned()));
                }
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::NetworkDown => {
                    return Err(Unasked::Network(host.to_owned()));
                }
                ErrorKind::AddrNotAvailable => return Err(Unasked::Network(host.to_owned())),
                _ => {}
            }
        }
        cause = current.source();
    }
    Ok(Reply::Broken("the connection broke off before the answer was whole".to_owned()))
}

/// What TLS said, which lies inside of one or several I/O errors whose `source` leaves them out.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    tls_error(inner)
}

fn certificate(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => {
            use rustls::CertificateError as E;
            let why = match why {
                E::Expired | E::ExpiredContext { .. } => "it has expired".to_owned(),
                E::NotValidYet | E::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
                E::NotValidForName | E::NotValidForNameContext { .. } => "it is for another name".to_owned(),
                E::UnknownIssuer => "nobody who is trusted has signed it".to_owned(),
                E::Revoked => "it was revoked".to_owned(),
                other => format!("{other:?}"),
            };
            format!("the certificate is not valid: {why}")
        }
        _ => "TLS could not be agreed on".to_owned(),
    }
}
