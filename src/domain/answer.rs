//! What a verdict is called where others show it: check runs, commit statuses, deployments, protection rules.

use std::fmt::Write;

use super::clock::{SignedDuration, Timestamp, humane, rfc3339};
use super::deploy::{Deploy, Override};
use super::explain::failing;
use super::gate::{GateAnswer, GateDecision, effective};
use super::verdict::{CheckStanding, Verdict, VerdictState};
use super::wording::quantity;

/// The word for it, in the order from nothing known to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    InProgress,
    Success,
    /// Passed, with warnings.
    Neutral,
    Failure,
    /// It could not be measured: somebody has to look.
    Inconclusive,
    /// Superseded or cancelled.
    Cancelled,
}

impl Conclusion {
    pub fn of(effective: VerdictState) -> Self {
        match effective {
            VerdictState::Deploying | VerdictState::Verifying => Self::InProgress,
            VerdictState::Passed => Self::Success,
            VerdictState::PassedWithWarnings => Self::Neutral,
            VerdictState::Failed => Self::Failure,
            VerdictState::Inconclusive => Self::Inconclusive,
            VerdictState::Superseded | VerdictState::Cancelled => Self::Cancelled,
        }
    }

    /// The conclusion of a GitHub check run; none while it is in progress.
    pub fn check_run(self) -> Option<&'static str> {
        match self {
            Self::InProgress => None,
            Self::Success => Some("success"),
            Self::Neutral => Some("neutral"),
            Self::Failure => Some("failure"),
            Self::Inconclusive => Some("action_required"),
            Self::Cancelled => Some("cancelled"),
        }
    }

    /// The state of a GitHub commit status, which has fewer words.
    pub fn commit_status(self) -> &'static str {
        match self {
            Self::InProgress => "pending",
            Self::Success | Self::Neutral => "success",
            Self::Failure => "failure",
            Self::Inconclusive | Self::Cancelled => "error",
        }
    }

    /// The state of a GitHub deployment. One that was replaced is GitHub's own to mark.
    pub fn deployment(self) -> Option<&'static str> {
        match self {
            Self::InProgress | Self::Cancelled => None,
            Self::Success | Self::Neutral => Some("success"),
            Self::Failure => Some("failure"),
            Self::Inconclusive => Some("error"),
        }
    }

    /// The conclusion of a Vercel check run.
    pub fn vercel(self) -> Option<&'static str> {
        match self {
            Self::InProgress => None,
            Self::Success => Some("succeeded"),
            Self::Neutral => Some("neutral"),
            Self::Failure => Some("failed"),
            Self::Inconclusive => Some("timeout"),
            Self::Cancelled => Some("canceled"),
        }
    }

    pub fn as_str(self) -> &'static str {
        self.check_run().unwrap_or("in_progress")
    }
}

/// A verdict in words for another system's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub conclusion: Conclusion,
    /// One line.
    pub title: String,
    /// Markdown.
    pub summary: String,
    pub ended_at: Option<Timestamp>,
}

/// Checks that a summary lists; a page has room for more, a person has not.
const LISTED: usize = 20;

/// The longest description that GitHub takes for a status.
const STATUS_CHARACTERS: usize = 140;

impl Report {
    pub fn of(deploy: &Deploy, verdict: &Verdict, decided: Option<&Override>, now: Timestamp) -> Self {
        let state = effective(verdict, decided, now);
        let decided = decided.filter(|decided| decided.is_active(now));
        let conclusion = Conclusion::of(state);
        let title = title(deploy, verdict, state);
        Self {
            conclusion,
            summary: summary(deploy, verdict, decided, &title),
            title,
            ended_at: end(deploy, verdict),
        }
    }

    /// Of a deploy that was told of and does not exist any more.
    pub fn taken_back() -> Self {
        let title = "Taken back: its baseline could not be captured, so it was never started";
        Self {
            conclusion: Conclusion::Cancelled,
            title: title.into(),
            summary: format!("{title}.\n"),
            ended_at: None,
        }
    }

    /// The title as a description of a status.
    pub fn line(&self) -> String {
        shortened(&self.title, STATUS_CHARACTERS)
    }
}

fn end(deploy: &Deploy, verdict: &Verdict) -> Option<Timestamp> {
    use super::deploy::DeployState as S;
    match (&deploy.state, verdict.state) {
        (S::Closed { at } | S::Superseded { at, .. } | S::Cancelled { at, .. }, _) => Some(*at),
        // Failed at once, and watched on.
        (S::Verifying, VerdictState::Failed) => {
            verdict.checks.iter().filter_map(|check| check.first_failed_at).min()
        }
        _ => None,
    }
}

