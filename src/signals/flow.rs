//! A user flow: one request with its redirects, held against what its answer must be.

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::ask::{Answer, Guard, Outgoing, Reply, Unasked, ask};
use crate::domain::clock::Timestamp;
use crate::domain::signal::{BodyRead, HttpRequest};

/// A request whose references are filled in.
pub struct Flow<'a> {
    pub request: &'a HttpRequest,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// For one try with all of its redirects.
    pub timeout: Duration,
    /// What a certificate's end is compared with.
    pub now: Timestamp,
}

/// How one try went.
#[derive(Debug, Clone, PartialEq)]
pub enum Try {
    Answered {
        seconds: f64,
        /// What is not as expected, without anything of the body.
        problems: Vec<String>,
    },
    /// There was no answer that could be judged.
    Broken(String),
    /// Connected, and no whole answer within the timeout.
    Slow { seconds: f64 },
}

/// Tries once.
pub async fn run(guard: &Guard, flow: &Flow<'_>) -> Result<Try, Unasked> {
    let mut url = url::Url::parse(&flow.url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
        .ok_or_else(|| Unasked::Request("the address is not one of http or https".to_owned()))?;
    let method = |text: &str| {
        reqwest::Method::from_bytes(text.as_bytes())
            .map_err(|_| Unasked::Request("unknown method".to_owned()))
    };
    let (mut verb, mut body) = (method(&flow.request.method)?, flow.body.clone());
    let begun = Instant::now();
    let mut seconds = 0.0;
    for hop in 0..=flow.request.redirects {
        let left = flow.timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(Try::Slow { seconds: flow.timeout.as_secs_f64() });
        }
        let outgoing = Outgoing {
            method: verb.clone(),
            url: &url,
            headers: headers(&flow.headers)?,
            body: body.clone(),
            timeout: left,
        };
        let answer = match ask(guard, outgoing).await? {
            Reply::Answer(answer) => answer,
            Reply::Broken(why) => return Ok(Try::Broken(why)),
            Reply::Slow => return Ok(Try::Slow { seconds: flow.timeout.as_secs_f64() }),
        };
        seconds += answer.seconds;
        if hop == flow.request.redirects || !is_redirect(&answer) {
            let read = BodyRead { bytes: &answer.body, whole: answer.whole };
            let mut problems = flow.request.problems(answer.status, read);
            problems.extend(flow.request.certificate_problem(answer.certificate_ends_at, flow.now));
            return Ok(Try::Answered { seconds, problems });
        }
        let to = answer.location.as_deref().and_then(|to| url.join(to).ok());
        match to.filter(|to| same_place(&url, to)) {
            Some(to) => url = to,
            // Headers hold secrets, which are for the host that the suite names and for no other.
            None => return Ok(Try::Broken("it redirects to another host, which is not followed".to_owned())),
        }
        // As browsers do: what was posted is not posted again, unless the status asks for it.
        if !matches!(answer.status, 307 | 308) && verb != reqwest::Method::HEAD {
            (verb, body) = (reqwest::Method::GET, None);
        }
    }
    Ok(Try::Broken("it redirects in a circle".to_owned()))
}

fn is_redirect(answer: &Answer) -> bool {
    matches!(answer.status, 301 | 302 | 303 | 307 | 308) && answer.location.is_some()
}

/// The same host and port; from http to https of one host is fine, the way back is not.
fn same_place(from: &url::Url, to: &url::Url) -> bool {
    let port = |url: &url::Url| url.port();
    from.host_str() == to.host_str()
        && match (from.scheme(), to.scheme()) {
            (a, b) if a == b => port(from) == port(to),
            ("http", "https") => port(from).is_none() && port(to).is_none(),
            _ => false,
        }
}

fn headers(written: &[(String, String)]) -> Result<HeaderMap, Unasked> {
    let mut headers = HeaderMap::new();
    headers
        .insert("user-agent", HeaderValue::from_static(concat!("deploywatch/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in written {
        let refused = || Unasked::Request(format!("the header {name} has no valid value"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::same_place;

    #[test]
    fn secrets_never_follow_a_redirect_to_another_place() {
        for (from, to, same) in [
            ("https://a.example/x", "https://a.example/y", true),
            ("http://a.example/x", "https://a.example/x", true),
            ("https://a.example/x", "http://a.example/x", false),
            ("https://a.example/x", "https://b.example/x", false),
            ("https://a.example/x", "https://a.example:8443/x", false),
            ("http://a.example:8080/x", "http://a.example:8080/y", true),
            ("http://a.example:8080/x", "https://a.example/y", false),
            ("https://a.example/x", "file:///etc/passwd", false),
        ] {
            let parse = |text: &str| url::Url::parse(text).unwrap();
            assert_eq!(same_place(&parse(from), &parse(to)), same, "{from} to {to}");
        }
    }
}
