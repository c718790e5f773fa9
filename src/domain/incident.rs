//! Problems with a dedup key: what a service reports ([`Signal`]) and what on-call is told about it.
//!
//! A signal is a *transition decided elsewhere* (a check breached, a stale secret was seen); this module
//! only decides what it means for an incident: open, update, resolve, re-open, or nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::check::Severity;
use super::clock::{SignedDuration, Timestamp};
use super::flaps::{Flaps, WINDOW};
use super::ids::IncidentId;
use super::notification::Notice;

/// What went wrong, one incident for each (environment, scope, kind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// Checks of a deploy are breached.
    ChecksFailed,
    /// The target cannot be measured. Inhibits `ChecksFailed` of the same environment.
    CannotCheck,
    /// A delivery was signed by an overdue or retired secret version.
    StaleSecret,
    /// A delivery was signed by a version marked compromised.
    CompromisedSecret,
    /// Every delivery since a moment fails.
    SignatureFailures,
    /// A rotation did not reach its next phase in time.
    RotationStuck,
    /// The product does not take the deliveries that are passed on to it.
    ProductDown,
    /// Deliveries verify but something about them is not as it should be, or a source cannot verify at all.
    WebhookOddity,
    /// The provider's webhooks and ours do not fit.
    WebhookSetup,
    /// No webhook comes although some should.
    WebhookSilence,
    /// The mail path itself is broken.
    MailBroken,
    /// We were down and slots were missed.
    CheckerDown,
}

impl IncidentKind {
    pub const ALL: [Self; 12] = [
        Self::ChecksFailed,
        Self::CannotCheck,
        Self::StaleSecret,
        Self::CompromisedSecret,
        Self::SignatureFailures,
        Self::RotationStuck,
        Self::ProductDown,
        Self::WebhookOddity,
        Self::WebhookSetup,
        Self::WebhookSilence,
        Self::MailBroken,
        Self::CheckerDown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChecksFailed => "checks_failed",
            Self::CannotCheck => "cannot_check",
            Self::StaleSecret => "stale_secret",
            Self::CompromisedSecret => "compromised_secret",
            Self::SignatureFailures => "signature_failures",
            Self::RotationStuck => "rotation_stuck",
            Self::ProductDown => "product_down",
            Self::WebhookOddity => "webhook_oddity",
            Self::WebhookSetup => "webhook_setup",
            Self::WebhookSilence => "webhook_silence",
            Self::MailBroken => "mail_broken",
            Self::CheckerDown => "checker_down",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// Two signals with the same key speak of the same incident.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DedupKey {
    pub environment: String,
    /// The deploy's id for checks, the source's name for webhooks, empty where neither applies.
    pub scope: String,
    pub kind: IncidentKind,
}

/// What a service reports, inside the transaction that records its cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// The problem is there. `members` is the *whole* current set, not a difference.
    Firing { key: DedupKey, at: Timestamp, facts: Facts },
    /// The problem is gone. `note` says how: recovered by itself, accepted, window closed.
    Cleared { key: DedupKey, at: Timestamp, note: String },
    /// The problem went or came back for a moment without changing what is known of it.
    Wavered { key: DedupKey, at: Timestamp },
    /// A newer deploy, named `by`, took over: what still fails is its to tell.
    Superseded { key: DedupKey, at: Timestamp, by: String },
    /// Not a problem: a report that a window closed (PASSED 24h, SUPERSEDED, INCONCLUSIVE), sent once for each
    /// (environment, scope).
    Report { environment: String, scope: String, at: Timestamp, facts: Facts },
}

/// What on-call reads. Counts and names only: never row values, secrets, bodies or addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub severity: Severity,
    /// The changeable word in the subject's brackets: `FAIL`, `CANNOT CHECK`, `STALE SECRET`, `PASSED 24h`.
    pub label: String,
    /// The stable identity in the subject, outside the brackets: `acme-production deploy 7f3c2a1`.
    pub subject: String,
    /// One sentence: what is wrong, where, since when relative to the deploy.
    pub headline: String,
    pub since: Timestamp,
    /// What to do, in order, each one step; commands between backticks.
    pub next_steps: Vec<String>,
    /// Label and value, in the order to show: environment, version, commit, started by, CI run, last good time.
    pub context: Vec<(String, String)>,
    pub members: Vec<Member>,
}

