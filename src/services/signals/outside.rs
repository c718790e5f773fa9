//! What is asked over HTTP: user flows and metric servers. It needs the settings alone, so that
//! `deploywatch check` measures it too.

use std::time::{Duration, Instant};

use secrecy::ExposeSecret;

use super::{finished, signal_error};
use crate::domain::check::Check;
use crate::domain::clock::Timestamp;
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measured, Measurement, Unit};
use crate::domain::signal::{HttpRequest, Signal, fill, percentile};
use crate::settings::{MetricServer, Settings, Signals};
use crate::signals::{Flow, Guard, MetricQuery, Try, Unasked, query, run};

/// One try, with its redirects; `timeout:` of a check says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long somebody who looks waits.
const TRIAL: Duration = Duration::from_secs(5);

/// What the settings say about asking others.
#[derive(Debug, Clone)]
pub struct Outside {
    guard: Guard,
    signals: Signals,
}

impl Outside {
    pub fn of(settings: &Settings) -> Self {
        let signals = settings.signals.clone();
        let private = signals.allow_private.iter().filter_map(|network| network.parse().ok()).collect();
        Self { guard: Guard { private, ca_file: signals.ca_file.clone() }, signals }
    }

    /// Measures a check for a command, which has no store: what only a server knows is skipped.
    pub async fn measure_alone(&self, check: &Check, now: Timestamp) -> Measurement {
        let begun = Instant::now();
        let result = match check.measure.signal() {
            Some(Signal::LogCount(_) | Signal::Webhooks { .. } | Signal::Secrets { .. }) => Ok(Measured {
                skipped: Some("only the server knows this; it is measured after a deploy".into()),
                ..Measured::default()
            }),
            _ => self.measure(check, now).await,
        };
        finished(check, result, begun)
    }

    /// Asks what is asked over HTTP.
    pub(super) async fn measure(&self, check: &Check, now: Timestamp) -> Result<Measured, MeasureError> {
        let timeout = check.measure.timeout.map_or(TIMEOUT, |seconds| Duration::from_secs(seconds.into()));
        match check.measure.signal() {
            Some(Signal::Http(request)) => self.http(request, timeout, now).await,
            Some(Signal::HttpLatency { request, percentile }) => {
                self.latency(request, *percentile, timeout, now).await
            }
            Some(Signal::Metric { query, server }) => self.metric(query, server.as_deref(), timeout).await,
            _ => Err(signal_error("this is nothing that can be asked over HTTP", None)),
        }
    }

