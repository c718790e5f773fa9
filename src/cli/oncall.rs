//! `deploywatch oncall show|override`: who is told now and next, and standing in for somebody.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::tz::TimeZone;

use super::Output;
use super::common::SettingsArgs;
use crate::app::{self, Parts};
use crate::domain::clock::{Timestamp, humane};
use crate::domain::oncall::{Substitute, parse_moment};
use crate::services::Context;
use crate::services::oncall::view::{line, view};
use crate::services::oncall::{add_override, remove_override, standing};
use crate::settings::{Purpose, oncall_plan};
use crate::store::oncall::{find_by_suffix, list};

const ACTOR: &str = "command line";

#[derive(Debug, Args)]
pub struct OncallArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: OncallCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum OncallCommand {
    /// Show who is on call, and whose turns come next
    Show {
        /// At this time instead of now: 2026-12-24T18:00 by oncall.time_zone, or an instant with its offset
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// How far to look ahead
        #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=366))]
        days: u32,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Let somebody stand in for whoever's turn it is; a running server knows at once
    #[command(subcommand)]
    Override(OverrideCommand),
}

#[derive(Debug, Subcommand)]
enum OverrideCommand {
    /// From when to when, and who
    Add {
        /// The rotation's name in the settings
        #[arg(long)]
        rotation: String,
        /// The person's name in the settings
        #[arg(long)]
        person: String,
        /// 2026-12-24T09:00 by oncall.time_zone, or an instant with its offset; now where absent
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        #[arg(long, value_name = "TIME")]
        until: String,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List those that are not over
    List,
    /// Take one back
    Remove {
        /// Its identifier, or the end of it
        id: String,
    },
}

pub async fn run(args: OncallArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    let ctx = app::context(&Parts::real(settings)).await?;
    let zone = oncall_plan(&ctx.settings.oncall).0.zone;
    let code = match args.command {
        OncallCommand::Show { at, days, format } => show(&ctx, &zone, at.as_deref(), days, format, out).await,
        OncallCommand::Override(command) => change(&ctx, &zone, command, out).await,
    };
    ctx.db.close().await;
    code
}

async fn show(
    ctx: &Context,
    zone: &TimeZone,
    at: Option<&str>,
    days: u32,
    format: Format,
    out: &mut Output,
) -> anyhow::Result<u8> {
    let at = moment(ctx, zone, at)?;
    let standing = standing(ctx, at, days).await?;
    let shown = view(&standing);
    if format == Format::Json {
        out.line(&serde_json::to_string_pretty(&shown)?);
        return Ok(0);
    }
    out.line(&format!("on call at {}", local(at, zone)));
    for (duty, raw) in shown.environments.iter().zip(&standing.environments) {
        out.line(&format!("  {}", duty.environment));
        out.line(&format!("    critical  {}", line(&duty.critical)));
        let quiet =
            raw.quiet_until.map(|until| format!(", held by quiet hours until {}", local(until, zone)));
        out.line(&format!("    warning   {}{}", line(&duty.warning), quiet.unwrap_or_default()));
        if let Some(after) = raw.escalate_after {
            out.line(&format!(
                "    second    {}, {} without an acknowledgement",
                line(&duty.second),
                humane(after)
            ));
        }
    }
    if shown.environments.is_empty() {
        out.note("the settings hold no environment");
    }
    for turns in &standing.turns {
        out.line(&format!("{}, the next {days} days", turns.rotation));
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        for shift in &turns.shifts {
            let name = |id: &str| standing.names.get(id).cloned().unwrap_or_else(|| id.to_owned());
            let instead = shift.instead_of.as_ref().map(|id| format!("instead of {}", name(id)));
            table.add_row([
                format!("  {}", local(shift.from, zone)),
                format!("to {}", local(shift.until, zone)),
                name(&shift.person),
                instead.unwrap_or_default(),
            ]);
        }
        for line in table.lines() {
            out.line(line.trim_end());
        }
    }
    if standing.turns.is_empty() {
        out.note("there are no rotations; docs/ALERTS.md shows how to set one up");
    }
    Ok(0)
}

async fn change(
    ctx: &Context,
    zone: &TimeZone,
    command: OverrideCommand,
    out: &mut Output,
) -> anyhow::Result<u8> {
    match command {
        OverrideCommand::Add { rotation, person, from, until, reason } => {
            let from = moment(ctx, zone, from.as_deref())?;
            let until = moment(ctx, zone, Some(&until))?;
            let over =
                add_override(ctx, Substitute { rotation, person, from, until }, &reason, ACTOR).await?;
            let sub = &over.substitute;
            out.line(&format!(
                "{}  {} is on call for {} from {} to {}",
                short(&over.id),
                sub.person,
                sub.rotation,
                local(sub.from, zone),
                local(sub.until, zone)
            ));
        }
        OverrideCommand::List => {
            let found = list(&mut *ctx.db.reader().await?, ctx.now()).await?;
            if found.is_empty() {
                out.note("nobody stands in, beyond what the settings say");
            }
            for over in &found {
                let sub = &over.substitute;
                out.line(&format!(
                    "{}  {}  {}  {} to {}  {}",
                    short(&over.id),
                    sub.rotation,
                    sub.person,
                    local(sub.from, zone),
                    local(sub.until, zone),
                    over.reason
                ));
            }
        }
        OverrideCommand::Remove { id } => {
            anyhow::ensure!(id.len() >= 4, "give at least the last four letters of the identifier");
            let mut found = find_by_suffix(&mut *ctx.db.reader().await?, &id).await?;
            anyhow::ensure!(found.len() < 2, "several end with {id:?}; give more of the identifier");
            let Some(over) = found.pop() else {
                anyhow::bail!("nobody stands in under {id:?}; `deploywatch oncall override list` shows all");
            };
            remove_override(ctx, &over.id, ACTOR).await?;
            out.line(&format!("{} is taken back", short(&over.id)));
        }
    }
    Ok(0)
}

fn moment(ctx: &Context, zone: &TimeZone, text: Option<&str>) -> anyhow::Result<Timestamp> {
    match text {
        Some(text) => parse_moment(text, zone).map_err(|problem| anyhow::anyhow!(problem)),
        None => Ok(ctx.now()),
    }
}

/// By the clock of the people, since they plan their week by it.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(6)..).unwrap_or(id)
}
