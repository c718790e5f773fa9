//! Every instrument in one place, read by Prometheus at `/metrics` and, where an endpoint is set, pushed by
//! OTLP. Labels come from small fixed sets; nothing a caller or a row can choose becomes a label.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};

/// Seconds; from a fast handler to a scan's whole budget.
const BUCKETS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// The instruments. Cheap to clone; each application owns its own, so that two in one process do not mix.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: prometheus::Registry,
    provider: SdkMeterProvider,
    scans: Counter<u64>,
    scan_seconds: Histogram<f64>,
    observations: Counter<u64>,
    verdicts: Counter<u64>,
    deliveries: Counter<u64>,
    triggers: Counter<u64>,
    answers: Counter<u64>,
    mails: Counter<u64>,
    alert_seconds: Histogram<f64>,
    waiting: Gauge<u64>,
    waiting_seconds: Gauge<f64>,
    mail_broken: Gauge<u64>,
    jobs: Counter<u64>,
    job_seconds: Histogram<f64>,
    requests: Counter<u64>,
    request_seconds: Histogram<f64>,
}

impl Default for Metrics {
    /// Instruments that are read at `/metrics` only.
    fn default() -> Self {
        Self::new("deploywatch", None)
    }
}

impl Metrics {
    /// `push` sends the same numbers to an OTLP collector as well.
    pub fn new(service: &str, push: Option<opentelemetry_otlp::MetricExporter>) -> Self {
        let registry = prometheus::Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .build()
            .expect("an empty registry takes the exporter");
        let mut provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(Resource::builder().with_service_name(service.to_owned()).build());
        if let Some(exporter) = push {
            provider = provider.with_reader(PeriodicReader::builder(exporter).build());
        }
        let provider = provider.build();
        let meter = provider.meter("deploywatch");
        let counter =
            |name: &'static str, about: &'static str| meter.u64_counter(name).with_description(about).build();
        let seconds = |name: &'static str, about: &'static str| {
            let histogram = meter.f64_histogram(name).with_description(about).with_unit("s");
            histogram.with_boundaries(BUCKETS.to_vec()).build()
        };
        Self(Arc::new(Inner {
            scans: counter("deploywatch_scans", "Scans of a target, by outcome"),
            scan_seconds: seconds("deploywatch_scan_duration", "How long scans took"),
            observations: counter("deploywatch_observations", "Observations, by outcome"),
            verdicts: counter("deploywatch_verdicts", "Verdict changes, by the new verdict"),
            deliveries: counter("deploywatch_webhook_deliveries", "Webhook requests, by source and answer"),
            triggers: counter(
                "deploywatch_triggers",
                "Requests that tell of releases, by trigger and outcome",
            ),
            answers: counter(
                "deploywatch_answers",
                "Attempts to show a verdict elsewhere, by channel and outcome",
            ),
            mails: counter("deploywatch_mails", "Attempts to send a mail, by outcome"),
            alert_seconds: seconds(
                "deploywatch_alert_delay",
                "From the record of a problem to the mail server's OK to the mail that announces it",
            ),
            waiting: meter
                .u64_gauge("deploywatch_outbox_messages")
                .with_description("Mails that wait to be sent")
                .build(),
            waiting_seconds: meter
                .f64_gauge("deploywatch_outbox_oldest")
                .with_description("The age of the oldest mail that waits to be sent")
                .with_unit("s")
                .build(),
            mail_broken: meter
                .u64_gauge("deploywatch_mail_path_broken")
                .with_description("1 while no mail can be sent")
                .build(),
            jobs: counter("deploywatch_job_runs", "Activations of jobs, by outcome"),
            job_seconds: seconds("deploywatch_job_duration", "How long jobs ran"),
            requests: counter("deploywatch_http_requests", "HTTP requests, by route and status"),
            request_seconds: seconds("deploywatch_http_duration", "How long HTTP requests took"),
            registry,
            provider,
        }))
    }

    /// One scan of `environment` ended: `ok` or the error's code.
    pub fn scan(&self, environment: &str, outcome: &'static str, took: Duration) {
        let labels =
            [KeyValue::new("environment", environment.to_owned()), KeyValue::new("outcome", outcome)];
        self.0.scans.add(1, &labels);
        self.0.scan_seconds.record(took.as_secs_f64(), &labels[..1]);
    }

