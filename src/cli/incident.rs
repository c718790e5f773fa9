//! `deploywatch incident list|show|ack|resolve|snooze`: what is open, and what a person does about it.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};

use super::Output;
use super::common::SettingsArgs;
use crate::api::incidents::IncidentView;
use crate::api::length;
use crate::app::{self, Parts};
use crate::domain::clock::{SignedDuration, humane, rfc3339};
use crate::domain::incident::{Incident, IncidentState};
use crate::email::mask;
use crate::services::Context;
use crate::services::alerting::act::{Act, Acted, act};
use crate::settings::Purpose;
use crate::store::incidents::{self, Which};
use crate::store::notifications;

const ACTOR: &str = "command line";
const LISTED: u32 = 100;

#[derive(Debug, Args)]
pub struct IncidentArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: IncidentCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum IncidentCommand {
    /// List what is open
    List {
        /// Resolved ones too
        #[arg(long)]
        all: bool,
        /// Only of this environment
        #[arg(long)]
        environment: Option<String>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Show one with its history and its mails
    Show {
        /// Its identifier, or the end of it as mails show it: 3f9a1c
        id: String,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Say that you are on it: no more reminders until it grows worse
    Ack { id: String },
    /// Say that it is over
    Resolve {
        id: String,
        /// Why it is over
        #[arg(long, default_value = "resolved by hand")]
        note: String,
    },
    /// No mail about it for a while
    Snooze {
        id: String,
        /// How long: 30m, 1h, 4h
        #[arg(long = "for", value_name = "LENGTH", default_value = "1h")]
        length: String,
    },
}

pub async fn run(args: IncidentArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    let ctx = app::context(&Parts::real(settings)).await?;
    let code = dispatch(&ctx, args.command, out).await;
    ctx.db.close().await;
    code
}

async fn dispatch(ctx: &Context, command: IncidentCommand, out: &mut Output) -> anyhow::Result<u8> {
    match command {
        IncidentCommand::List { all, environment, format } => {
            let which = if all { Which::All } else { Which::Open };
            list(ctx, which, environment.as_deref(), format, out).await
        }
        IncidentCommand::Show { id, format } => show(ctx, &id, format, out).await,
        IncidentCommand::Ack { id } => perform(ctx, &id, Act::Acknowledge, out).await,
        IncidentCommand::Resolve { id, note } => perform(ctx, &id, Act::Resolve { note }, out).await,
        IncidentCommand::Snooze { id, length } => {
            let seconds = length::parse(&length).map_err(|problem| anyhow::anyhow!("--for: {problem}"))?;
            let until = ctx.now() + SignedDuration::from_secs(seconds.into());
            perform(ctx, &id, Act::Snooze { until }, out).await
        }
    }
}

async fn list(
    ctx: &Context,
    which: Which,
    environment: Option<&str>,
    format: Format,
    out: &mut Output,
) -> anyhow::Result<u8> {
    let found = incidents::list(&mut *ctx.db.reader().await?, which, environment, LISTED).await?;
    if format == Format::Json {
        let views: Vec<IncidentView> =
            found.iter().map(|stored| IncidentView::of(&stored.incident)).collect();
        out.line(&serde_json::to_string_pretty(&views)?);
        return Ok(0);
    }
    if found.is_empty() {
        let what = if which == Which::Open { "no incident is open" } else { "there was no incident" };
        out.note(what);
        return Ok(0);
    }
    let now = ctx.now();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["id", "state", "severity", "since", "what"]);
    for stored in &found {
        let incident = &stored.incident;
        table.add_row([
            incident.short_id().to_owned(),
            incident.state.as_str().to_owned(),
            incident.facts.severity.as_str().to_owned(),
            format!("{} ago", humane(now.duration_since(incident.facts.since))),
            format!("{}: {}", incident.facts.subject, incident.facts.headline),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    Ok(0)
}

async fn show(ctx: &Context, wanted: &str, format: Format, out: &mut Output) -> anyhow::Result<u8> {
    let incident = find(ctx, wanted).await?;
    if format == Format::Json {
        out.line(&serde_json::to_string_pretty(&IncidentView::of(&incident))?);
        return Ok(0);
    }
    let facts = &incident.facts;
    out.line(&format!("{}  {}  {}", incident.id, incident.state.as_str(), facts.severity.as_str()));
    out.line(&facts.headline);
    for member in &facts.members {
        out.line(&format!("  {}: expected {}, observed {}", member.title, member.expected, member.observed));
    }
    if !incident.state.is_resolved() {
        for (i, step) in facts.next_steps.iter().enumerate() {
            out.line(&format!("  {}. {step}", i + 1));
        }
    }
    let mut reader = ctx.db.reader().await?;
    out.line("history");
    for event in incidents::list_events(&mut reader, &incident.id).await? {
        out.line(&format!("  {}  {} by {}  {}", rfc3339(event.at), event.event, event.actor, event.detail));
    }
    out.line("mails");
    for stored in notifications::list_of_incident(&mut reader, &incident.id).await? {
        let mail = &stored.notification;
        out.line(&format!(
            "  {}  {} to {}  {} after {} attempts",
            rfc3339(mail.created_at),
            mail.notice.as_str(),
            mask(&mail.recipient),
            stored.state.as_str(),
            stored.attempts
        ));
    }
    Ok(0)
}

async fn perform(ctx: &Context, wanted: &str, what: Act, out: &mut Output) -> anyhow::Result<u8> {
    let incident = find(ctx, wanted).await?;
    match act(ctx, &incident.id, ACTOR, what).await? {
        Acted::Unknown => anyhow::bail!("there is no incident {wanted:?}"),
        Acted::Unchanged(incident) => out.note(&format!("nothing to do: it is {}", incident.state.as_str())),
        Acted::Done(incident) => out.line(&done(&incident)),
    }
    Ok(0)
}

fn done(incident: &Incident) -> String {
    match (&incident.state, incident.snoozed_until) {
        (IncidentState::Open, Some(until)) => format!("{} is quiet until {}", incident.id, rfc3339(until)),
        (state, _) => format!("{} is {}", incident.id, state.as_str()),
    }
}

async fn find(ctx: &Context, wanted: &str) -> anyhow::Result<Incident> {
    let wanted = wanted.trim().trim_start_matches('#');
    anyhow::ensure!(wanted.len() >= 4, "give at least the last four letters of the identifier");
    let mut found = incidents::find_by_suffix(&mut *ctx.db.reader().await?, wanted).await?;
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one.incident),
        (None, _) => {
            anyhow::bail!("there is no incident {wanted:?}; `deploywatch incident list --all` shows all")
        }
        (Some(_), false) => {
            anyhow::bail!("several incidents end with {wanted:?}; give more of the identifier")
        }
    }
}
