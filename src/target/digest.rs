//! Digests of failing rows' keys: keyed by this instance, so that they compare with a baseline and say nothing
//! elsewhere.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How many failing keys of a check are kept.
pub const CAP: usize = 10_000;

/// Sixteen hex digits, separated by the check's key so that digests of two checks cannot be joined.
pub fn digest(key: &[u8; 32], check: &str, row: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    mac.update(check.as_bytes());
    mac.update(&[0]);
    mac.update(row.as_bytes());
    hex::encode(&mac.finalize().into_bytes()[..8])
}
