//! `deploywatch silence add|list|end`: what is not mailed for a while, why, and whose it is.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};

use super::Output;
use super::common::SettingsArgs;
use crate::api::length;
use crate::api::silences::SilenceView;
use crate::app::{self, Parts};
use crate::domain::clock::{Timestamp, humane, rfc3339};
use crate::domain::ids::SilenceId;
use crate::domain::incident::IncidentKind;
use crate::domain::silence::Silence;
use crate::services::Context;
use crate::services::silences::{self as service, Wish};
use crate::settings::Purpose;
use crate::store::silences;

const ACTOR: &str = "command line";
const LISTED: u32 = 200;

#[derive(Debug, Args)]
pub struct SilenceArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: SilenceCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum SilenceCommand {
    /// Hold back mails for a while; what is given must all fit
    Add {
        #[arg(long)]
        environment: Option<String>,
        /// A deploy, by version or id
        #[arg(long)]
        deploy: Option<String>,
        /// A check, by its key; * stands for any letters
        #[arg(long)]
        check: Option<String>,
        /// A kind of incident, such as checks_failed or cannot_check
        #[arg(long, value_parser = kind)]
        kind: Option<IncidentKind>,
        /// Whom others can ask; the name of your account where absent
        #[arg(long, env = "USER")]
        owner: Option<String>,
        #[arg(long)]
        reason: String,
        /// How long: 30m, 4h, 7d; at most 30d
        #[arg(long = "for", value_name = "LENGTH", required_unless_present = "until")]
        length: Option<String>,
        /// Until when, such as 2026-05-01T18:00:00Z
        #[arg(long, value_name = "TIME", conflicts_with = "length")]
        until: Option<Timestamp>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// List what is silenced now
    List {
        /// Those that are over too
        #[arg(long)]
        all: bool,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// End one now; what goes on is told
    End { id: String },
}

fn kind(text: &str) -> Result<IncidentKind, String> {
    IncidentKind::parse(text).ok_or_else(|| {
        let known: Vec<&str> = IncidentKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("there are {}", known.join(", "))
    })
}

pub async fn run(args: SilenceArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    let ctx = app::context(&Parts::real(settings)).await?;
    let code = dispatch(&ctx, args.command, out).await;
    ctx.db.close().await;
    code
}

async fn dispatch(ctx: &Context, command: SilenceCommand, out: &mut Output) -> anyhow::Result<u8> {
    match command {
        SilenceCommand::Add { environment, deploy, check, kind, owner, reason, length, until, format } => {
            let now = ctx.now();
            let after = |text: &String| {
                length::parse(text)
                    .map(|seconds| service::end_after(now, seconds))
                    .map_err(|problem| anyhow::anyhow!("--for: {problem}"))
            };
            let ends_at = match until {
                Some(until) => Some(until),
                None => length.as_ref().map(after).transpose()?,
            };
            let owner = owner.unwrap_or_default();
            anyhow::ensure!(
                !owner.trim().is_empty(),
                "say with --owner whom others can ask about this silence"
            );
            let wish = Wish { environment, deploy, check, kind, owner, reason, ends_at };
            let silence = service::add(ctx, ACTOR, wish).await?;
            if format == Format::Json {
                out.line(&serde_json::to_string_pretty(&SilenceView::of(&silence, now))?);
            } else {
                let what = silence.matchers.in_words();
                out.line(&format!("{}: {what} is silent until {}", silence.id, rfc3339(silence.ends_at)));
            }
        }
        SilenceCommand::List { all, format } => list(ctx, all, format, out).await?,
        SilenceCommand::End { id } => {
            let wanted = find(ctx, &id).await?;
            let silence = service::end(ctx, ACTOR, &wanted).await?;
            out.line(&format!("{} ended at {}", silence.id, rfc3339(silence.ends_at)));
        }
    }
    Ok(0)
}

async fn list(ctx: &Context, all: bool, format: Format, out: &mut Output) -> anyhow::Result<()> {
    let now = ctx.now();
    let mut reader = ctx.db.reader().await?;
    let found = match all {
        true => silences::list_all(&mut reader, LISTED).await?,
        false => silences::list_active(&mut reader, now).await?,
    };
    if format == Format::Json {
        let views: Vec<SilenceView> = found.iter().map(|silence| SilenceView::of(silence, now)).collect();
        out.line(&serde_json::to_string_pretty(&views)?);
        return Ok(());
    }
    if found.is_empty() {
        out.note(if all { "there was no silence" } else { "nothing is silenced" });
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["id", "what", "ends", "owner", "reason"]);
    for silence in &found {
        let ends = ending(silence, now);
        let short = short_id(silence).to_owned();
        table.add_row([
            short,
            silence.matchers.in_words(),
            ends,
            silence.owner.clone(),
            silence.reason.clone(),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    Ok(())
}

fn ending(silence: &Silence, now: Timestamp) -> String {
    let left = silence.ends_at.duration_since(now);
    if silence.is_active(now) { format!("in {}", humane(left)) } else { format!("{} ago", humane(-left)) }
}

fn short_id(silence: &Silence) -> &str {
    let text = silence.id.as_str();
    text.get(text.len().saturating_sub(6)..).unwrap_or(text)
}

/// The whole id, or its end as the list shows it.
async fn find(ctx: &Context, wanted: &str) -> anyhow::Result<SilenceId> {
    anyhow::ensure!(wanted.len() >= 4, "give at least the last four letters of the identifier");
    let all = silences::list_all(&mut *ctx.db.reader().await?, LISTED).await?;
    let mut fits = all.into_iter().filter(|silence| silence.id.as_str().ends_with(wanted));
    match (fits.next(), fits.next()) {
        (Some(one), None) => Ok(one.id),
        (None, _) => {
            anyhow::bail!("there is no silence {wanted:?}; `deploywatch silence list --all` shows all")
        }
        _ => anyhow::bail!("several silences end with {wanted:?}; give more of the identifier"),
    }
}
