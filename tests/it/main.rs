//! All integration tests in one binary: one link, shared support, one file for each capability.

mod support;
mod target;

mod check_cli;
mod access;
mod alerts;
mod harness;
mod rotation;
mod webhook_crash;
mod layering;
mod server;
mod settings;
mod store_core;
mod webhooks;
