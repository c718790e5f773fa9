//! What the product's answers say: about the delivery, and about which secret the product holds.

use serde::{Deserialize, Serialize};

use super::check::Severity;
use super::clock::SignedDuration;
use super::secret::StateName;

/// After these lengths of time a delivery is tried again; then it is dead until somebody replays it.
const SCHEDULE: [SignedDuration; 6] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(24),
];

/// How long to wait after the `attempts`-th try. `random` (0 to 255) spreads it by up to a tenth, so that
/// many deliveries do not come back together.
pub fn wait_after(attempts: u32, random: u8) -> Option<SignedDuration> {
    let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let base = SCHEDULE.get(index)?;
    Some(*base + *base / 10 * i32::from(random) / 255)
}

/// What one answer of the product means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Taken.
    Accepted,
    /// It refuses the signature of the new secret: it still holds the old one.
    ProductOnOld,
    /// It refuses the signature of the old secret: it was switched before the provider.
    ProductOnNew,
    /// Its own trouble, nothing about secrets.
    Trouble,
}

/// Whether the product says that it does not believe the signature.
pub fn refuses_signature(status: u16) -> bool {
    matches!(status, 400 | 401 | 403)
}

/// The matrix of the matched version's state against the product's answer.
pub fn react(state: StateName, status: u16) -> Reaction {
    match (status, state) {
        (200..=299, _) => Reaction::Accepted,
        (status, _) if !refuses_signature(status) => Reaction::Trouble,
        (_, StateName::Active | StateName::Staged) => Reaction::ProductOnOld,
        (_, StateName::Retiring | StateName::Overdue) => Reaction::ProductOnNew,
        (_, StateName::Retired | StateName::Compromised | StateName::Purged) => Reaction::Trouble,
    }
}

/// How loud on-call hears that the product does not take deliveries, if at all, after that many tries at one.
/// The first retries are for restarts and deploys.
pub fn trouble(attempts: u32, dead: bool) -> Option<Severity> {
    match attempts {
        _ if dead => Some(Severity::Critical),
        0..=2 => None,
        3..=4 => Some(Severity::Warning),
        _ => Some(Severity::Critical),
    }
}

/// What a three-way probe shows about the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probed {
    OnOld,
    Switched,
    AcceptsBoth,
    /// It answers all three alike: a wall before it, or it never checks.
    Undecidable,
}

impl Probed {
    pub fn explain(self) -> &'static str {
        match self {
            Self::OnOld => {
                "the product accepts the old secret and refuses the new one: set the new one and redeploy"
            }
            Self::Switched => "the product accepts the new secret and refuses the old one",
            Self::AcceptsBoth => {
                "the product accepts both secrets: fine during a rotation, a finding after it"
            }
            Self::Undecidable => {
                "the product answers all three alike: a sign-in wall, a wrong address, or it never checks signatures"
            }
        }
    }
}

/// One answer of the product to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// Compares the answers to a body signed with the new secret, with the old one, and twice with garbage. The
/// second garbage shows whether the product answers the same thing in the same words; only then do words count.
pub fn conclude(new: Answered<'_>, old: Answered<'_>, [garbage, again]: [Answered<'_>; 2]) -> Probed {
    if garbage.status != again.status {
        return Probed::Undecidable;
    }
    let words_count = garbage.body == again.body;
    let as_garbage = |answer: Answered<'_>| {
        answer.status == garbage.status && (!words_count || answer.body == garbage.body)
    };
    match (as_garbage(new), as_garbage(old)) {
        (true, false) => Probed::OnOld,
        (false, true) => Probed::Switched,
        (false, false) => Probed::AcceptsBoth,
        (true, true) => Probed::Undecidable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_spread_over_more_than_a_day_and_then_end() {
        assert_eq!(wait_after(1, 0), Some(SignedDuration::from_secs(5)));
        assert_eq!(wait_after(2, 255), Some(SignedDuration::from_secs(66)));
        assert_eq!(wait_after(6, 0), Some(SignedDuration::from_hours(24)));
        assert_eq!((wait_after(0, 0), wait_after(7, 0)), (None, None));
    }

    #[test]
    fn the_matrix_names_the_side_that_is_behind() {
        let table = [
            (StateName::Active, 200, Reaction::Accepted),
            (StateName::Active, 401, Reaction::ProductOnOld),
            (StateName::Retiring, 403, Reaction::ProductOnNew),
            (StateName::Overdue, 400, Reaction::ProductOnNew),
            (StateName::Active, 500, Reaction::Trouble),
            (StateName::Retiring, 302, Reaction::Trouble),
            (StateName::Retired, 401, Reaction::Trouble),
        ];
        for (state, status, expected) in table {
            assert_eq!(react(state, status), expected, "{state:?} {status}");
        }
    }

    #[test]
    fn trouble_is_told_after_the_first_retries() {
        assert_eq!(trouble(2, false), None);
        assert_eq!(trouble(3, false), Some(Severity::Warning));
        assert_eq!(trouble(5, false), Some(Severity::Critical));
        assert_eq!(trouble(1, true), Some(Severity::Critical));
    }

    fn said(status: u16, body: &str) -> Answered<'_> {
        Answered { status, body: body.as_bytes() }
    }

    #[test]
    fn a_probe_compares_three_answers() {
        let table = [
            ((200, 401, 401), Probed::Switched),
            ((401, 200, 401), Probed::OnOld),
            ((500, 200, 500), Probed::OnOld),
            ((200, 200, 401), Probed::AcceptsBoth),
            ((200, 200, 200), Probed::Undecidable),
            ((404, 404, 404), Probed::Undecidable),
        ];
        for ((new, old, garbage), expected) in table {
            let garbage = [said(garbage, ""); 2];
            assert_eq!(conclude(said(new, ""), said(old, ""), garbage), expected);
        }
    }

    #[test]
    fn words_tell_answers_apart_where_the_product_repeats_itself() {
        let (yes, no) = (said(200, "{\"ok\":true}"), said(200, "{\"ok\":false}"));
        assert_eq!(conclude(yes, no, [no; 2]), Probed::Switched);
        assert_eq!(conclude(no, yes, [no; 2]), Probed::OnOld);
        let with_id = [said(401, "request 1"), said(401, "request 2")];
        assert_eq!(conclude(said(401, "request 3"), said(200, "ok"), with_id), Probed::OnOld);
        let flaky = [said(401, ""), said(503, "")];
        assert_eq!(conclude(yes, no, flaky), Probed::Undecidable);
    }
}
