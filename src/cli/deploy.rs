//! `deploywatch deploy start|finish|status|list|cancel|override|mute|reverify`: what CI and people tell the server about
//! releases.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};

use super::Output;
use super::deploy_status;
use super::remote::{RemoteArgs, Run, failed};
use crate::api::deploys::{
    AnnounceRequest, CancelRequest, DeployView, MuteRequest, OverrideRequest, ReverifyRequest,
};
use crate::api::length;
use crate::client::{Client, ClientError};
use crate::domain::clock::rfc3339;
use crate::domain::deploy::{DeployKind, OverrideVerdict};
use crate::domain::ids::DeployId;
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
        /// The deploy's identifier or its version; the newest one where absent
        deploy: Option<String>,
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
        /// The deploy's identifier or its version
        deploy: String,
        #[arg(long, short)]
        environment: Option<String>,
        /// Why, for the person who reads it next week
        #[arg(long)]
        reason: String,
    },
    /// Decide by hand, beside the computed verdict and for a limited time
    Override {
        /// The deploy's identifier or its version
        deploy: String,
        #[arg(long, short)]
        environment: Option<String>,
        #[arg(long, value_enum, required_unless_present = "withdraw")]
        verdict: Option<Decision>,
        /// Take the decision back: the computed verdict counts again
        #[arg(long, conflicts_with_all = ["verdict", "reason", "actor"])]
        withdraw: bool,
        /// Why, for the person who reads it next week
        #[arg(long, required_unless_present = "withdraw")]
        reason: Option<String>,
        /// Who decides; the token's name where absent
        #[arg(long)]
        actor: Option<String>,
        /// How long it counts: at most 7d
        #[arg(long = "for", default_value = "24h", value_parser = length::parse)]
        seconds: u32,
    },
    /// Keep a check quiet for a while: it counts for nothing but coverage, and the verdict says so
    Mute {
        /// The deploy's identifier or its version
        deploy: String,
        /// The check's key, as `deploy status` and the page show it
        check: String,
        #[arg(long, short)]
        environment: Option<String>,
        /// How long: at most 7d
        #[arg(long = "for", default_value = "4h", value_parser = length::parse, conflicts_with = "end")]
        seconds: u32,
        /// End a mute now
        #[arg(long)]
        end: bool,
        /// Why, for the person who reads it next week
        #[arg(long)]
        reason: String,
        /// Who mutes; the token's name where absent
        #[arg(long)]
        actor: Option<String>,
    },
    /// Verify a release again that is out: another window, compared with the same baseline
    Reverify {
        /// The deploy's identifier or its version; the newest one where absent
        deploy: Option<String>,
        #[command(flatten)]
        which: WhichArgs,
        /// A link to the run
        #[arg(long)]
        link: Option<String>,
        /// The whole window instead of the server's setting: 24h
        #[arg(long, value_parser = length::parse)]
        window: Option<u32>,
        /// The smoke stage instead of the server's setting: 10m
        #[arg(long, value_parser = length::parse)]
        smoke: Option<u32>,
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
        DeployCommand::Status { deploy, which } => {
            find(&client, deploy, which).await.map(|view| match format {
                Format::Json => json(&view, out),
                Format::Text => deploy_status::lines(&view, now()).iter().for_each(|line| out.line(line)),
            })
        }
        DeployCommand::List { environment, limit } => client
            .deploys(environment.as_deref(), None, Some(limit))
            .await
            .map(|deploys| show_list(&deploys, format, out)),
        DeployCommand::Cancel { deploy, environment, reason } => async {
            let id = identifier(&client, Some(deploy), WhichArgs { environment, version: None }).await?;
            client.cancel(&id, &CancelRequest { reason }).await
        }
        .await
        .map(|view| show_cancelled(&view, format, out)),
        DeployCommand::Override { deploy, environment, verdict, withdraw: _, reason, actor, seconds } => {
            async {
                let id = identifier(&client, Some(deploy), WhichArgs { environment, version: None }).await?;
                let verdict = match verdict {
                    Some(Decision::Passed) => OverrideVerdict::Passed,
                    Some(Decision::Failed) => OverrideVerdict::Failed,
                    None => return client.withdraw(&id).await,
                };
                let reason = reason.unwrap_or_default();
                client.decide(&id, &OverrideRequest { verdict, reason, actor, seconds }).await
            }
            .await
            .map(|view| show_decided(&view, format, out))
        }
        DeployCommand::Mute { deploy, check, environment, seconds, end, reason, actor } => async {
            let id = identifier(&client, Some(deploy), WhichArgs { environment, version: None }).await?;
            let seconds = if end { 0 } else { seconds };
            let request = MuteRequest { check: check.clone(), reason, actor, seconds };
            client.mute(&id, &request).await.map(|view| (view, check))
        }
        .await
        .map(|(view, check)| show_muted(&view, &check, format, out)),
        DeployCommand::Reverify { deploy, which, link, window, smoke } => async {
            let id = identifier(&client, deploy, which).await?;
            let run = Run::here();
            let request = ReverifyRequest {
                actor: run.actor,
                link: link.or(run.link),
                smoke_seconds: smoke,
                window_seconds: window,
            };
            client.reverify(&id, &request).await
        }
        .await
        .map(|view| show_finished(&view, format, out)),
    };
    Ok(match result {
        Ok(()) => 0,
        Err(error) => failed(&error, out),
    })
}