    async fn http(
        &self,
        request: &HttpRequest,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<Measured, MeasureError> {
        let tries = self.tries(request, timeout, now).await?;
        let mut problems: Vec<String> = Vec::new();
        let mut broken = 0;
        for tried in &tries {
            let found = match tried {
                Try::Answered { problems, .. } => problems.clone(),
                Try::Broken(why) => vec![why.clone()],
                Try::Slow { seconds } => vec![format!("no whole answer within {seconds:.0} s")],
            };
            broken += u32::from(!found.is_empty());
            problems.extend(found.into_iter().filter(|found| !problems.contains(found)).collect::<Vec<_>>());
        }
        Ok(Measured {
            value: Some(broken.into()),
            unit: Unit::Violations,
            tested: Some(request.tries.into()),
            detail: (!problems.is_empty()).then(|| problems.join("; ")),
            ..Measured::default()
        })
    }

    async fn latency(
        &self,
        request: &HttpRequest,
        percent: u32,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<Measured, MeasureError> {
        let mut seconds = Vec::new();
        for tried in self.tries(request, timeout, now).await? {
            match tried {
                Try::Answered { seconds: taken, problems } if problems.is_empty() => seconds.push(taken),
                // It took at least so long, which is all that a threshold asks.
                Try::Slow { seconds: waited } => seconds.push(waited),
                Try::Answered { problems, .. } => return Err(no_latency(&problems.join("; "))),
                Try::Broken(why) => return Err(no_latency(&why)),
            }
        }
        Ok(Measured { value: percentile(&seconds, percent), unit: Unit::Seconds, ..Measured::default() })
    }

    /// One after the other, so that we are no load.
    async fn tries(
        &self,
        request: &HttpRequest,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<Vec<Try>, MeasureError> {
        let filled = |text: &str| {
            fill(text, |name| self.signals.value(name).map(|value| value.expose_secret().to_owned()))
                .map_err(missing)
        };
        let headers = request.headers.iter().map(|(name, value)| Ok((name.clone(), filled(value)?)));
        let flow = Flow {
            request,
            url: filled(&request.url)?,
            headers: headers.collect::<Result<_, MeasureError>>()?,
            body: request.body.as_deref().map(filled).transpose()?,
            timeout,
            now,
        };
        let mut tries = Vec::new();
        for _ in 0..request.tries {
            match tries.last() {
                // Who hangs is not asked again: the others would hang too, and use up the scan's time.
                Some(slow @ Try::Slow { .. }) => tries.push(slow.clone()),
                _ => tries.push(run(&self.guard, &flow).await.map_err(unasked)?),
            }
        }
        Ok(tries)
    }

    async fn metric(
        &self,
        text: &str,
        server: Option<&str>,
        timeout: Duration,
    ) -> Result<Measured, MeasureError> {
        let server = self.server(server)?;
        let Some(url) = &server.url else { return Err(signal_error("the metric server has no url", None)) };
        let asked = MetricQuery {
            url,
            query: text,
            token: server.token.as_ref(),
            account: server.username.as_deref().zip(server.password.as_ref()),
            timeout,
        };
        let guard = Guard::for_settings(server.ca_file.clone());
        match query(&guard, &asked).await.map_err(unasked)? {
            Ok(value) => Ok(Measured {
                value,
                unit: Unit::Number,
                detail: value.is_none().then(|| "the query gives nothing".into()),
                ..Measured::default()
            }),
            Err(why) => Err(signal_error(why, None)),
        }
    }

    /// Asks each metric server for the number one; why it cannot be asked, by name.
    pub async fn try_metric_servers(&self) -> Vec<(String, Result<(), MeasureError>)> {
        let mut tried = Vec::new();
        for name in self.signals.metrics.keys() {
            let answer = self.metric("vector(1)", Some(name), TRIAL).await;
            tried.push((name.clone(), answer.map(drop)));
        }
        tried
    }

    fn server(&self, name: Option<&str>) -> Result<&MetricServer, MeasureError> {
        let known = &self.signals.metrics;
        named(known, name).ok_or_else(|| {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            which("metric server", "signals.metrics", name, &names)
        })
    }
}

/// The entry of that name, or the only one.
pub(super) fn named<'a, T>(
    known: &'a std::collections::BTreeMap<String, T>,
    name: Option<&str>,
) -> Option<&'a T> {
    match (name, known.len()) {
        (Some(name), _) => known.get(name),
        (None, 1) => known.values().next(),
        _ => None,
    }
}

/// Why none could be chosen.
pub(super) fn which(what: &str, section: &str, name: Option<&str>, known: &[&str]) -> MeasureError {
    match (name, known) {
        (_, []) => signal_error(
            format!("the settings name no {what}"),
            Some(&format!("add one under [{section}.NAME]")),
        ),
        (Some(name), known) => signal_error(
            format!("there is no {what} `{name}` in the settings"),
            Some(&format!("there are: {}", known.join(", "))),
        ),
        (None, known) => signal_error(
            format!("the settings name several {what}s: {}", known.join(", ")),
            Some("say in the check which one is meant"),
        ),
    }
}

fn missing(name: &str) -> MeasureError {
    signal_error(
        format!("`${{{name}}}` has no value"),
        Some(&format!("set DEPLOYWATCH__SIGNALS__VALUES__{}", name.to_ascii_uppercase())),
    )
}

fn no_latency(why: &str) -> MeasureError {
    signal_error(format!("there is no answer whose latency would mean something: {why}"), None)
}

fn unasked(error: Unasked) -> MeasureError {
    let (code, hint) = match &error {
        Unasked::Private(..) => {
            (MeasureErrorCode::Signal, Some("if it is meant, list its network under signals.allow_private"))
        }
        Unasked::ConnectTimeout(..) => (MeasureErrorCode::Timeout, None),
        _ => (MeasureErrorCode::Signal, None),
    };
    MeasureError { code, message: error.to_string(), hint: hint.map(str::to_owned) }
}
