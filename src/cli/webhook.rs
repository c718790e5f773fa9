//! `deploywatch webhook …`: what arrived, what became of it, what the provider says about it, and a signed
//! delivery for a test.

mod audit;
mod list;
mod send;

use clap::{Args, Subcommand};

use super::Output;
use super::common::SettingsArgs;
use super::secret::Format;
use crate::app::{self, Parts};
use crate::domain::clock::Timestamp;
use crate::domain::ids::DeliveryId;
use crate::services::{Context, webhooks};
use crate::settings::Purpose;
use crate::store::deliveries;
use crate::store::relays::Selection;

#[derive(Debug, Args)]
pub struct WebhookArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: WebhookCommand,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// Deliveries, as `list` shows them
    #[arg(required_unless_present = "source")]
    ids: Vec<String>,
    /// Every accepted event of this source
    #[arg(long, conflicts_with = "ids")]
    source: Option<String>,
    /// Received at or after this time: 2026-05-01T12:00:00Z
    #[arg(long, value_name = "TIME", requires = "source")]
    since: Option<Timestamp>,
    /// Received before this time
    #[arg(long, value_name = "TIME", requires = "source")]
    until: Option<Timestamp>,
    /// Only those that were given up
    #[arg(long, requires = "source")]
    dead: bool,
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// List deliveries, the newest first
    List(list::ListArgs),
    /// Show one delivery: what it was, why, and what to do
    Show {
        id: String,
        /// Print the stored body as well; it holds personal data
        #[arg(long)]
        body: bool,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Pass stored deliveries on to the product again: some by their ids, or all of a source and time
    Replay(ReplayArgs),
    /// Sign a body as the provider does and send it, to try a server
    Send(send::SendArgs),
    /// Ask Lemon Squeezy's API about the webhooks that point here, and say what does not fit
    Audit {
        #[arg(default_value = "lemonsqueezy")]
        source: String,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

pub async fn run(args: WebhookArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    if let WebhookCommand::Send(args) = args.command {
        return send::run(settings, args, out).await;
    }
    let ctx = app::context(&Parts::real(settings)).await?;
    let result = command(&ctx, args.command, out).await;
    ctx.db.close().await;
    result
}

async fn command(ctx: &Context, command: WebhookCommand, out: &mut Output) -> anyhow::Result<u8> {
    match command {
        WebhookCommand::List(args) => list::run(ctx, args, out).await?,
        WebhookCommand::Show { id, body, format } => {
            let id = DeliveryId::from_text(id);
            let found = deliveries::get(&mut *ctx.db.reader().await?, &id).await?;
            let Some(found) = found else {
                anyhow::bail!("there is no delivery {id}; `deploywatch webhook list` shows the newest")
            };
            match format {
                Format::Json => out.line(&serde_json::to_string_pretty(&found)?),
                Format::Text => list::print_one(&found, &ctx.settings.webhooks.scheme(&found.source), out),
            }
            if body {
                match webhooks::body_of(ctx, &id).await? {
                    Some(bytes) => out.line(&String::from_utf8_lossy(&bytes)),
                    None => out.note("its body was not kept"),
                }
            }
        }
        WebhookCommand::Replay(again) => replay(ctx, again, out).await?,
        WebhookCommand::Audit { source, format } => return audit::run(ctx, &source, format, out).await,
        WebhookCommand::Send(_) => {}
    }
    Ok(0)
}

async fn replay(ctx: &Context, again: ReplayArgs, out: &mut Output) -> anyhow::Result<()> {
    const ACTOR: &str = "command line";
    for id in again.ids {
        let id = DeliveryId::from_text(id);
        webhooks::replay(ctx, &id, ACTOR).await?;
        out.line(&format!("{id} will be passed on again"));
    }
    let Some(source) = again.source else { return Ok(()) };
    let (since, until, only_dead) = (again.since, again.until, again.dead);
    let replayed = webhooks::replay_all(ctx, &Selection { source, since, until, only_dead }, ACTOR).await?;
    out.line(&format!("{} deliveries will be passed on again", replayed.queued));
    if replayed.more {
        out.note("there are more; repeat it with a later --since");
    }
    Ok(())
}
