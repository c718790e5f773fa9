//! `deploywatch notify test`: one mail through the real outbox, and what the mail server said to it.

use clap::{Args, Subcommand};

use super::Output;
use super::common::SettingsArgs;
use crate::app::{self, Parts};
use crate::domain::notification::{FailureClass, Notice, NotificationState};
use crate::email::mask;
use crate::services::Context;
use crate::services::oncall;
use crate::services::outbox::trial;
use crate::settings::{ChannelKind, EmailTransport, Purpose};

/// The mail server could not be reached or took too long.
const UNREACHABLE: u8 = 6;
/// The mail server refused, so that settings must change.
const REFUSED: u8 = 2;

#[derive(Debug, Args)]
pub struct NotifyArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: NotifyCommand,
}

#[derive(Debug, Subcommand)]
enum NotifyCommand {
    /// Send a test mail, or a message to a channel, and say what was answered
    Test {
        /// To whom; may be given several times. Without it, to whoever is on call now, the second step included
        #[arg(long, value_name = "ADDRESS")]
        to: Vec<String>,
        /// To a channel of the settings instead; may be given several times
        #[arg(long, value_name = "NAME", conflicts_with = "to")]
        channel: Vec<String>,
    },
}

pub async fn run(args: NotifyArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    let NotifyCommand::Test { to, channel } = args.command;
    for name in &channel {
        let known: Vec<&str> = settings.channels.keys().map(String::as_str).collect();
        let listed = if known.is_empty() { "there are none".into() } else { known.join(", ") };
        anyhow::ensure!(known.contains(&name.as_str()), "the settings have no channel {name:?} ({listed})");
    }
    anyhow::ensure!(
        !channel.is_empty()
            || settings.email.transport != EmailTransport::Smtp
            || !settings.email.smtp.host.is_empty(),
        "email.smtp.host is empty, so no mail could be sent; set DEPLOYWATCH__EMAIL__SMTP__HOST, or for \
         development DEPLOYWATCH__EMAIL__TRANSPORT=directory"
    );
    for address in &to {
        anyhow::ensure!(
            address.parse::<lettre::message::Mailbox>().is_ok(),
            "{address:?} is not a mail address, such as oncall@example.com"
        );
    }
    let ctx = app::context(&Parts::real(settings)).await?;
    let code = if channel.is_empty() { test(&ctx, to, out).await } else { call(&ctx, &channel, out).await };
    ctx.db.close().await;
    code
}

async fn test(ctx: &Context, to: Vec<String>, out: &mut Output) -> anyhow::Result<u8> {
    let people = if to.is_empty() { oncall::on_duty(ctx).await? } else { to };
    anyhow::ensure!(
        !people.is_empty(),
        "nobody is on call, so a test would reach nobody; give --to ADDRESS, or set email.recipients or [oncall]"
    );
    let mut code = 0;
    for id in trial::write(ctx, &people).await? {
        let (stored, attempts) = trial::try_once(ctx, &id).await?;
        let to = mask(&stored.notification.recipient);
        let last = attempts.last();
        if stored.state == NotificationState::Sent {
            let said = last.map_or("taken", |attempt| attempt.answer.as_str());
            let took = last.map_or(0, |attempt| attempt.duration_ms);
            out.line(&format!("{to}: handed over in {took} ms ({said})"));
            continue;
        }
        let said = last.map_or("it could not be tried in time", |attempt| attempt.answer.as_str());
        let stage = last.and_then(|attempt| attempt.stage).map_or("", |stage| stage.as_str());
        out.line(&format!("{to}: NOT sent, at the step `{stage}`: {said}"));
        let class = last.and_then(|attempt| attempt.class);
        let this = if matches!(class, None | Some(FailureClass::Transient)) { UNREACHABLE } else { REFUSED };
        code = if code == 0 { this } else { code };
    }
    if code == 0 {
        out.note("taken by the mail server; whether it reaches the inbox only a look there tells");
    }
    Ok(code)
}

/// Tries channels, each with a message and, where that closes something, its end.
async fn call(ctx: &Context, channels: &[String], out: &mut Output) -> anyhow::Result<u8> {
    let mut code = 0;
    for name in channels {
        let pages = ctx.settings.channels.get(name).is_some_and(|c| c.kind == ChannelKind::Pagerduty);
        let notices: &[Notice] = if pages { &[Notice::Test, Notice::Resolved] } else { &[Notice::Test] };
        for notice in notices {
            let Some(id) = trial::write_to_channel(ctx, name, *notice).await? else { continue };
            let (stored, attempts) = trial::try_once(ctx, &id).await?;
            let last = attempts.last();
            if stored.state == NotificationState::Sent {
                let said = last.map_or("taken", |attempt| attempt.answer.as_str());
                let took = last.map_or(0, |attempt| attempt.duration_ms);
                out.line(&format!("{name}: handed over in {took} ms ({said})"));
                continue;
            }
            let said = last.map_or("it could not be tried in time", |attempt| attempt.answer.as_str());
            out.line(&format!("{name}: NOT sent: {said}"));
            let class = last.and_then(|attempt| attempt.class);
            code = if matches!(class, None | Some(FailureClass::Transient)) { UNREACHABLE } else { REFUSED };
            break;
        }
    }
    Ok(code)
}
