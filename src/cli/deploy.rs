//! `deploywatch deploy start|finish|status|list|cancel|override`: what CI and people tell the server about
//! releases.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};

use super::Output;
use super::remote::{RemoteArgs, Run, failed};
use crate::api::deploys::{AnnounceRequest, CancelRequest, DeployView, OverrideRequest};
use crate::api::length;
use crate::client::{Client, ClientError};
use crate::domain::clock::rfc3339;
use crate::domain::deploy::{DeployKind, OverrideVerdict};
use crate::domain::verdict::VerdictState;

#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// How to print the answer
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    command: DeployCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum DeployCommand {
    /// Announce a release; returns when the baseline is captured and the migration may run
    Start(AnnounceArgs),
    /// Say that the release is out; its window opens now
    Finish {
        /// The deploy's identifier, as `start` printed it; else the version counts
        id: Option<String>,
        #[command(flatten)]
        announce: AnnounceArgs,
    },
    /// Show a deploy: where it stands, and what stands in its way
    Status {
        /// The deploy's identifier; else the version, else the newest
        id: Option<String>,
        #[command(flatten)]
        which: WhichArgs,
    },
    /// List deploys, newest first
    List {
        #[arg(long, short)]
        environment: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Stop watching a deploy, or take back one that was started
    Cancel {
        id: String,
        /// Why, for the person who reads it next week
        #[arg(long)]
        reason: String,
    },
    /// Decide by hand, beside the computed verdict and for a limited time
    Override {
        id: String,
        #[arg(long, value_enum)]
        verdict: Decision,
        /// Why, for the person who reads it next week
        #[arg(long)]
        reason: String,
        /// Who decides; the token's name where absent
        #[arg(long)]
        actor: Option<String>,
        /// How long it counts: at most 7d
        #[arg(long = "for", default_value = "24h", value_parser = length::parse)]
        seconds: u32,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Decision {
    Passed,
    Failed,
}

#[derive(Debug, Args)]
struct WhichArgs {
    /// The environment; may be left out when the server watches one
    #[arg(long, short)]
    environment: Option<String>,
    #[arg(long)]
    version: Option<String>,
}

#[derive(Debug, Args)]
struct AnnounceArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The commit; found by itself on GitHub, GitLab, Vercel and Buildkite
    #[arg(long)]
    commit: Option<String>,
    #[arg(long, value_enum, default_value_t = Kind::Normal)]
    kind: Kind,
    /// Who releases
    #[arg(long)]
    actor: Option<String>,
    /// A link to the run
    #[arg(long)]
    link: Option<String>,
    /// Verify a version again that was announced before
    #[arg(long)]
    new: bool,
    /// The whole window instead of the server's setting: 24h
    #[arg(long, value_parser = length::parse)]
    window: Option<u32>,
    /// The smoke stage instead of the server's setting: 10m
    #[arg(long, value_parser = length::parse)]
    smoke: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Kind {
    Normal,
    Rollback,
    Config,
}

impl From<Kind> for DeployKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Normal => Self::Normal,
            Kind::Rollback => Self::Rollback,
            Kind::Config => Self::Config,
        }
    }
}

impl AnnounceArgs {
    fn request(self, run: Run) -> anyhow::Result<AnnounceRequest> {
        let version = self.which.version.or(run.version);
        let version = version.ok_or_else(|| anyhow::anyhow!("which release? give --version"))?;
        Ok(AnnounceRequest {
            environment: self.which.environment,
            version,
            commit: self.commit.or(run.commit),
            kind: self.kind.into(),
            actor: self.actor.or(run.actor),
            link: self.link.or(run.link),
            new: self.new,
            smoke_seconds: self.smoke,
            window_seconds: self.window,
        })
    }
}

pub async fn run(args: DeployArgs, out: &mut Output) -> anyhow::Result<u8> {
    let DeployArgs { remote, format, command } = args;
    let client = match remote.client() {
        Ok(client) => client,
        Err(error) => return Ok(failed(&error, out)),
    };
    let result = match command {
        DeployCommand::Start(announce) => {
            let request = announce.request(Run::here())?;
            client.start(&request).await.map(|view| show_started(&view, format, out))
        }
        DeployCommand::Finish { id, announce } => {
            let finished = match id {
                Some(id) => client.finish(&id).await,
                None => client.finish_version(&announce.request(Run::here())?).await,
            };
            finished.map(|view| show_finished(&view, format, out))
        }
        DeployCommand::Status { id, which } => {
            find(&client, id, which).await.map(|view| show_status(&view, format, out))
        }
        DeployCommand::List { environment, limit } => client
            .deploys(environment.as_deref(), None, Some(limit))
            .await
            .map(|deploys| show_list(&deploys, format, out)),
        DeployCommand::Cancel { id, reason } => {
            let answered = client.cancel(&id, &CancelRequest { reason }).await;
            answered.map(|view| show_line(&view, "is cancelled", format, out))
        }
        DeployCommand::Override { id, verdict, reason, actor, seconds } => {
            let verdict = match verdict {
                Decision::Passed => OverrideVerdict::Passed,
                Decision::Failed => OverrideVerdict::Failed,
            };
            let answered = client.decide(&id, &OverrideRequest { verdict, reason, actor, seconds }).await;
            answered.map(|view| show_decided(&view, format, out))
        }
    };
    Ok(match result {
        Ok(()) => 0,
        Err(error) => failed(&error, out),
    })
}

