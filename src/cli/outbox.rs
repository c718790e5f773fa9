//! `deploywatch outbox list|show|retry`: what waits to be sent, what was given up, and sending it now.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};

use super::Output;
use super::common::SettingsArgs;
use crate::app::{self, Parts};
use crate::domain::clock::{humane, rfc3339};
use crate::domain::notification::{Held, NotificationState};
use crate::email::mask;
use crate::services::Context;
use crate::services::outbox::admin::{Retried, retry};
use crate::services::outbox::view::{short_id, view};
use crate::settings::Purpose;
use crate::store::notifications::{self, Stored};
use crate::store::outbox::{self, Which};

const ACTOR: &str = "command line";
const LISTED: u32 = 200;

#[derive(Debug, Args)]
pub struct OutboxArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: OutboxCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum OutboxCommand {
    /// List what waits to be sent
    List {
        /// Only what was given up
        #[arg(long, conflicts_with = "all")]
        dead: bool,
        /// What was sent, too
        #[arg(long)]
        all: bool,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Show one message with each attempt and what the mail server said
    Show {
        /// Its identifier, or the end of it
        id: String,
    },
    /// Send messages now, even if they were given up; a running server does it at once
    Retry {
        /// Their identifiers, or the ends of them
        #[arg(required_unless_present = "dead")]
        ids: Vec<String>,
        /// All that was given up
        #[arg(long, conflicts_with = "ids")]
        dead: bool,
    },
}

pub async fn run(args: OutboxArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    let ctx = app::context(&Parts::real(settings)).await?;
    let code = match args.command {
        OutboxCommand::List { dead, all, format } => {
            let which = match (dead, all) {
                (true, _) => Which::Dead,
                (_, true) => Which::All,
                _ => Which::Waiting,
            };
            list(&ctx, which, format, out).await
        }
        OutboxCommand::Show { id } => show(&ctx, &id, out).await,
        OutboxCommand::Retry { ids, dead } => retry_all(&ctx, &ids, dead, out).await,
    };
    ctx.db.close().await;
    code
}

async fn list(ctx: &Context, which: Which, format: Format, out: &mut Output) -> anyhow::Result<u8> {
    let found = outbox::list(&mut *ctx.db.reader().await?, which, LISTED).await?;
    if format == Format::Json {
        let views: Vec<_> = found.iter().map(view).collect();
        out.line(&serde_json::to_string_pretty(&views)?);
        return Ok(0);
    }
    if found.is_empty() {
        out.note(match which {
            Which::Waiting => "nothing waits; `deploywatch outbox list --all` shows what was sent",
            Which::Dead => "nothing was given up",
            Which::All => "nothing was written yet",
        });
        return Ok(0);
    }
    let now = ctx.now();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["id", "written", "to", "state", "tries", "subject"]);
    for stored in &found {
        let mail = &stored.notification;
        table.add_row([
            short_id(stored).to_owned(),
            format!("{} ago", humane(now.duration_since(mail.created_at))),
            mask(&mail.recipient),
            state(stored),
            stored.attempts.to_string(),
            mail.content.subject.clone(),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    Ok(0)
}

fn state(stored: &Stored) -> String {
    let until = || rfc3339(stored.notification.not_before);
    match (stored.state, stored.held) {
        (NotificationState::Pending, Some(Held::Storm)) => {
            format!("held by the storm guard until {}", until())
        }
        (NotificationState::Pending, Some(Held::Quiet)) => format!("quiet hours until {}", until()),
        (NotificationState::Pending, None) if stored.attempts > 0 => format!("next try {}", until()),
        (NotificationState::Digested, _) => "told in a digest".into(),
        (NotificationState::Dead, _) => match stored.failure {
            Some(class) => format!("given up ({})", class.as_str()),
            None => "given up".into(),
        },
        (other, _) => other.as_str().into(),
    }
}

async fn show(ctx: &Context, wanted: &str, out: &mut Output) -> anyhow::Result<u8> {
    let stored = find(ctx, wanted).await?;
    let mail = &stored.notification;
    out.line(&format!(
        "{}  {}  to {}  {}",
        mail.id,
        mail.notice.as_str(),
        mask(&mail.recipient),
        state(&stored)
    ));
    out.line(&mail.content.subject);
    out.line(&format!("written {}", rfc3339(mail.created_at)));
    if let Some(note) = &stored.note {
        out.line(note);
    }
    let attempts = notifications::list_attempts(&mut *ctx.db.reader().await?, &mail.id).await?;
    out.line(if attempts.is_empty() { "not tried yet" } else { "attempts" });
    for attempt in attempts {
        let stage = attempt.stage.map_or("done", |stage| stage.as_str());
        out.line(&format!(
            "  {}  {stage}  {} ms  {}",
            rfc3339(attempt.at),
            attempt.duration_ms,
            attempt.answer
        ));
    }
    Ok(0)
}

async fn retry_all(ctx: &Context, ids: &[String], dead: bool, out: &mut Output) -> anyhow::Result<u8> {
    let mut wanted = Vec::new();
    if dead {
        wanted = outbox::list(&mut *ctx.db.reader().await?, Which::Dead, LISTED).await?;
        if wanted.is_empty() {
            out.note("nothing was given up");
        }
    }
    for id in ids {
        wanted.push(find(ctx, id).await?);
    }
    let mut code = 0;
    for stored in &wanted {
        match retry(ctx, &stored.notification.id, ACTOR).await? {
            Retried::Due(stored) => out.line(&format!("{} is due now", short_id(&stored))),
            Retried::TooLate(stored) => {
                out.note(&format!("{} is {}: nothing to do", short_id(&stored), stored.state.as_str()));
                code = 1;
            }
            Retried::Unknown => anyhow::bail!("message {} has vanished", stored.notification.id),
        }
    }
    Ok(code)
}

async fn find(ctx: &Context, wanted: &str) -> anyhow::Result<Stored> {
    let wanted = wanted.trim().trim_start_matches('#');
    anyhow::ensure!(wanted.len() >= 4, "give at least the last four letters of the identifier");
    let mut found = outbox::find_by_suffix(&mut *ctx.db.reader().await?, wanted).await?;
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => {
            anyhow::bail!("there is no message {wanted:?}; `deploywatch outbox list --all` shows all")
        }
        (Some(_), false) => {
            anyhow::bail!("several messages end with {wanted:?}; give more of the identifier")
        }
    }
}
