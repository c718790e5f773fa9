//! deploywatch watches a product after each deploy and watches the signing secrets of its webhooks.
//!
//! It measures (SQL on the target, webhooks received), decides (pure functions), records (its own
//! store, one transaction) and tells (gate answer, mail, dashboard, metrics).
//! The modules below stand in reading order; a module imports only what stands above it.

pub mod domain; // the words and the decisions: pure, no I/O, no clock

pub mod api; // wire types and the error-code table
pub mod settings; // default.toml → file → environment, validated, redacted

pub mod callbacks; // tell GitHub and Vercel what became of a release
pub mod channels; // the same news to a webhook, a chat, a pager
pub mod email; // prepare a mail, send a mail
pub mod lemonsqueezy; // the provider's API
pub mod relay; // forward a verified delivery to the product
pub mod signals; // what is measured beside the watched database, over HTTP
pub mod store; // our own database, the only place with our SQL
pub mod suite; // check files → checks
pub mod target; // the watched database, read-only

pub mod services; // use cases: measure, decide, record

pub mod client; // typed client for the CI-side commands
pub mod http; // routes, handlers, pages
pub mod scheduler; // the ticker and its table of jobs

pub mod app; // composition root
pub mod demo; // the whole product in one command, on sample data
pub mod shutdown; // signals → cancellation, drain
pub mod system; // the real clock and the real randomness
pub mod telemetry; // tracing, OpenTelemetry, metrics

pub mod cli; // one file for each command
