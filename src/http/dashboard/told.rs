//! Where else a deploy's verdict is shown, and what was said there.

use super::times;
use super::view::{Badge, ToldRow};
use crate::domain::clock::Timestamp;
use crate::domain::trigger::Address;
use crate::store::answers::StoredAnswer;

pub fn row(stored: &StoredAnswer, now: Timestamp) -> ToldRow {
    let said = stored.told.as_deref().and_then(|told| told.lines().next()).filter(|said| !said.is_empty());
    let badge = match (stored.state.as_str(), said, &stored.failure) {
        ("dead", ..) => Badge::bad("given up"),
        (_, _, Some(_)) => Badge::warn("being tried again"),
        (_, Some(said), None) => Badge::quiet(said.replace('_', " ")),
        (_, None, None) => Badge::busy("about to be told"),
    };
    let mut lines = Vec::new();
    if let (Some(said), Some(at)) = (said, stored.told_at) {
        lines.push(format!("Told `{}` at {}.", said.replace('_', " "), times::ago(at, now)));
    }
    if let Some(failure) = &stored.failure {
        lines.push(super::words::sentence(failure));
        if let Some(next) = stored.next_at {
            lines.push(format!("Tried again {}.", times::ago(next, now)));
        }
    }
    ToldRow { place: place(&stored.row.address), badge, lines }
}

/// The place in words; its identifier as the provider writes it.
fn place(address: &Address) -> String {
    let kind = match address {
        Address::GithubCommit { .. } => "GitHub, check run of",
        Address::GithubDeployment { .. } => "GitHub, deployment",
        Address::GithubRule { .. } => "GitHub, protection rule of",
        Address::VercelCheck { .. } => "Vercel, check of",
    };
    match address {
        // The callback is an address for programs.
        Address::GithubRule { environment, .. } => format!("{kind} {environment}"),
        other => format!("{kind} {}", other.place()),
    }
}
