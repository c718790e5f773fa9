//! The verdict: a fold over what the observations of each check add up to. Could-not-measure is neither
//! healthy nor a failure, and nothing measured never passes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::check::{CheckKey, CheckPolicy, Mode, Severity, Stage};
use super::check_state::{CheckState, Coverage, TargetHealth, is_muted, muted_until, replay};
use super::clock::Timestamp;
use super::deploy::{Deploy, DeployState};
use super::measurement::Unit;
use super::observation::{Observation, Outcome};
use super::signal::is_beside;

/// What the evidence says so far, or in the end.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum VerdictState {
    Deploying,
    Verifying,
    Passed,
    PassedWithWarnings,
    Inconclusive,
    Failed,
    Superseded,
    Cancelled,
}

impl VerdictState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Verifying => "verifying",
            Self::Passed => "passed",
            Self::PassedWithWarnings => "passed_with_warnings",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn is_passed(self) -> bool {
        matches!(self, Self::Passed | Self::PassedWithWarnings)
    }
}

/// Where a deploy stands while it is still verifying. The later one wins.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Provisional {
    Clean,
    Warnings,
    /// Failing, below `fail_after`.
    AtRisk,
    Unobservable,
}

impl Provisional {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Warnings => "warnings",
            Self::AtRisk => "at_risk",
            Self::Unobservable => "unobservable",
        }
    }
}

/// What is known about a deploy at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub state: VerdictState,
    /// While verifying, and what it was when a newer deploy took over.
    pub provisional: Option<Provisional>,
    /// The smoke stage by itself: verifying, passed, passed_with_warnings, inconclusive or failed.
    pub smoke: VerdictState,
    pub stage: Stage,
    /// Good enough to be a reference for later deploys.
    pub clean: bool,
    /// The lowest coverage of a check that counts, 0 to 1.
    pub coverage: f64,
    pub counts: Counts,
    /// The same of the checks in shadow, which decide nothing and are counted nowhere else.
    #[serde(default)]
    pub shadow: Counts,
    /// Why it is so, most important first, a sentence each.
    pub reasons: Vec<Reason>,
    pub checks: Vec<CheckStanding>,
}

/// How many checks stand where, by their last observation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub checks: u32,
    pub pass: u32,
    pub warn: u32,
    pub fail: u32,
    pub error: u32,
    pub no_data: u32,
    pub missed: u32,
    pub skipped: u32,
}

/// One reason for a verdict: a stable word, the check it speaks of, a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub code: String,
    pub check: Option<CheckKey>,
    pub message: String,
}

/// One check's part in a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckStanding {
    pub key: CheckKey,
    pub title: String,
    pub severity: Severity,
    /// Enforced, or only watched (shadow, muted).
    pub enforced: bool,
    pub last: Option<Outcome>,
    pub breached: bool,
    pub recovered: bool,
    pub unobservable: bool,
    pub planned: u32,
    pub conclusive: u32,
    pub fails: u32,
    /// Conclusive samples, extra ones included: `fails` of `runs` failed.
    #[serde(default)]
    pub runs: u32,
    pub value: Option<f64>,
    pub unit: Unit,
    pub baseline: Option<f64>,
    pub threshold: Option<String>,
    pub reason: String,
    pub message: String,
    pub first_failed_at: Option<Timestamp>,
    /// It counts for nothing but coverage until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    pub runbook: Option<String>,
    /// Seconds after the deploy within which a failure is shown and not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub settle: u32,
    /// To rerun by hand, while it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// One check with what it adds up to.
#[derive(Debug, Clone, Copy)]
pub struct Assessed<'a> {
    pub policy: &'a CheckPolicy,
    pub state: &'a CheckState,
}

/// Ordered: the worst of all checks is the verdict, never the last one written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Passed,
    Warnings,
    Inconclusive,
    Failed,
}

