//! What is measured beside SQL, as data, and how an answer is judged. Made by `suite`, measured by
//! `services::signals`. Nothing of an answer's body comes back in a message but the numbers that were asked
//! for by name.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::{SignedDuration, Timestamp, humane, rfc3339};
use super::logs::LogFilter;
use super::wording::{Wording, number};

/// One number that no query on the watched database gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Tries that were not answered as expected.
    Http(HttpRequest),
    /// Seconds until the whole answer was there.
    HttpLatency { request: HttpRequest, percentile: u32 },
    /// A PromQL query that gives one number; `server` may be left out where there is one.
    Metric { query: String, server: Option<String> },
    /// Lines of a log drain.
    LogCount(LogCount),
    /// Deliveries of a webhook source that do not verify.
    Webhooks { source: String },
    /// Problems with a webhook source's secrets and rotation.
    Secrets { source: String },
}

/// Kinds of checks that do not ask the watched database, by their names in a suite.
pub const KINDS: [&str; 6] = ["http", "http_latency", "metric", "log_count", "webhooks", "secrets"];

/// Whether a kind says nothing about the watched database, reachable or not.
pub fn is_beside(kind: &str) -> bool {
    KINDS.contains(&kind)
}

/// How the value of a `webhooks` check is said; declared ones and the built-in ones speak alike.
pub fn webhooks_wording(source: &str) -> Wording {
    Wording::counted(
        &format!("{source} delivery"),
        &format!("distinct {source} deliveries"),
        "does not verify",
        "do not verify",
    )
}

/// How the value of a `secrets` check is said.
pub fn secrets_wording(source: &str) -> Wording {
    Wording::counted(
        &format!("problem with the webhook secrets of {source}"),
        &format!("problems with the webhook secrets of {source}"),
        "is open",
        "are open",
    )
}

/// A request and what its answer must be. `${NAME}` in the URL, the headers and the body stands for a value
/// of the settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// Ranges of expected statuses, both ends included.
    pub status: Vec<(u16, u16)>,
    /// Texts that the body must contain.
    pub contains: Vec<String>,
    /// JSON pointers (RFC 6901) with what stands there.
    pub json: Vec<(String, Value)>,
    /// How many redirects are followed, on the same host only.
    pub redirects: u32,
    /// How often it is asked in one measurement.
    pub tries: u32,
    /// For how many days the server's certificate must still be valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_days: Option<u32>,
}

/// Lines of a drain that match, in the last `over` seconds and never before the deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogCount {
    /// The drain; may be left out where there is one.
    pub source: Option<String>,
    pub filter: LogFilter,
    pub over: u32,
    /// Lines a minute in place of lines.
    pub per_minute: bool,
}

/// As much of a body as was read.
#[derive(Debug, Clone, Copy)]
pub struct BodyRead<'a> {
    pub bytes: &'a [u8],
    /// False where it is longer than what is read of it.
    pub whole: bool,
}

impl HttpRequest {
    /// Whether the body matters at all.
    pub fn reads_body(&self) -> bool {
        !self.contains.is_empty() || !self.json.is_empty()
    }

    /// The request as a command for a shell, in which `${NAME}` stands as it is written.
    pub fn curl(&self) -> String {
        let mut command = "curl -sSi".to_owned();
        match self.method.as_str() {
            "GET" => {}
            "HEAD" => command.push_str(" -I"),
            method => command.push_str(&format!(" -X {method}")),
        }
        for (name, value) in &self.headers {
            command.push_str(&format!(" -H {}", quoted(&format!("{name}: {value}"))));
        }
        if let Some(body) = &self.body {
            command.push_str(&format!(" --data-raw {}", quoted(body)));
        }
        format!("{command} {}", quoted(&self.url))
    }

