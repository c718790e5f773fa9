//! One webhook request as received, what a verified body says about itself, and what becomes of it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::clock::Timestamp;
use super::diagnosis::Class;
use super::ids::{DeliveryId, EventId, SecretVersionId};
use super::secret::{SecretState, SecretVersion, SlotMode};
pub use super::signature::builtin::HOOKSHOT;
use super::signature::scheme::{Events, Piece, Scheme, Text};
use super::signature::{Claim, HeaderProblem};

/// What a verified body says about itself; only ever read after its signature was checked. Only Lemon Squeezy's
/// bodies have an object with a type; of others, the digest stands in for its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    pub event_name: String,
    pub data_type: String,
    pub data_id: String,
    /// `data.attributes.updated_at` as written; arrival order says nothing.
    pub updated_at: Option<String>,
    /// Lemon Squeezy's `meta.webhook_id` (undocumented, present since 2025), or the id that another provider
    /// gives its events and that its signature covers.
    pub webhook_id: Option<String>,
    pub test_mode: Option<bool>,
    pub store_id: Option<u64>,
}

impl EventHead {
    /// What the event is about, as far as business goes. `created_at` would swallow repeated updates.
    pub fn business_key(&self) -> String {
        let updated_at = self.updated_at.as_deref().unwrap_or("");
        format!("{}|{}|{}|{updated_at}", self.event_name, self.data_type, self.data_id)
    }

    /// What makes two deliveries the same event: the provider's id, else the business key. Never the bytes,
    /// since signed links in the body change with each sending.
    pub fn dedup_key(&self) -> String {
        match &self.webhook_id {
            Some(id) => format!("id:{id}"),
            None => format!("key:{}", self.business_key()),
        }
    }

    /// The slot's mode that the body claims; live where it says nothing.
    pub fn mode(&self) -> SlotMode {
        if self.test_mode == Some(true) { SlotMode::Test } else { SlotMode::Live }
    }
}

/// A verified body that is not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is signed but is not an event as its provider writes them")]
pub struct NotAnEvent;

/// What an event is called where nothing names it.
const NAMELESS: &str = "webhook";

/// Reads the head of a verified body as its provider writes it. `digest` is the body's: it is what makes an
/// event where the provider gives it no id.
pub fn read_event(
    scheme: &Scheme,
    claim: &Claim,
    body: &[u8],
    digest: &str,
) -> Result<EventHead, NotAnEvent> {
    let Events::Pointers { name, id, live } = &scheme.events else { return read_head(body) };
    let reads_body = !name.is_empty() || !id.is_empty() || live.is_some();
    let json: Option<serde_json::Value> = if reads_body { serde_json::from_slice(body).ok() } else { None };
    let at = |pointer: &str| json.as_ref()?.pointer(pointer);
    let text = |pointers: &[Text]| {
        pointers.iter().find_map(|pointer| match at(pointer)? {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    let event_name = match claim.event.clone().or_else(|| text(name)) {
        Some(name) => name,
        None if name.is_empty() => NAMELESS.to_owned(),
        None => return Err(NotAnEvent),
    };
    // Whoever replays a request can give it another id where no signature covers that, but not another body.
    let signed_id = claim.id.clone().filter(|_| scheme.content.needs(&Piece::Id));
    let head = EventHead {
        event_name,
        data_type: "body".into(),
        data_id: digest.to_owned(),
        updated_at: None,
        webhook_id: signed_id.or_else(|| text(id)).filter(|id| !id.is_empty()),
        test_mode: live.as_ref().and_then(|pointer| at(pointer)?.as_bool()).map(|live| !live),
        store_id: None,
    };
    checked(head)
}

/// Reads the head of a verified body of Lemon Squeezy. Unknown fields and unknown events are fine, ids may be numbers.
pub fn read_head(body: &[u8]) -> Result<EventHead, NotAnEvent> {
    let wire: Wire = serde_json::from_slice(body).map_err(|_| NotAnEvent)?;
    let data_id = plain(wire.data.id).ok_or(NotAnEvent)?;
    let attributes = wire.data.attributes.unwrap_or_default();
    let head = EventHead {
        event_name: wire.meta.event_name,
        data_type: wire.data.kind,
        data_id,
        updated_at: attributes.updated_at,
        webhook_id: wire.meta.webhook_id.filter(|id| !id.is_empty()),
        test_mode: wire.meta.test_mode.or(attributes.test_mode),
        store_id: attributes.store_id.and_then(plain).and_then(|id| id.parse().ok()),
    };
    checked(head)
}

/// Refuses a head that could not be stored or read in a list.
fn checked(head: EventHead) -> Result<EventHead, NotAnEvent> {
    let fits = |text: &str| !text.is_empty() && text.len() <= 200 && !text.contains('\0');
    let all = [&head.event_name, &head.data_type, &head.data_id];
    let optional = [&head.updated_at, &head.webhook_id];
    let good = all.into_iter().all(|t| fits(t)) && optional.into_iter().flatten().all(|t| fits(t));
    good.then_some(head).ok_or(NotAnEvent)
}

#[derive(Deserialize)]
struct Wire<'a> {
    meta: Meta,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Meta {
    event_name: String,
    #[serde(default)]
    webhook_id: Option<String>,
    #[serde(default)]
    test_mode: Option<bool>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, default)]
    attributes: Option<Attributes<'a>>,
}

#[derive(Deserialize, Default)]
struct Attributes<'a> {
    #[serde(default)]
    updated_at: Option<String>,
    #[serde(default)]
    test_mode: Option<bool>,
    #[serde(borrow, default)]
    store_id: Option<&'a RawValue>,
}