/// A step in pieces, each with whether it stood between backticks: what a person types.
pub fn spans(step: &str) -> Vec<(bool, &str)> {
    if step.matches('`').count() % 2 == 1 {
        return vec![(false, step)];
    }
    step.split('`').enumerate().map(|(position, piece)| (position % 2 == 1, piece)).collect()
}

/// One failing check or one secret version of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub key: String,
    pub title: String,
    pub severity: Severity,
    pub expected: String,
    pub observed: String,
    pub baseline: Option<String>,
    pub change: Option<String>,
    pub first_seen_at: Timestamp,
    /// Times failed of times run.
    pub count: u32,
    pub runs: u32,
    pub message: String,
    pub runbook: Option<String>,
}

/// An open or closed problem: what is known of it, and what on-call has been told.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    pub id: IncidentId,
    pub key: DedupKey,
    pub state: IncidentState,
    /// The latest report.
    pub facts: Facts,
    pub opened_at: Timestamp,
    /// The last time that a report changed it.
    pub updated_at: Timestamp,
    /// How often it fired again within the re-open time.
    pub reopened: u32,
    /// No mail before this instant: a person pressed snooze.
    pub snoozed_until: Option<Timestamp>,
    pub told: Told,
}

/// What on-call knows of an incident: the mails that were written for it, sent or not; and what they wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Keys of the members that the last mail listed; `None` while no mail of this opening was written.
    pub members: Option<BTreeSet<String>>,
    /// When this opening was told first.
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
    pub reminders: u32,
    /// It grew more severe since the last mail, which is owed another one at once.
    pub grown: bool,
    /// When the second step was told, since nobody had acknowledged.
    pub escalated_at: Option<Timestamp>,
    /// It looks as if it were over; told once that has lasted.
    pub ending: Option<Ending>,
    #[serde(flatten)]
    pub flaps: Flaps,
}

/// Since when, and how, an incident seems to be over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    pub at: Timestamp,
    pub note: String,
}

/// Where an incident stands. `Resolved` is not final within the re-open time, `Superseded` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum IncidentState {
    Open,
    Acknowledged { at: Timestamp, by: String },
    Resolved { at: Timestamp, note: String },
    Superseded { at: Timestamp, by: String },
}

impl IncidentState {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Resolved { .. } => "resolved",
            Self::Superseded { .. } => "superseded",
        }
    }

    /// Nothing of it is open any more.
    pub fn is_resolved(&self) -> bool {
        matches!(self, Self::Resolved { .. } | Self::Superseded { .. })
    }
}

/// What a report did to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentChange {
    /// It says what was known.
    Nothing,
    /// Members or their numbers changed.
    Updated,
    /// A resolved problem is back.
    Reopened,
    /// It grew more severe, so that an acknowledgement no longer covers it.
    Escalated,
    Resolved,
    Superseded,
    Acknowledged,
    Snoozed,
}

/// When on-call is told again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertPolicy {
    /// A problem that returns this soon after it was resolved re-opens its incident.
    pub reopen: SignedDuration,
    /// The first waits between two mails of an open incident; the last one repeats. Empty: never again.
    pub reminders: Vec<SignedDuration>,
    /// At least this long between two mails about new members.
    pub update_every: SignedDuration,
    /// Over for this long before it is told to be over.
    pub resolve_hold: SignedDuration,
    /// A critical incident that nobody acknowledged for this long is told to the second step; `None`: never.
    pub escalate_after: Option<SignedDuration>,
}

impl Incident {
    /// A problem that nobody knew of.
    pub fn open(id: IncidentId, key: DedupKey, at: Timestamp, facts: Facts) -> Self {
        Self {
            id,
            key,
            state: IncidentState::Open,
            facts,
            opened_at: at,
            updated_at: at,
            reopened: 0,
            snoozed_until: None,
            told: Told { flaps: Flaps::begun(at), ..Told::default() },
        }
    }

    /// Whether a report at `at` speaks of this incident rather than of a new one.
    pub fn covers(&self, at: Timestamp, policy: &AlertPolicy) -> bool {
        match &self.state {
            IncidentState::Resolved { at: resolved, .. } => at.duration_since(*resolved) < policy.reopen,
            IncidentState::Superseded { .. } => false,
            _ => true,
        }
    }

