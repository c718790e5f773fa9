//! One message to one recipient: what it is, and when to try again after a failed attempt.

use serde::{Deserialize, Serialize};

use super::clock::{SignedDuration, Timestamp};

/// What a mail tells of an incident, or of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    Opened,
    Reopened,
    /// New members joined an open incident.
    Update,
    /// What was milder when it was told last is more severe now.
    Worsened,
    Reminder,
    /// Nobody acknowledged in time, so the second step is told.
    Escalated,
    /// It comes and goes: told once, then it is held open.
    Flapping,
    /// Somebody is on it; told to second channels alone.
    Acknowledged,
    Resolved,
    /// Opened and resolved in one mail, since the first one could not be handed over in time.
    Recovered,
    /// A window closed.
    Report,
    /// More mails were due than a person can read; what they said, in one.
    Digest,
    /// Sent by hand to prove the path.
    Test,
}

impl Notice {
    pub const ALL: [Self; 13] = [
        Self::Opened,
        Self::Reopened,
        Self::Update,
        Self::Worsened,
        Self::Reminder,
        Self::Escalated,
        Self::Flapping,
        Self::Acknowledged,
        Self::Resolved,
        Self::Recovered,
        Self::Report,
        Self::Digest,
        Self::Test,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reopened => "reopened",
            Self::Update => "update",
            Self::Worsened => "worsened",
            Self::Reminder => "reminder",
            Self::Escalated => "escalated",
            Self::Flapping => "flapping",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Recovered => "recovered",
            Self::Report => "report",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.as_str() == text)
    }

    /// Whether it makes a problem known, so that its end is told to whoever got it.
    pub fn announces(self) -> bool {
        matches!(self, Self::Opened | Self::Reopened | Self::Escalated)
    }
}

/// What goes over the wire, fixed when its cause is recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// With its angle brackets; the same on every attempt.
    pub message_id: String,
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub text: String,
    pub html: String,
}

/// Why a message waits although it could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Its recipient has had as many mails as a person can read.
    Storm,
    /// It is a warning, and its recipient's quiet hours.
    Quiet,
}

impl Held {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Storm => "storm",
            Self::Quiet => "quiet",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Storm, Self::Quiet].into_iter().find(|held| held.as_str() == text)
    }
}

/// Where a notification stands. `Sent`, `Dead`, `Cancelled` and `Digested` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    Pending,
    /// Claimed by a sender under a lease.
    Sending,
    /// The server took it; that says nothing of an inbox.
    Sent,
    /// Given up; never dropped silently: the mail path has an incident.
    Dead,
    /// No longer worth sending: its FAIL never reached this recipient.
    Cancelled,
    /// Another mail tells it, with many more.
    Digested,
}

impl NotificationState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Digested => "digested",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Sending, Self::Sent, Self::Dead, Self::Cancelled, Self::Digested]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// How far an attempt came before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The message or its addresses could not be put together.
    Build,
    Connect,
    /// The greeting and EHLO.
    Greeting,
    Tls,
    Auth,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA, before the content went out.
    Data,
    /// The content went out and its answer did not come: it may have been taken.
    Content,
}

impl Stage {
    pub const ALL: [Self; 9] = [
        Self::Build,
        Self::Connect,
        Self::Greeting,
        Self::Tls,
        Self::Auth,
        Self::Sender,
        Self::Recipient,
        Self::Data,
        Self::Content,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Data => "data",
            Self::Content => "content",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }
}

/// What a failed attempt means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Passes by itself: network, timeout, 4xx.
    Transient,
    /// A person must change settings; tried slowly, and the mail path has an incident.
    Configuration,
    /// The server will never take this recipient.
    Recipient,
    /// The server will never take this message.
    Message,
}

impl FailureClass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Configuration => "configuration",
            Self::Recipient => "recipient",
            Self::Message => "message",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Transient, Self::Configuration, Self::Recipient, Self::Message]
            .into_iter()
            .find(|class| class.as_str() == text)
    }

    /// What an SMTP answer at `stage` means; `code` is `None` where none came.
    pub fn of(stage: Stage, code: Option<u16>) -> Self {
        match (stage, code) {
            (Stage::Build, _) => Self::Message,
            // 535 from a login that worked yesterday may be a hiccup, and is still a person's business.
            (_, Some(500..)) => match stage {
                Stage::Recipient => Self::Recipient,
                Stage::Data | Stage::Content => Self::Message,
                _ => Self::Configuration,
            },
            _ => Self::Transient,
        }
    }
}

