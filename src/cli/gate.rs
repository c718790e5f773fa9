//! `deploywatch gate`: go or stop, with the reason, as an exit code that CI understands.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::Instant;

use super::Output;
use super::deploy::Kind;
use super::gate_report;
use super::remote::{RemoteArgs, failed};
use crate::api::gate::GateView;
use crate::api::length;
use crate::client::{Client, ClientError, GateQuestion};
use crate::domain::check::Stage;
use crate::domain::gate::{FailOn, GateAnswer};
use crate::system;

/// Ends with 0 go, 1 stop, 3 inconclusive, 4 still verifying, 5 superseded, cancelled or unknown, 6 server
/// unreachable, 7 token refused.
#[derive(Debug, Args)]
pub struct GateArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// The environment; may be left out when the server watches one
    #[arg(long, short)]
    environment: Option<String>,
    /// This version; else the newest deploy
    #[arg(long)]
    version: Option<String>,
    /// This deploy, by the identifier that `deploy start` printed
    #[arg(long, conflicts_with_all = ["environment", "version"])]
    deploy: Option<String>,
    /// Ask about the last release before the next one starts: may it?
    #[arg(long, conflicts_with_all = ["version", "deploy"])]
    previous: bool,
    /// The kind of the next release, with --previous; a rollback always goes
    #[arg(long, value_enum, requires = "previous", default_value_t = Kind::Normal)]
    kind: Kind,
    /// Wait so long for an answer: 10m
    #[arg(long, default_value = "0s", value_parser = length::parse)]
    wait: u32,
    /// What to wait for: the first minutes, or the whole window
    #[arg(long, value_enum, default_value_t = StageArg::Smoke)]
    stage: StageArg,
    /// What stops: a failure alone, or a warning too
    #[arg(long, value_enum, default_value_t = FailOnArg::Failure)]
    fail_on: FailOnArg,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StageArg {
    Smoke,
    Soak,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FailOnArg {
    Failure,
    Warning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
    /// Text, annotations, and a summary where `GITHUB_STEP_SUMMARY` names its file
    Github,
}

/// The longest single question; the server holds it open until the answer changes.
const HOLD: Duration = Duration::from_secs(30);
/// How long to pause after a question that could not be put.
const PAUSE: Duration = Duration::from_secs(2);

pub async fn run(args: GateArgs, out: &mut Output) -> anyhow::Result<u8> {
    let client = match args.remote.client() {
        Ok(client) => client,
        Err(error) => return Ok(failed(&error, out)),
    };
    let question = GateQuestion {
        environment: args.environment.clone(),
        version: args.version.clone(),
        deploy: args.deploy.clone(),
        stage: Some(match args.stage {
            StageArg::Smoke => Stage::Smoke,
            StageArg::Soak => Stage::Soak,
        }),
        previous_of: args.previous.then(|| args.kind.into()),
        fail_on: Some(match args.fail_on {
            FailOnArg::Failure => FailOn::Failure,
            FailOnArg::Warning => FailOn::Warning,
        }),
    };
    let wait = Duration::from_secs(args.wait.into());
    let view = match ask(&client, &question, wait, args.format, out).await {
        Ok(view) => view,
        Err(error) => return Ok(failed(&error, out)),
    };
    print(&view, args.format, out);
    Ok(view.exit_code)
}

/// Asks until the answer is not `wait` or the time is up. A server that is being restarted is asked again.
async fn ask(
    client: &Client,
    question: &GateQuestion,
    wait: Duration,
    format: Format,
    out: &mut Output,
) -> Result<GateView, ClientError> {
    let deadline = Instant::now() + wait;
    let mut told = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match client.gate(question, left.min(HOLD).as_secs()).await {
            Ok(view) if view.answer == GateAnswer::Wait && Instant::now() < deadline => {
                let line = view.reasons.first().map(|reason| reason.message.clone()).unwrap_or_default();
                // Each change once, so that a log of ten minutes stays readable.
                if line != told && format != Format::Json && format != Format::Junit {
                    out.note(&format!("waiting: {line}"));
                    told = line;
                }
                if left < Duration::from_secs(1) {
                    tokio::time::sleep_until(deadline).await;
                }
            }
            Ok(view) => return Ok(view),
            Err(error) if error.is_transient() && Instant::now() + PAUSE < deadline => {
                let line = error.to_string();
                if line != told {
                    out.note(&format!("waiting: {line}"));
                    told = line;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn print(view: &GateView, format: Format, out: &mut Output) {
    match format {
        Format::Text => text(view, out),
        Format::Json => out.line(&serde_json::to_string_pretty(view).expect("our own structures")),
        Format::Junit => out.line(gate_report::junit(view).trim_end()),
        Format::Github => {
            text(view, out);
            for line in gate_report::annotations(view) {
                out.line(&line);
            }
            append_summary(view, &system::environment(), out);
        }
    }
}

fn text(view: &GateView, out: &mut Output) {
    for line in &view.explanation {
        out.line(line);
    }
    if let Some(url) = view.deploy.as_ref().and_then(|deploy| deploy.url.as_ref()) {
        out.line(&format!("  more      {url}"));
    }
}

fn append_summary(view: &GateView, env: &BTreeMap<String, String>, out: &mut Output) {
    use std::io::Write;
    let Some(path) = env.get("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let written = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(gate_report::summary(view).as_bytes()));
    if let Err(error) = written {
        out.note(&format!("warning: the job summary {path} could not be written: {error}"));
    }
}