    /// Takes in a report that the problem is there. Only call it where [`Self::covers`] holds.
    pub fn fire(mut self, at: Timestamp, facts: Facts) -> (Self, IncidentChange) {
        let back = self.told.ending.take().is_some();
        if back {
            self.told.flaps.turn(at);
        }
        let change = if self.state.is_resolved() {
            self.state = IncidentState::Open;
            self.reopened += 1;
            self.snoozed_until = None;
            self.told = Told {
                last_at: self.told.last_at,
                flaps: std::mem::take(&mut self.told.flaps),
                ..Told::default()
            };
            self.told.flaps.turn(at);
            IncidentChange::Reopened
        } else if facts.severity < self.facts.severity {
            self.state = IncidentState::Open;
            self.snoozed_until = None;
            // Whoever read the milder mail is owed another one.
            self.told.grown = self.told.members.is_some();
            self.told.reminders = 0;
            // The second step waits from the first mail that says how bad it is.
            (self.told.first_at, self.told.escalated_at) = (None, None);
            IncidentChange::Escalated
        } else if facts == self.facts {
            let change = if back { IncidentChange::Updated } else { IncidentChange::Nothing };
            return (self, change);
        } else {
            IncidentChange::Updated
        };
        // The first report knows best since when it is so, unless a later one reaches further back.
        let since = self.facts.since.min(facts.since);
        let since = if change == IncidentChange::Reopened { facts.since } else { since };
        self.facts = Facts { since, ..facts };
        self.updated_at = at;
        (self, change)
    }

    /// Takes in a report that the problem is gone. It is over once that has held for long enough, which is
    /// longer while it comes and goes.
    pub fn clear(
        mut self,
        at: Timestamp,
        note: impl Into<String>,
        policy: &AlertPolicy,
    ) -> (Self, IncidentChange) {
        if self.state.is_resolved() || self.told.ending.is_some() {
            return (self, IncidentChange::Nothing);
        }
        self.told.flaps.turn(at);
        if self.hold(policy).is_zero() {
            return self.resolve(at, note);
        }
        self.told.ending = Some(Ending { at, note: note.into() });
        self.updated_at = at;
        (self, IncidentChange::Updated)
    }

    /// What time alone does: an end that has held becomes one, and flapping that has calmed down is over.
    pub fn settle(mut self, now: Timestamp, policy: &AlertPolicy) -> (Self, IncidentChange) {
        if self.state.is_resolved() {
            return (self, IncidentChange::Nothing);
        }
        let calmed = self.told.flaps.calm_down(now);
        let hold = self.hold(policy);
        match self.told.ending.take_if(|ending| now.duration_since(ending.at) >= hold) {
            Some(ending) => {
                self.state = IncidentState::Resolved { at: ending.at, note: ending.note };
                self.updated_at = now;
                (self, IncidentChange::Resolved)
            }
            None if calmed => (self, IncidentChange::Updated),
            None => (self, IncidentChange::Nothing),
        }
    }

    /// Takes in that the problem went or came back for a moment.
    pub fn waver(mut self, at: Timestamp) -> (Self, IncidentChange) {
        if self.state.is_resolved() {
            return (self, IncidentChange::Nothing);
        }
        self.told.flaps.turn(at);
        (self, IncidentChange::Updated)
    }

    /// Takes in that a newer deploy took over.
    pub fn supersede(mut self, at: Timestamp, by: impl Into<String>) -> (Self, IncidentChange) {
        if self.state.is_resolved() {
            return (self, IncidentChange::Nothing);
        }
        self.told.ending = None;
        self.state = IncidentState::Superseded { at, by: by.into() };
        self.updated_at = at;
        (self, IncidentChange::Superseded)
    }

    fn hold(&self, policy: &AlertPolicy) -> SignedDuration {
        if self.told.flaps.is_flapping() { WINDOW } else { policy.resolve_hold }
    }

    /// Takes in that the problem is gone for good, or that a person says so.
    pub fn resolve(mut self, at: Timestamp, note: impl Into<String>) -> (Self, IncidentChange) {
        if self.state.is_resolved() {
            return (self, IncidentChange::Nothing);
        }
        self.state = IncidentState::Resolved { at, note: note.into() };
        self.updated_at = at;
        (self, IncidentChange::Resolved)
    }

    /// A person has seen it: no more reminders until it grows more severe.
    pub fn acknowledge(mut self, at: Timestamp, by: impl Into<String>) -> (Self, IncidentChange) {
        if self.state != IncidentState::Open {
            return (self, IncidentChange::Nothing);
        }
        self.state = IncidentState::Acknowledged { at, by: by.into() };
        self.updated_at = at;
        (self, IncidentChange::Acknowledged)
    }

