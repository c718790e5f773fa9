//! `deploywatch webhook …`: what arrived, what became of it, and a signed delivery for a test.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use secrecy::ExposeSecret;

use super::Output;
use super::common::SettingsArgs;
use super::secret::Format;
use crate::app::{self, Parts};
use crate::domain::clock::{SignedDuration, Timestamp, rfc3339};
use crate::domain::delivery::{Delivery, HOOKSHOT, read_head};
use crate::domain::diagnosis::Class;
use crate::domain::ids::DeliveryId;
use crate::domain::signature::{Scheme, SigningKey};
use crate::services::{Context, webhooks};
use crate::settings::{Purpose, Settings};
use crate::store::deliveries;
use crate::store::relays::Selection;

/// A body in Lemon Squeezy's exact form, for `send` without a file.
const SAMPLE: &str = r#"{"meta":{"test_mode":true,"event_name":"deploywatch_test","webhook_id":"{id}"},"data":{"type":"deploywatch-tests","id":"1","attributes":{"updated_at":"{at}","urls":{"self":"https:\/\/example.com\/"}}}}"#;

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
    List {
        #[arg(long)]
        source: Option<String>,
        /// What they turned out to be: verified, stale_secret, unknown_secret …
        #[arg(long)]
        class: Option<String>,
        /// Only this event: order_created …
        #[arg(long)]
        event: Option<String>,
        /// Only the last hours
        #[arg(long, value_name = "HOURS")]
        hours: Option<u32>,
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
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
    /// Sign a body as Lemon Squeezy does and send it, to try a server
    Send {
        #[arg(default_value = "lemonsqueezy")]
        source: String,
        /// Where to; this server where absent
        #[arg(long)]
        url: Option<url::Url>,
        /// The body's exact bytes; a small test event where absent
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// Sign with the secret in this file instead of the configured one
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// Sign with the previous configured secret, to see the alarm
        #[arg(long, conflicts_with = "secret_file")]
        previous: bool,
    },
}

pub async fn run(args: WebhookArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    if let WebhookCommand::Send { source, url, body, secret_file, previous } = args.command {
        let secret = sending_secret(&settings, &source, secret_file, previous)?;
        return send(&settings, &source, url, body, &secret, out).await;
    }
    let ctx = app::context(&Parts::real(settings)).await?;
    let result = command(&ctx, args.command, out).await;
    ctx.db.close().await;
    result
}

