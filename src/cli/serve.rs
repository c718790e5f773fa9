//! `deploywatch serve`: the server and the scheduled work, until asked to stop.

use clap::Args;

use super::Output;
use super::common::SettingsArgs;
use super::reload;
use crate::app::{App, Parts, Role};
use crate::settings::{self, Loaded, LogFormat, Purpose, Settings};
use crate::shutdown;
use crate::system;
use crate::telemetry::{self, Format, Options};

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Which parts this process runs; several processes share a PostgreSQL store
    #[arg(long, value_enum, default_value_t)]
    role: Role,
}

pub async fn run(args: ServeArgs, out: &mut Output) -> anyhow::Result<u8> {
    system::raise_open_files();
    let Loaded { settings, .. } = args.settings.load(Purpose::Serve, out)?;
    let options = telemetry_options(&settings);
    let telemetry = tokio::task::spawn_blocking(move || telemetry::init(&options)).await?;
    let stop = shutdown::on_signals()?;
    let nothing = settings.environments.is_empty() && settings.webhooks.sources.is_empty();
    let parts = Parts { role: args.role, metrics: telemetry.metrics.clone(), ..Parts::real(settings) };
    let app = App::start(parts).await;
    let code = match app {
        Ok(app) => {
            greet(&app, args.role, nothing, out);
            let inputs = args.settings.inputs();
            let load = move || settings::load(&inputs, Purpose::Serve).map(|loaded| loaded.settings);
            let following = reload::follow(app.context.clone(), load)?;
            app.run_until(stop).await;
            following.abort();
            Ok(0)
        }
        Err(error) => Err(error.into()),
    };
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    code
}

fn greet(app: &App, role: Role, nothing: bool, out: &mut Output) {
    let version = env!("CARGO_PKG_VERSION");
    match (app.address, role) {
        (Some(address), Role::Worker) => {
            out.line(&format!(
                "deploywatch {version} works, and is listening on http://{address} for health alone"
            ));
        }
        (Some(address), _) => out.line(&format!("deploywatch {version} is listening on http://{address}")),
        (None, _) => out.line(&format!("deploywatch {version} works without listening")),
    }
    if nothing {
        out.note(
            "nothing is watched yet: set DATABASE_URL, or LEMONSQUEEZY_WEBHOOK_SECRET, or write deploywatch.toml \
             (`deploywatch config show` lists every setting)",
        );
    }
}

fn telemetry_options(settings: &Settings) -> Options {
    let telemetry = &settings.telemetry;
    Options {
        directives: telemetry.log.clone(),
        format: match telemetry.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
        service: telemetry.service_name.clone(),
        otlp: telemetry.otlp_endpoint.clone(),
    }
}
