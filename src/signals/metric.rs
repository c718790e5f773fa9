//! PromQL over the HTTP API of Prometheus, which Mimir, Thanos, VictoriaMetrics and others speak too.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::ask::{Guard, Outgoing, Reply, Unasked, ask};

/// One instant query.
pub struct MetricQuery<'a> {
    /// The server's address, below which `/api/v1/query` is.
    pub url: &'a url::Url,
    pub query: &'a str,
    pub token: Option<&'a SecretString>,
    pub account: Option<(&'a str, &'a SecretString)>,
    pub timeout: Duration,
}

/// The number that a query gives, `None` where it gives nothing; else a sentence that says why there is none.
pub async fn query(guard: &Guard, query: &MetricQuery<'_>) -> Result<Result<Option<f64>, String>, Unasked> {
    let mut url = query.url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["api", "v1", "query"]);
    }
    url.query_pairs_mut().append_pair("query", query.query);
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization(query) {
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| Unasked::Request("the token cannot be sent in a header".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let method = reqwest::Method::GET;
    let outgoing = Outgoing { method, url: &url, headers, body: None, timeout: query.timeout };
    Ok(match ask(guard, outgoing).await? {
        Reply::Broken(why) => Err(format!("the metric server does not answer: {why}")),
        Reply::Slow => Err(format!("the metric server did not answer within {} s", query.timeout.as_secs())),
        Reply::Answer(answer) if matches!(answer.status, 401 | 403) => Err(format!(
            "the metric server refuses us with status {}; check its token or account",
            answer.status
        )),
        Reply::Answer(answer) => read(answer.status, &answer.body),
    })
}

fn authorization(query: &MetricQuery<'_>) -> Option<String> {
    if let Some(token) = query.token {
        return Some(format!("Bearer {}", token.expose_secret()));
    }
    let (name, password) = query.account?;
    let pair = format!("{name}:{}", password.expose_secret());
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

#[derive(Deserialize)]
struct Response {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Value,
}

/// How much of the server's word about the query is shown.
const SAID: usize = 200;

fn read(status: u16, body: &[u8]) -> Result<Option<f64>, String> {
    let Ok(response) = serde_json::from_slice::<Response>(body) else {
        return Err(format!("the metric server answered {status} with something else than Prometheus' JSON"));
    };
    let Some(data) = response.data.filter(|_| response.status == "success") else {
        let kind = response.error_type.unwrap_or_else(|| format!("status {status}"));
        // What is wrong with the query is said in its own words; other errors may speak of anything.
        return Err(match response.error.filter(|_| kind == "bad_data") {
            Some(said) => {
                let said: String = said.chars().take(SAID).collect();
                format!("the metric server refuses the query: {said}")
            }
            None => format!("the metric server could not answer the query ({kind})"),
        });
    };
    match data.result_type.as_str() {
        "scalar" => number(&data.result),
        "vector" => match data.result.as_array().map(Vec::as_slice).unwrap_or_default() {
            [] => Ok(None),
            [one] => one.get("value").map_or_else(|| Err(shape("vector without values")), number),
            several => Err(too_many(several)),
        },
        other => Err(shape(other)),
    }
}

fn shape(what: &str) -> String {
    format!("the query gives a {what}, where one number is needed; wrap it, such as in sum(…)")
}

/// `[1700000000.1, "0.25"]`
fn number(sample: &Value) -> Result<Option<f64>, String> {
    let text = sample.get(1).and_then(Value::as_str).unwrap_or_default();
    match text.parse::<f64>() {
        // 0/0 is how a rate of nothing looks.
        Ok(number) if number.is_nan() => Ok(None),
        Ok(number) if number.is_finite() => Ok(Some(number)),
        Ok(_) => Err("the query gives an infinite number; something is divided by zero".to_owned()),
        Err(_) => Err(shape("sample without a number")),
    }
}

/// Names the labels by which the series differ, so that one knows what to aggregate over.
fn too_many(series: &[Value]) -> String {
    let labels = |one: &Value| one.get("metric").and_then(Value::as_object).cloned().unwrap_or_default();
    let all: Vec<_> = series.iter().map(labels).collect();
    let names: BTreeSet<&String> = all.iter().flat_map(|labels| labels.keys()).collect();
    let differing: Vec<String> = names
        .into_iter()
        .filter(|name| all.iter().any(|labels| labels.get(*name) != all[0].get(*name)))
        .take(5)
        .map(|name| format!("`{name}`"))
        .collect();
    let count = series.len();
    format!(
        "the query gives {count} series that differ in {}, where one number is needed; aggregate them, such as by sum(…)",
        differing.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn one_number_nothing_or_a_reason() {
        let vector = |result: &str| {
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#)
        };
        let one = |value: &str, labels: &str| format!(r#"{{"metric":{{{labels}}},"value":[1.5,"{value}"]}}"#);
        let ask = |body: &str| read(200, body.as_bytes());
        assert_eq!(ask(&vector(&one("0.25", ""))), Ok(Some(0.25)));
        assert_eq!(ask(&vector("")), Ok(None));
        assert_eq!(ask(&vector(&one("NaN", ""))), Ok(None));
        assert_eq!(
            ask(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#),
            Ok(Some(3.0))
        );
        let two = format!(
            "{},{}",
            one("1", r#""job":"a","instance":"secret-host-1""#),
            one("2", r#""job":"a","instance":"secret-host-2""#)
        );
        let said = ask(&vector(&two)).unwrap_err();
        assert!(said.contains("2 series that differ in `instance`,"), "{said}");
        assert!(!said.contains("secret-host"), "{said}");
        assert!(ask(&vector(&one("+Inf", ""))).unwrap_err().contains("infinite"));
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(ask(matrix).unwrap_err().contains("gives a matrix"));
        let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#;
        assert!(read(400, bad.as_bytes()).unwrap_err().ends_with("parse error: unexpected end"));
        let inner = r#"{"status":"error","errorType":"execution","error":"host 10.1.2.3 down"}"#;
        assert_eq!(
            read(422, inner.as_bytes()).unwrap_err(),
            "the metric server could not answer the query (execution)"
        );
        assert!(read(200, b"<html>").unwrap_err().contains("something else"));
    }
}