impl Grade {
    fn verdict(self) -> VerdictState {
        match self {
            Self::Passed => VerdictState::Passed,
            Self::Warnings => VerdictState::PassedWithWarnings,
            Self::Inconclusive => VerdictState::Inconclusive,
            Self::Failed => VerdictState::Failed,
        }
    }
}

/// The verdict on a deploy at `now`, from the states of its checks.
pub fn fold(deploy: &Deploy, checks: &[Assessed<'_>], target: &TargetHealth, now: Timestamp) -> Verdict {
    let smoke_over = stage_over(deploy, checks, Stage::Smoke, now);
    let window_over = stage_over(deploy, checks, Stage::Soak, now);
    let (smoke_grade, _) = grade(checks, Stage::Smoke, smoke_over, now);
    let (soak_grade, mut reasons) = grade(checks, Stage::Soak, window_over, now);
    let smoke = if smoke_over || smoke_grade == Grade::Failed {
        smoke_grade.verdict()
    } else {
        VerdictState::Verifying
    };
    // Overall is the worst stage; a smoke stage that is not over says nothing yet.
    let overall = if smoke_over { soak_grade.max(smoke_grade) } else { soak_grade };
    if window_over && smoke_grade == Grade::Inconclusive && soak_grade < Grade::Inconclusive {
        reasons.extend(grade(checks, Stage::Smoke, true, now).1);
    }
    let provisional = provisional(checks, target, now);
    if provisional == Provisional::Unobservable && target.cannot_check() {
        let because = target.message.as_deref().unwrap_or("nothing could be measured");
        reasons.insert(0, reason("cannot_check", None, format!("the target cannot be measured: {because}")));
    }
    let coverage = coverage(checks);
    let open = if overall == Grade::Failed {
        VerdictState::Failed
    } else if window_over {
        overall.verdict()
    } else {
        VerdictState::Verifying
    };
    // A deploy that already failed stays failed, whatever ended it.
    let state = match &deploy.state {
        _ if overall == Grade::Failed && deploy.finished_at.is_some() => VerdictState::Failed,
        DeployState::Deploying => VerdictState::Deploying,
        DeployState::Verifying | DeployState::Closed { .. } => open,
        DeployState::Superseded { .. } => VerdictState::Superseded,
        DeployState::Cancelled { .. } => VerdictState::Cancelled,
    };
    let superseded_clean = state == VerdictState::Superseded
        && smoke.is_passed()
        && provisional == Provisional::Clean
        && checks.iter().filter(|c| c.counts()).all(|c| c.state.whole.ratio() >= c.policy.min_coverage);
    Verdict {
        state,
        provisional: matches!(state, VerdictState::Verifying | VerdictState::Superseded)
            .then_some(provisional),
        smoke,
        stage: if smoke_over { Stage::Soak } else { Stage::Smoke },
        clean: state.is_passed() || superseded_clean,
        coverage,
        counts: counts(checks.iter().filter(|c| c.policy.mode != Mode::Shadow)),
        shadow: counts(checks.iter().filter(|c| c.policy.mode == Mode::Shadow)),
        reasons,
        checks: checks.iter().map(|c| standing(c, now)).collect(),
    }
}

/// The same verdict from the observations alone, in the order they were made: `scans` holds what each
/// scan brought, with its instant.
pub fn replay_verdict(
    deploy: &Deploy,
    policies: &[CheckPolicy],
    scans: &[(Timestamp, Vec<Observation>)],
    now: Timestamp,
) -> Verdict {
    let states: Vec<CheckState> = policies
        .iter()
        .map(|policy| {
            let own = scans.iter().flat_map(|(_, seen)| seen).filter(|seen| seen.key == policy.key);
            replay(policy, &deploy.plan, own)
        })
        .collect();
    let mut target = TargetHealth::default();
    let beside: BTreeSet<&CheckKey> =
        policies.iter().filter(|policy| is_beside(&policy.kind)).map(|policy| &policy.key).collect();
    for (at, seen) in scans {
        target.observe(*at, seen.iter().filter(|seen| !beside.contains(&seen.key)));
    }
    let checks: Vec<Assessed<'_>> =
        policies.iter().zip(&states).map(|(policy, state)| Assessed { policy, state }).collect();
    fold(deploy, &checks, &target, now)
}

/// Whether every slot of a stage is answered. Smoke may be over a little before its time, when its last slot
/// is; it is not over while a critical check has failed and waits to be confirmed. What could not be measured
/// is tried again after smoke's time too, but smoke does not wait for that: a measurement that comes then
/// still answers its slot.
pub fn stage_over(deploy: &Deploy, checks: &[Assessed<'_>], stage: Stage, now: Timestamp) -> bool {
    let end = match stage {
        Stage::Smoke => deploy.smoke_ends_at(),
        Stage::Soak => deploy.ends_at(),
    };
    let Some(end) = end else { return false };
    let open = |check: &Assessed<'_>| {
        let state = check.state;
        let slots_left = state.next_slot.is_some_and(|slot| slot.stage <= stage);
        let awaited = stage == Stage::Soak || now < end || state.at_risk();
        let extra_left = awaited && state.pending.is_some_and(|extra| extra.slot.stage <= stage);
        let undecided = stage == Stage::Smoke
            && now < end + check_patience(deploy)
            && check.is_critical()
            && check.is_enforced(now)
            && state.at_risk();
        slots_left || extra_left || undecided
    };
    let planned = checks.iter().any(|check| match stage {
        Stage::Smoke => check.state.smoke.planned > 0,
        Stage::Soak => check.state.whole.planned > 0,
    });
    !checks.iter().any(open) && (now >= end || (planned && stage == Stage::Smoke))
}

/// The seconds that went unwatched, where coverage is short for no other reason than that we were down.
pub fn short_for_downtime(checks: &[Assessed<'_>]) -> Option<u32> {
    let short: Vec<&Assessed<'_>> =
        checks.iter().filter(|c| c.counts() && short_coverage(c, c.state.whole).is_some()).collect();
    let only_missed = |check: &&Assessed<'_>| {
        let (state, coverage) = (check.state, check.state.whole);
        let there = Coverage { conclusive: coverage.conclusive + state.missed, ..coverage };
        let last = coverage.last.is_some_and(|last| last.is_conclusive() || last == Outcome::Missed);
        state.missed_seconds > 0 && last && there.ratio() >= check.policy.min_coverage
    };
    let seconds = short.iter().map(|c| c.state.missed_seconds).max()?;
    short.iter().all(only_missed).then_some(seconds)
}

/// How long after its end a smoke stage waits for a failing check to be decided by its next slot.
fn check_patience(deploy: &Deploy) -> super::clock::SignedDuration {
    super::clock::SignedDuration::from_secs(i64::from(deploy.plan.soak_every) + 60)
}

impl Assessed<'_> {
    fn is_critical(&self) -> bool {
        self.policy.severity == Severity::Critical
    }

    fn is_enforced(&self, now: Timestamp) -> bool {
        self.policy.mode != Mode::Shadow && !is_muted(self.policy, now)
    }

    /// Whether its coverage decides: critical ones, and those that never could be measured at all, unless
    /// their `min_coverage` of 0 says that nobody minds.
    fn counts(&self) -> bool {
        let never = self.state.whole.conclusive == 0
            && self.policy.severity == Severity::Warning
            && self.policy.min_coverage > 0.0;
        self.policy.mode != Mode::Shadow && (self.is_critical() || never)
    }
}

