//! All integration tests in one binary: one link, shared support, one file for each capability.

mod support;
mod target;

mod access;
mod alerts;
mod api_docs;
mod check_cli;
mod demo;
mod deploy_folders;
mod gate_forms;
mod harness;
mod init;
mod layering;
mod mail;
mod mail_crash;
mod mail_tls;
mod other_schema;
mod retention;
mod rotation;
mod scheduler;
mod schemes;
mod server;
mod settings;
mod store_core;
mod suite_kinds;
mod telemetry;
mod trigger_crash;
mod triggers;
mod verification;
mod webhook_crash;
mod webhook_incidents;
mod webhooks;
mod whole_line;