async fn command(ctx: &Context, command: WebhookCommand, out: &mut Output) -> anyhow::Result<u8> {
    match command {
        WebhookCommand::List { source, class, event, hours, limit, format } => {
            if let Some(class) = &class {
                anyhow::ensure!(
                    Class::parse(class).is_some(),
                    "there is no class {class}; there are {}",
                    Class::ALL.map(Class::as_str).join(", ")
                );
            }
            let since = hours.map(|hours| ctx.now() - SignedDuration::from_hours(hours.into()));
            let filter =
                deliveries::Filter { source, class, event_name: event, since, limit, ..Default::default() };
            let found = deliveries::list(&mut *ctx.db.reader().await?, &filter).await?;
            match format {
                Format::Json => out.line(&serde_json::to_string_pretty(&found)?),
                Format::Text => print_list(&found, out),
            }
        }
        WebhookCommand::Show { id, body, format } => {
            let id = DeliveryId::from_text(id);
            let found = deliveries::get(&mut *ctx.db.reader().await?, &id).await?;
            let Some(found) = found else {
                anyhow::bail!("there is no delivery {id}; `deploywatch webhook list` shows the newest")
            };
            match format {
                Format::Json => out.line(&serde_json::to_string_pretty(&found)?),
                Format::Text => print_one(&found, &ctx.settings.webhooks.scheme(&found.source), out),
            }
            if body {
                match webhooks::body_of(ctx, &id).await? {
                    Some(bytes) => out.line(&String::from_utf8_lossy(&bytes)),
                    None => out.note("its body was not kept"),
                }
            }
        }
        WebhookCommand::Replay(again) => replay(ctx, again, out).await?,
        WebhookCommand::Send { .. } => {}
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

fn print_list(found: &[Delivery], out: &mut Output) {
    if found.is_empty() {
        out.note("no delivery fits; `deploywatch webhook send` makes one");
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["received", "answer", "what", "event", "delivery", ""]);
    for delivery in found {
        let mut notes = delivery.flags.clone();
        if delivery.duplicate {
            notes.push("duplicate".into());
        }
        if delivery.late {
            notes.push("verified late".into());
        }
        table.add_row([
            rfc3339(delivery.received_at),
            delivery.status.to_string(),
            delivery.class.clone(),
            delivery.event_name.clone().unwrap_or_default(),
            delivery.id.to_string(),
            notes.join(", "),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
}

fn print_one(delivery: &Delivery, scheme: &Scheme, out: &mut Output) {
    let none = || "none".to_owned();
    let lines = [
        ("delivery", delivery.id.to_string()),
        ("received", rfc3339(delivery.received_at)),
        ("source", delivery.source.clone()),
        ("mode", delivery.mode.map_or_else(none, |mode| mode.as_str().into())),
        ("answered", delivery.status.to_string()),
        ("event", delivery.event_name.clone().unwrap_or_else(none)),
        ("secret", delivery.version.as_ref().map_or_else(none, ToString::to_string)),
        ("bytes", delivery.body_bytes.to_string()),
        ("duplicate", if delivery.duplicate { "yes" } else { "no" }.into()),
        ("late", if delivery.late { "yes, verified after it was refused" } else { "no" }.into()),
        ("flags", if delivery.flags.is_empty() { none() } else { delivery.flags.join(", ") }),
    ];
    for (label, value) in lines {
        out.line(&format!("{label:<10} {value}"));
    }
    let Some(class) = Class::parse(&delivery.class) else { return };
    out.line(&format!("{:<10} {}: {}", "finding", class.as_str(), class.explain()));
    if delivery.status != 200 {
        for (number, step) in class.next_steps(&delivery.source, scheme).iter().enumerate() {
            out.line(&format!("  {}. {step}", number + 1));
        }
    }
}

fn sending_secret(
    settings: &Settings,
    source: &str,
    file: Option<PathBuf>,
    previous: bool,
) -> anyhow::Result<SigningKey> {
    let text = match file {
        Some(path) => zeroize::Zeroizing::new(
            std::fs::read_to_string(&path)
                .with_context(|| format!("the secret's file {} cannot be read", path.display()))?,
        ),
        None => {
            let source = settings.webhooks.sources.get(source);
            let secret =
                source.and_then(|s| if previous { s.secret_previous.as_ref() } else { s.secret.as_ref() });
            let secret = secret.context(
                "no secret is configured to sign with; give one with --secret-file, or set LEMONSQUEEZY_WEBHOOK_SECRET",
            )?;
            zeroize::Zeroizing::new(secret.expose_secret().to_owned())
        }
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(SigningKey::new(text.strip_suffix('\r').unwrap_or(text).as_bytes())?)
}

async fn send(
    settings: &Settings,
    source: &str,
    url: Option<url::Url>,
    body: Option<PathBuf>,
    secret: &SigningKey,
    out: &mut Output,
) -> anyhow::Result<u8> {
    let url = match url {
        Some(url) => url,
        None => format!("http://{}/webhooks/{source}", settings.http.listen).parse()?,
    };
    let body = match body {
        Some(path) => {
            std::fs::read(&path).with_context(|| format!("the body {} cannot be read", path.display()))?
        }
        None => {
            let parts = Parts::real(settings.clone());
            let now = parts.clock.now();
            let id = crate::domain::ids::uuid_v7(now, &*parts.entropy).to_string();
            SAMPLE.replace("{id}", &id).replace("{at}", &rfc3339(now)).into_bytes()
        }
    };
    let event = read_head(&body).map_or_else(|_| "unknown".to_owned(), |head| head.event_name);
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let answer = client
        .post(url.clone())
        .header("user-agent", HOOKSHOT)
        .header("content-type", "application/json")
        .header("x-event-name", &event)
        .header("x-signature", hex::encode(secret.sign(&body)))
        .body(body)
        .send()
        .await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            out.error(&format!("{url} cannot be reached: {}", error.without_url()));
            return Ok(6);
        }
    };
    let status = answer.status().as_u16();
    out.line(&format!("{status} {}", answer.text().await.unwrap_or_default().trim()));
    Ok(if status == 200 { 0 } else { 1 })
}
