//! A gate's answer in a few lines that a tired person understands: check, value, baseline, since when, what to do.

use super::check::Severity;
use super::clock::{Timestamp, humane, rfc3339};
use super::deploy::Deploy;
use super::gate::{GateAnswer, GateDecision};
use super::observation::Outcome;
use super::verdict::{CheckStanding, Verdict, VerdictState};
use super::wording::quantity;

/// The checks that stand in the way, the worst first.
pub fn failing(verdict: &Verdict) -> Vec<&CheckStanding> {
    let mut failing: Vec<&CheckStanding> = verdict
        .checks
        .iter()
        .filter(|c| c.enforced && c.severity != Severity::Info && (c.breached || is_failing(c)))
        .collect();
    failing.sort_by(|a, b| {
        (a.severity, a.recovered, !a.breached, &a.key).cmp(&(b.severity, b.recovered, !b.breached, &b.key))
    });
    failing
}

fn is_failing(check: &CheckStanding) -> bool {
    check.last == Some(Outcome::Fail)
}

/// The answer for a person. The first line says it all; a stop has five lines for its first check.
pub fn explain(deploy: &Deploy, verdict: &Verdict, decision: &GateDecision, now: Timestamp) -> Vec<String> {
    let place = format!("deploy {} in {}", deploy.label(), deploy.environment);
    let because = decision.reasons.first().map_or("", |reason| reason.message.as_str());
    let by_hand = decision.reasons.iter().find(|reason| reason.code == "override");
    let mut lines = match decision.answer {
        // A go that does not depend on this deploy says what it depends on.
        GateAnswer::Go if decision.effective.is_none() => {
            vec![format!("GO: {because}; the last one was {place}: {}", verdict.state.as_str())]
        }
        GateAnswer::Go if by_hand.is_some() => vec![format!("GO: {place}, by hand")],
        GateAnswer::Go => {
            let good = match verdict.state {
                VerdictState::Passed => "has passed",
                VerdictState::PassedWithWarnings => "has passed, with warnings",
                _ => "is good so far",
            };
            vec![format!("GO: {place} {good}, {}", progress(deploy, verdict, now))]
        }
        GateAnswer::Wait => {
            vec![format!("WAIT: {place}: {because}; {}", progress(deploy, verdict, now))]
        }
        GateAnswer::Stop => stop(deploy, verdict, decision, &place),
        GateAnswer::Inconclusive => vec![
            format!("INCONCLUSIVE: {place} cannot be called good or bad"),
            format!("  why       {because}"),
            format!("  known     {}", progress(deploy, verdict, now)),
            "  what now  see why it could not be measured, then ask again;".to_owned(),
            format!(
                "            if you know better: deploywatch deploy override {} --verdict passed --reason WHY",
                deploy.id
            ),
        ],
        GateAnswer::Gone => vec![
            format!("GONE: {place} is {}", ended(deploy, verdict)),
            format!(
                "  what now  ask about the newest: deploywatch gate --environment {}",
                deploy.environment
            ),
        ],
        GateAnswer::Unknown => vec![format!("UNKNOWN: {because}")],
    };
    if let Some(decided) = by_hand {
        lines.push(format!(
            "  decided   {}; the evidence alone says {}",
            decided.message,
            verdict.state.as_str()
        ));
    }
    lines
}

fn stop(deploy: &Deploy, verdict: &Verdict, decision: &GateDecision, place: &str) -> Vec<String> {
    let by_hand = decision.reasons.first().is_some_and(|reason| reason.code == "override");
    if by_hand && verdict.state != VerdictState::Failed {
        return vec![format!("STOP: {place}, by hand")];
    }
    let mut failing = failing(verdict);
    let (mut outcome, mut limited) = ("has failed", "it fails if");
    if failing.is_empty() {
        // Stopped by a warning, since the caller asked for that.
        failing = verdict.checks.iter().filter(|c| c.last == Some(Outcome::Warn)).collect();
        (outcome, limited) = ("has a warning, which stops here", "it warns if");
    }
    let Some(first) = failing.first() else {
        let because = decision.reasons.first().map_or("it was decided so", |reason| &reason.message);
        return vec![format!("STOP: {place}: {because}")];
    };
    let more = match failing.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let limit = first.threshold.as_ref().map(|limit| format!("; {limited} {limit}")).unwrap_or_default();
    let since = first.first_failed_at.map_or("not known".to_owned(), |at| {
        let opened = deploy.finished_at.unwrap_or(deploy.started_at);
        format!(
            "{}, {} after the deploy",
            rfc3339(at),
            humane(at.duration_since(opened).max(Default::default()))
        )
    });
    let recovered = if first.recovered { "; it has recovered since, the verdict stays" } else { "" };
    let advice = match &first.runbook {
        Some(runbook) => format!("{runbook}; else roll back or fix forward"),
        None => format!("roll {} back or fix forward", deploy.label()),
    };
    vec![
        format!("STOP: {place} {outcome}: {}{more}", named(first)),
        format!("  value     {}", value(first, &limit)),
        format!("  baseline  {}", baseline(deploy, first)),
        format!("  since     {since}, {} of {} runs failed{recovered}", first.fails, first.runs),
        format!(
            "  what now  {advice}; if it is no problem: deploywatch deploy override {} --verdict passed --reason WHY",
            deploy.id
        ),
    ]
}

/// The title, and the key where that is another word.
fn named(check: &CheckStanding) -> String {
    if check.title == check.key.as_str() {
        check.title.clone()
    } else {
        format!("{} [{}]", check.title, check.key)
    }
}

/// The numbers of the last fail. Where it was not the last thing that was seen, the line says so.
fn value(check: &CheckStanding, limit: &str) -> String {
    let said = format!("{}{limit}", check.message);
    match check.last {
        Some(Outcome::Pass) => format!("{said} (the last fail; it passes now)"),
        Some(Outcome::Error | Outcome::NoData | Outcome::Missed | Outcome::Skipped) => {
            format!("{said} (the last fail; it is not measured now)")
        }
        _ => said,
    }
}

fn baseline(deploy: &Deploy, check: &CheckStanding) -> String {
    let said = check.baseline.map(|value| quantity(value, check.unit));
    match (said, deploy.baseline_at) {
        (Some(before), Some(at)) => format!("{before}, taken {}", rfc3339(at)),
        (Some(before), None) => before,
        (None, Some(at)) => format!("not compared (one was taken {})", rfc3339(at)),
        (None, None) => "none was taken before the deploy".to_owned(),
    }
}

fn progress(deploy: &Deploy, verdict: &Verdict, now: Timestamp) -> String {
    let counts = verdict.counts;
    let checks = format!("{} of {} checks pass", counts.pass, counts.checks);
    match (verdict.state, deploy.smoke_ends_at(), deploy.ends_at()) {
        (VerdictState::Verifying, Some(smoke), _) if verdict.smoke == VerdictState::Verifying => {
            format!("{checks}, smoke ends in {}", humane(smoke.duration_since(now).max(Default::default())))
        }
        (VerdictState::Verifying, _, Some(end)) => {
            format!(
                "{checks}, watched for another {}",
                humane(end.duration_since(now).max(Default::default()))
            )
        }
        _ => checks,
    }
}

fn ended(deploy: &Deploy, verdict: &Verdict) -> String {
    use super::deploy::DeployState;
    match &deploy.state {
        DeployState::Superseded { at, by } => format!("superseded by {by} at {}", rfc3339(*at)),
        DeployState::Cancelled { at, reason } => format!("cancelled at {}: {reason}", rfc3339(*at)),
        _ => verdict.state.as_str().to_owned(),
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
