//! The current deploy of an environment: the verdict in big words, what CI is told, each check with its runs.

use std::collections::{BTreeMap, HashMap};

use super::times;
use super::view::{Badge, Card, CheckRow, Fact, LinkRow, WindowBar};
use super::words::{counted, is_web, sentence};
use super::{bars, view};
use crate::domain::attribution::{self, Suspect};
use crate::domain::check::{CheckKey, Severity};
use crate::domain::clock::{SignedDuration, Timestamp, humane};
use crate::domain::deploy::{Deploy, DeployState, Override};
use crate::domain::gate::{self, GateAnswer};
use crate::domain::measurement::Unit;
use crate::domain::observation::{Observation, Outcome};
use crate::domain::verdict::{CheckStanding, Provisional, Verdict, VerdictState};
use crate::domain::wording::quantity;

/// Everything that is shown of one deploy.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    pub deploy: &'a Deploy,
    pub verdict: &'a Verdict,
    pub decided: Option<&'a Override>,
    pub gate: GateAnswer,
    /// The runs of each check, oldest first.
    pub runs: &'a HashMap<CheckKey, Vec<Observation>>,
    /// The releases that each failing check may come from.
    pub suspects: &'a BTreeMap<CheckKey, Vec<Suspect>>,
}

/// More lines above the checks would push them off the screen.
const LEAD_LINES: usize = 4;

/// An environment that has seen no deploy.
pub fn waiting(environment: &str) -> Card {
    Card {
        environment: environment.to_owned(),
        verdict: Badge::quiet("Waiting for a deploy"),
        gate: None,
        lead: vec!["Announce one from CI, or by hand to try it:".to_owned()],
        command: Some(format!(
            "deploywatch deploy start  --environment {environment} --version v1\n\
             deploywatch deploy finish --environment {environment} --version v1"
        )),
        facts: Vec::new(),
        window: None,
        checks: Vec::new(),
    }
}

/// An environment with its deploy.
pub fn card(shown: Shown<'_>, now: Timestamp) -> Card {
    let Shown { deploy, verdict, decided, gate, runs, suspects } = shown;
    let effective = gate::effective(verdict, decided, now);
    let mut checks: Vec<&CheckStanding> = verdict.checks.iter().collect();
    checks.sort_by_key(|check| (rank(&badge(check)), check.severity, check.key.clone()));
    Card {
        environment: deploy.environment.clone(),
        verdict: word(effective, verdict.provisional, deploy, verdict),
        gate: Some(format!("CI is told: {}", gate.as_str())),
        lead: lead(shown, effective, now),
        command: None,
        facts: facts(shown, now),
        window: window(deploy, now),
        checks: checks
            .into_iter()
            .map(|check| {
                let blame =
                    suspects.get(&check.key).and_then(|s| attribution::sentence(s, deploy.id.as_str()));
                row(check, runs.get(&check.key).map_or(&[], Vec::as_slice), blame, now)
            })
            .collect(),
    }
}

/// One line of the list of deploys.
pub fn link(deploy: &Deploy, verdict: &Verdict, decided: Option<&Override>, now: Timestamp) -> LinkRow {
    let effective = gate::effective(verdict, decided, now);
    let badge = word(effective, verdict.provisional, deploy, verdict);
    let mut parts = vec![deploy.environment.clone(), times::ago(deploy.started_at, now)];
    parts.extend(deploy.actor.as_ref().map(|actor| format!("by {actor}")));
    parts.push(counted(verdict.checks.len(), "check"));
    LinkRow {
        link: format!("/deploys/{}", deploy.id),
        title: deploy.label(),
        badge: Badge { word: badge.word.to_lowercase(), ..badge },
        summary: parts.join(" · "),
    }
}

fn word(
    effective: VerdictState,
    provisional: Option<Provisional>,
    deploy: &Deploy,
    verdict: &Verdict,
) -> Badge {
    match (effective, provisional) {
        (VerdictState::Deploying, _) => Badge::busy("Deploying"),
        (VerdictState::Verifying, Some(Provisional::Unobservable)) => Badge::unknown("Cannot check"),
        (VerdictState::Verifying, Some(Provisional::AtRisk)) => Badge::warn("At risk"),
        (VerdictState::Verifying, Some(Provisional::Warnings)) => Badge::warn("Warnings so far"),
        (VerdictState::Verifying, _) if verdict.counts.pass == 0 => Badge::busy("Checking"),
        (VerdictState::Verifying, _) => Badge::good("Passing so far"),
        (VerdictState::Passed, _) => Badge::good("Passed"),
        (VerdictState::PassedWithWarnings, _) => Badge::warn("Passed with warnings"),
        (VerdictState::Failed, _) => Badge::bad("Failed"),
        (VerdictState::Inconclusive, _) => Badge::unknown("Inconclusive"),
        (VerdictState::Superseded, _) => Badge::quiet("Superseded"),
        (VerdictState::Cancelled, _) => match &deploy.state {
            DeployState::Cancelled { .. } | DeployState::Deploying => Badge::quiet("Cancelled"),
            _ => Badge::quiet("Ended"),
        },
    }
}

