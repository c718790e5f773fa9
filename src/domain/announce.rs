//! What a change of verdict means to the people on call: signals with facts a tired person understands.

use serde::{Deserialize, Serialize};

use super::check::{CheckKey, Severity};
use super::check_state::TargetHealth;
use super::clock::{SignedDuration, Timestamp, humane, rfc3339};
use super::deploy::Deploy;
use super::incident::{DedupKey, Facts, IncidentKind, Member, Signal};
use super::observation::Outcome;
use super::verdict::{CheckStanding, Verdict, VerdictState};
use super::wording::{allowed, number, quantity};

/// What on-call was last told about a deploy; only a difference is a signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Announced {
    /// Breached and not recovered, by key.
    pub breached: Vec<CheckKey>,
    /// Of those, the ones whose last run passed: they are on their way to recovery, or come and go.
    pub passing: Vec<CheckKey>,
    pub cannot_check: bool,
    /// What nobody can know of, while the target cannot be measured.
    pub gap: Option<Gap>,
    /// The report at the window's end is out.
    pub reported: bool,
}

impl Announced {
    /// As if this had not been told yet.
    pub fn forget(&mut self, kind: IncidentKind) {
        match kind {
            IncidentKind::ChecksFailed => (self.breached, self.passing) = (Vec::new(), Vec::new()),
            IncidentKind::CannotCheck => self.cannot_check = false,
            _ => {}
        }
    }
}

/// A time without any measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub since: Timestamp,
    pub scans: u32,
}

/// How a watch ended, for the note that resolves its incidents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    WindowClosed,
    SupersededBy(String),
    Cancelled(String),
}

/// The signals of a tick: what has begun or changed, and what is over.
pub fn signals(
    deploy: &Deploy,
    verdict: &Verdict,
    target: &TargetHealth,
    before: &Announced,
    now: Timestamp,
) -> (Vec<Signal>, Announced) {
    let failing: Vec<&CheckStanding> =
        failing(verdict).into_iter().filter(|check| has_settled(deploy, check, now)).collect();
    let passes = |check: &&&CheckStanding| matches!(check.last, Some(Outcome::Pass | Outcome::Warn));
    let unknown = target.cannot_check();
    let gap = Gap { since: target.since.unwrap_or(now), scans: target.unmeasured };
    let after = Announced {
        breached: failing.iter().map(|check| check.key.clone()).collect(),
        passing: failing.iter().filter(passes).map(|check| check.key.clone()).collect(),
        cannot_check: unknown,
        gap: unknown.then_some(gap),
        reported: before.reported,
    };
    let mut signals = Vec::new();
    if after.breached != before.breached {
        let key = key(deploy, IncidentKind::ChecksFailed);
        signals.push(if failing.is_empty() {
            let note = recovery_note(verdict, &before.breached);
            Signal::Cleared { key, at: now, note }
        } else {
            Signal::Firing { key, at: now, facts: checks_failed(deploy, verdict, &failing, now) }
        });
    } else if after.passing != before.passing {
        signals.push(Signal::Wavered { key: key(deploy, IncidentKind::ChecksFailed), at: now });
    }
    if after.cannot_check != before.cannot_check {
        let key = key(deploy, IncidentKind::CannotCheck);
        signals.push(if after.cannot_check {
            Signal::Firing { key, at: now, facts: cannot_check(deploy, target, now) }
        } else {
            Signal::Cleared { key, at: now, note: measured_again(before.gap, now) }
        });
    }
    (signals, after)
}

/// The signals at the end of a watch: its incidents are closed, and what it came to is reported once.
pub fn at_end(
    deploy: &Deploy,
    verdict: &Verdict,
    before: &Announced,
    end: &End,
    now: Timestamp,
) -> (Vec<Signal>, Announced) {
    let over = |kind| {
        let (key, at) = (key(deploy, kind), now);
        match end {
            End::WindowClosed => Signal::Cleared { key, at, note: "the window is over".to_owned() },
            End::SupersededBy(version) => Signal::Superseded { key, at, by: version.clone() },
            End::Cancelled(reason) => {
                Signal::Cleared { key, at, note: format!("the deploy was cancelled: {reason}") }
            }
        }
    };
    let mut signals = Vec::new();
    let mut after = Announced { reported: true, ..before.clone() };
    // What still fails at the end of a window stays open: nothing has shown that it is over.
    if !before.breached.is_empty() && *end != End::WindowClosed {
        signals.push(over(IncidentKind::ChecksFailed));
        after.breached.clear();
        after.passing.clear();
    }
    if before.cannot_check {
        signals.push(over(IncidentKind::CannotCheck));
        after.cannot_check = false;
        after.gap = None;
    }
    if !before.reported && !matches!(end, End::Cancelled(_)) {
        signals.push(Signal::Report {
            environment: deploy.environment.clone(),
            scope: deploy.id.as_str().to_owned(),
            at: now,
            facts: report(deploy, verdict, end, now),
        });
    }
    (signals, after)
}

