//! A gate's answer in a few lines that a tired person understands: check, value, baseline, since when, what to do.

use super::announce::since_deploy;
use super::check::Severity;
use super::clock::{Timestamp, humane, rfc3339};
use super::deploy::Deploy;
use super::gate::{GateAnswer, GateDecision};
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
    check.last == Some(super::observation::Outcome::Fail)
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
        GateAnswer::Go => vec![format!("GO: {place} is good so far, {}", progress(deploy, verdict, now))],
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
        GateAnswer::Gone => vec![format!("GONE: {place} is {}", ended(deploy, verdict))],
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
    let mut outcome = "has failed";
    if failing.is_empty() {
        // Stopped by a warning, since the caller asked for that.
        failing =
            verdict.checks.iter().filter(|c| c.last == Some(super::observation::Outcome::Warn)).collect();
        outcome = "has a warning, which stops here";
    }
    let Some(first) = failing.first() else {
        let because = decision.reasons.first().map_or("it was decided so", |reason| &reason.message);
        return vec![format!("STOP: {place}: {because}")];
    };
    let more = match failing.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let said = |value: Option<f64>| value.map(|value| quantity(value, first.unit));
    let limit = first.threshold.as_ref().map(|limit| format!("; it fails if {limit}")).unwrap_or_default();
    let since = first.first_failed_at.map_or("not known".to_owned(), |at| {
        format!("{}, {} of {}", rfc3339(at), since_deploy(deploy, at), deploy.label())
    });
    let recovered = if first.recovered { "; it has recovered since, the verdict stays" } else { "" };
    let advice = match &first.runbook {
        Some(runbook) => format!("{runbook}; else roll back or fix forward"),
        None => format!("roll {} back or fix forward", deploy.label()),
    };
    vec![
        format!("STOP: {place} {outcome}: {} [{}]{more}", first.title, first.key),
        format!("  value     {}{limit}", first.message),
        format!(
            "  baseline  {}",
            match (said(first.baseline), deploy.baseline_at) {
                (Some(before), Some(at)) => format!("{before}, taken {}", rfc3339(at)),
                (Some(before), None) => before,
                (None, Some(at)) => format!("not compared (one was taken {})", rfc3339(at)),
                (None, None) => "none".to_owned(),
            }
        ),
        format!("  since     {since}, {} of {} runs failed{recovered}", first.fails, first.runs),
        format!(
            "  what now  {advice}; if it is no problem: deploywatch deploy override {} --verdict passed --reason WHY",
            deploy.id
        ),
    ]
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
