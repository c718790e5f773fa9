//! What the observations of one check add up to so far: counters, breach, recovery, coverage, what comes next.
//!
//! The state is kept beside the observations for speed only; [`replay`] makes the same from them alone.

use serde::{Deserialize, Serialize};

use super::cadence::{Plan, Slot, retry_jitter_ms};
use super::check::{CheckKey, CheckPolicy, Mode, Stage};
use super::clock::{SignedDuration, Timestamp};
use super::observation::{Observation, Outcome};

/// Everything that the next observation of a check is held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckState {
    pub key: CheckKey,
    /// The next slot that nothing has answered; `None` when the window has no more.
    pub next_slot: Option<Slot>,
    /// A sample between two slots: it confirms a first fail, or tries again what could not be measured.
    pub pending: Option<Pending>,
    /// Extra samples taken of the current slot.
    pub extras: u32,
    pub whole: Coverage,
    pub smoke: Coverage,
    /// Conclusive samples, extra ones included.
    #[serde(default)]
    pub runs: u32,
    pub fails_total: u32,
    pub fails_consecutive: u32,
    /// The last 32 conclusive samples, the newest in the lowest bit, 1 for a fail; begun anew at a recovery.
    #[serde(default)]
    pub recent: u32,
    pub passes_consecutive: u32,
    pub errors_consecutive: u32,
    pub inconclusive_total: u32,
    pub skipped: u32,
    /// Slots answered while the check was muted; they count for coverage, never for a breach.
    pub muted: u32,
    /// Slots that went by unanswered, and the seconds of those for which no process was there.
    pub missed: u32,
    pub missed_seconds: u32,
    /// When the present run of fails began, or the one that breached.
    pub first_failed_at: Option<Timestamp>,
    pub breached_at: Option<Timestamp>,
    pub breached_in: Option<Stage>,
    pub recovered_at: Option<Timestamp>,
    pub unobservable_since: Option<Timestamp>,
    pub last: Option<Box<Observation>>,
    pub last_fail: Option<Box<Observation>>,
}

/// The reason of a slot that went by because no process was there, and of one that went by in a longer scan.
pub const MISSED_DOWN: &str = "missed.down";
pub const MISSED_BUDGET: &str = "missed.budget";

/// Slots answered of slots planned; skipped ones are not planned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub planned: u32,
    pub conclusive: u32,
    /// Of the last slot that was not skipped, after its extra samples.
    pub last: Option<Outcome>,
}

/// A sample that is due between two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub slot: Slot,
    pub due: Timestamp,
}

/// Seconds between the attempts at a slot that could not be measured, each counted from the one before.
const RETRY_AFTER: [u32; 3] = [10, 30, 60];

/// What may be gone seconds later. A statement that is wrong for the schema, or too slow, waits for its next slot.
const RETRYABLE: [&str; 3] = ["error.connect", "error.lock", "error.rewritten"];

impl Coverage {
    /// Conclusive ÷ planned; 1 where nothing was planned.
    pub fn ratio(&self) -> f64 {
        if self.planned == 0 { 1.0 } else { f64::from(self.conclusive) / f64::from(self.planned) }
    }

    fn slot(&mut self, outcome: Outcome) {
        self.planned += 1;
        self.conclusive += u32::from(outcome.is_conclusive());
        self.last = Some(outcome);
    }

    /// An extra sample answers for its slot where it is conclusive.
    fn extra(&mut self, outcome: Outcome) {
        if outcome.is_conclusive() {
            self.conclusive += u32::from(!self.last.is_some_and(Outcome::is_conclusive));
            self.last = Some(outcome);
        }
    }
}

impl CheckState {
    /// A check whose window has just opened.
    pub fn new(check: &CheckPolicy, plan: &Plan) -> Self {
        Self {
            key: check.key.clone(),
            next_slot: plan.first_slot(check),
            pending: None,
            extras: 0,
            whole: Coverage::default(),
            smoke: Coverage::default(),
            runs: 0,
            fails_total: 0,
            fails_consecutive: 0,
            recent: 0,
            passes_consecutive: 0,
            errors_consecutive: 0,
            inconclusive_total: 0,
            skipped: 0,
            muted: 0,
            missed: 0,
            missed_seconds: 0,
            first_failed_at: None,
            breached_at: None,
            breached_in: None,
            recovered_at: None,
            unobservable_since: None,
            last: None,
            last_fail: None,
        }
    }