fn lead(shown: Shown<'_>, effective: VerdictState, now: Timestamp) -> Vec<String> {
    let Shown { deploy, verdict, decided, .. } = shown;
    let mut lines = Vec::new();
    if let Some(person) = decided.filter(|person| person.is_active(now)) {
        lines.push(format!(
            "{} decided this until {}: {}. The evidence alone says {}.",
            person.actor,
            times::at(person.expires_at, now),
            person.reason.trim_end_matches('.'),
            verdict.state.as_str().replace('_', " ")
        ));
    }
    match (&deploy.state, effective) {
        (DeployState::Deploying, _) => lines.push(match deploy.baseline_at {
            Some(at) => format!(
                "The baseline was captured at {}. Nothing is scanned until `deploywatch deploy finish` opens the window.",
                times::at(at, now)
            ),
            None => "The baseline is being captured.".to_owned(),
        }),
        (DeployState::Superseded { at, .. }, _) => {
            lines.push(format!("A newer deploy took over at {}.", times::at(*at, now)));
        }
        (DeployState::Cancelled { at, reason }, _) => {
            lines.push(format!("Cancelled at {}: {reason}.", times::at(*at, now)));
        }
        _ => {}
    }
    let reasons = verdict.reasons.iter().map(|reason| sentence(&reason.message));
    lines.extend(reasons.take(LEAD_LINES));
    if let Some(more @ 1..) = verdict.reasons.len().checked_sub(LEAD_LINES) {
        lines.push(format!("And {} more, below.", more));
    }
    if lines.is_empty() && !verdict.checks.is_empty() {
        let passing = usize::try_from(verdict.counts.pass).unwrap_or(0);
        let all = usize::try_from(verdict.counts.checks).unwrap_or(0);
        lines.push(match (passing, all) {
            (0, all) => format!("{} to make; the first scan is on its way.", counted(all, "check")),
            (n, all) if n == all => format!("All {} pass.", counted(all, "check")),
            (n, all) => format!("{n} of {} pass.", counted(all, "check")),
        });
    }
    lines
}

fn facts(shown: Shown<'_>, now: Timestamp) -> Vec<Fact> {
    let Shown { deploy, verdict, .. } = shown;
    let version = Fact {
        link: Some(format!("/deploys/{}", deploy.id)),
        mono: true,
        ..Fact::new("Version", deploy.label())
    };
    let mut facts = vec![version];
    match deploy.finished_at {
        Some(at) => facts.push(Fact::new("Deployed", times::ago(at, now))),
        None => facts.push(Fact::new("Started", times::ago(deploy.started_at, now))),
    }
    if let (Some(ends), false) = (deploy.ends_at(), deploy.state.is_terminal()) {
        let left = ends.duration_since(now);
        let left = if left.is_positive() { humane(left) } else { "closing".to_owned() };
        facts.push(Fact::new("Time left", left));
    }
    if let Some(released) = deploy.released_at {
        facts.push(Fact::new("Verified again", format!("released {}", times::ago(released, now))));
    }
    if let Some(extension) = deploy.plan.extension {
        let by = humane(SignedDuration::from_secs(extension.seconds.into()));
        facts.push(Fact::new("Extended", format!("by {by}, since nobody was watching for a while")));
    }
    if deploy.finished_at.is_some() {
        let taken = deploy.baseline_at.map_or("none".to_owned(), |at| times::ago(at, now));
        facts.push(Fact::new("Baseline", taken));
    }
    if let Some(commit) = &deploy.commit {
        facts.push(Fact { mono: true, ..Fact::new("Commit", commit.chars().take(12).collect::<String>()) });
    }
    if let Some(actor) = &deploy.actor {
        facts.push(Fact::new("Started by", actor));
    }
    // Only a web address becomes a link: anything else could run as a script.
    if let Some(link) = deploy.link.as_ref().filter(|link| is_web(link)) {
        facts.push(Fact { link: Some(link.clone()), ..Fact::new("CI run", "open") });
    }
    let (conclusive, planned) =
        verdict.checks.iter().fold((0, 0), |sum, c| (sum.0 + c.conclusive, sum.1 + c.planned));
    if planned > 0 {
        facts.push(Fact::new("Measured", format!("{conclusive} of {planned} runs")));
    }
    facts
}

