//! `deploywatch secret …`: the signing secrets of webhooks. Values are read from a file or from stdin, never
//! from the arguments, which other users of the machine can see.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use zeroize::Zeroizing;

use super::Output;
use super::common::SettingsArgs;
use super::secret_follow::{self, Until};
use crate::app::{self, Parts};
use crate::domain::clock::rfc3339;
use crate::domain::rotation::ProofKind;
use crate::domain::secret::plan::Insistence;
use crate::domain::secret::{Origin, SecretVersion, Slot, SlotMode};
use crate::services::secrets::{self, Keyring, Operation, SlotView, Who};
use crate::services::{Context, webhooks};
use crate::settings::Purpose;

#[derive(Debug, Args)]
pub struct SecretArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Show every slot: its versions, its rotation and the next step
    Status {
        source: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List all versions by fingerprint
    List {
        source: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Add a secret: active if it is the slot's first, staged otherwise
    Add {
        #[command(flatten)]
        slot: SlotArgs,
        #[command(flatten)]
        value: ValueArgs,
        #[command(flatten)]
        why: WhyArgs,
    },
    /// Begin a rotation with a new secret, and print its steps in order
    Rotate {
        #[command(flatten)]
        slot: SlotArgs,
        #[command(flatten)]
        value: ValueArgs,
        #[command(flatten)]
        why: WhyArgs,
        /// Announce it before the new secret exists
        #[arg(long, conflicts_with_all = ["from_file", "product_done", "give_up"])]
        plan: bool,
        /// Say that the product runs with the new secret
        #[arg(long, conflicts_with_all = ["from_file", "give_up"])]
        product_done: bool,
        /// End the open rotation without touching any secret
        #[arg(long, conflicts_with = "from_file")]
        give_up: bool,
        /// Say each step as it happens: until both sides switched, or until the old secret is retired
        #[arg(long, value_enum, value_name = "UNTIL", num_args = 0..=1, default_missing_value = "switched")]
        follow: Option<FollowUntil>,
    },
    /// What the product reports of its secret: the text to sign, and the fingerprint of a value
    Fingerprint {
        #[command(flatten)]
        slot: SlotArgs,
        /// Compute it of the value in this file, as the product does of its own
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// Make the staged secret active without waiting for a delivery
    Promote(ChangeArgs),
    /// Stop accepting an old secret before its time
    Retire {
        #[command(flatten)]
        change: ChangeArgs,
        /// Even if it was used a moment ago
        #[arg(long)]
        force: bool,
    },
    /// Stop a compromised secret at once; its use is a security alert from then on
    Revoke {
        #[command(flatten)]
        change: ChangeArgs,
        /// Even if no other secret is left, so that every delivery is refused
        #[arg(long)]
        leave_empty: bool,
    },
    /// Ask the product which secret it accepts: three marked test events, one of them signed with garbage
    Probe {
        #[command(flatten)]
        slot: SlotArgs,
    },
    /// Go back to the secret before
    Rollback(ChangeArgs),
}

#[derive(Debug, Args)]
struct SlotArgs {
    /// The webhook source
    #[arg(default_value = "lemonsqueezy")]
    source: String,
    /// Live and test deliveries are signed with two secrets
    #[arg(long, value_enum, default_value_t = Mode::Live)]
    mode: Mode,
}

impl SlotArgs {
    fn slot(&self) -> Slot {
        let mode = match self.mode {
            Mode::Live => SlotMode::Live,
            Mode::Test => SlotMode::Test,
        };
        Slot { source: self.source.clone(), mode }
    }
}

#[derive(Debug, Args)]
struct ValueArgs {
    /// Read the value from this file instead of stdin
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct WhyArgs {
    /// Goes into the audit log
    #[arg(long, default_value = "")]
    reason: String,
}

impl WhyArgs {
    fn who(&self) -> Who {
        Who { actor: "command line".into(), reason: self.reason.clone() }
    }
}

#[derive(Debug, Args)]
struct ChangeArgs {
    #[command(flatten)]
    slot: SlotArgs,
    /// Which version: `v3` or `3`; found by its state where absent
    #[arg(long, value_name = "VERSION", value_parser = version)]
    version: Option<u32>,
    #[command(flatten)]
    why: WhyArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FollowUntil {
    Switched,
    Completed,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Live,
    Test,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

pub async fn run(args: SecretArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    let ctx = app::context(&Parts::real(settings)).await?;
    let keyring = Keyring::new(&ctx.keys);
    for warning in secrets::start(&ctx, &keyring).await?.warnings {
        out.note(&format!("warning: {warning}"));
    }
    let result = command(&ctx, &keyring, args.command, out).await;
    ctx.db.close().await;
    result
}

async fn command(
    ctx: &Context,
    keyring: &Keyring,
    command: SecretCommand,
    out: &mut Output,
) -> anyhow::Result<u8> {
    match command {
        SecretCommand::Status { source, format } => {
            let views = secrets::status(ctx, source.as_deref()).await?;
            match format {
                Format::Json => out.line(&serde_json::to_string_pretty(&views)?),
                Format::Text => print_status(&views, out),
            }
        }
        SecretCommand::List { source, format } => {
            let views = secrets::status(ctx, source.as_deref()).await?;
            match format {
                Format::Json => {
                    let versions: Vec<_> = views.iter().flat_map(|view| &view.versions).collect();
                    out.line(&serde_json::to_string_pretty(&versions)?);
                }
                Format::Text => print_versions(&views, out),
            }
        }
        SecretCommand::Add { slot, value, why } => {
            let secret = read_value(&value)?;
            let added = secrets::add(ctx, keyring, &slot.slot(), &secret, Origin::Cli, &why.who()).await?;
            print_added(&added, out);
        }
        SecretCommand::Rotate { slot, value, why, plan, product_done, give_up, follow } => {
            let (slot, who) = (slot.slot(), why.who());
            if plan {
                secrets::plan_rotation(ctx, &slot, &who).await?;
            } else if product_done {
                let by = ProofKind::Operator { actor: who.actor.clone() };
                let open = secrets::confirm_product(ctx, &slot, by, &who.actor).await?;
                anyhow::ensure!(
                    open,
                    "no rotation of {slot} is open; `deploywatch secret status` shows what there is"
                );
            } else if give_up {
                secrets::give_up(ctx, &slot, &who).await?;
            } else if let Some(secret) = read_unless_following(&value, follow.is_some())? {
                print_added(&secrets::add(ctx, keyring, &slot, &secret, Origin::Cli, &who).await?, out);
            }
            print_status(&secrets::status(ctx, Some(&slot.source)).await?, out);
            if let Some(until) = follow {
                let until = match until {
                    FollowUntil::Switched => Until::Switched,
                    FollowUntil::Completed => Until::Completed,
                };
                return secret_follow::follow(ctx, &slot, until, out).await;
            }
        }
        SecretCommand::Fingerprint { slot, from_file } => {
            let slot = slot.slot();
            match from_file {
                Some(path) => {
                    let secret = read_value(&ValueArgs { from_file: Some(path) })?;
                    let own = secrets::product_fingerprint(keyring, &slot, &secret);
                    out.line(&own.context("the file is empty")?);
                }
                None => {
                    let text = secrets::fingerprint_text(keyring, &slot);
                    out.line(&format!(
                        "printf %s '{text}' | openssl dgst -sha256 -hmac \"$LEMONSQUEEZY_WEBHOOK_SECRET\" -r | cut -c1-16"
                    ));
                }
            }
        }
        SecretCommand::Promote(change) => run_change(ctx, change, Operation::Promote, out).await?,
        SecretCommand::Retire { change, force } => {
            let insistence = insist(force);
            run_change(ctx, change, Operation::Retire(insistence), out).await?;
        }
        SecretCommand::Revoke { change, leave_empty } => {
            let insistence = insist(leave_empty);
            run_change(ctx, change, Operation::Revoke(insistence), out).await?;
        }
        SecretCommand::Probe { slot } => {
            out.line(webhooks::probe(ctx, &slot.slot(), "command line").await?.explain());
        }
        SecretCommand::Rollback(change) => run_change(ctx, change, Operation::RollBack, out).await?,
    }
    Ok(0)
}

fn insist(forced: bool) -> Insistence {
    if forced { Insistence::Forced } else { Insistence::Careful }
}

async fn run_change(
    ctx: &Context,
    change: ChangeArgs,
    operation: Operation,
    out: &mut Output,
) -> anyhow::Result<()> {
    let outcome =
        secrets::run(ctx, &change.slot.slot(), change.version, operation, &change.why.who()).await?;
    for line in outcome.changes {
        out.line(&line);
    }
    Ok(())
}

/// The new value; without one, `--follow` joins the rotation that is open.
fn read_unless_following(args: &ValueArgs, following: bool) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
    if following && args.from_file.is_none() && std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let secret = read_value(args)?;
    Ok(Some(secret).filter(|secret| !(following && secret.is_empty())))
}

/// The value without the newline that files and `echo` end with; anything else odd is kept and warned about.
fn read_value(args: &ValueArgs) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut value = Zeroizing::new(Vec::new());
    match &args.from_file {
        Some(path) => {
            let mut file = std::fs::File::open(path)
                .with_context(|| format!("the secret's file {} cannot be read", path.display()))?;
            file.read_to_end(&mut value)?;
        }
        None => {
            anyhow::ensure!(
                !std::io::stdin().is_terminal(),
                "give the secret on stdin or with --from-file; it is not taken from the arguments, which others can see"
            );
            std::io::stdin().read_to_end(&mut value)?;
        }
    }
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    Ok(value)
}

fn print_added(version: &SecretVersion, out: &mut Output) {
    out.line(&format!("{} of {} is {}", version.label(), version.slot, version.state.name().as_str()));
    for warning in &version.warnings {
        out.note(&format!("warning: {}", warning.explain()));
    }
}

fn print_status(views: &[SlotView], out: &mut Output) {
    if views.is_empty() {
        out.note("no secret is known; set LEMONSQUEEZY_WEBHOOK_SECRET, or `deploywatch secret add`");
    }
    for view in views {
        out.line(&format!("{}/{}: {} — {}", view.source, view.mode, view.health, view.summary));
        for line in versions_table(std::slice::from_ref(view)).lines() {
            out.line(&format!("  {}", line.trim_end()));
        }
        if let Some(product) = &view.product {
            out.line(&format!("  the product holds {product}"));
        }
        if view.quarantined > 0 {
            out.line(&format!("  {} refused bodies wait for the right secret", view.quarantined));
        }
        if let Some(rotation) = &view.rotation {
            let side = |proof: &Option<crate::domain::rotation::Proof>| {
                proof.as_ref().map_or_else(|| "not yet".to_owned(), |p| p.by.describe())
            };
            let name = |label: &Option<String>| label.clone().unwrap_or_else(|| "?".into());
            out.line(&format!(
                "  rotation {} → {}: {}, {}",
                name(&rotation.from),
                name(&rotation.to),
                rotation.phase.as_str(),
                rotation.explanation
            ));
            out.line(&format!("    provider: {}", side(&rotation.provider)));
            out.line(&format!("    product:  {}", side(&rotation.product)));
            for (number, step) in rotation.next_steps.iter().enumerate() {
                out.line(&format!("    {}. {step}", number + 1));
            }
        }
    }
}

fn print_versions(views: &[SlotView], out: &mut Output) {
    for line in versions_table(views).lines() {
        out.line(line.trim_end());
    }
}

fn versions_table(views: &[SlotView]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["slot", "version", "fingerprint", "state", "matches", "last match", "from"]);
    for view in views {
        for version in &view.versions {
            table.add_row([
                format!("{}/{}", view.source, view.mode),
                format!("v{}", version.version),
                version.fingerprint.clone(),
                version.description.clone(),
                version.matches.to_string(),
                version.last_match_at.map_or_else(|| "never".into(), rfc3339),
                version.origin.clone(),
            ]);
        }
    }
    table
}

/// `v3` or `3`
fn version(text: &str) -> Result<u32, String> {
    text.trim_start_matches('v').parse().map_err(|_| "write a version as v3".to_owned())
}
