//! Which changes of state follow from what happened: pure, so that the tables below are the specification.

use super::{
    Evidence, FormatWarning, Policy, SecretState, SecretVersion, StateName, Transition, format::Unusable,
};
use crate::domain::clock::Timestamp;

/// Why a change was refused; the sentence says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("this value is already known as {label} ({state}); nothing was added")]
    AlreadyKnown { label: String, state: &'static str },
    #[error("this value is {label}, which was revoked as compromised; use a new one")]
    Compromised { label: String },
    #[error("{label} is already staged in this slot; promote or drop it before another is staged")]
    AlreadyStaged { label: String },
    #[error("{label} is {state}; {action} needs {needs}")]
    WrongState { label: String, state: &'static str, action: &'static str, needs: &'static str },
    #[error("{label} still verified a delivery {ago} ago; wait for quiet, or force it")]
    StillInUse { label: String, ago: String },
    #[error(
        "{label} is the only accepted secret of this slot; stage a new one first, or leave it empty on purpose"
    )]
    WouldLeaveEmpty { label: String },
    #[error("there is no such version in this slot")]
    Unknown,
    #[error("there is nothing to roll back: no version is retiring, overdue or retired")]
    NothingToRollBack,
}

/// How a new value enters a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addition {
    /// A new version in this state.
    New(SecretState),
    /// The value of a retired version comes back.
    Revive(Transition),
}

fn retiring(policy: &Policy, now: Timestamp) -> SecretState {
    SecretState::Retiring { since: now, overlap_until: now + policy.overlap }
}

fn retired(policy: &Policy, now: Timestamp) -> SecretState {
    SecretState::Retired { since: now, detect_until: now + policy.detection }
}

fn staged(policy: &Policy, now: Timestamp) -> SecretState {
    SecretState::Staged { since: now, deadline: now + policy.stage_deadline }
}

fn active_of(slot: &[SecretVersion]) -> Option<&SecretVersion> {
    slot.iter().find(|v| v.state.name() == StateName::Active)
}

fn change(version: &SecretVersion, to: SecretState, evidence: Evidence) -> Transition {
    Transition { version: version.id.clone(), from: version.state.name(), to, evidence }
}

/// Decides how a value with this `fingerprint` enters `slot`: the first one becomes active, a later one is
/// staged and never overwrites the active one.
pub fn add(
    slot: &[SecretVersion],
    fingerprint: &str,
    evidence: Evidence,
    policy: &Policy,
    now: Timestamp,
) -> Result<Addition, Refusal> {
    let same = slot.iter().filter(|v| v.fingerprint == fingerprint).min_by_key(|v| v.state.preference());
    if let Some(known) = same {
        match known.state.name() {
            StateName::Compromised => return Err(Refusal::Compromised { label: known.label() }),
            StateName::Retired | StateName::Purged => {}
            live => return Err(Refusal::AlreadyKnown { label: known.label(), state: live.as_str() }),
        }
    }
    if let Some(other) = slot.iter().find(|v| v.state.name() == StateName::Staged) {
        return Err(Refusal::AlreadyStaged { label: other.label() });
    }
    let state =
        if active_of(slot).is_some() { staged(policy, now) } else { SecretState::Active { since: now } };
    Ok(match same.filter(|v| v.state.name() == StateName::Retired) {
        Some(known) => Addition::Revive(change(known, state, evidence)),
        None => Addition::New(state),
    })
}

