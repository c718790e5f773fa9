//! `deploywatch deploy status` for a person: what counts, how sure it is, what stands in its way, what to do.

use super::deploy::{name, words};
use crate::api::deploys::{DeployView, FailingView};
use crate::domain::attribution;
use crate::domain::clock::{SignedDuration, Timestamp, humane, rfc3339};
use crate::domain::deploy::OverrideVerdict;
use crate::domain::verdict::{Counts, Provisional, VerdictState};

/// A scan that is due for longer than this is not on its way.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// The report, a line each. The first one says it all.
pub fn lines(view: &DeployView, now: Timestamp) -> Vec<String> {
    let mut lines = vec![headline(view)];
    let mut add = |label: &str, text: String| lines.push(format!("  {label:<9} {text}"));
    if let Some(decided) = &view.decided {
        let until = if decided.expires_at > now { "until" } else { "which ended at" };
        add(
            "by hand",
            format!(
                "{} by {} {until} {}: {}; the evidence alone says {}",
                match decided.verdict {
                    OverrideVerdict::Passed => "passed",
                    OverrideVerdict::Failed => "failed",
                },
                decided.actor,
                rfc3339(decided.expires_at),
                decided.reason,
                words(view.state)
            ),
        );
    }
    match view.finished_at {
        Some(at) => add("deployed", since(view.released_at.unwrap_or(at), now)),
        None => add("started", since(view.started_at, now)),
    }
    if let Some(first) = &view.reverifies {
        add("again", format!("verifies {first} once more, since {}", since(view.started_at, now)));
    }
    if let Some(text) = window(view, now) {
        add("window", text);
    }
    match (&view.baseline, view.finished_at) {
        (Some(baseline), _) => add("baseline", format!("taken {}", since(baseline.captured_at, now))),
        (None, Some(_)) => add("baseline", "none, so it can pass with warnings at best".to_owned()),
        (None, None) => {}
    }
    if view.counts.checks > 0 {
        let coverage = (view.coverage * 100.0).floor();
        add("checks", format!("{}; coverage {coverage:.0} %", counts(view.counts)));
    }
    if view.shadow.checks > 0 {
        add("shadow", format!("{}; these decide nothing", counts(view.shadow)));
    }
    for check in &view.failing {
        failing(view, check, &mut add);
    }
    for check in view.checks.iter().filter(|check| check.muted_until.is_some()) {
        let until = check.muted_until.map_or_else(String::new, rfc3339);
        add("muted", format!("{} until {until}", check.title));
    }
    for reason in view.reasons.iter().filter(|reason| reason.code != "breached") {
        add("because", reason.message.clone());
    }
    if let Some(by) = &view.superseded_by {
        add("replaced", format!("by {by}"));
    }
    if let Some(reason) = &view.cancel_reason {
        add("cancelled", reason.clone());
    }
    if let Some(text) = what_now(view) {
        add("what now", text);
    }
    if let Some(url) = &view.url {
        add("page", url.clone());
    }
    lines
}

fn headline(view: &DeployView) -> String {
    let so_far = match view.provisional {
        Some(Provisional::Clean) => ", clean so far",
        Some(Provisional::Warnings) => ", warnings so far",
        Some(Provisional::AtRisk) => ", failing and about to be confirmed",
        Some(Provisional::Unobservable) => ", but it cannot be measured",
        None => "",
    };
    let so_far = if view.effective == view.state { so_far } else { " by hand" };
    format!("{}: {}{so_far}", name(view), words(view.effective))
}

fn window(view: &DeployView, now: Timestamp) -> Option<String> {
    let ends_at = view.ends_at?;
    if let Some(ended) = view.ended_at {
        return Some(format!("ended {}", since(ended, now)));
    }
    let left = humane(ends_at.duration_since(now).max(SignedDuration::ZERO));
    let smoke = match view.smoke {
        VerdictState::Verifying => match view.smoke_ends_at.map(|at| at.duration_since(now)) {
            Some(left) if left.is_positive() => format!("smoke ends in {}", humane(left)),
            _ => "smoke is being decided".to_owned(),
        },
        smoke => format!("smoke {}", words(smoke)),
    };
    let next = match view.next_scan_at.map(|at| at.duration_since(now)) {
        None => String::new(),
        Some(ahead) if ahead.is_positive() => format!("; next scan in {}", humane(ahead)),
        Some(late) if late.abs() < LATE => "; a scan is due now".to_owned(),
        Some(late) => format!("; the next scan is {} late, does a worker run?", humane(late)),
    };
    Some(format!("until {}, {left} left; {smoke}{next}", rfc3339(ends_at)))
}

fn counts(counts: Counts) -> String {
    let mut text = format!("{} of {} pass", counts.pass, counts.checks);
    let others = [
        (counts.warn, "warn"),
        (counts.fail, "fail"),
        (counts.error, "could not be measured"),
        (counts.no_data, "without data"),
        (counts.missed, "missed"),
        (counts.skipped, "skipped"),
    ];
    for (n, word) in others.into_iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!(", {n} {word}"));
    }
    text
}

fn failing(view: &DeployView, check: &FailingView, add: &mut impl FnMut(&str, String)) {
    let label = match (check.breached, check.recovered) {
        (true, true) => "recovered",
        (true, false) => "FAILING",
        (false, _) => "at risk",
    };
    add(label, format!("{}: {}", check.title, check.message));
    let mut facts = Vec::new();
    if let Some(before) = &check.before {
        facts.push(format!("before the deploy {before}"));
    }
    if let Some(since) = &check.since {
        facts.push(format!("since {since}"));
    }
    facts.push(format!("{} of {} runs failed", check.fails, check.runs));
    add("", facts.join(", "));
    if let Some(text) = attribution::sentence(&check.suspects, &view.id) {
        add("", format!("suspect: {text}"));
    }
    if let Some(runbook) = &check.runbook {
        add("", format!("runbook: {runbook}"));
    }
}

/// The one step that comes next, where there is one.
fn what_now(view: &DeployView) -> Option<String> {
    let id = &view.id;
    Some(match view.effective {
        VerdictState::Deploying => format!("when the release is out: deploywatch deploy finish {id}"),
        VerdictState::Failed => format!(
            "roll back or fix forward; if it is no problem: deploywatch deploy override {id} --verdict passed \
             --reason WHY"
        ),
        VerdictState::Inconclusive => {
            format!("see why it could not be measured, then: deploywatch deploy reverify {id}")
        }
        _ => return None,
    })
}

fn since(at: Timestamp, now: Timestamp) -> String {
    let ago = now.duration_since(at);
    if ago.is_negative() { rfc3339(at) } else { format!("{} ({} ago)", rfc3339(at), humane(ago)) }
}
