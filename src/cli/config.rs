//! `deploywatch config check|show`: are the settings right, and which value came from where.

use clap::Subcommand;
use comfy_table::{ContentArrangement, Table, presets};

use super::Output;
use super::common::SettingsArgs;
use crate::settings::{self, Purpose, schema, variable_of};

#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say everything that is wrong with the settings, or that nothing is
    Check,
    /// Print every setting with its default and what it means, as a file to start from
    Defaults,
    /// List every setting with its value and where it came from; secrets are redacted
    Show {
        /// text or json
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

pub fn run(args: &ConfigArgs, out: &mut Output) -> anyhow::Result<u8> {
    match args.command {
        ConfigCommand::Check => check(&args.settings, out),
        ConfigCommand::Defaults => {
            out.line(settings::DEFAULTS.trim_end());
            Ok(0)
        }
        ConfigCommand::Show { format } => show(&args.settings, format, out),
    }
}

fn check(args: &SettingsArgs, out: &mut Output) -> anyhow::Result<u8> {
    let loaded = args.load(Purpose::Serve, out)?;
    let (environments, sources) =
        (loaded.settings.environments.len(), loaded.settings.webhooks.sources.len());
    out.line(&format!("the settings are valid: {environments} environment(s), {sources} webhook source(s)"));
    Ok(0)
}

fn show(args: &SettingsArgs, format: Format, out: &mut Output) -> anyhow::Result<u8> {
    // Shows what a command would get, so that a half-written configuration can be looked at too.
    let loaded = args.load(Purpose::Command, out)?;
    if let Format::Json = format {
        let list: Vec<serde_json::Value> = loaded
            .shown
            .iter()
            .map(|s| serde_json::json!({ "setting": s.path, "value": s.value, "origin": s.origin }))
            .collect();
        out.line(&serde_json::to_string_pretty(&list)?);
        return Ok(0);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["setting", "value", "from"]);
    for shown in &loaded.shown {
        table.add_row([&shown.path, &shown.value, &shown.origin]);
    }
    let set: Vec<&str> = loaded.shown.iter().map(|shown| shown.path.as_str()).collect();
    // A setting without a value is shown by the variable that would set it.
    for field in schema::FIELDS.iter().filter(|f| !f.path.contains(&"*".to_owned())) {
        if !set.contains(&field.dotted().as_str()) {
            table.add_row([field.dotted().as_str(), "(not set)", &variable_of(&field.path)]);
        }
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    out.note("`deploywatch config defaults` explains every setting");
    Ok(0)
}
