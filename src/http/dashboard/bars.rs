//! The runs of one check as a bar of cells, and the same in words.

use super::times;
use super::view::Cell;
use crate::domain::clock::Timestamp;
use crate::domain::observation::{Observation, Outcome};

/// More would be cut off on any screen; older runs are on the deploy's own page in words.
const SHOWN: usize = 140;

/// One cell for each run, oldest first.
pub fn cells(runs: &[Observation], now: Timestamp) -> Vec<Cell> {
    let shown = &runs[runs.len().saturating_sub(SHOWN)..];
    shown
        .iter()
        .map(|run| {
            let class = match (run.outcome, run.carried) {
                (Outcome::Pass, false) => "p",
                (Outcome::Pass, true) => "p c",
                (Outcome::Warn, _) => "w",
                (Outcome::Fail, _) => "f",
                (Outcome::Error, _) => "e",
                (Outcome::NoData, _) => "n",
                (Outcome::Missed, _) => "m",
                (Outcome::Skipped, _) => "s",
            };
            let quiet = matches!(run.outcome, Outcome::Pass | Outcome::Skipped | Outcome::Missed);
            let title = (!quiet).then(|| format!("{} {}", times::at(run.observed_at, now), run.message));
            Cell { class, title }
        })
        .collect()
}

/// What the bar says, for those who cannot see it: `42 runs: 38 pass, 4 fail; the last one at 15:16: fail`.
pub fn describe(runs: &[Observation], now: Timestamp) -> String {
    let Some(last) = runs.last() else { return "no runs yet".to_owned() };
    let order = [
        Outcome::Fail,
        Outcome::Error,
        Outcome::Warn,
        Outcome::NoData,
        Outcome::Pass,
        Outcome::Missed,
        Outcome::Skipped,
    ];
    let parts: Vec<String> = order
        .into_iter()
        .filter_map(|outcome| {
            let count = runs.iter().filter(|run| run.outcome == outcome).count();
            (count > 0).then(|| format!("{count} {}", word(outcome)))
        })
        .collect();
    let (total, noun) = (runs.len(), if runs.len() == 1 { "run" } else { "runs" });
    format!(
        "{total} {noun}: {}; the last one at {}: {}",
        parts.join(", "),
        times::at(last.observed_at, now),
        word(last.outcome)
    )
}

/// An outcome as a page says it.
pub fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Warn => "warning",
        Outcome::Fail => "fail",
        Outcome::Error => "could not measure",
        Outcome::NoData => "no data",
        Outcome::Missed => "missed",
        Outcome::Skipped => "skipped",
    }
}