    /// The next instant at which this check wants something.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.pending.map(|p| p.due).into_iter().chain(self.next_slot.map(|s| s.at)).min()
    }

    /// Failing, and not (or no longer) breached: one more fail may breach it.
    pub fn at_risk(&self) -> bool {
        self.fails_consecutive > 0 && !self.is_breached()
    }

    /// Breached and not recovered since.
    pub fn is_breached(&self) -> bool {
        self.breached_at.is_some() && self.recovered_at.is_none()
    }

    /// Counts against the deploy: breached, and recovered only where recovery does not help.
    pub fn counts_as_breached(&self, check: &CheckPolicy) -> bool {
        self.breached_at.is_some() && (check.latch || self.recovered_at.is_none())
    }

    /// Takes in the next observation, in the order they were made.
    pub fn observe(&mut self, check: &CheckPolicy, plan: &Plan, seen: &Observation) {
        let slot = Slot { at: seen.slot_at, stage: plan.stage_of(seen.slot_at) };
        self.pending = None;
        if seen.confirm {
            self.extras += 1;
        } else {
            self.extras = 0;
            self.next_slot = plan.slot_after(check, slot.at);
        }
        self.last = Some(Box::new(seen.clone()));
        if seen.outcome == Outcome::Skipped {
            self.skipped += 1;
            return;
        }
        self.runs += u32::from(seen.outcome.is_conclusive());
        self.cover(slot, seen);
        if is_muted(check, seen.observed_at) {
            self.muted += 1;
            // A run of fails does not span a mute, so that one from before it is not confirmed by one after it.
            (self.fails_consecutive, self.recent) = (0, 0);
            if self.breached_at.is_none() {
                self.first_failed_at = None;
            }
            return;
        }
        match seen.outcome {
            Outcome::Pass | Outcome::Warn => self.passed(check, seen),
            Outcome::Fail => self.failed(check, plan, slot, seen),
            Outcome::Error => self.errored(check, plan, slot, seen),
            Outcome::NoData => self.inconclusive_total += 1,
            Outcome::Missed => {
                self.inconclusive_total += 1;
                self.missed += 1;
                if seen.reason == MISSED_DOWN {
                    let length = u32::try_from(plan.interval(check, slot).as_secs()).unwrap_or(u32::MAX);
                    self.missed_seconds = self.missed_seconds.saturating_add(length);
                }
            }
            Outcome::Skipped => {}
        }
    }

    fn cover(&mut self, slot: Slot, seen: &Observation) {
        let stages: &mut [&mut Coverage] = match slot.stage {
            Stage::Smoke => &mut [&mut self.whole, &mut self.smoke],
            Stage::Soak => &mut [&mut self.whole],
        };
        for coverage in stages {
            if seen.confirm { coverage.extra(seen.outcome) } else { coverage.slot(seen.outcome) }
        }
    }

    fn passed(&mut self, check: &CheckPolicy, seen: &Observation) {
        self.measured();
        self.fails_consecutive = 0;
        self.passes_consecutive += 1;
        self.recent <<= 1;
        if self.breached_at.is_none() {
            if self.fails_of_the_last(check.fail_within) == 0 {
                self.first_failed_at = None;
            }
        } else if self.recovered_at.is_none() && self.passes_consecutive >= check.recover_after.max(1) {
            self.recovered_at = Some(seen.observed_at);
            self.recent = 0;
        }
    }

    fn failed(&mut self, check: &CheckPolicy, plan: &Plan, slot: Slot, seen: &Observation) {
        self.measured();
        self.passes_consecutive = 0;
        self.last_fail = Some(Box::new(seen.clone()));
        // A carried fail is the last one seen again: nothing new was read, so it proves nothing new.
        if seen.carried {
            return;
        }
        self.fails_total += 1;
        self.fails_consecutive += 1;
        self.recent = (self.recent << 1) | 1;
        if self.breached_at.is_none() || self.recovered_at.is_some() {
            if self.fails_consecutive == 1 && self.breached_at.is_none() {
                self.first_failed_at = self.first_failed_at.or(Some(seen.observed_at));
            }
            let over_budget = check.failure_budget.is_some_and(|budget| self.fails_total > budget);
            let enough = self.fails_consecutive >= check.fail_after.max(1)
                || self.fails_of_the_last(check.fail_within) >= check.fail_after.max(1);
            if enough || over_budget {
                self.breached_at = self.breached_at.or(Some(seen.observed_at));
                self.breached_in = self.breached_in.or(Some(slot.stage));
                self.first_failed_at = self.first_failed_at.or(Some(seen.observed_at));
                self.recovered_at = None;
            } else if self.fails_consecutive == 1 {
                self.plan_extra(slot, seen.observed_at + seconds(plan.confirm_after.into()));
            }
        }
    }

    fn fails_of_the_last(&self, runs: u32) -> u32 {
        let mask = 1_u32.checked_shl(runs).map_or(u32::MAX, |bit| bit - 1);
        (self.recent & mask).count_ones()
    }

    fn errored(&mut self, check: &CheckPolicy, plan: &Plan, slot: Slot, seen: &Observation) {
        self.inconclusive_total += 1;
        self.errors_consecutive += 1;
        if self.errors_consecutive > check.error_limit && self.unobservable_since.is_none() {
            self.unobservable_since = Some(seen.observed_at);
        }
        let delay = usize::try_from(self.extras).ok().and_then(|n| RETRY_AFTER.get(n));
        if let Some(delay) = delay.filter(|_| RETRYABLE.contains(&seen.reason.as_str())) {
            let jitter = SignedDuration::from_millis(retry_jitter_ms(plan, slot, self.extras, *delay).into());
            self.plan_extra(slot, seen.observed_at + seconds((*delay).into()) + jitter);
        }
    }

    /// One conclusive sample ends being unobservable.
    fn measured(&mut self) {
        self.errors_consecutive = 0;
        self.unobservable_since = None;
    }

    /// A slot that comes no later than the extra sample takes its place.
    fn plan_extra(&mut self, slot: Slot, due: Timestamp) {
        if self.next_slot.is_none_or(|next| due < next.at) {
            self.pending = Some(Pending { slot, due });
        }
    }
}

