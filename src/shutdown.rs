//! Signals: the first asks for a graceful stop, the second for one now.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the signals asked for.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Stop taking work, finish what runs.
    pub graceful: CancellationToken,
    /// Drop everything; the store keeps what matters.
    pub now: CancellationToken,
}

/// Listens to SIGTERM and SIGINT from now on.
pub fn on_signals() -> std::io::Result<Stop> {
    let stop = Stop::default();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listening = stop.clone();
    tokio::spawn(async move {
        for token in [&listening.graceful, &listening.now] {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "asked to stop");
            token.cancel();
        }
    });
    Ok(stop)
}