    /// `200 to 299`, `200, 204 or 301`.
    pub fn expected_status(&self) -> String {
        let texts: Vec<String> = self
            .status
            .iter()
            .map(|(low, high)| if low == high { low.to_string() } else { format!("{low} to {high}") })
            .collect();
        match texts.as_slice() {
            [] => "any".to_owned(),
            [one] => one.clone(),
            [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
        }
    }

    /// What is wrong with the certificate that the server showed: one that ends soon is mended in time, one that has
    /// ended is an outage.
    pub fn certificate_problem(&self, ends_at: Option<Timestamp>, now: Timestamp) -> Option<String> {
        let days = i64::from(self.certificate_days?);
        let Some(ends_at) = ends_at else { return Some("the server showed no certificate".to_owned()) };
        let left = ends_at.duration_since(now);
        (left < SignedDuration::from_hours(24 * days)).then(|| {
            let left = humane(left.max(SignedDuration::ZERO));
            format!("the certificate ends at {}, in {left}, which is less than {days} d", rfc3339(ends_at))
        })
    }

    /// What is wrong with an answer; nothing where it is as expected.
    pub fn problems(&self, status: u16, body: BodyRead<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.status.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
            problems.push(format!("status {status} instead of {}", self.expected_status()));
        }
        let part = if body.whole { "the body does" } else { "the first MiB of the body does" };
        let text = String::from_utf8_lossy(body.bytes);
        for wanted in self.contains.iter().filter(|wanted| !text.contains(wanted.as_str())) {
            problems.push(format!("{part} not contain {wanted:?}"));
        }
        if !self.json.is_empty() {
            match serde_json::from_slice::<Value>(body.bytes) {
                Ok(json) => {
                    problems.extend(self.json.iter().filter_map(|(at, want)| differs(&json, at, want)))
                }
                Err(_) if body.whole => problems.push("the body is not JSON".to_owned()),
                Err(_) => problems.push("the body is longer than 1 MiB, so its JSON is not read".to_owned()),
            }
        }
        problems
    }
}

/// In double quotes, so that a shell fills in the references and nothing else.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        let plain = match letter {
            '$' => rest.peek() == Some(&'{'),
            letter => !matches!(letter, '"' | '\\' | '`'),
        };
        if !plain {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

/// Why the value at a pointer is not the expected one. Only numbers are shown: a text may be anybody's data.
fn differs(json: &Value, pointer: &str, expected: &Value) -> Option<String> {
    let found = json.pointer(pointer);
    let name = if pointer.is_empty() { "the body" } else { pointer };
    match (found, expected) {
        (None, _) => Some(format!("{name} is missing in the answer")),
        (Some(Value::Number(found)), Value::Number(want)) => {
            let (found, want) = (found.as_f64()?, want.as_f64()?);
            (found != want).then(|| format!("{name} is {} instead of {}", number(found), number(want)))
        }
        (Some(found), want) if found == want => None,
        (Some(_), want) => Some(format!("{name} is not {want}")),
    }
}

/// The names in `${NAME}` references of a text, in order.
pub fn references(text: &str) -> Vec<&str> {
    pieces(text).filter_map(|piece| if let Piece::Name(name) = piece { Some(name) } else { None }).collect()
}

/// The text with every `${NAME}` replaced, or the first name that has no value.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Name(name) => filled.push_str(&value(name).ok_or(name)?),
        }
    }
    Ok(filled)
}

enum Piece<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// `$` without a brace, and a brace that is never closed, are plain text.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((start, end)) = rest.find("${").and_then(|at| Some((at, at + rest[at..].find('}')?))) else {
            return Some(Piece::Text(std::mem::take(&mut rest)));
        };
        if start > 0 {
            let (before, after) = rest.split_at(start);
            rest = after;
            return Some(Piece::Text(before));
        }
        let name = &rest[2..end];
        rest = &rest[end + 1..];
        Some(Piece::Name(name))
    })
}