/// Whether outcomes made at that instant count for nothing but coverage.
pub fn is_muted(check: &CheckPolicy, at: Timestamp) -> bool {
    muted_until(check, at).is_some()
}

/// When the mute ends that covers an instant; the last one where several do.
pub fn muted_until(check: &CheckPolicy, at: Timestamp) -> Option<Timestamp> {
    let in_suite = match check.mode {
        Mode::Muted { until } if at < until => Some(until),
        _ => None,
    };
    let by_hand = check.mutes.iter().filter(|mute| mute.covers(at)).map(|mute| mute.until);
    by_hand.chain(in_suite).max()
}

/// The state that a check's observations add up to, in the order they were made.
pub fn replay<'a>(
    check: &CheckPolicy,
    plan: &Plan,
    observations: impl IntoIterator<Item = &'a Observation>,
) -> CheckState {
    let mut state = CheckState::new(check, plan);
    for seen in observations {
        state.observe(check, plan, seen);
    }
    state
}

/// Whether the target as a whole can be measured, from scan to scan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetHealth {
    /// Scans in a row that brought back nothing but errors.
    pub unmeasured: u32,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// What the last of them said.
    pub message: Option<String>,
}

/// Scans in a row, or seconds, without any measurement until on-call is told.
const CANNOT_CHECK_SCANS: u32 = 3;
const CANNOT_CHECK_SECONDS: i64 = 300;

impl TargetHealth {
    /// Takes in what one scan says about the target. Slots that no scan answered say nothing about it.
    pub fn observe<'o>(&mut self, at: Timestamp, scan: impl IntoIterator<Item = &'o Observation>) {
        let mut sampled =
            scan.into_iter().filter(|o| !matches!(o.outcome, Outcome::Missed | Outcome::Skipped));
        let Some(first) = sampled.next() else { return };
        if first.outcome != Outcome::Error || sampled.any(|o| o.outcome != Outcome::Error) {
            *self = Self::default();
            return;
        }
        self.unmeasured += 1;
        self.since = self.since.or(Some(at));
        self.until = Some(at);
        self.message = Some(first.message.clone());
    }

    pub fn cannot_check(&self) -> bool {
        let length =
            self.since.zip(self.until).map_or(0, |(since, until)| until.duration_since(since).as_secs());
        self.unmeasured >= CANNOT_CHECK_SCANS || length >= CANNOT_CHECK_SECONDS
    }
}

fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{at, check, plan, seen};

    /// The minute of the breach, of a run every five minutes: `f` fails, `.` passes.
    fn breached(fail_after: u32, fail_within: u32, runs: &str) -> Option<i64> {
        let check = CheckPolicy { fail_after, fail_within, ..check("a") };
        let outcome = |c| if c == 'f' { Outcome::Fail } else { Outcome::Pass };
        let slots = (2..).map(|n| at(n * 300));
        let history: Vec<Observation> =
            runs.chars().zip(slots).map(|(c, slot)| seen("a", slot, outcome(c))).collect();
        let state = replay(&check, &plan(), &history);
        state.breached_at.map(|when| when.duration_since(at(0)).as_mins())
    }

    #[test]
    fn n_of_m_runs_breach_where_as_many_in_a_row_do_not() {
        for (fail_after, fail_within, runs, minute) in [
            (2, 0, "f.f.f.f.", None),
            (2, 3, "f.f.....", Some(20)),
            (2, 3, "f..f..f.", None),
            (3, 5, "ff..f...", Some(30)),
            (3, 5, "ff...f..", None),
            (2, 3, "ff......", Some(15)),
            (1, 3, "...f....", Some(25)),
            (32, 32, "ffffffff", None),
        ] {
            assert_eq!(
                breached(fail_after, fail_within, runs),
                minute,
                "{fail_after} of {fail_within}: {runs}"
            );
        }
    }

    #[test]
    fn a_recovery_begins_the_count_anew() {
        let check = CheckPolicy { fail_after: 2, fail_within: 5, ..check("a") };
        let mut state = CheckState::new(&check, &plan());
        for (n, fails) in [true, true, false, false, true].into_iter().enumerate() {
            let slot = at(600 + 300 * i64::try_from(n).unwrap());
            let outcome = if fails { Outcome::Fail } else { Outcome::Pass };
            state.observe(&check, &plan(), &seen("a", slot, outcome));
        }
        assert!(!state.is_breached(), "one fail after a recovery is one of five");
    }
}
