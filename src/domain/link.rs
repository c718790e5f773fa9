//! Links in mails that let a person act without signing in: what a link may do, until when, and the signature
//! that nobody else can make. A link names its mail and not an address, so that no address is in a URL.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::clock::{SignedDuration, Timestamp};
use super::ids::NotificationId;

/// 192 bits: nobody guesses that, and a line of text stays whole.
const MAC_BYTES: usize = 24;

/// What a link may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkAction {
    Acknowledge,
    SnoozeHour,
    SnoozeFourHours,
    /// No more reports about this environment to this person.
    ReportsOff,
}

impl LinkAction {
    pub const ALL: [Self; 4] = [Self::Acknowledge, Self::SnoozeHour, Self::SnoozeFourHours, Self::ReportsOff];

    /// The word in the link.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "ack",
            Self::SnoozeHour => "snooze1h",
            Self::SnoozeFourHours => "snooze4h",
            Self::ReportsOff => "reports",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }

    /// How long no mail comes.
    pub fn snooze(self) -> Option<SignedDuration> {
        match self {
            Self::SnoozeHour => Some(SignedDuration::from_hours(1)),
            Self::SnoozeFourHours => Some(SignedDuration::from_hours(4)),
            Self::Acknowledge | Self::ReportsOff => None,
        }
    }

    /// How long a link works after its mail was written. Mail programs offer to end a subscription long after.
    pub fn lifetime(self) -> SignedDuration {
        match self {
            Self::ReportsOff => SignedDuration::from_hours(24 * 60),
            _ => SignedDuration::from_hours(72),
        }
    }
}

/// A link before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The mail that it stands in; the incident and the person are known from it.
    pub notification: NotificationId,
    pub action: LinkAction,
    pub expires_at: Timestamp,
}

/// Why a link does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLink {
    /// Not made here, or cut in half by a mail program.
    Broken,
    Expired,
}

impl Link {
    pub fn new(notification: NotificationId, action: LinkAction, written_at: Timestamp) -> Self {
        Self { notification, action, expires_at: written_at + action.lifetime() }
    }

    /// `ack.1746360000.ntf_0192….` and the signature.
    pub fn seal(&self, key: &[u8; 32]) -> String {
        let signed = self.signed();
        let mac = URL_SAFE_NO_PAD.encode(&mac(key, &signed)[..MAC_BYTES]);
        format!("{signed}.{mac}")
    }

    /// Reads a link back; only one that was sealed with `key` and has not expired.
    pub fn open(token: &str, key: &[u8; 32], now: Timestamp) -> Result<Self, BadLink> {
        let (signed, presented) = token.rsplit_once('.').ok_or(BadLink::Broken)?;
        let presented = URL_SAFE_NO_PAD.decode(presented).map_err(|_| BadLink::Broken)?;
        let expected = mac(key, signed);
        if !bool::from(presented.as_slice().ct_eq(&expected[..MAC_BYTES])) {
            return Err(BadLink::Broken);
        }
        let mut parts = signed.splitn(3, '.');
        let mut next = || parts.next().ok_or(BadLink::Broken);
        let action = LinkAction::parse(next()?).ok_or(BadLink::Broken)?;
        let seconds: i64 = next()?.parse().map_err(|_| BadLink::Broken)?;
        let expires_at = Timestamp::from_second(seconds).map_err(|_| BadLink::Broken)?;
        let notification = NotificationId::from_text(next()?);
        if now >= expires_at {
            return Err(BadLink::Expired);
        }
        Ok(Self { notification, action, expires_at })
    }

    fn signed(&self) -> String {
        format!("{}.{}.{}", self.action.as_str(), self.expires_at.as_second(), self.notification)
    }
}

fn mac(key: &[u8; 32], text: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn noon() -> Timestamp {
        "2026-05-01T12:00:00Z".parse().unwrap()
    }

    fn link(action: LinkAction) -> Link {
        Link::new(NotificationId::from_text("ntf_0192f0c1d2e37f00a1b2c3d4e5f60718"), action, noon())
    }

    #[test]
    fn a_link_opens_with_its_key_until_it_expires() {
        for action in LinkAction::ALL {
            let link = link(action);
            let token = link.seal(&KEY);
            let last = noon() + action.lifetime() - SignedDuration::from_secs(1);
            assert_eq!(Link::open(&token, &KEY, last), Ok(link));
            let after = noon() + action.lifetime();
            assert_eq!(Link::open(&token, &KEY, after), Err(BadLink::Expired));
            assert_eq!(Link::open(&token, &[8; 32], noon()), Err(BadLink::Broken));
        }
    }

    #[test]
    fn every_changed_letter_breaks_it() {
        let token = link(LinkAction::Acknowledge).seal(&KEY);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(Link::open(&changed, &KEY, noon()), Err(BadLink::Broken), "{changed}");
            assert_eq!(Link::open(&token[..at], &KEY, noon()), Err(BadLink::Broken));
        }
    }

    #[test]
    fn a_token_needs_no_escaping_and_no_folding() {
        let token = link(LinkAction::SnoozeFourHours).seal(&KEY);
        assert!(token.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')), "{token}");
        assert!(token.len() < 100, "{}", token.len());
    }
}
