//! Logs and traces by `tracing`, metrics by OpenTelemetry; export over OTLP is off until an endpoint is set.

mod metrics;

pub use metrics::Metrics;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// What to set up.
#[derive(Debug, Clone)]
pub struct Options {
    pub directives: String,
    pub format: Format,
    pub service: String,
    /// The OTLP/HTTP base address; `/v1/traces` and `/v1/metrics` are added.
    pub otlp: Option<String>,
}

/// What was set up; give it to [`Telemetry::shutdown`] at the end.
#[derive(Debug)]
pub struct Telemetry {
    pub metrics: Metrics,
    traces: Option<SdkTracerProvider>,
}

/// How long an exporter waits for its collector.
const EXPORT: Duration = Duration::from_secs(5);

const QUIET: &str = "actix_server=warn,tokio_cron_scheduler=warn,sqlx=warn,opentelemetry=warn";

/// Sets logs and traces up for the whole process, on stderr; stdout belongs to results. To be called once.
/// The exporters block, so that they need threads of their own: never call this inside an async task.
pub fn init(options: &Options) -> Telemetry {
    // Libraries that tell about their own life at `info` say nothing to an operator. What is asked for by name
    // wins over this.
    let directives = format!("{QUIET},{}", options.directives);
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match options.format {
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let mut problems = Vec::new();
    let traces = options.otlp.as_ref().and_then(|base| {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT)
            .with_endpoint(format!("{}/v1/traces", base.trim_end_matches('/')))
            .build();
        exporter.map_err(|error| problems.push(error.to_string())).ok().map(|exporter| {
            SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(Resource::builder().with_service_name(options.service.clone()).build())
                .build()
        })
    });
    let push = options.otlp.as_ref().and_then(|base| {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT)
            .with_endpoint(format!("{}/v1/metrics", base.trim_end_matches('/')))
            .build();
        exporter.map_err(|error| problems.push(error.to_string())).ok()
    });
    if traces.is_some() {
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    }
    let spans = traces.as_ref().map(|provider| {
        let tracer = provider.tracer("deploywatch");
        // The exporter's own requests must not become spans that are exported in turn.
        let ours = tracing_subscriber::filter::filter_fn(|meta| meta.target().starts_with("deploywatch"));
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
    });
    let set = tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).try_init();
    if let Err(error) = set {
        problems.push(error.to_string());
    }
    for problem in problems {
        tracing::warn!("telemetry is not complete: {problem}");
    }
    Telemetry { metrics: Metrics::new(&options.service, push), traces }
}

impl Telemetry {
    /// Sends what is left, for at most the exporters' own deadline. It blocks.
    pub fn shutdown(self) {
        self.metrics.shutdown();
        if let Some(traces) = self.traces {
            let _ = traces.shutdown();
        }
    }
}
