//! Logs and traces by `tracing`, metrics by OpenTelemetry; export over OTLP is off until an endpoint is set.

mod metrics;

pub use metrics::Metrics;
