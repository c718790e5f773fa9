//! `deploywatch email preview`: every kind of mail from sample facts, as files to look at.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::Output;
use super::common::SettingsArgs;
use crate::domain::clock::Clock;
use crate::email::{Desk, Mail, Mailer, samples};
use crate::settings::{Email, EmailTransport, Purpose, Settings};
use crate::system::SystemClock;

#[derive(Debug, Args)]
pub struct EmailArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: EmailCommand,
}

#[derive(Debug, Subcommand)]
enum EmailCommand {
    /// Write every kind of mail, from samples, as .eml, .html and .txt files
    Preview {
        /// The folder to write to; it is made where it is missing
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
}

pub async fn run(args: EmailArgs, out: &mut Output) -> anyhow::Result<u8> {
    let EmailCommand::Preview { dir } = args.command;
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    tokio::fs::create_dir_all(&dir).await.with_context(|| format!("{} cannot be made", dir.display()))?;
    for sample in samples::all(SystemClock.now()) {
        write(&settings, &dir, &sample, out).await?;
    }
    Ok(0)
}

async fn write(
    settings: &Settings,
    dir: &Path,
    sample: &samples::Sample,
    out: &mut Output,
) -> anyhow::Result<()> {
    let mut desk = Desk::of(settings);
    desk.public_url.get_or_insert_with(|| "https://deploywatch.example.com".into());
    let content = sample.prepare(&desk);
    let path = |extension: &str| dir.join(format!("{}.{extension}", sample.name));
    for (extension, text) in [("html", &content.html), ("txt", &content.text)] {
        let path = path(extension);
        tokio::fs::write(&path, text)
            .await
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let files =
        Email { transport: EmailTransport::Directory, directory: dir.join("eml"), ..settings.email.clone() };
    out.line(&format!("{}  {}", path("html").display(), content.subject));
    let mail = Mail { to: "oncall@example.com".into(), content, date: sample.now };
    Mailer::of(&files).open().await?.send(&mail).await?;
    Ok(())
}