/// The deploy that is meant: by its identifier, by its version (the newest attempt), else the newest one.
async fn find(client: &Client, deploy: Option<String>, which: WhichArgs) -> Result<DeployView, ClientError> {
    let id = identifier(client, deploy, which).await?;
    client.deploy(&id).await
}

async fn identifier(
    client: &Client,
    deploy: Option<String>,
    which: WhichArgs,
) -> Result<String, ClientError> {
    use crate::api::problem::{Code, Problem};
    let (id, version) = match deploy {
        Some(id) if id.starts_with(&format!("{}_", DeployId::PREFIX)) => (Some(id), None),
        other => (None, other),
    };
    if let Some(id) = id {
        return Ok(id);
    }
    let version = version.or(which.version);
    let found = client.deploys(which.environment.as_deref(), version.as_deref(), Some(1)).await?;
    found.first().map(|brief| brief.id.clone()).ok_or_else(|| {
        let what = version.map_or("no deploy".to_owned(), |version| format!("no deploy {version}"));
        let detail = format!("{what} was announced; `deploywatch deploy list` shows what there is");
        ClientError::Problem(Problem::new(Code::NotFound, detail))
    })
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
        state => out.note(&format!("{} is {}", name(view), words(state))),
    }
    if view.baseline.is_none() {
        out.note(
            "warning: there is no baseline to compare with, so the best this can end with is passed with \
             warnings; announce the next one by `deploywatch deploy start` before its migration",
        );
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
        table.add_row([
            view.id.clone(),
            view.environment.clone(),
            version(view),
            verdict(view),
            view.finished_at.map_or("-".into(), rfc3339),
            view.failing.len().to_string(),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
}

fn show_decided(view: &DeployView, format: Format, out: &mut Output) {
    let said = match &view.decided {
        Some(decided) => format!(
            "counts as {} until {}; the evidence alone says {}",
            words(view.effective),
            rfc3339(decided.expires_at),
            words(view.state)
        ),
        None => format!("counts as what the evidence says: {}", words(view.state)),
    };
    show_line(view, &said, format, out);
}

fn show_muted(view: &DeployView, check: &str, format: Format, out: &mut Output) {
    let muted = view.checks.iter().find(|c| c.key.as_str() == check).and_then(|c| c.muted_until);
    let said = match muted {
        Some(until) => format!("does not count {check} until {}", rfc3339(until)),
        None => format!("counts {check} again"),
    };
    show_line(view, &said, format, out);
}

fn show_cancelled(view: &DeployView, format: Format, out: &mut Output) {
    let said = match (view.finished_at, view.state) {
        (_, VerdictState::Failed) => "is no longer watched; it had failed, and that stays",
        (Some(_), _) => "is cancelled: it is no longer watched, and nothing vouches for it",
        (None, _) => "is cancelled: it does not go out, and the watch of the one before goes on",
    };
    show_line(view, said, format, out);
}

fn show_line(view: &DeployView, said: &str, format: Format, out: &mut Output) {
    if format == Format::Json {
        return json(view, out);
    }
    out.line(&format!("{} {said}", name(view)));
}

/// This machine's clock, for "how long ago" alone.
fn now() -> crate::domain::clock::Timestamp {
    use crate::domain::clock::Clock;
    crate::system::SystemClock.now()
}

/// One cell: what counts, and what else there is to know about it.
fn verdict(view: &DeployView) -> String {
    let counts = words(view.effective);
    match (view.effective == view.state, view.provisional) {
        (false, _) => format!("{counts} by hand (evidence: {})", words(view.state)),
        (true, Some(provisional)) => format!("{counts} ({})", provisional.as_str().replace('_', " ")),
        (true, None) => counts,
    }
}

pub(super) fn words(state: VerdictState) -> String {
    state.as_str().replace('_', " ")
}

pub(super) fn name(view: &DeployView) -> String {
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
