//! What the templates show: plain words and tones, made from the domain's values by pure functions.

use super::icons;

/// A state as an icon, a word and a tone; the tone alone never carries meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    /// The CSS class: good, warn, bad, unknown, busy or quiet.
    pub tone: &'static str,
    pub icon: &'static str,
    pub word: String,
}

impl Badge {
    pub fn good(word: impl Into<String>) -> Self {
        Self { tone: "good", icon: icons::CHECK, word: word.into() }
    }

    pub fn warn(word: impl Into<String>) -> Self {
        Self { tone: "warn", icon: icons::WARNING, word: word.into() }
    }

    pub fn bad(word: impl Into<String>) -> Self {
        Self { tone: "bad", icon: icons::CROSS, word: word.into() }
    }

    /// Could not be measured: neither healthy nor a failure.
    pub fn unknown(word: impl Into<String>) -> Self {
        Self { tone: "unknown", icon: icons::QUESTION, word: word.into() }
    }

    pub fn busy(word: impl Into<String>) -> Self {
        Self { tone: "busy", icon: icons::CLOCK, word: word.into() }
    }

    pub fn quiet(word: impl Into<String>) -> Self {
        Self { tone: "quiet", icon: icons::DASH, word: word.into() }
    }
}

/// A named value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fact {
    pub name: &'static str,
    pub value: String,
    pub link: Option<String>,
    pub mono: bool,
}

impl Fact {
    pub fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), ..Self::default() }
    }
}

/// The window as a bar of 1000 units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowBar {
    pub done: u32,
    /// Where the smoke stage ends.
    pub smoke: u32,
    pub from: String,
    pub to: String,
    pub text: String,
}

/// One run of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub class: &'static str,
    /// Told on hovering; absent for plain passes, which are most.
    pub title: Option<String>,
}

/// One check with its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    pub key: String,
    pub name: String,
    /// Severity and mode, where they are not critical and enforced.
    pub note: Option<String>,
    pub badge: Badge,
    pub sentence: String,
    pub runbook: Option<String>,
    pub numbers: Vec<Fact>,
    pub cells: Vec<Cell>,
    pub bar_text: String,
    /// Under the bar: how many runs, and when the last one was.
    pub bar_caption: (String, String),
}

impl CheckRow {
    fn is_calm(&self) -> bool {
        matches!(self.badge.tone, "good" | "quiet" | "busy")
    }
}

/// An environment with its current deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    pub environment: String,
    pub verdict: Badge,
    /// What CI is told.
    pub gate: Option<String>,
    pub lead: Vec<String>,
    /// The command that comes next, for an environment without a deploy.
    pub command: Option<String>,
    pub facts: Vec<Fact>,
    pub window: Option<WindowBar>,
    /// Those that need attention first.
    pub checks: Vec<CheckRow>,
}

impl Card {
    pub fn loud(&self) -> Vec<&CheckRow> {
        self.checks.iter().filter(|check| !check.is_calm()).collect()
    }

    pub fn calm(&self) -> Vec<&CheckRow> {
        self.checks.iter().filter(|check| check.is_calm()).collect()
    }

    /// Few enough calm checks are shown at once.
    pub fn is_open(&self) -> bool {
        self.checks.len() <= 30
    }

    pub fn calm_summary(&self) -> String {
        let count = |tone: &str| self.checks.iter().filter(|check| check.badge.tone == tone).count();
        let parts = [(count("good"), "passing"), (count("busy"), "waiting"), (count("quiet"), "skipped")];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        format!("{} checks", parts.join(", "))
    }
}

/// A webhook source and the versions of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    pub name: String,
    pub badge: Badge,
    pub summary: String,
    /// The steps of a rotation that are still to be done.
    pub next: Vec<String>,
    /// What the provider's API says about the webhooks that point here, on the first slot of a source.
    pub audit: Option<AuditRow>,
    pub versions: Vec<VersionRow>,
}

/// The latest look at a source's webhooks at its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    pub badge: Badge,
    pub summary: String,
    /// What does not fit, and what to do about it.
    pub findings: Vec<(String, String)>,
}

/// One version of a signing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    pub fingerprint: String,
    pub state: Badge,
    pub summary: String,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentRow {
    pub link: String,
    pub title: String,
    pub badge: Badge,
    pub lines: Vec<String>,
    pub next: Vec<String>,
    pub since: String,
}

/// A place outside where a deploy's verdict is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRow {
    pub place: String,
    pub badge: Badge,
    pub lines: Vec<String>,
}

/// One line of a list that leads to a page: a deploy or a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    pub link: String,
    pub title: String,
    pub badge: Badge,
    pub summary: String,
}
