//! Identifiers: a short prefix that names the kind and a UUIDv7, so that they sort by time and explain
//! themselves in a log line (`dep_0192f0c1…`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

/// Randomness as a parameter. Only `system` implements it over the operating system.
pub trait Entropy: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]);
}

/// A UUIDv7 for `now`, in its hyphenated form.
pub fn uuid_v7(now: Timestamp, entropy: &dyn Entropy) -> uuid::Uuid {
    let mut random = [0_u8; 10];
    entropy.fill(&mut random);
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
                Self(format!("{}_{}", $prefix, uuid_v7(now, entropy).simple()))
            }

            /// What is not after any identifier of that millisecond or a later one, and after all earlier ones. A
            /// UUIDv7 begins with its 48 bits of milliseconds (RFC 9562, 5.7).
            pub fn earliest(at: Timestamp) -> String {
                let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
                format!("{}_{millis:012x}", $prefix)
            }

            /// Takes an identifier as it came from the store or a caller; nothing is checked but use.
            pub fn from_text(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(/** One announced release. */ DeployId, "dep");
id!(/** One pass over a target in one snapshot. */ ScanId, "scn");
id!(/** The immutable measurements taken before a deploy. */ BaselineId, "bas");
id!(/** One webhook request as received. */ DeliveryId, "dlv");
id!(/** One verified, deduplicated provider event. */ EventId, "evt");
id!(/** One version of a signing secret. */ SecretVersionId, "sec");
id!(/** One change of a signing secret. */ RotationId, "rot");
id!(/** An open problem with a dedup key. */ IncidentId, "inc");
id!(/** One message to one recipient. */ NotificationId, "ntf");
id!(/** Something that is not mailed for a while. */ SilenceId, "sil");
id!(/** An API token (the public part). */ TokenId, "tok");

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn identifiers_sort_by_time_and_name_their_kind() {
        let at = |s: &str| s.parse::<Timestamp>().unwrap();
        let early = DeployId::new(at("2026-05-01T00:00:00Z"), &Fixed(255));
        let late = DeployId::new(at("2026-05-01T00:00:01Z"), &Fixed(0));
        assert!(early.as_str().starts_with("dep_"));
        assert!(early < late);
    }

    #[test]
    fn an_instant_bounds_the_identifiers_from_it_on() {
        let at = |s: &str| s.parse::<Timestamp>().unwrap();
        let id = |s: &str, byte| DeployId::new(at(s), &Fixed(byte)).as_str().to_owned();
        let bound = DeployId::earliest(at("2026-05-01T00:00:00.250Z"));
        assert!(id("2026-05-01T00:00:00.249999Z", 255) < bound);
        assert!(bound <= id("2026-05-01T00:00:00.250Z", 0));
        assert!(bound <= id("2026-05-01T00:00:00.250999Z", 0));
    }
}
