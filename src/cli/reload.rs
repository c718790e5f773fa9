//! Reads the settings again, at SIGHUP and every few seconds, and takes in webhook secrets that changed in their
//! files. A new value is staged beside the active one; everything else in the settings waits for a restart.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::services::Context;
use crate::services::secrets::{self, Keyring};
use crate::settings::{Settings, SettingsError};

/// Mounted secrets change without a signal, a few seconds after somebody changed them anyway.
const EVERY: Duration = Duration::from_secs(10);

/// Follows the settings until the task is aborted. `load` reads them as the start did.
pub fn follow(
    ctx: Context,
    load: impl Fn() -> Result<Settings, SettingsError> + Send + Sync + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let load = Arc::new(load);
    let mut last = values(&ctx.settings);
    let mut told = String::new();
    Ok(tokio::spawn(async move {
        loop {
            let asked = tokio::select! {
                _ = hangup.recv() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            let reading = Arc::clone(&load);
            let Ok(loaded) = tokio::task::spawn_blocking(move || reading()).await else { continue };
            let settings = match loaded {
                Ok(settings) => settings,
                Err(error) => {
                    let text = error.to_string();
                    if asked || text != told {
                        tracing::error!(
                            error = text,
                            "the settings were read again and are not usable; the old ones stay in force"
                        );
                    }
                    told = text;
                    continue;
                }
            };
            told.clear();
            let now = values(&settings);
            if now != last {
                if let Err(error) = take_in(&ctx, &settings).await {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "changed webhook secrets could not be taken in; they are tried again"
                    );
                    continue;
                }
                last = now;
            } else if asked {
                tracing::info!(
                    "SIGHUP: no webhook secret changed; other settings are read at the start alone"
                );
            }
        }
    }))
}

async fn take_in(ctx: &Context, settings: &Settings) -> Result<(), secrets::SecretError> {
    let keyring = Keyring::new(&ctx.keys);
    let taken = secrets::take_in(ctx, &keyring, &settings.webhooks.sources).await?;
    for note in taken.notes {
        tracing::info!("{note}");
    }
    for warning in taken.warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// The secrets' values, to see whether one changed; they stay in this task.
fn values(settings: &Settings) -> Vec<zeroize::Zeroizing<String>> {
    let sources = settings.webhooks.sources.iter();
    let all = sources.flat_map(|(name, s)| {
        [&s.secret, &s.secret_previous, &s.test_secret, &s.test_secret_previous]
            .map(|secret| format!("{name}={}", secret.as_ref().map_or("", |secret| secret.expose_secret())))
    });
    all.map(zeroize::Zeroizing::new).collect()
}