/// Says that a window has opened, and proves to whoever reads it that mails arrive.
pub fn armed(deploy: &Deploy, checks: usize, now: Timestamp) -> Signal {
    let length = humane(SignedDuration::from_secs(deploy.plan.window_seconds.into()));
    let baseline = match deploy.baseline_at {
        Some(_) => "compared with the baseline taken before it",
        None => "without a baseline, so that nothing is compared",
    };
    Signal::Report {
        environment: deploy.environment.clone(),
        scope: format!("armed/{}", deploy.id),
        at: now,
        facts: Facts {
            severity: Severity::Info,
            label: "ARMED".to_owned(),
            subject: subject(deploy),
            headline: format!(
                "Deploy {} in {} is watched for {length} from now: {checks} checks, {baseline}",
                deploy.label(),
                deploy.environment
            ),
            since: now,
            next_steps: vec!["Nothing: you hear from us when something is wrong, and at the end".to_owned()],
            context: context(deploy, None),
            members: Vec::new(),
        },
    }
}

/// Time since the window opened, as on a launch clock: `T+00:07`.
pub fn since_deploy(deploy: &Deploy, at: Timestamp) -> String {
    let from = deploy.finished_at.unwrap_or(deploy.started_at);
    let minutes = at.duration_since(from).as_mins().max(0);
    format!("T+{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Breached, not recovered, and of a severity that somebody should hear of; the worst first.
fn failing(verdict: &Verdict) -> Vec<&CheckStanding> {
    let mut failing: Vec<&CheckStanding> = verdict
        .checks
        .iter()
        .filter(|c| c.enforced && c.breached && !c.recovered && c.severity != Severity::Info)
        .collect();
    failing.sort_by(|a, b| (a.severity, &a.key).cmp(&(b.severity, &b.key)));
    failing
}

/// A check may be given time to settle after a deploy: until then it is shown and nobody is told.
fn has_settled(deploy: &Deploy, check: &CheckStanding, now: Timestamp) -> bool {
    let settle = SignedDuration::from_secs(check.settle.into());
    deploy.finished_at.is_none_or(|from| now.duration_since(from) >= settle)
}

/// What the hole in the record means for whoever reads that it is over.
fn measured_again(gap: Option<Gap>, now: Timestamp) -> String {
    let Some(gap) = gap else { return "the database can be measured again".into() };
    format!(
        "the database can be measured again; the gap: nothing is known of the {} from {} to {}, {} scans in a row \
         brought nothing",
        humane(now.duration_since(gap.since)),
        rfc3339(gap.since),
        rfc3339(now),
        gap.scans
    )
}

/// The incident of a deploy.
pub fn key(deploy: &Deploy, kind: IncidentKind) -> DedupKey {
    DedupKey { environment: deploy.environment.clone(), scope: deploy.id.as_str().to_owned(), kind }
}

fn checks_failed(deploy: &Deploy, verdict: &Verdict, failing: &[&CheckStanding], now: Timestamp) -> Facts {
    let since = failing.iter().filter_map(|c| c.first_failed_at).min().unwrap_or(now);
    let worst = failing.iter().map(|c| c.severity).min().unwrap_or(Severity::Warning);
    let when = since_deploy(deploy, since);
    let place = format!("deploy {} in {}", deploy.label(), deploy.environment);
    let headline = match failing {
        [one] => format!("{}: {}, since {when} of {place}", one.title, one.message),
        many => format!("{} checks fail since {when} of {place}", many.len()),
    };
    let critical = worst == Severity::Critical;
    let mut next_steps = Vec::new();
    if let Some(runbook) = failing.iter().find_map(|c| c.runbook.as_ref()) {
        next_steps.push(format!("Follow the runbook: {runbook}"));
    }
    if critical {
        next_steps.push(format!(
            "Decide: roll {} back, or fix forward; the gate stops further releases until then",
            deploy.label()
        ));
        next_steps.push(format!(
            "If it is not a problem, say so: `deploywatch deploy override {} --verdict passed --reason WHY`",
            deploy.id
        ));
    } else {
        next_steps.push("Look at it today; a warning does not stop the gate".to_owned());
    }
    Facts {
        severity: worst,
        label: if critical { "FAIL" } else { "WARN" }.to_owned(),
        subject: subject(deploy),
        headline,
        since,
        next_steps,
        context: context(deploy, Some(verdict)),
        members: failing.iter().map(|check| member(check, since)).collect(),
    }
}

fn cannot_check(deploy: &Deploy, target: &TargetHealth, now: Timestamp) -> Facts {
    let since = target.since.unwrap_or(now);
    let because = target.message.as_deref().unwrap_or("no scan could be made");
    Facts {
        severity: Severity::Critical,
        label: "CANNOT CHECK".to_owned(),
        subject: subject(deploy),
        headline: format!(
            "The database of {} cannot be measured since {} of deploy {}: {because}",
            deploy.environment,
            since_deploy(deploy, since),
            deploy.label()
        ),
        since,
        next_steps: vec![
            "See whether the database is up and takes connections from here".to_owned(),
            "If it is up, `deploywatch doctor` says whether our role, its password or the network has changed"
                .to_owned(),
            "Nothing is known of its data meanwhile, so that the deploy is neither good nor bad".to_owned(),
            "Until then no mail tells of single checks; those that need no database go on, on the deploy's page"
                .to_owned(),
        ],
        context: context(deploy, None),
        members: Vec::new(),
    }
}

fn report(deploy: &Deploy, verdict: &Verdict, end: &End, now: Timestamp) -> Facts {
    let length = humane(SignedDuration::from_secs(deploy.plan.window_seconds.into())).replace(' ', "");
    let length = if deploy.plan.window_seconds == 86_400 { "24h".to_owned() } else { length };
    let place = format!("Deploy {} in {}", deploy.label(), deploy.environment);
    let watched = deploy.finished_at.map_or(SignedDuration::ZERO, |from| now.duration_since(from));
    let watched = humane(watched);
    let (label, headline, next_steps) = match verdict.state {
        // A window that was cut short is not one of 24 hours; what still fails is the newer deploy's.
        VerdictState::Failed if matches!(end, End::SupersededBy(_)) => (
            "SUPERSEDED".to_owned(),
            format!(
                "{place} had failed when {} took over after {watched}: {}",
                newer(end),
                first_reason(verdict)
            ),
            Vec::new(),
        ),
        VerdictState::Passed => (
            format!("PASSED {length}"),
            format!("{place} is good: {} checks, watched for {watched}", verdict.counts.checks),
            Vec::new(),
        ),
        VerdictState::PassedWithWarnings => (
            format!("PASSED {length} WITH WARNINGS"),
            format!("{place} passed with warnings after {watched}: {}", first_reason(verdict)),
            vec!["Look at the warnings; they do not stop the gate".to_owned()],
        ),
        VerdictState::Failed => (
            format!("FAILED {length}"),
            format!("{place} has failed, and its window is over: {}", first_reason(verdict)),
            vec!["See that it was rolled back or fixed forward".to_owned()],
        ),
        VerdictState::Superseded => (
            "SUPERSEDED".to_owned(),
            format!(
                "{place} was watched for {watched} until {} took over; it was {} so far",
                newer(end),
                verdict.provisional.map_or("not judged", |p| p.as_str())
            ),
            Vec::new(),
        ),
        _ => (
            "INCONCLUSIVE".to_owned(),
            format!("{place} cannot be called good or bad after {watched}: {}", first_reason(verdict)),
            vec![
                "See why the checks could not be measured".to_owned(),
                format!("Verify it again: `deploywatch deploy reverify {}`", deploy.id),
            ],
        ),
    };
    Facts {
        severity: Severity::Info,
        label,
        subject: subject(deploy),
        headline,
        since: deploy.finished_at.unwrap_or(deploy.started_at),
        next_steps,
        context: context(deploy, Some(verdict)),
        members: failing(verdict).into_iter().map(|check| member(check, now)).collect(),
    }
}

fn newer(end: &End) -> &str {
    if let End::SupersededBy(version) = end { version } else { "a newer deploy" }
}

fn first_reason(verdict: &Verdict) -> &str {
    verdict.reasons.first().map_or("no reason was recorded", |reason| &reason.message)
}

fn recovery_note(verdict: &Verdict, was: &[CheckKey]) -> String {
    let names: Vec<&str> =
        verdict.checks.iter().filter(|c| was.contains(&c.key)).map(|c| c.title.as_str()).collect();
    let latched = if verdict.state == VerdictState::Failed { "; the verdict stays failed" } else { "" };
    format!("recovered by itself: {}{latched}", names.join(", "))
}

fn subject(deploy: &Deploy) -> String {
    format!("{} deploy {}", deploy.environment, deploy.label())
}

fn context(deploy: &Deploy, verdict: Option<&Verdict>) -> Vec<(String, String)> {
    let mut lines =
        vec![("Environment".to_owned(), deploy.environment.clone()), ("Version".to_owned(), deploy.label())];
    let mut add = |label: &str, value: Option<String>| {
        lines.extend(value.map(|value| (label.to_owned(), value)));
    };
    add("Commit", deploy.commit.clone());
    add("Announced by", deploy.actor.clone());
    add("Run", deploy.link.clone());
    add("Deployed", deploy.finished_at.map(rfc3339));
    add("Baseline taken", deploy.baseline_at.map(rfc3339));
    if let Some(verdict) = verdict {
        let counts = verdict.counts;
        add("Checks", Some(format!("{} of {} pass", counts.pass, counts.checks)));
        add("Coverage", Some(format!("{:.0} %", verdict.coverage * 100.0)));
    }
    add("Deploy", Some(deploy.id.to_string()));
    lines
}

fn member(check: &CheckStanding, since: Timestamp) -> Member {
    let said = |value: Option<f64>| value.map(|value| quantity(value, check.unit));
    let change = check.value.zip(check.baseline).map(|(now, then)| now - then).filter(|by| *by != 0.0);
    Member {
        key: check.key.as_str().to_owned(),
        title: check.title.clone(),
        severity: check.severity,
        // A threshold says when a check fails, so what is expected is what it allows.
        expected: check.threshold.as_deref().map_or_else(String::new, allowed),
        observed: said(check.value).unwrap_or_else(|| "no value".to_owned()),
        baseline: said(check.baseline),
        change: change.map(|by| format!("{}{}", if by > 0.0 { "+" } else { "-" }, number(by.abs()))),
        first_seen_at: check.first_failed_at.unwrap_or(since),
        count: check.fails,
        runs: check.runs,
        message: check.message.clone(),
        runbook: check.runbook.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::CheckPolicy;
    use crate::domain::check_state::{CheckState, replay};
    use crate::domain::fixtures::{at, check, deploy, plan, seen};
    use crate::domain::observation::Observation;
    use crate::domain::verdict::{Assessed, fold};

    fn told(observations: &[Observation], before: &Announced) -> (Vec<Signal>, Announced) {
        let (deploy, check) = (deploy(plan()), check("users.not_null.email"));
        let state: CheckState = replay(&check, &plan(), observations);
        let now = observations.last().map_or(at(0), |o| o.observed_at);
        let checks = [Assessed { policy: &check, state: &state }];
        let verdict = fold(&deploy, &checks, &TargetHealth::default(), now);
        signals(&deploy, &verdict, &TargetHealth::default(), before, now)
    }

    #[test]
    fn a_breach_is_told_once_and_its_recovery_once() {
        let mut history: Vec<Observation> =
            [(390, Outcome::Pass), (420, Outcome::Fail), (450, Outcome::Fail)]
                .map(|(t, outcome)| seen("users.not_null.email", at(t), outcome))
                .into();
        let (nothing, quiet) = told(&history[..2], &Announced::default());
        assert!(nothing.is_empty(), "one fail is not yet a breach");
        let (fired, after) = told(&history, &quiet);
        let [Signal::Firing { facts, .. }] = fired.as_slice() else { panic!("{fired:?}") };
        assert_eq!((facts.label.as_str(), facts.members.len()), ("FAIL", 1));
        assert!(facts.headline.contains("T+00:07"), "{}", facts.headline);
        assert_eq!((facts.members[0].count, facts.members[0].runs), (2, 3));
        assert!(facts.next_steps.iter().any(|step| step.contains("deploywatch deploy override")));
        assert_eq!(told(&history, &after).0, [], "the same is not told twice");
        let mut forgotten = after.clone();
        forgotten.forget(IncidentKind::ChecksFailed);
        assert!(matches!(told(&history, &forgotten).0.as_slice(), [Signal::Firing { .. }]));
        for t in [480, 510] {
            history.push(seen("users.not_null.email", at(t), Outcome::Pass));
        }
        let (cleared, after) = told(&history, &after);
        let [Signal::Cleared { note, .. }] = cleared.as_slice() else { panic!("{cleared:?}") };
        assert!(note.contains("the verdict stays failed"), "{note}");
        assert_eq!(after, Announced::default());
    }

    #[test]
    fn a_check_that_has_not_settled_is_not_told() {
        let deploy = deploy(plan());
        let check = CheckPolicy { settle: 900, ..check("orders.freshness") };
        let mut history = Vec::new();
        let mut before = Announced::default();
        for (t, told) in [(300, false), (600, false), (870, false), (900, true)] {
            history.push(seen("orders.freshness", at(t), Outcome::Fail));
            let state = replay(&check, &plan(), &history);
            let checks = [Assessed { policy: &check, state: &state }];
            let verdict = fold(&deploy, &checks, &TargetHealth::default(), at(t));
            let (signals, after) = signals(&deploy, &verdict, &TargetHealth::default(), &before, at(t));
            assert_eq!(!signals.is_empty(), told, "{t}: {signals:?}");
            before = after;
        }
    }

    #[test]
    fn a_breached_check_that_passes_for_a_moment_wavers() {
        let mut history: Vec<Observation> =
            [300, 600].map(|t| seen("users.not_null.email", at(t), Outcome::Fail)).into();
        let (_, mut before) = told(&history, &Announced::default());
        for (t, outcome) in [(900, Outcome::Pass), (1200, Outcome::Fail), (1500, Outcome::Pass)] {
            history.push(seen("users.not_null.email", at(t), outcome));
            let (signals, after) = told(&history, &before);
            assert!(matches!(signals.as_slice(), [Signal::Wavered { .. }]), "{signals:?}");
            before = after;
        }
    }

    #[test]
    fn the_end_of_an_outage_tells_the_gap() {
        let (deploy, check) = (deploy(plan()), check("a"));
        let state = replay(&check, &plan(), &[]);
        let checks = [Assessed { policy: &check, state: &state }];
        let mut target = TargetHealth::default();
        let mut before = Announced::default();
        for t in [600, 900, 1200] {
            target.observe(at(t), &[seen("a", at(t), Outcome::Error)]);
            let verdict = fold(&deploy, &checks, &target, at(t));
            before = signals(&deploy, &verdict, &target, &before, at(t)).1;
        }
        assert_eq!(before.gap, Some(Gap { since: at(600), scans: 3 }));
        let target = TargetHealth::default();
        let verdict = fold(&deploy, &checks, &target, at(1500));
        let (signals, after) = signals(&deploy, &verdict, &target, &before, at(1500));
        let [Signal::Cleared { note, .. }] = signals.as_slice() else { panic!("{signals:?}") };
        assert!(note.contains("15 min") && note.contains("3 scans"), "{note}");
        assert_eq!(after.gap, None);
    }

    #[test]
    fn the_end_of_a_window_is_reported_once() {
        let (deploy, check) = (deploy(plan()), check("a"));
        let history: Vec<Observation> =
            plan().slots(&check).map(|slot| seen("a", slot.at, Outcome::Pass)).collect();
        let state = replay(&check, &plan(), &history);
        let checks = [Assessed { policy: &check, state: &state }];
        let verdict = fold(&deploy, &checks, &TargetHealth::default(), at(86_401));
        let before = Announced { cannot_check: true, ..Announced::default() };
        let (signals, after) = at_end(&deploy, &verdict, &before, &End::WindowClosed, at(86_401));
        let [Signal::Cleared { .. }, Signal::Report { facts, .. }] = signals.as_slice() else {
            panic!("{signals:?}")
        };
        assert_eq!(facts.label, "PASSED 24h");
        assert_eq!(at_end(&deploy, &verdict, &after, &End::WindowClosed, at(86_402)).0, []);
    }
}
