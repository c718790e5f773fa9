//! Webhook sources and the versions of their secrets, by fingerprint only.

use super::times;
use super::view::{Badge, SourceRow, VersionRow};
use crate::domain::clock::{Timestamp, humane};
use crate::domain::secret::{SecretState, SecretVersion, Slot};
use crate::domain::source_health::{Level, SourceHealth};
use crate::domain::wording::number;

/// One slot with its versions, newest first. `total` and `refused` count the deliveries of the last 24 hours.
pub fn source(
    slot: &Slot,
    versions: &[SecretVersion],
    health: &SourceHealth,
    (total, refused): (u64, u64),
    now: Timestamp,
) -> SourceRow {
    let mut versions: Vec<&SecretVersion> = versions.iter().collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.number));
    let received = match (total, refused) {
        (0, _) => "no deliveries in 24 h".to_owned(),
        (n, 0) => format!("{} deliveries in 24 h, all accepted", whole(n)),
        (n, bad) => format!("{} deliveries in 24 h, {} refused", whole(n), whole(bad)),
    };
    let good = health.last_good_at.map(|at| format!("; last good one {}", times::ago(at, now)));
    SourceRow {
        name: format!("{}, {}", slot.source, slot.mode.as_str()),
        badge: badge(&versions, health),
        summary: received + good.as_deref().unwrap_or(""),
        versions: versions.into_iter().map(|version| row(version, now)).collect(),
    }
}

fn badge(versions: &[&SecretVersion], health: &SourceHealth) -> Option<Badge> {
    if let Some(failing) = &health.failing {
        let word = if failing.is_mixed() { "some signatures fail" } else { "signatures fail" };
        return Some(if failing.told == Some(Level::Page) { Badge::bad(word) } else { Badge::warn(word) });
    }
    if versions.iter().any(|version| version.stale_since.is_some()) {
        return Some(Badge::bad("stale secret in use"));
    }
    if versions.is_empty() {
        return Some(Badge::unknown("no secret"));
    }
    versions
        .iter()
        .any(|version| matches!(version.state, SecretState::Staged { .. } | SecretState::Retiring { .. }))
        .then(|| Badge::busy("rotation under way"))
}

fn row(version: &SecretVersion, now: Timestamp) -> VersionRow {
    let usage = &version.usage;
    let used = match usage.last_match_at {
        None => "has signed nothing yet".to_owned(),
        Some(last) => {
            format!("signed {}; last {}", whole_deliveries(usage.matches), times::ago(last, now))
        }
    };
    let since = humane(now.duration_since(version.state.since()));
    let (state, more) = match &version.state {
        SecretState::Staged { .. } => {
            (Badge::busy("staged"), "accepted; waiting for its first delivery".to_owned())
        }
        SecretState::Active { .. } => {
            (Badge::good("active"), format!("the one expected to sign, for {since}"))
        }
        SecretState::Retiring { overlap_until, .. } if *overlap_until > now => {
            (Badge::warn("retiring"), format!("accepted until {}", times::at(*overlap_until, now)))
        }
        SecretState::Retiring { .. } => (
            Badge::warn("retiring, unproven"),
            "its overlap is over; nothing proves that it is unused".to_owned(),
        ),
        SecretState::Overdue { .. } => {
            (Badge::bad("overdue"), format!("still signs {since} after its overlap"))
        }
        SecretState::Retired { .. } => {
            let state = if version.stale_since.is_some() {
                Badge::bad("retired, in use")
            } else {
                Badge::quiet("retired")
            };
            (state, format!("refused for {since}"))
        }
        SecretState::Compromised { .. } => (Badge::bad("compromised"), format!("refused for {since}")),
        SecretState::Purged { .. } => (Badge::quiet("deleted"), format!("its key was deleted {since} ago")),
    };
    VersionRow { fingerprint: version.label(), state, summary: format!("{}; {used}", capital(&more)) }
}

fn whole_deliveries(n: u64) -> String {
    if n == 1 { "1 delivery".to_owned() } else { format!("{} deliveries", whole(n)) }
}

#[expect(clippy::cast_precision_loss, reason = "a count of deliveries, to be read")]
fn whole(n: u64) -> String {
    number(n as f64)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