fn window(deploy: &Deploy, now: Timestamp) -> Option<WindowBar> {
    let (opened, smoke, ends) = (deploy.finished_at?, deploy.smoke_ends_at()?, deploy.ends_at()?);
    let until = match &deploy.state {
        DeployState::Superseded { at, .. } | DeployState::Cancelled { at, .. } => now.min(*at),
        _ => now,
    };
    let whole = ends.duration_since(opened).as_secs().max(1);
    let part = |at: Timestamp| {
        let share = at.duration_since(opened).as_secs().clamp(0, whole) * 1000 / whole;
        u32::try_from(share).expect("a share of 1000 fits")
    };
    let done = part(until);
    Some(WindowBar {
        done,
        smoke: part(smoke),
        from: times::at(opened, now),
        to: times::at(ends, now),
        text: format!("{} % of the window is over", done / 10),
    })
}

fn row(check: &CheckStanding, runs: &[Observation], blame: Option<String>, now: Timestamp) -> CheckRow {
    let badge = badge(check);
    let mut notes = Vec::new();
    if check.severity != Severity::Critical {
        notes.push(check.severity.as_str());
    }
    match check.muted_until {
        Some(_) => notes.push("muted"),
        None if !check.enforced => notes.push("watched only, does not count"),
        None => {}
    }
    let sentence = match (check.message.as_str(), check.last) {
        ("", None) => "Waiting for its first run.".to_owned(),
        ("", Some(outcome)) => sentence(bars::word(outcome)),
        (message, _) => sentence(message),
    };
    let since = check.first_failed_at.filter(|_| matches!(badge.tone, "bad" | "warn"));
    let mut since = since.map(|at| format!(" Since {}.", times::ago(at, now))).unwrap_or_default();
    since.extend(blame.map(|blame| format!(" Suspect: {blame}.")));
    CheckRow {
        key: check.key.to_string(),
        name: check.title.clone(),
        note: (!notes.is_empty()).then(|| notes.join(", ")),
        sentence: sentence + &since,
        runbook: check.runbook.clone().filter(|link| is_web(link)),
        // A calm sentence says its number already.
        numbers: if rank(&badge) == 3 { Vec::new() } else { numbers(check) },
        cells: bars::cells(runs, now),
        bar_text: bars::describe(runs, now),
        bar_caption: (
            counted(runs.len(), "run"),
            runs.last().map(|run| times::at(run.observed_at, now)).unwrap_or_default(),
        ),
        badge,
    }
}

fn numbers(check: &CheckStanding) -> Vec<Fact> {
    let said = |value: f64| quantity(value, check.unit);
    let mut numbers = Vec::new();
    numbers.extend(check.value.map(|value| Fact::new("now", said(value))));
    numbers.extend(check.baseline.map(|value| Fact::new("before", said(value))));
    if let (Some(now), Some(before), Unit::Rows | Unit::Number) = (check.value, check.baseline, check.unit)
        && now != before
    {
        let sign = if now > before { "+" } else { "−" };
        numbers.push(Fact::new("change", format!("{sign}{}", said((now - before).abs()))));
    }
    numbers.extend(check.threshold.as_ref().map(|text| Fact::new("fails if", text)));
    numbers
}

fn badge(check: &CheckStanding) -> Badge {
    let critical = check.severity == Severity::Critical && check.enforced;
    if check.unobservable {
        return Badge::unknown("cannot be measured");
    }
    if check.breached && !check.recovered {
        return if critical { Badge::bad("failing") } else { Badge::warn("failing") };
    }
    match check.last {
        Some(Outcome::Fail) => Badge::warn("failing, to be confirmed"),
        Some(Outcome::Warn) => Badge::warn("warning"),
        Some(Outcome::Error) => Badge::unknown("could not be measured"),
        Some(Outcome::NoData) => Badge::unknown("no data"),
        _ if check.breached => Badge::warn("recovered"),
        Some(Outcome::Pass) => Badge::good("passing"),
        Some(Outcome::Missed) => Badge::quiet("missed"),
        Some(Outcome::Skipped) => Badge::quiet("skipped"),
        None => Badge::busy("waiting"),
    }
}

fn rank(badge: &view::Badge) -> u8 {
    match badge.tone {
        "bad" => 0,
        "unknown" => 1,
        "warn" => 2,
        _ => 3,
    }
}