fn grade(checks: &[Assessed<'_>], stage: Stage, over: bool, now: Timestamp) -> (Grade, Vec<Reason>) {
    let mut found: Vec<(Grade, Reason)> =
        checks.iter().flat_map(|check| grade_check(check, stage, over, now)).collect();
    if over {
        let enforced = || checks.iter().filter(|c| c.is_enforced(now));
        let conclusive: u32 = enforced().map(|c| cover(c, stage).conclusive).sum();
        let nothing = match (enforced().count(), conclusive) {
            (0, _) => {
                Some(("no_checks", "no enforced check was selected, so nothing vouches for this deploy"))
            }
            (_, 0) => Some(("nothing_measured", "not one check could be measured")),
            _ => None,
        };
        found
            .extend(nothing.map(|(code, message)| (Grade::Inconclusive, reason(code, None, message.into()))));
    }
    found.sort_by_key(|(grade, _)| std::cmp::Reverse(*grade));
    let worst = found.first().map_or(Grade::Passed, |(grade, _)| *grade);
    (worst, found.into_iter().map(|(_, reason)| reason).collect())
}

fn grade_check(check: &Assessed<'_>, stage: Stage, over: bool, now: Timestamp) -> Vec<(Grade, Reason)> {
    let (policy, state) = (check.policy, check.state);
    if policy.mode == Mode::Shadow || policy.severity == Severity::Info {
        return Vec::new();
    }
    let say = |code: &str, message: String| reason(code, Some(policy.key.clone()), message);
    let mut found = Vec::new();
    if check.is_critical() && (state.muted > 0 || is_muted(policy, now)) {
        found.push((Grade::Warnings, say("muted", format!("{} is critical and was muted", policy.name()))));
    }
    let in_stage = stage == Stage::Soak || state.breached_in == Some(Stage::Smoke);
    if in_stage && state.counts_as_breached(policy) {
        let message = state.last_fail.as_ref().map_or_else(String::new, |o| o.message.clone());
        let grade = if check.is_critical() { Grade::Failed } else { Grade::Warnings };
        found.push((grade, say("breached", format!("{}: {message}", policy.name()))));
    } else if in_stage && state.breached_at.is_some() {
        found.push((Grade::Warnings, say("recovered", format!("{} failed and recovered", policy.name()))));
    }
    let coverage = cover(check, stage);
    if over && check.counts() {
        found.extend(
            short_coverage(check, coverage).map(|(code, text)| (Grade::Inconclusive, say(code, text))),
        );
        if stage == Stage::Soak && state.at_risk() && check.is_critical() {
            let text = format!("{} was failing when the window ended, not yet confirmed", policy.name());
            found.push((Grade::Inconclusive, say("unconfirmed", text)));
        }
    }
    if coverage.last == Some(Outcome::Warn) {
        let message = state.last.as_ref().map_or_else(String::new, |o| o.message.clone());
        found.push((Grade::Warnings, say("warning", format!("{}: {message}", policy.name()))));
    }
    if skipped_for_want_of_a_baseline(state) {
        let text = format!("{} compares with a baseline and this deploy has none", policy.name());
        found.push((Grade::Warnings, say("no_baseline", text)));
    }
    found
}

fn short_coverage(check: &Assessed<'_>, coverage: Coverage) -> Option<(&'static str, String)> {
    if coverage.planned == 0 {
        return None;
    }
    let (name, needed) = (check.policy.name(), check.policy.min_coverage);
    if coverage.ratio() < needed || coverage.conclusive == 0 {
        let text = format!(
            "{name} was measured in {} of {} slots ({:.0} %, {:.0} % are needed)",
            coverage.conclusive,
            coverage.planned,
            coverage.ratio() * 100.0,
            needed * 100.0
        );
        return Some(("coverage", text));
    }
    let last = coverage.last.filter(|last| !last.is_conclusive())?;
    Some(("last_slot", format!("the last slot of {name} is {}, so its end is not known", last.as_str())))
}

fn cover(check: &Assessed<'_>, stage: Stage) -> Coverage {
    match stage {
        Stage::Smoke => check.state.smoke,
        Stage::Soak => check.state.whole,
    }
}

fn skipped_for_want_of_a_baseline(state: &CheckState) -> bool {
    state.last.as_ref().is_some_and(|last| last.reason == "skipped.no_baseline")
}

fn provisional(checks: &[Assessed<'_>], target: &TargetHealth, now: Timestamp) -> Provisional {
    let of = |check: &Assessed<'_>| {
        let (policy, state) = (check.policy, check.state);
        let warned = state.last.as_ref().is_some_and(|last| last.outcome == Outcome::Warn);
        match policy.severity {
            _ if policy.mode == Mode::Shadow => Provisional::Clean,
            Severity::Critical if is_muted(policy, now) => Provisional::Warnings,
            Severity::Critical if state.unobservable_since.is_some() => Provisional::Unobservable,
            Severity::Critical if state.at_risk() => Provisional::AtRisk,
            Severity::Critical | Severity::Warning
                if warned
                    || state.breached_at.is_some()
                    || state.unobservable_since.is_some()
                    || skipped_for_want_of_a_baseline(state) =>
            {
                Provisional::Warnings
            }
            _ => Provisional::Clean,
        }
    };
    let worst = checks.iter().map(of).max().unwrap_or(Provisional::Clean);
    if target.cannot_check() { Provisional::Unobservable } else { worst }
}

fn coverage(checks: &[Assessed<'_>]) -> f64 {
    let lowest = checks.iter().filter(|c| c.counts()).map(|c| c.state.whole.ratio()).fold(1.0, f64::min);
    // Four digits are all that anybody reads, and they come back from JSON as they went in.
    (lowest * 10_000.0).floor() / 10_000.0
}

fn counts<'a, 'c: 'a>(checks: impl Iterator<Item = &'a Assessed<'c>>) -> Counts {
    let mut counts = Counts::default();
    for check in checks {
        counts.checks += 1;
        let slot = match check.state.last.as_ref().map(|last| last.outcome) {
            Some(Outcome::Pass) => &mut counts.pass,
            Some(Outcome::Warn) => &mut counts.warn,
            Some(Outcome::Fail) => &mut counts.fail,
            Some(Outcome::Error) => &mut counts.error,
            Some(Outcome::NoData) => &mut counts.no_data,
            Some(Outcome::Missed) => &mut counts.missed,
            Some(Outcome::Skipped) => &mut counts.skipped,
            None => continue,
        };
        *slot += 1;
    }
    counts
}

fn standing(check: &Assessed<'_>, now: Timestamp) -> CheckStanding {
    let (policy, state) = (check.policy, check.state);
    let failing = state.counts_as_breached(policy) || state.at_risk();
    // A check that counts as failing is shown with the numbers of its last fail, not of a later error.
    let shown = if failing { state.last_fail.as_ref() } else { state.last.as_ref() };
    CheckStanding {
        key: policy.key.clone(),
        title: policy.name().to_owned(),
        severity: policy.severity,
        enforced: check.is_enforced(now),
        last: state.last.as_ref().map(|last| last.outcome),
        breached: state.breached_at.is_some(),
        recovered: state.recovered_at.is_some(),
        unobservable: state.unobservable_since.is_some(),
        planned: state.whole.planned,
        conclusive: state.whole.conclusive,
        fails: state.fails_total,
        runs: state.runs,
        value: shown.and_then(|o| o.value),
        unit: shown.map(|o| o.unit).unwrap_or_default(),
        baseline: shown.and_then(|o| o.baseline),
        threshold: shown.and_then(|o| o.threshold.clone()),
        reason: shown.map(|o| o.reason.clone()).unwrap_or_default(),
        message: shown.map(|o| o.message.clone()).unwrap_or_default(),
        first_failed_at: state.first_failed_at,
        muted_until: muted_until(policy, now),
        runbook: policy.runbook.clone(),
        settle: policy.settle,
        statement: shown.filter(|_| failing).and_then(|o| o.statement.clone()),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn reason(code: &str, check: Option<CheckKey>, message: String) -> Reason {
    Reason { code: code.to_owned(), check, message }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