async fn find(client: &Client, id: Option<String>, which: WhichArgs) -> Result<DeployView, ClientError> {
    use crate::api::problem::{Code, Problem};
    if let Some(id) = id {
        return client.deploy(&id).await;
    }
    let found = client.deploys(which.environment.as_deref(), which.version.as_deref(), Some(1)).await?;
    match found.first() {
        Some(brief) => client.deploy(&brief.id).await,
        None => {
            let detail = "no such deploy was announced; `deploywatch deploy list` shows what there is";
            Err(ClientError::Problem(Problem::new(Code::NotFound, detail)))
        }
    }
}

/// The identifier alone goes to stdout, so that a script can keep it.
fn show_started(view: &DeployView, format: Format, out: &mut Output) {
    if format == Format::Json {
        return json(view, out);
    }
    out.line(&view.id);
    match (&view.baseline, view.state) {
        (_, state) if state != VerdictState::Deploying => out.note(&format!(
            "{} was announced before and is {}; --new verifies it again",
            name(view),
            state.as_str()
        )),
        (Some(baseline), _) => {
            let measured = baseline.measured.unwrap_or_default();
            out.note(&format!(
                "{} has started: baseline of {measured} checks taken {}; run the migration, then \
                 `deploywatch deploy finish {}`",
                name(view),
                rfc3339(baseline.captured_at),
                view.id
            ));
            for check in &baseline.unmeasured {
                out.note(&format!("warning: no baseline for {}: {}", check.key, check.message));
            }
        }
        (None, _) => out.note(&format!("{} has started", name(view))),
    }
}

fn show_finished(view: &DeployView, format: Format, out: &mut Output) {
    if format == Format::Json {
        return json(view, out);
    }
    out.line(&view.id);
    let until = view.ends_at.map_or_else(String::new, |at| format!(" until {}", rfc3339(at)));
    match view.state {
        VerdictState::Verifying => out.note(&format!("{} is being watched{until}", name(view))),
        state => out.note(&format!("{} is {}", name(view), state.as_str())),
    }
    if view.baseline.is_none() {
        out.note(
            "warning: there is no baseline to compare with, so the best this can end with is passed with \
             warnings; announce the next one by `deploywatch deploy start` before its migration",
        );
    }
}

fn show_status(view: &DeployView, format: Format, out: &mut Output) {
    if format == Format::Json {
        return json(view, out);
    }
    let provisional = view.provisional.map_or_else(String::new, |p| format!(" ({} so far)", p.as_str()));
    out.line(&format!("{}: {}{provisional}", name(view), view.effective.as_str()));
    if let Some(decided) = &view.decided {
        out.line(&format!(
            "  override  by {} until {}: {} (computed: {})",
            decided.actor,
            rfc3339(decided.expires_at),
            decided.reason,
            view.state.as_str()
        ));
    }
    let times = [("deployed", view.finished_at), ("window", view.ends_at), ("next scan", view.next_scan_at)];
    for (label, at) in times {
        if let Some(at) = at {
            out.line(&format!("  {label:<9} {}", rfc3339(at)));
        }
    }
    let counts = view.counts;
    out.line(&format!(
        "  checks    {} pass, {} warn, {} fail, {} error of {}; coverage {:.0} %",
        counts.pass,
        counts.warn,
        counts.fail,
        counts.error,
        counts.checks,
        view.coverage * 100.0
    ));
    for check in &view.failing {
        let since = check.since.as_deref().map_or_else(String::new, |since| format!(", since {since}"));
        out.line(&format!("  failing   {}: {}{since}", check.title, check.message));
    }
    for reason in view.reasons.iter().filter(|reason| reason.code != "breached") {
        out.line(&format!("  because   {}", reason.message));
    }
}

fn show_list(deploys: &[DeployView], format: Format, out: &mut Output) {
    if format == Format::Json {
        return json(&deploys, out);
    }
    if deploys.is_empty() {
        return out.note("no deploy was announced yet; `deploywatch deploy start --version …` announces one");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["id", "environment", "version", "verdict", "deployed", "failing"]);
    for view in deploys {
        let verdict = match view.provisional {
            Some(provisional) => format!("{} ({})", view.effective.as_str(), provisional.as_str()),
            None => view.effective.as_str().to_owned(),
        };
        table.add_row([
            view.id.clone(),
            view.environment.clone(),
            version(view),
            verdict,
            view.finished_at.map_or("-".into(), rfc3339),
            view.failing.len().to_string(),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
}

fn show_decided(view: &DeployView, format: Format, out: &mut Output) {
    let until = view.decided.as_ref().map_or_else(String::new, |d| rfc3339(d.expires_at));
    let said = format!(
        "counts as {} until {until}; computed it is {}",
        view.effective.as_str(),
        view.state.as_str()
    );
    show_line(view, &said, format, out);
}

fn show_line(view: &DeployView, said: &str, format: Format, out: &mut Output) {
    if format == Format::Json {
        return json(view, out);
    }
    out.line(&format!("{} {said}", name(view)));
}

fn name(view: &DeployView) -> String {
    format!("deploy {} in {}", version(view), view.environment)
}

fn version(view: &DeployView) -> String {
    match view.attempt {
        0 | 1 => view.version.clone(),
        n => format!("{} (attempt {n})", view.version),
    }
}

fn json<T: serde::Serialize>(value: &T, out: &mut Output) {
    out.line(&serde_json::to_string_pretty(value).expect("our own structures have text keys"));
}