    /// A request of the trigger `source`, which is configured: `accepted`, `duplicate`, `ignored`, `refused`.
    pub fn trigger(&self, source: &str, outcome: &'static str) {
        let labels = [KeyValue::new("trigger", source.to_owned()), KeyValue::new("outcome", outcome)];
        self.0.triggers.add(1, &labels);
    }

    /// A try at showing a verdict: `told`, `retry` or `dead`.
    pub fn answer(&self, channel: &'static str, outcome: &'static str) {
        self.0.answers.add(1, &[KeyValue::new("channel", channel), KeyValue::new("outcome", outcome)]);
    }

    /// One observation: `pass`, `warn`, `fail`, `error`, `no_data`, `missed`, `skipped`.
    pub fn observation(&self, outcome: &'static str) {
        self.0.observations.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// A deploy's verdict changed to `verdict`.
    pub fn verdict(&self, verdict: &'static str) {
        self.0.verdicts.add(1, &[KeyValue::new("verdict", verdict)]);
    }

    /// One webhook request was answered with `status`. `source` is a configured name, never a caller's text.
    pub fn delivery(&self, source: &str, status: u16) {
        let labels = [KeyValue::new("source", source.to_owned()), KeyValue::new("status", i64::from(status))];
        self.0.deliveries.add(1, &labels);
    }

    /// A problem's first mail was taken this long after the problem was recorded.
    pub fn alerted(&self, seconds: f64) {
        self.0.alert_seconds.record(seconds.max(0.0), &[]);
    }

    /// What waits to be sent, how old the oldest of it is, and whether the path is broken.
    pub fn outbox(&self, messages: u64, oldest_seconds: f64, broken: bool) {
        self.0.waiting.record(messages, &[]);
        self.0.waiting_seconds.record(oldest_seconds, &[]);
        self.0.mail_broken.record(u64::from(broken), &[]);
    }

    /// One attempt to send: `sent`, `retry`, `dead`; `held` where the storm guard kept it.
    pub fn mail(&self, outcome: &'static str) {
        self.0.mails.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// One activation of a job: `ok`, `problem`, `panic`.
    pub fn job(&self, job: &'static str, outcome: &'static str, took: Duration) {
        let labels = [KeyValue::new("job", job), KeyValue::new("outcome", outcome)];
        self.0.jobs.add(1, &labels);
        self.0.job_seconds.record(took.as_secs_f64(), &labels[..1]);
    }

    /// One HTTP request; `route` is the pattern, never the path.
    pub fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = [
            KeyValue::new("route", route.to_owned()),
            KeyValue::new("method", method.to_owned()),
            KeyValue::new("status", i64::from(status)),
        ];
        self.0.requests.add(1, &labels);
        self.0.request_seconds.record(took.as_secs_f64(), &labels[..1]);
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let encoder = prometheus::TextEncoder::new();
        match encoder.encode_utf8(&self.0.registry.gather(), &mut text) {
            Ok(()) => text,
            Err(error) => format!("# the metrics could not be rendered: {error}\n"),
        }
    }

    /// Pushes what is left. Blocks, so it must not run on the async runtime.
    pub fn shutdown(&self) {
        let _ = self.0.provider.shutdown();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruments_appear_under_their_documented_names() {
        let metrics = Metrics::default();
        metrics.scan("production", "ok", Duration::from_millis(20));
        metrics.observation("pass");
        metrics.verdict("passed");
        metrics.delivery("lemonsqueezy", 200);
        metrics.mail("sent");
        metrics.alerted(3.0);
        metrics.outbox(2, 30.0, true);
        metrics.job("scan", "ok", Duration::from_millis(5));
        metrics.request("GET", "/livez", 200, Duration::from_millis(1));
        let text = metrics.render();
        for line in [
            "deploywatch_scans_total{",
            "deploywatch_scan_duration_seconds_bucket{",
            "deploywatch_observations_total{",
            "deploywatch_verdicts_total{",
            "deploywatch_webhook_deliveries_total{",
            "deploywatch_mails_total{",
            "deploywatch_alert_delay_seconds_bucket{",
            "deploywatch_outbox_messages",
            "deploywatch_outbox_oldest_seconds",
            "deploywatch_mail_path_broken",
            "deploywatch_job_runs_total{",
            "deploywatch_http_requests_total{",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