/// The smallest of the values that `percent` of them do not exceed; `None` of none.
pub fn percentile(values: &[f64], percent: u32) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent as usize).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request() -> HttpRequest {
        HttpRequest {
            method: "GET".into(),
            url: "https://app.example.com/health".into(),
            headers: Vec::new(),
            body: None,
            status: vec![(200, 299)],
            contains: Vec::new(),
            json: Vec::new(),
            redirects: 0,
            tries: 1,
            certificate_days: None,
        }
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_problem_where_days_are_asked_for() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let days = |n: i64| Some(now + SignedDuration::from_hours(24 * n));
        let asked = HttpRequest { certificate_days: Some(14), ..request() };
        for (request, ends_at, problem) in [
            (&request(), days(1), None),
            (&request(), None, None),
            (&asked, days(15), None),
            (&asked, days(14), None),
            (
                &asked,
                days(13),
                Some("the certificate ends at 2026-05-14T12:00:00Z, in 13 d, which is less than 14 d"),
            ),
            (
                &asked,
                days(-1),
                Some("the certificate ends at 2026-04-30T12:00:00Z, in 0 s, which is less than 14 d"),
            ),
            (&asked, None, Some("the server showed no certificate")),
        ] {
            assert_eq!(request.certificate_problem(ends_at, now).as_deref(), problem, "{ends_at:?}");
        }
    }

    fn problems(request: &HttpRequest, status: u16, body: &str) -> Vec<String> {
        request.problems(status, BodyRead { bytes: body.as_bytes(), whole: true })
    }

    #[test]
    fn an_answer_is_judged_without_showing_it() {
        let plain = request();
        assert!(problems(&plain, 204, "anything").is_empty());
        assert_eq!(problems(&plain, 500, ""), ["status 500 instead of 200 to 299"]);
        let listed = HttpRequest { status: vec![(200, 200), (301, 302)], ..request() };
        assert_eq!(problems(&listed, 404, ""), ["status 404 instead of 200 or 301 to 302"]);
        let contains = HttpRequest { contains: vec!["Sign in".into()], ..request() };
        assert!(problems(&contains, 200, "<h1>Sign in</h1>").is_empty());
        assert_eq!(problems(&contains, 200, "secret"), ["the body does not contain \"Sign in\""]);
        let json = HttpRequest {
            json: vec![
                ("/status".into(), json!("ok")),
                ("/queue".into(), json!(0)),
                ("/a~1b/0".into(), json!(true)),
            ],
            ..request()
        };
        assert!(problems(&json, 200, r#"{"status":"ok","queue":0.0,"a/b":[true]}"#).is_empty());
        assert_eq!(
            problems(&json, 200, r#"{"status":"token-4711","queue":12}"#),
            ["/status is not \"ok\"", "/queue is 12 instead of 0", "/a~1b/0 is missing in the answer"]
        );
        assert_eq!(problems(&json, 200, "<html>"), ["the body is not JSON"]);
    }

    #[test]
    fn a_request_is_a_command_that_a_shell_does_not_misread() {
        assert_eq!(request().curl(), r#"curl -sSi "https://app.example.com/health""#);
        let posted = HttpRequest {
            method: "POST".into(),
            headers: vec![("Authorization".into(), "Bearer ${TOKEN}".into())],
            body: Some(r#"{"a": "$(rm -rf /) `id`"}"#.into()),
            ..request()
        };
        assert_eq!(
            posted.curl(),
            r#"curl -sSi -X POST -H "Authorization: Bearer ${TOKEN}" --data-raw "{\"a\": \"\$(rm -rf /) \`id\`\"}" "https://app.example.com/health""#
        );
    }

    #[test]
    fn references_are_filled_or_named() {
        let value = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        assert_eq!(references("Bearer ${TOKEN} ${OTHER}"), ["TOKEN", "OTHER"]);
        assert_eq!(fill("Bearer ${TOKEN}!", value), Ok("Bearer s3cret!".to_owned()));
        assert_eq!(fill("${OTHER}", value), Err("OTHER"));
        for plain in ["", "a $5 bill", "${open", "$$", "ü"] {
            assert_eq!(fill(plain, value), Ok(plain.to_owned()));
        }
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [0.4, 0.1, 0.3, 0.2];
        for (percent, expected) in [(50, 0.2), (75, 0.3), (95, 0.4), (100, 0.4), (1, 0.1)] {
            assert_eq!(percentile(&values, percent), Some(expected), "p{percent}");
        }
        assert_eq!(percentile(&[], 95), None);
    }
}