    /// A person wants no mail before `until`.
    pub fn snooze(mut self, at: Timestamp, until: Timestamp) -> (Self, IncidentChange) {
        if self.state.is_resolved() || until <= at {
            return (self, IncidentChange::Nothing);
        }
        self.snoozed_until = Some(until);
        self.updated_at = at;
        (self, IncidentChange::Snoozed)
    }

    /// The mail that on-call is owed at `now`, if any. An inhibited incident (the target cannot be measured,
    /// or a silence covers it) is kept up to date without mails; what it owes is written when that ends.
    pub fn owed(&self, now: Timestamp, mute: Mute, policy: &AlertPolicy) -> Option<Notice> {
        if self.state.is_resolved() || mute == Mute::Muted || self.snoozed_until.is_some_and(|at| now < at) {
            return None;
        }
        let Some(known) = &self.told.members else {
            let first = if self.reopened > 0 { Notice::Reopened } else { Notice::Opened };
            // A problem that comes and goes is not announced each time it comes.
            let first = if self.told.flaps.is_flapping() { Notice::Flapping } else { first };
            return Some(first).filter(|_| self.told.flaps.is_untold() || !self.told.flaps.is_flapping());
        };
        if mute == Mute::Quiet {
            return None;
        }
        if self.told.flaps.is_untold() {
            return Some(Notice::Flapping);
        }
        if self.is_escalation_due(now, policy) {
            return Some(Notice::Escalated);
        }
        if self.told.ending.is_some() {
            return None;
        }
        if self.told.grown {
            return Some(Notice::Worsened);
        }
        if self.told.flaps.is_flapping() {
            return None;
        }
        let joined = self.facts.members.iter().any(|member| !known.contains(&member.key));
        let last = self.told.last_at.unwrap_or(self.opened_at);
        if joined && now.duration_since(last) >= policy.update_every {
            return Some(Notice::Update);
        }
        self.next_reminder(policy).filter(|at| *at <= now).map(|_| Notice::Reminder)
    }

    fn is_escalation_due(&self, now: Timestamp, policy: &AlertPolicy) -> bool {
        self.escalates_at(policy).is_some_and(|at| at <= now)
    }

    /// When the second step is told unless somebody acknowledges; `None` where that cannot happen (any more).
    pub fn escalates_at(&self, policy: &AlertPolicy) -> Option<Timestamp> {
        let open = self.state == IncidentState::Open && self.told.ending.is_none();
        if !open || self.facts.severity != Severity::Critical || self.told.escalated_at.is_some() {
            return None;
        }
        Some(self.told.first_at? + policy.escalate_after?)
    }

    /// When the next reminder goes out; `None` once acknowledged, resolved, flapping or not yet mailed.
    pub fn next_reminder(&self, policy: &AlertPolicy) -> Option<Timestamp> {
        let held = self.told.flaps.is_flapping() || self.told.ending.is_some();
        if self.state != IncidentState::Open || self.told.members.is_none() || held {
            return None;
        }
        let wait = usize::try_from(self.told.reminders).ok().and_then(|n| policy.reminders.get(n));
        let wait = wait.or(policy.reminders.last())?;
        Some(self.told.last_at? + *wait)
    }

    /// Notes that `notice` was written at `now`.
    pub fn tell(&mut self, notice: Notice, now: Timestamp) {
        if notice == Notice::Escalated {
            self.told.escalated_at = Some(now);
            return;
        }
        if notice == Notice::Flapping {
            self.told.flaps.tell();
        }
        self.told.members = Some(self.facts.members.iter().map(|member| member.key.clone()).collect());
        self.told.grown = false;
        self.told.first_at = self.told.first_at.or(Some(now));
        self.told.last_at = Some(now);
        if notice == Notice::Reminder {
            self.told.reminders += 1;
        }
    }

    /// The last six letters of the id: what people say to each other and type.
    pub fn short_id(&self) -> &str {
        let text = self.id.as_str();
        text.get(text.len().saturating_sub(6)..).unwrap_or(text)
    }
}

/// Whether an incident's mails are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    Audible,
    /// Quiet hours, and it is no matter for the night: its first mail is written, and waits for the morning.
    Quiet,
    /// By an open [`IncidentKind::CannotCheck`] of the environment, or by a silence.
    Muted,
}

impl IncidentKind {
    /// Whether an open incident of kind `self` holds back the mails of `other` in the same environment.
    pub fn inhibits(self, other: Self) -> bool {
        self == Self::CannotCheck && other == Self::ChecksFailed
    }
}

#[cfg(test)]
#[path = "incident_tests.rs"]
mod tests;
