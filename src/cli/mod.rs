//! The command line: one file for each command, results on stdout, messages on stderr.
//!
//! Exit codes: 0 go, 1 stop, 2 usage or configuration, 3 could not be measured, 4 still verifying,
//! 5 superseded, cancelled or unknown, 6 server unreachable, 7 token refused, 130 interrupted.

mod baseline_file;
mod carry_file;
mod check;
pub mod common;
mod config;
mod demo;
mod deploy;
mod deploy_status;
mod doctor;
mod email;
mod gate;
mod gate_report;
mod incident;
mod init;
mod notify;
mod oncall;
mod outbox;
pub mod output;
mod reload;
mod remote;
mod report;
mod secret;
mod secret_follow;
mod serve;
mod silence;
mod token;
mod webhook;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use output::Output;

/// Watches deploys and webhook secrets, and says with evidence whether they are good.
#[derive(Debug, Parser)]
#[command(name = "deploywatch", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One variant for each command; each file holds its `Args` and `run`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run check suites once and say what holds
    Check(check::CheckArgs),
    /// Look at a database and write a first suite for it, with the reason for each check
    Init(init::InitArgs),
    /// Run the server: API, webhooks, pages and the scheduled work
    Serve(serve::ServeArgs),
    /// Announce releases and look at them
    Deploy(deploy::DeployArgs),
    /// Ask whether a release is good: go or stop, with the reason
    Gate(gate::GateArgs),
    /// Check and show the settings
    Config(config::ConfigArgs),
    /// Look at every dependency and say what to do about what is wrong
    Doctor(doctor::DoctorArgs),
    /// Make, list and revoke the tokens that callers authenticate with
    Token(token::TokenArgs),
    /// Show open incidents, and say that you are on them
    Incident(incident::IncidentArgs),
    /// Hold back mails for a while, with an owner, a reason and an end
    Silence(silence::SilenceArgs),
    /// Send a test mail, or a test message to a second channel
    Notify(notify::NotifyArgs),
    /// Show who is on call, now and next, and let somebody stand in
    Oncall(oncall::OncallArgs),
    /// Look at what waits to be sent, and send again what was given up
    Outbox(outbox::OutboxArgs),
    /// Look at the mails that would be sent
    Email(email::EmailArgs),
    /// Print the JSON Schema of a check suite
    #[command(hide = true)]
    Schema,
    /// Look at, add and rotate the signing secrets of webhooks
    Secret(secret::SecretArgs),
    /// List, show, replay and send webhook deliveries
    Webhook(webhook::WebhookArgs),
    /// Play the whole product on sample data: no database, no mail server, no configuration
    Demo(demo::DemoArgs),
    /// Print the version
    Version,
}

/// Parses, runs, and turns the result into an exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Output::stdio().error(&format!("the async runtime could not start: {error}"));
            return ExitCode::from(2);
        }
    };
    runtime.block_on(dispatch(cli.command, &mut Output::stdio()))
}

async fn dispatch(command: Command, out: &mut Output) -> ExitCode {
    let result: anyhow::Result<u8> = match command {
        Command::Check(args) => check::run(args, out).await,
        Command::Init(args) => init::run(args, out).await,
        Command::Serve(args) => serve::run(args, out).await,
        Command::Deploy(args) => deploy::run(args, out).await,
        Command::Gate(args) => gate::run(args, out).await,
        Command::Config(args) => config::run(&args, out),
        Command::Doctor(args) => doctor::run(args, out).await,
        Command::Token(args) => token::run(args, out).await,
        Command::Incident(args) => incident::run(args, out).await,
        Command::Silence(args) => silence::run(args, out).await,
        Command::Notify(args) => notify::run(args, out).await,
        Command::Oncall(args) => oncall::run(args, out).await,
        Command::Outbox(args) => outbox::run(args, out).await,
        Command::Email(args) => email::run(args, out).await,
        Command::Schema => {
            out.line(crate::suite::json_schema().trim_end());
            Ok(0)
        }
        Command::Secret(args) => secret::run(args, out).await,
        Command::Webhook(args) => webhook::run(args, out).await,
        Command::Demo(args) => demo::run(args, out).await,
        Command::Version => {
            out.line(env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            out.error(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}