/// What a verified delivery changes: a staged version becomes active and the old active one retires; a
/// retiring one whose overlap is over becomes overdue.
pub fn matched(
    slot: &[SecretVersion],
    matched: &SecretVersion,
    delivery: &str,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Transition> {
    let evidence = Evidence::Delivery { delivery: delivery.to_owned() };
    match &matched.state {
        SecretState::Staged { .. } => switch(slot, matched, &evidence, policy, now),
        SecretState::Retiring { overlap_until, .. } if *overlap_until <= now => {
            vec![change(matched, SecretState::Overdue { since: now }, evidence)]
        }
        _ => Vec::new(),
    }
}

/// Makes `to` the active version and lets the present one retire, in this order: the active one leaves
/// first, since a slot never has two.
fn switch(
    slot: &[SecretVersion],
    to: &SecretVersion,
    evidence: &Evidence,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Transition> {
    let old = active_of(slot).map(|old| change(old, retiring(policy, now), evidence.clone()));
    let new = change(to, SecretState::Active { since: now }, evidence.clone());
    old.into_iter().chain([new]).collect()
}

/// What the passing of time changes.
pub fn elapsed(slot: &[SecretVersion], policy: &Policy, now: Timestamp) -> Vec<Transition> {
    slot.iter()
        .filter_map(|version| match &version.state {
            SecretState::Retiring { overlap_until, .. } if *overlap_until <= now => {
                let quiet = quiet(slot, version, policy, now)?;
                Some(change(version, retired(policy, now), quiet))
            }
            SecretState::Overdue { .. } => {
                let quiet = quiet(slot, version, policy, now)?;
                Some(change(version, retired(policy, now), quiet))
            }
            SecretState::Retired { detect_until, .. } | SecretState::Compromised { detect_until, .. }
                if *detect_until <= now =>
            {
                Some(change(version, SecretState::Purged { since: now }, Evidence::Elapsed))
            }
            _ => None,
        })
        .collect()
}

/// The proof that an old version is unused: no match for the quiet period, and the active one matched since
/// the last old match. Without traffic there is no proof.
fn quiet(slot: &[SecretVersion], old: &SecretVersion, policy: &Policy, now: Timestamp) -> Option<Evidence> {
    let last = old.usage.last_match_at;
    if last.is_some_and(|last| now.duration_since(last) < policy.quiet) {
        return None;
    }
    let newer = active_of(slot)?.usage.last_match_at?;
    let proven = newer >= old.state.since() && last.is_none_or(|last| newer > last);
    proven.then_some(Evidence::Quiet { last_match_at: last, newer_matched_at: newer })
}

/// Makes a staged version active without waiting for a delivery.
pub fn promote(
    slot: &[SecretVersion],
    version: &SecretVersion,
    evidence: &Evidence,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Transition>, Refusal> {
    match version.state.name() {
        StateName::Staged => Ok(switch(slot, version, evidence, policy, now)),
        state => Err(wrong(version, state, "promoting", "a staged one")),
    }
}

/// Whether a person insists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insistence {
    Careful,
    Forced,
}

/// Ends the acceptance of an old or staged version.
pub fn retire(
    version: &SecretVersion,
    insistence: Insistence,
    evidence: &Evidence,
    policy: &Policy,
    now: Timestamp,
) -> Result<Transition, Refusal> {
    match version.state.name() {
        StateName::Staged | StateName::Retiring | StateName::Overdue => {}
        state => return Err(wrong(version, state, "retiring", "a staged, retiring or overdue one")),
    }
    if let (Insistence::Careful, Some(last)) = (insistence, version.usage.last_match_at) {
        let since = now.duration_since(last);
        if since < policy.quiet {
            let ago = crate::domain::clock::humane(since);
            return Err(Refusal::StillInUse { label: version.label(), ago });
        }
    }
    Ok(change(version, retired(policy, now), evidence.clone()))
}

/// Stops a version at once. Revoking the active one makes the staged one active, or needs insistence.
pub fn revoke(
    slot: &[SecretVersion],
    version: &SecretVersion,
    insistence: Insistence,
    evidence: &Evidence,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Transition>, Refusal> {
    let reason = match evidence {
        Evidence::Operator { reason, .. } => reason.clone(),
        _ => String::new(),
    };
    let to = SecretState::Compromised { since: now, detect_until: now + policy.detection, reason };
    let mut changes = match version.state.name() {
        StateName::Compromised | StateName::Purged => {
            return Err(wrong(version, version.state.name(), "revoking", "one whose key is still held"));
        }
        _ => vec![change(version, to, evidence.clone())],
    };
    if version.state.name() == StateName::Active {
        match slot.iter().find(|v| v.state.name() == StateName::Staged) {
            Some(next) => {
                changes.push(change(next, SecretState::Active { since: now }, evidence.clone()));
            }
            None if insistence == Insistence::Forced => {}
            None => return Err(Refusal::WouldLeaveEmpty { label: version.label() }),
        }
    }
    Ok(changes)
}

/// Goes back to the version before: it becomes active and the new one retires. A staged version that never
/// signed is retired instead, and the active one stays.
pub fn roll_back(
    slot: &[SecretVersion],
    evidence: &Evidence,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Transition>, Refusal> {
    if let Some(staged) = slot.iter().find(|v| v.state.name() == StateName::Staged) {
        return Ok(vec![change(staged, retired(policy, now), evidence.clone())]);
    }
    let previous = slot
        .iter()
        .filter(|v| matches!(v.state.name(), StateName::Retiring | StateName::Overdue | StateName::Retired))
        .min_by_key(|v| (v.state.preference(), std::cmp::Reverse(v.number)))
        .ok_or(Refusal::NothingToRollBack)?;
    Ok(switch(slot, previous, evidence, policy, now))
}

fn wrong(version: &SecretVersion, state: StateName, action: &'static str, needs: &'static str) -> Refusal {
    Refusal::WrongState { label: version.label(), state: state.as_str(), action, needs }
}

/// Adds the warning of reuse where another slot holds the same live value.
pub fn reuse_warning(others: &[SecretVersion], fingerprint: &str) -> Option<FormatWarning> {
    others
        .iter()
        .any(|v| v.fingerprint == fingerprint && v.state.is_live())
        .then_some(FormatWarning::ReusedInOtherSlot)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