fn title(deploy: &Deploy, verdict: &Verdict, state: VerdictState) -> String {
    let counts = verdict.counts;
    let checks = format!("{} of {} checks pass", counts.pass, counts.checks);
    let window = humane(SignedDuration::from_secs(deploy.plan.window_seconds.into()));
    match state {
        VerdictState::Deploying => "Deploying: the window is not open yet".into(),
        VerdictState::Verifying if verdict.smoke == VerdictState::Verifying => {
            format!("Verifying the first minutes: {checks}")
        }
        VerdictState::Verifying => format!("Good so far, watched on: {checks}"),
        VerdictState::Passed => format!("Passed after {window}: {checks}"),
        VerdictState::PassedWithWarnings => format!("Passed after {window} with warnings: {checks}"),
        VerdictState::Failed => match failing(verdict).first() {
            Some(first) => format!("Failed: {}: {}", first.title, first.message),
            None => "Failed".into(),
        },
        VerdictState::Inconclusive => match verdict.reasons.first() {
            Some(reason) => format!("Inconclusive: {}", reason.message),
            None => "Inconclusive: it could not be measured".into(),
        },
        VerdictState::Superseded if verdict.clean => format!("Superseded, clean until then: {checks}"),
        VerdictState::Superseded => "Superseded by a newer deploy before its window was over".into(),
        VerdictState::Cancelled => "Cancelled".into(),
    }
}

fn summary(deploy: &Deploy, verdict: &Verdict, decided: Option<&Override>, title: &str) -> String {
    let mut text = format!("**{}** in `{}`: {}\n", cell(&deploy.label()), deploy.environment, cell(title));
    if let Some(decided) = decided {
        let _ = writeln!(
            text,
            "\n{} decided so until {}: {} (computed: `{}`)",
            cell(&decided.actor),
            rfc3339(decided.expires_at),
            cell(&decided.reason),
            verdict.state.as_str()
        );
    }
    let failing = failing(verdict);
    if !failing.is_empty() {
        text.push_str("\n| check | value | before | since |\n| --- | --- | --- | --- |\n");
        for check in failing.iter().take(LISTED) {
            text.push_str(&row(deploy, check));
        }
        if failing.len() > LISTED {
            let _ = writeln!(text, "\n… and {} more.", failing.len() - LISTED);
        }
    }
    let others: Vec<_> = verdict.reasons.iter().filter(|reason| reason.check.is_none()).take(5).collect();
    if !others.is_empty() {
        text.push('\n');
    }
    for reason in others {
        let _ = writeln!(text, "- {}", cell(&reason.message));
    }
    let runbooks = failing.iter().take(LISTED).filter_map(|check| check.runbook.as_ref());
    for runbook in runbooks {
        let _ = writeln!(text, "- What to do: {}", cell(runbook));
    }
    if verdict.state == VerdictState::Failed {
        let _ = writeln!(
            text,
            "\nIf it is no problem: `deploywatch deploy override {} --verdict passed --reason WHY`",
            deploy.id
        );
    }
    text
}

fn row(deploy: &Deploy, check: &CheckStanding) -> String {
    let since = check.first_failed_at.map(|at| super::announce::since_deploy(deploy, at));
    format!(
        "| {} | {} | {} | {} |\n",
        cell(&check.title),
        cell(&check.message),
        check.baseline.map_or_else(|| "-".into(), |value| cell(&quantity(value, check.unit))),
        since.unwrap_or_else(|| "-".into())
    )
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}

/// What a protection rule is told: approved, rejected, or how long it will take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// None while it is not decided; then only the comment is sent.
    pub approved: Option<bool>,
    pub comment: String,
}

impl Permission {
    /// From the gate's answer about the last release; `explanation` is the same for a person.
    pub fn of(decision: &GateDecision, explanation: &[String], link: Option<&str>) -> Self {
        let approved = match decision.answer {
            GateAnswer::Go => Some(true),
            GateAnswer::Wait => None,
            GateAnswer::Stop | GateAnswer::Inconclusive | GateAnswer::Gone | GateAnswer::Unknown => {
                Some(false)
            }
        };
        let mut comment = explanation.iter().map(|line| cell(line.trim())).collect::<Vec<_>>().join("\n");
        if let Some(link) = link {
            let _ = write!(comment, "\n{link}");
        }
        Self { approved, comment }
    }
}

/// When a place that could not be told is tried again, after so many failures in a row; none gives it up,
/// after about a day. What a person must mend first is not tried as often.
pub fn retry_after(failures: u32, status: Option<u16>, asked: Option<u32>) -> Option<SignedDuration> {
    let mending = matches!(status, Some(400 | 401 | 403 | 404 | 409 | 410 | 422));
    let (first, longest, most) = if mending { (60, 3_600, 28) } else { (5, 900, 104) };
    if failures >= most {
        return None;
    }
    let doubled = first << failures.saturating_sub(1).min(12);
    let seconds = i64::from(asked.unwrap_or(0)).clamp(doubled.min(longest), 3_600);
    Some(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