/// A JSON string or number as plain text; anything else is no identifier.
fn plain(raw: &RawValue) -> Option<String> {
    match serde_json::from_str(raw.get()).ok()? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One request, as far as it could be judged without the store.
#[derive(Debug, Clone)]
pub struct Received {
    pub id: DeliveryId,
    pub source: String,
    pub at: Timestamp,
    /// A keyed hash of the sender's address.
    pub sender: String,
    pub user_agent: Option<String>,
    /// `X-Event-Name`, which no signature covers.
    pub event_header: Option<String>,
    pub content_encoding: Option<String>,
    pub body_bytes: u64,
    pub body_digest: String,
    pub check: Check,
}

/// What the request's bytes proved.
#[derive(Debug, Clone)]
pub enum Check {
    /// One or more versions verify the body; the most preferred one, and what the body says.
    Matched {
        version: SecretVersionId,
        claim: Claim,
        head: Result<EventHead, NotAnEvent>,
    },
    /// A well-formed signature that no version of the source verifies.
    Unmatched {
        claim: Claim,
    },
    /// Rightly signed, but its timestamp is off by these seconds: replayed, held up, or a wrong clock.
    OffTime {
        seconds: i64,
    },
    Header(HeaderProblem),
    TooLarge,
    TooSlow,
    /// The source has no secret at all.
    NoSecret,
}

/// Which answer the provider gets. Only 200 counts as delivered there; everything else is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Stored = 200,
    Malformed = 400,
    Refused = 401,
    TooSlow = 408,
    TooLarge = 413,
    TooMany = 429,
    Unavailable = 503,
}

impl Answer {
    pub fn status(self) -> u16 {
        self as u16
    }
}

/// How a delivery counts towards the health of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good,
    Bad,
    /// Scanners, other providers, oversized bodies: recorded, but says nothing about the secret.
    Noise,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Noise => "noise",
        }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposition {
    pub answer: Answer,
    pub class: Class,
    pub standing: Standing,
    /// Keep the refused bytes: the right secret may come later.
    pub quarantine: bool,
}

/// What a match on an overdue version gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    Accept,
    Reject,
}

/// What the settings say about a source's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'a> {
    pub overdue: Overdue,
    /// Stores whose events are expected; empty means any.
    pub store_ids: &'a [u64],
    /// How the provider's requests call themselves.
    pub agents: &'a [Text],
}

