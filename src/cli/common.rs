//! What several commands share: the settings as the person gave them, and the store behind them.

use std::path::PathBuf;

use clap::Args;

use super::Output;
use crate::settings::{self, Inputs, Loaded, Purpose};
use crate::system;

/// Where the settings come from.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsArgs {
    /// The settings file; without it ./deploywatch.toml where there is one [env: DEPLOYWATCH_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

impl SettingsArgs {
    /// Loads the settings, and says what is doubtful about them.
    pub fn load(&self, purpose: Purpose, out: &mut Output) -> anyhow::Result<Loaded> {
        let loaded = settings::load(&self.inputs(), purpose)?;
        for warning in &loaded.warnings {
            out.note(&format!("warning: {warning}"));
        }
        Ok(loaded)
    }

    pub fn inputs(&self) -> Inputs {
        Inputs { file: self.config.clone(), directory: Some(PathBuf::from(".")), env: system::environment() }
    }
}
