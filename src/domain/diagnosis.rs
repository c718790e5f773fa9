//! Why a delivery was accepted, refused or odd, in an operator's words, and what to do about it. The caller
//! learns none of this.

pub mod php;
pub mod recompute;

use super::signature::{Foreign, Scheme};

/// What a delivery turned out to be. The names are stored and never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    // Accepted.
    Verified,
    /// The first delivery signed with a staged version: the provider was switched.
    NewSecret,
    RetiringSecret,
    /// Signed with an old version after its overlap.
    OverdueSecret,
    TestOnLive,
    EventNameDiffers,
    UnexpectedStore,
    // Refused.
    StaleSecret,
    CompromisedSecret,
    UnknownSecret,
    MissingSignature,
    AmbiguousSignature,
    MalformedSignature(Option<Foreign>),
    /// Rightly signed, but at another time than it came.
    TimestampOff,
    Unparsable,
    TooLarge,
    TooSlow,
    NoSecret,
    // Found out afterwards, by recomputation.
    OtherSlot,
    NewlineInSecret,
    QuotedSecret,
    TrimmedSecret,
    FirstForty,
    Reserialised,
    WhitespaceChanged,
    CompressedForm,
}

impl Class {
    pub const ALL: [Self; 26] = [
        Self::Verified,
        Self::NewSecret,
        Self::RetiringSecret,
        Self::OverdueSecret,
        Self::TestOnLive,
        Self::EventNameDiffers,
        Self::UnexpectedStore,
        Self::StaleSecret,
        Self::CompromisedSecret,
        Self::UnknownSecret,
        Self::MissingSignature,
        Self::AmbiguousSignature,
        Self::MalformedSignature(None),
        Self::TimestampOff,
        Self::Unparsable,
        Self::TooLarge,
        Self::TooSlow,
        Self::NoSecret,
        Self::OtherSlot,
        Self::NewlineInSecret,
        Self::QuotedSecret,
        Self::TrimmedSecret,
        Self::FirstForty,
        Self::Reserialised,
        Self::WhitespaceChanged,
        Self::CompressedForm,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::NewSecret => "new_secret",
            Self::RetiringSecret => "retiring_secret",
            Self::OverdueSecret => "overdue_secret",
            Self::TestOnLive => "test_on_live",
            Self::EventNameDiffers => "event_name_differs",
            Self::UnexpectedStore => "unexpected_store",
            Self::StaleSecret => "stale_secret",
            Self::CompromisedSecret => "compromised_secret",
            Self::UnknownSecret => "unknown_secret",
            Self::MissingSignature => "missing_signature",
            Self::AmbiguousSignature => "ambiguous_signature",
            Self::MalformedSignature(_) => "malformed_signature",
            Self::TimestampOff => "timestamp_off",
            Self::Unparsable => "unparsable",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::NoSecret => "no_secret",
            Self::OtherSlot => "other_slot",
            Self::NewlineInSecret => "newline_in_secret",
            Self::QuotedSecret => "quoted_secret",
            Self::TrimmedSecret => "trimmed_secret",
            Self::FirstForty => "first_forty",
            Self::Reserialised => "reserialised",
            Self::WhitespaceChanged => "whitespace_changed",
            Self::CompressedForm => "compressed_form",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }

    /// The other provider whose signature it looks like.
    pub fn foreign(self) -> Option<&'static str> {
        match self {
            Self::MalformedSignature(format) => format.map(Foreign::provider),
            _ => None,
        }
    }

    /// Whether an accepted delivery of this class is meant for the product.
    pub fn is_for_product(self) -> bool {
        !matches!(self, Self::TestOnLive | Self::UnexpectedStore)
    }

    /// One sentence for on-call: what was seen and what it most likely means.
    pub fn explain(self) -> String {
        if let Self::MalformedSignature(Some(format)) = self {
            return format!(
                "the signature looks like that of {}: another provider's webhook points here",
                format.provider()
            );
        }
        match self {
            Self::Verified => "signed with the active secret",
            Self::NewSecret => "the first delivery signed with the staged secret: the provider was switched",
            Self::RetiringSecret => "signed with the previous secret, inside its overlap",
            Self::OverdueSecret => "signed with an old secret after its overlap: the provider was not switched, or a second webhook still uses it",
            Self::TestOnLive => "a test-mode event signed with the live secret: recorded, never forwarded",
            Self::EventNameDiffers => "the X-Event-Name header differs from the signed body, which wins: something between changes headers",
            Self::UnexpectedStore => "signed correctly, but from a store that is not configured: recorded, never forwarded",
            Self::StaleSecret => "signed with a retired secret: whoever sends this was not switched",
            Self::CompromisedSecret => "signed with a secret that was revoked as compromised: forged, or a sender that was never switched",
            Self::UnknownSecret => "no known secret verifies it: the secret was changed at the provider, a second webhook points here, or it is forged",
            Self::MissingSignature => "no signature header: a scanner, or a proxy that strips it",
            Self::AmbiguousSignature => "several signatures that differ: a proxy doubles headers, or somebody tries to confuse",
            Self::MalformedSignature(_) => "the signature is not in the form that the provider writes: the wrong sender or a cut header",
            Self::TimestampOff => "signed correctly, but its timestamp is further from our clock than is tolerated: a wrong clock here, a queue before us, or a replay",
            Self::Unparsable => "signed correctly but not an event: the provider changed its format, or another kind of webhook shares the secret",
            Self::TooLarge => "the body is larger than the limit",
            Self::TooSlow => "the body did not arrive in time",
            Self::NoSecret => "this source has no secret, so nothing can be verified",
            Self::OtherSlot => "signed with the secret of another slot: a test webhook points at the live one, or the reverse",
            Self::NewlineInSecret => "the provider's secret is ours plus a line end: one of the two was pasted with a newline",
            Self::QuotedSecret => "the provider's secret is ours with quotes around it, or the reverse: quotes were stored as part of it",
            Self::TrimmedSecret => "the provider's secret is ours without the blanks at its ends",
            Self::FirstForty => "the provider signs with the first 40 characters of our secret: Lemon Squeezy allows no more",
            Self::Reserialised => "the secret is right, but the body was parsed and written again on the way: look at the proxy or middleware before us",
            Self::WhitespaceChanged => "the secret is right, but line ends, a byte-order mark or a last newline were changed on the way",
            Self::CompressedForm => "the secret is right, but the body was compressed or decompressed on the way",
        }
        .to_owned()
    }

    /// Whether the finding was proved by recomputing the signature, rather than concluded.
    pub fn is_certain(self) -> bool {
        !matches!(self, Self::UnknownSecret | Self::MissingSignature | Self::MalformedSignature(_))
    }

    /// What to do, in order, at the provider whose scheme it is.
    pub fn next_steps(self, source: &str, scheme: &Scheme) -> Vec<String> {
        let steps: &[&str] = match self {
            Self::OverdueSecret | Self::StaleSecret => &[
                "Open {place} and compare the secret of every webhook that points here; a second one may still hold the old value",
                "Set the current secret there, then have the latest delivery sent again",
                "Run `deploywatch secret status {source}`: the old version must stay quiet while the active one matches",
                "If the product was switched too early, run `deploywatch secret rollback {source}`",
            ],
            Self::CompromisedSecret => &[
                "Check {place}: if a webhook still holds the revoked secret, change it now",
                "If none does, somebody else holds the secret: look where it leaked and keep it revoked",
                "List what was refused with `deploywatch webhook list --source {source} --class compromised_secret`",
            ],
            Self::UnknownSecret | Self::FirstForty => &[
                "Ask who changed the secret in {place}; look there for a second webhook with this URL",
                "Add the right value with `deploywatch secret add {source} --from-file FILE`; refused deliveries that it verifies are taken in late, once",
                "For events older than that, have {provider} send them again{patience}",
            ],
            Self::MissingSignature => &[
                "Check that the proxy or firewall before deploywatch passes the header {header} on unchanged",
                "Have a delivery sent again in {place} and look at `deploywatch webhook list --source {source}`",
            ],
            Self::AmbiguousSignature => &[
                "Look at the proxy before deploywatch: it must pass the header {header} on once, as it came",
                "Have a delivery sent again in {place} and look at `deploywatch webhook list --source {source}`",
            ],
            Self::MalformedSignature(_) => &[
                "Look for a webhook of another provider that points at /webhooks/{source}, and give it a source of its own or delete it",
                "If it is {provider}, see whether a proxy cuts or rewrites the header {header}",
                "Look at what came with `deploywatch webhook list --source {source} --class malformed_signature`",
            ],
            Self::Reserialised | Self::WhitespaceChanged | Self::CompressedForm => &[
                "Look at the proxy, function or middleware before deploywatch: it must pass the raw bytes on",
                "Point the webhook directly at deploywatch if it cannot",
                "Then have {provider} send the refused deliveries again",
            ],
            Self::NewlineInSecret | Self::QuotedSecret | Self::TrimmedSecret => &[
                "Fix the stored value (no newline, no quotes), in the environment here or in {place}",
                "Add the fixed value with `deploywatch secret add {source} --from-file FILE`; refused deliveries are taken in late, once",
            ],
            Self::OtherSlot | Self::TestOnLive => {
                &["Compare the URLs of the live and the test webhook in {place}"]
            }
            Self::TimestampOff => &[
                "Compare this machine's clock with the time server (`timedatectl`, `chronyc tracking`)",
                "Look for a queue or a proxy before deploywatch that holds deliveries up; `webhooks.sources.{source}.signature.tolerance_seconds` widens what is allowed",
            ],
            Self::Unparsable => &[
                "Look at the delivery with `deploywatch webhook show ID` and compare it with the provider's announcements",
                "Check that no other service signs with the same secret",
            ],
            Self::NoSecret => &[
                "Set the secret of webhooks.sources.{source} (LEMONSQUEEZY_WEBHOOK_SECRET is Lemon Squeezy's), or run `deploywatch secret add {source}`",
            ],
            _ => &["Look at `deploywatch webhook list --source {source}`"],
        };
        let header = scheme.headers.first().map_or("x-signature", |name| name);
        let words = [
            ("{source}", source),
            ("{place}", &scheme.place),
            ("{provider}", &scheme.provider),
            ("{header}", header),
            ("{patience}", scheme.patience.as_ref().map_or("", |patience| patience)),
        ];
        let fill =
            |step: &&str| words.iter().fold((*step).to_owned(), |text, (word, is)| text.replace(word, is));
        steps.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signature::BUILT_IN;

    #[test]
    fn every_class_has_its_own_name_and_can_be_read_back() {
        for class in Class::ALL {
            assert_eq!(Class::parse(class.as_str()), Some(class));
            assert!(!class.explain().ends_with('.'));
            assert!(class.next_steps("acme", &BUILT_IN[0]).iter().all(|step| !step.contains(['{', '}'])));
        }
    }
}