/// Decides, with the matched version as it stands inside the transaction.
pub fn dispose(received: &Received, version: Option<&SecretVersion>, rules: Rules<'_>) -> Disposition {
    let from_provider = received
        .user_agent
        .as_deref()
        .is_some_and(|agent| rules.agents.iter().any(|known| agent.starts_with(&**known)));
    let (answer, class, standing, quarantine) = match (&received.check, version) {
        (Check::Matched { head, .. }, Some(version)) => return matched(received, head, version, rules),
        (Check::Matched { .. }, None) => (Answer::Unavailable, Class::NoSecret, Standing::Noise, false),
        (Check::Unmatched { .. }, _) => (Answer::Refused, Class::UnknownSecret, Standing::Bad, true),
        (Check::OffTime { .. }, _) => (Answer::Refused, Class::TimestampOff, Standing::Bad, false),
        (Check::Header(problem), _) => {
            // Where the provider itself comes without a readable signature, its events are lost.
            let standing = if from_provider { Standing::Bad } else { Standing::Noise };
            let (answer, class) = match problem {
                HeaderProblem::Missing => (Answer::Refused, Class::MissingSignature),
                HeaderProblem::Ambiguous => (Answer::Malformed, Class::AmbiguousSignature),
                HeaderProblem::Malformed(format) => (Answer::Malformed, Class::MalformedSignature(*format)),
            };
            (answer, class, standing, false)
        }
        (Check::TooLarge, _) => (Answer::TooLarge, Class::TooLarge, Standing::Noise, false),
        (Check::TooSlow, _) => (Answer::TooSlow, Class::TooSlow, Standing::Noise, false),
        (Check::NoSecret, _) => (Answer::Unavailable, Class::NoSecret, Standing::Noise, false),
    };
    Disposition { answer, class, standing, quarantine }
}

fn matched(
    received: &Received,
    head: &Result<EventHead, NotAnEvent>,
    version: &SecretVersion,
    Rules { overdue, store_ids, .. }: Rules<'_>,
) -> Disposition {
    let refused = |class, quarantine| Disposition {
        answer: Answer::Refused,
        class,
        standing: Standing::Bad,
        quarantine,
    };
    let accepted =
        |class| Disposition { answer: Answer::Stored, class, standing: Standing::Good, quarantine: false };
    let late = matches!(&version.state, SecretState::Retiring { overlap_until, .. } if *overlap_until <= received.at);
    let by_state = match &version.state {
        SecretState::Compromised { .. } | SecretState::Purged { .. } => {
            return refused(Class::CompromisedSecret, false);
        }
        SecretState::Retired { .. } => return refused(Class::StaleSecret, true),
        SecretState::Overdue { .. } if overdue == Overdue::Reject => {
            return refused(Class::OverdueSecret, true);
        }
        SecretState::Retiring { .. } if late && overdue == Overdue::Reject => {
            return refused(Class::OverdueSecret, true);
        }
        SecretState::Overdue { .. } => Class::OverdueSecret,
        SecretState::Retiring { .. } if late => Class::OverdueSecret,
        SecretState::Retiring { .. } => Class::RetiringSecret,
        SecretState::Staged { .. } => Class::NewSecret,
        SecretState::Active { .. } => Class::Verified,
    };
    let Ok(head) = head else {
        // The signature proves the sender, so this is our problem or the provider's, never an attack.
        return Disposition {
            answer: Answer::Malformed,
            class: Class::Unparsable,
            standing: Standing::Good,
            quarantine: false,
        };
    };
    if version.slot.mode == SlotMode::Test && head.test_mode == Some(false) {
        // A test secret is shown around more freely, so it vouches for no live event.
        return refused(Class::OtherSlot, true);
    }
    if by_state == Class::OverdueSecret {
        return accepted(by_state);
    }
    if !store_ids.is_empty() && head.store_id.is_none_or(|id| !store_ids.contains(&id)) {
        return accepted(Class::UnexpectedStore);
    }
    if by_state != Class::Verified {
        return accepted(by_state);
    }
    if version.slot.mode == SlotMode::Live && head.mode() == SlotMode::Test {
        return accepted(Class::TestOnLive);
    }
    if received.event_header.as_ref().is_some_and(|name| *name != head.event_name) {
        return accepted(Class::EventNameDiffers);
    }
    accepted(Class::Verified)
}

/// A delivery as stored, for lists and pages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delivery {
    pub id: DeliveryId,
    pub source: String,
    pub mode: Option<SlotMode>,
    pub received_at: Timestamp,
    pub status: u16,
    pub class: String,
    pub version: Option<SecretVersionId>,
    pub event: Option<EventId>,
    pub event_name: Option<String>,
    pub duplicate: bool,
    /// Accepted after it was refused, once its secret was known.
    pub late: bool,
    pub flags: Vec<String>,
    pub body_bytes: u64,
    pub body_digest: String,
    pub user_agent: Option<String>,
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