/// The waits after the 1st, 2nd, … failed attempt; the last one repeats.
const WAITS: [SignedDuration; 6] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_secs(15),
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(15),
    SignedDuration::from_mins(30),
];

/// A message this old is no longer tried.
pub const AGE_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// Configuration failures start slowly, since only a person's hand helps.
const SLOW_FROM: usize = 3;

/// What happens after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    At(Timestamp),
    /// No more attempts.
    Never,
}

/// Plans the next attempt. `attempts` counts those made, at least 1; `jitter` in 0..1 spreads senders that
/// failed together over a fifth of the wait.
pub fn retry(
    class: FailureClass,
    attempts: u32,
    created_at: Timestamp,
    now: Timestamp,
    jitter: f64,
) -> Retry {
    let first = match class {
        FailureClass::Recipient | FailureClass::Message => return Retry::Never,
        FailureClass::Transient => 0,
        FailureClass::Configuration => SLOW_FROM,
    };
    let step = first + usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX).min(WAITS.len());
    let wait = WAITS[step.min(WAITS.len() - 1)];
    let spread = SignedDuration::from_secs_f64(wait.as_secs_f64() * 0.2 * jitter.clamp(0.0, 1.0));
    let next = now + wait + spread;
    if next.duration_since(created_at) > AGE_LIMIT { Retry::Never } else { Retry::At(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn waits_grow_to_half_an_hour_and_end_after_a_day() {
        let created = at("2026-05-01T00:00:00Z");
        let mut now = created;
        let mut waits = Vec::new();
        let mut attempts = 1;
        while let Retry::At(next) = retry(FailureClass::Transient, attempts, created, now, 0.0) {
            waits.push(next.duration_since(now).as_secs());
            now = next;
            attempts += 1;
        }
        assert_eq!(waits[..7], [5, 15, 60, 300, 900, 1800, 1800]);
        assert!(now.duration_since(created) <= AGE_LIMIT);
        assert!(now.duration_since(created) > SignedDuration::from_hours(23));
    }

    #[test]
    fn six_hours_of_silence_cost_no_message() {
        let created = at("2026-05-01T00:00:00Z");
        let now = created + SignedDuration::from_hours(6);
        assert!(matches!(retry(FailureClass::Transient, 40, created, now, 1.0), Retry::At(_)));
    }

    #[test]
    fn a_refused_recipient_or_message_is_not_tried_again() {
        let t = at("2026-05-01T00:00:00Z");
        for class in [FailureClass::Recipient, FailureClass::Message] {
            assert_eq!(retry(class, 1, t, t, 0.0), Retry::Never);
        }
    }

    #[test]
    fn configuration_failures_are_tried_slowly_and_jitter_only_delays() {
        let t = at("2026-05-01T00:00:00Z");
        assert_eq!(
            retry(FailureClass::Configuration, 1, t, t, 0.0),
            Retry::At(t + SignedDuration::from_mins(5))
        );
        assert_eq!(
            retry(FailureClass::Configuration, 1, t, t, 1.0),
            Retry::At(t + SignedDuration::from_mins(6))
        );
    }

    #[test]
    fn an_answer_means_something_else_at_each_stage() {
        use FailureClass::*;
        for (stage, code, class) in [
            (Stage::Connect, None, Transient),
            (Stage::Greeting, Some(421), Transient),
            (Stage::Greeting, Some(554), Configuration),
            (Stage::Tls, None, Transient),
            (Stage::Auth, Some(454), Transient),
            (Stage::Auth, Some(535), Configuration),
            (Stage::Sender, Some(553), Configuration),
            (Stage::Recipient, Some(450), Transient),
            (Stage::Recipient, Some(550), Recipient),
            (Stage::Data, Some(451), Transient),
            (Stage::Content, Some(554), Message),
            (Stage::Content, None, Transient),
            (Stage::Build, None, Message),
        ] {
            assert_eq!(FailureClass::of(stage, code), class, "{stage:?} {code:?}");
        }
    }

    #[test]
    fn words_round_trip() {
        for notice in Notice::ALL {
            assert_eq!(Notice::parse(notice.as_str()), Some(notice));
        }
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
        }
    }
}
