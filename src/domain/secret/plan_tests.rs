use super::super::{Origin, Slot, SlotMode, Usage};
use super::*;
use crate::domain::clock::SignedDuration;
use crate::domain::ids::SecretVersionId;

const POLICY: Policy = Policy {
    overlap: SignedDuration::from_hours(24),
    quiet: SignedDuration::from_hours(1),
    detection: SignedDuration::from_hours(24 * 30),
    stage_deadline: SignedDuration::from_hours(24),
};

fn at(hours: i64) -> Timestamp {
    "2026-05-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

fn version(number: u32, state: SecretState) -> SecretVersion {
    SecretVersion {
        id: SecretVersionId::from_text(format!("sec_{number}")),
        slot: Slot { source: "lemonsqueezy".into(), mode: SlotMode::Live },
        number,
        fingerprint: format!("f{number}"),
        length: 32,
        warnings: Vec::new(),
        origin: Origin::Environment,
        added_at: at(0),
        state,
        usage: Usage::default(),
        stale_since: None,
    }
}

fn used(mut version: SecretVersion, hour: i64) -> SecretVersion {
    version.usage.matches += 1;
    version.usage.last_match_at = Some(at(hour));
    version
}

fn active(number: u32) -> SecretVersion {
    version(number, SecretState::Active { since: at(0) })
}

fn retiring_until(number: u32, hour: i64) -> SecretVersion {
    version(number, SecretState::Retiring { since: at(0), overlap_until: at(hour) })
}

fn names(changes: &[Transition]) -> Vec<(&str, StateName)> {
    changes.iter().map(|c| (c.version.as_str(), c.to.name())).collect()
}

fn operator() -> Evidence {
    Evidence::Operator { actor: "ana".into(), reason: "leaked".into() }
}

#[test]
fn a_new_value_never_overwrites_the_active_one() {
    let enter = |slot: &[SecretVersion], fingerprint: &str| {
        add(slot, fingerprint, Evidence::Environment, &POLICY, at(1))
    };
    assert_eq!(enter(&[], "f1"), Ok(Addition::New(SecretState::Active { since: at(1) })));
    let staged = SecretState::Staged { since: at(1), deadline: at(25) };
    assert_eq!(enter(&[active(1)], "f2"), Ok(Addition::New(staged.clone())));
    assert!(matches!(enter(&[active(1)], "f1"), Err(Refusal::AlreadyKnown { .. })));
    let waiting = version(2, staged.clone());
    assert!(matches!(enter(&[active(1), waiting], "f3"), Err(Refusal::AlreadyStaged { .. })));
    let retired = version(1, SecretState::Retired { since: at(0), detect_until: at(99) });
    let Ok(Addition::Revive(change)) = enter(&[retired, active(2)], "f1") else { panic!("not revived") };
    assert_eq!((change.from, change.to), (StateName::Retired, staged));
    let leaked =
        version(1, SecretState::Compromised { since: at(0), detect_until: at(99), reason: String::new() });
    assert!(matches!(enter(&[leaked, active(2)], "f1"), Err(Refusal::Compromised { .. })));
}

#[test]
fn the_first_delivery_of_a_staged_version_switches_the_slot() {
    let staged = version(2, SecretState::Staged { since: at(0), deadline: at(24) });
    let slot = [active(1), staged.clone()];
    let changes = matched(&slot, &staged, "dlv_1", &POLICY, at(3));
    assert_eq!(names(&changes), [("sec_1", StateName::Retiring), ("sec_2", StateName::Active)]);
    assert_eq!(changes[0].to.until(), Some(at(27)));
    assert!(matched(&slot, &slot[0], "dlv_2", &POLICY, at(3)).is_empty(), "the active one changes nothing");
}

#[test]
fn an_old_version_is_overdue_only_when_it_signs_after_its_overlap() {
    let old = retiring_until(1, 24);
    let slot = [old.clone(), active(2)];
    assert!(matched(&slot, &old, "dlv_1", &POLICY, at(23)).is_empty());
    assert_eq!(names(&matched(&slot, &old, "dlv_1", &POLICY, at(24))), [("sec_1", StateName::Overdue)]);
}

#[test]
fn an_old_version_retires_only_with_proof_that_it_is_unused() {
    let table = [
        ("no traffic at all: unproven", retiring_until(1, 24), active(2), 48, None),
        ("overlap not over", retiring_until(1, 24), used(active(2), 5), 23, None),
        (
            "never used, the new one is",
            retiring_until(1, 24),
            used(active(2), 5),
            24,
            Some(StateName::Retired),
        ),
        ("used last by the old one", used(retiring_until(1, 24), 9), used(active(2), 5), 48, None),
        ("not quiet for an hour", used(retiring_until(1, 24), 24), used(active(2), 25), 24, None),
        (
            "quiet, and the new one after it",
            used(retiring_until(1, 24), 20),
            used(active(2), 21),
            24,
            Some(StateName::Retired),
        ),
        (
            "overdue and still in use",
            used(version(1, SecretState::Overdue { since: at(25) }), 30),
            used(active(2), 29),
            48,
            None,
        ),
        (
            "overdue, then quiet",
            used(version(1, SecretState::Overdue { since: at(25) }), 30),
            used(active(2), 31),
            48,
            Some(StateName::Retired),
        ),
        (
            "detection over",
            version(1, SecretState::Retired { since: at(0), detect_until: at(720) }),
            active(2),
            720,
            Some(StateName::Purged),
        ),
    ];
    for (why, old, new, hour, expected) in table {
        let changes = elapsed(&[old, new], &POLICY, at(hour));
        assert_eq!(changes.first().map(|c| c.to.name()), expected, "{why}");
    }
}

#[test]
fn revoking_the_active_version_promotes_or_insists() {
    let staged = version(2, SecretState::Staged { since: at(0), deadline: at(24) });
    let revoke_it = |slot: &[SecretVersion], insistence| {
        revoke(slot, &slot[0], insistence, &operator(), &POLICY, at(1)).map(|c| names(&c).len())
    };
    assert!(matches!(revoke_it(&[active(1)], Insistence::Careful), Err(Refusal::WouldLeaveEmpty { .. })));
    assert_eq!(revoke_it(&[active(1)], Insistence::Forced), Ok(1));
    let changes =
        revoke(&[active(1), staged], &active(1), Insistence::Careful, &operator(), &POLICY, at(1)).unwrap();
    assert_eq!(names(&changes), [("sec_1", StateName::Compromised), ("sec_2", StateName::Active)]);
}

#[test]
fn rolling_back_retires_the_new_version() {
    let staged = version(2, SecretState::Staged { since: at(0), deadline: at(24) });
    let back = |slot: &[SecretVersion]| roll_back(slot, &operator(), &POLICY, at(1));
    assert_eq!(names(&back(&[active(1), staged]).unwrap()), [("sec_2", StateName::Retired)]);
    assert_eq!(
        names(&back(&[retiring_until(1, 24), active(2)]).unwrap()),
        [("sec_2", StateName::Retiring), ("sec_1", StateName::Active)]
    );
    assert_eq!(back(&[active(1)]), Err(Refusal::NothingToRollBack));
}

#[test]
fn retiring_a_version_in_use_needs_insistence() {
    let old = used(retiring_until(1, 24), 3);
    let retire_at =
        |insistence| retire(&old, insistence, &operator(), &POLICY, at(3) + SignedDuration::from_mins(5));
    assert!(matches!(retire_at(Insistence::Careful), Err(Refusal::StillInUse { .. })));
    assert_eq!(retire_at(Insistence::Forced).unwrap().to.name(), StateName::Retired);
    let refused = retire(&active(1), Insistence::Forced, &operator(), &POLICY, at(3)).unwrap_err();
    assert_eq!(refused.to_string(), "v1 (f1) is active; retiring needs a staged, retiring or overdue one");
}
