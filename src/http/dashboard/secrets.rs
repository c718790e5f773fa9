//! Webhook sources and the versions of their secrets, by fingerprint only.

use super::times;
use super::view::{AuditRow, Badge, SourceRow, VersionRow};
use super::words::{capital, counted};
use crate::domain::check::Severity;
use crate::domain::clock::Timestamp;
use crate::domain::secret::StateName;
use crate::services::secrets::{SlotView, VersionView};
use crate::store::provider::Audit;

/// One slot with its versions, newest first. `refused` counts among the `total` deliveries of the last 24 hours.
pub fn source(slot: &SlotView, (total, refused): (u64, u64), now: Timestamp) -> SourceRow {
    let mut versions: Vec<&VersionView> = slot.versions.iter().collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.version));
    let mut summary = vec![capital(&slot.summary)];
    summary.push(match (total, refused) {
        (0, _) => "no deliveries in 24 h".to_owned(),
        (n, 0) => format!("{} in 24 h, none refused", deliveries(n)),
        (n, bad) => format!("{} in 24 h, {bad} refused", deliveries(n)),
    });
    summary.extend(slot.last_good_at.map(|at| format!("last good one {}", times::ago(at, now))));
    if slot.quarantined > 0 {
        summary.push(format!("{} kept to be verified again", deliveries(slot.quarantined)));
    }
    let rotation = slot.rotation.as_ref();
    SourceRow {
        name: format!("{}, {}", slot.source, slot.mode),
        badge: match (slot.health.as_str(), rotation) {
            ("ok", _) if versions.iter().any(|version| version.state == StateName::Overdue) => {
                Badge::warn("an old secret is overdue")
            }
            ("ok", _) => Badge::good("in order"),
            ("stale", _) if slot.failing_since.is_some() => Badge::bad("signatures fail"),
            ("stale", _) => Badge::bad("stale secret in use"),
            (_, Some(_)) => Badge::busy("rotation under way"),
            _ => Badge::warn("unproven"),
        },
        summary: summary.join("; ") + ".",
        audit: None,
        next: rotation.map(|rotation| rotation.next_steps.clone()).unwrap_or_default(),
        versions: versions.into_iter().map(|version| row(version, now)).collect(),
    }
}

/// What the provider's API said; could not be asked is neither well nor wrong.
pub fn audit(latest: &Audit, now: Timestamp) -> AuditRow {
    let asked = latest
        .answered_at
        .map_or_else(|| "never answered".to_owned(), |at| format!("asked {}", times::ago(at, now)));
    let worst = latest.findings.first().map(|finding| finding.severity);
    let badge = match (&latest.problem, worst) {
        (Some(_), _) => Badge::unknown("not answered"),
        (None, Some(Severity::Critical)) => Badge::bad("does not fit"),
        (None, Some(_)) => Badge::warn("look at it"),
        (None, None) if latest.answered_at.is_none() => Badge::busy("not asked yet"),
        (None, None) => Badge::good("as it should be"),
    };
    let summary = match &latest.problem {
        Some(problem) => format!("{problem}; {asked}."),
        None => {
            format!("{} there, {asked}.", counted(usize::try_from(latest.webhooks).unwrap_or(0), "webhook"))
        }
    };
    let findings =
        latest.findings.iter().map(|finding| (finding.says.clone(), finding.next.clone())).collect();
    AuditRow { badge, summary: capital(&summary), findings }
}

fn row(version: &VersionView, now: Timestamp) -> VersionRow {
    let used = match version.last_match_at {
        None => "has signed nothing yet".to_owned(),
        Some(last) => {
            format!("signed {}, the last one {}", deliveries(version.matches), times::ago(last, now))
        }
    };
    let word = version.state.as_str();
    VersionRow {
        fingerprint: format!("v{} {}", version.version, version.fingerprint),
        state: match version.state {
            StateName::Staged => Badge::busy(word),
            StateName::Active => Badge::good(word),
            StateName::Retiring => Badge::warn(word),
            StateName::Overdue | StateName::Compromised => Badge::bad(word),
            StateName::Retired | StateName::Purged => Badge::quiet(word),
        },
        summary: format!("{}; {used}.", capital(&version.description)),
    }
}

/// `1 delivery`, `3 deliveries`.
pub fn deliveries(n: u64) -> String {
    match n {
        1 => "1 delivery".to_owned(),
        n => format!("{n} deliveries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_by_its_fingerprint_and_its_use() {
        let now: Timestamp = "2026-05-01T12:10:00Z".parse().unwrap();
        let version = VersionView {
            id: "sec_1".into(),
            version: 2,
            fingerprint: "3f9a12c04b7e".into(),
            state: StateName::Retiring,
            description: "retiring, accepted for another 23 h".into(),
            since: now,
            until: None,
            origin: "environment".into(),
            length: 32,
            matches: 1,
            matches_in_state: 1,
            last_match_at: Some("2026-05-01T12:00:00Z".parse().unwrap()),
            warnings: Vec::new(),
        };
        let row = row(&version, now);
        assert_eq!(row.fingerprint, "v2 3f9a12c04b7e");
        assert_eq!(
            row.summary,
            "Retiring, accepted for another 23 h; signed 1 delivery, the last one 12:00, 10 min ago."
        );
    }
}
