//! Seals secrets and bodies before they reach the store (XChaCha20-Poly1305) and makes the fingerprints by
//! which secrets are named, so that the store alone gives nothing away.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::domain::ids::Entropy;
use crate::domain::signature::SigningKey;
use crate::services::context::Keys;

const NONCE: usize = 24;

/// A sealed value that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open; the store was changed, or the master key is another one")]
pub struct Unsealable;

/// The keys derived from the master key that concern webhooks.
#[derive(Clone)]
pub struct Keyring {
    cipher: XChaCha20Poly1305,
    fingerprints: SigningKey,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring([redacted])")
    }
}

impl Keyring {
    pub fn new(keys: &Keys) -> Self {
        let sealing = Zeroizing::new(keys.derive("webhook-secrets"));
        let fingerprints = Zeroizing::new(keys.derive("fingerprints"));
        Self {
            cipher: XChaCha20Poly1305::new((&*sealing).into()),
            fingerprints: SigningKey::new(&*fingerprints).expect("32 bytes are not empty"),
        }
    }

    /// Encrypts `plain`, bound to `context` (a row's id), so that sealed values cannot change places.
    pub fn seal(&self, entropy: &dyn Entropy, context: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0_u8; NONCE];
        entropy.fill(&mut nonce);
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let mut out = nonce.to_vec();
        out.extend(sealed.expect("a value in memory is shorter than the cipher's limit"));
        out
    }

    pub fn unseal(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(Unsealable)?;
        let payload = Payload { msg: sealed, aad: context.as_bytes() };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| Unsealable)
    }

    /// The first 12 hex digits of a keyed hash. A plain hash of a short secret could be reversed by trying.
    pub fn fingerprint(&self, secret: &[u8]) -> String {
        let mut text = hex::encode(self.fingerprints.sign(secret));
        text.truncate(12);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemEntropy;

    fn keyring(byte: u8) -> Keyring {
        Keyring::new(&Keys::new([byte; 32]))
    }

    #[test]
    fn what_is_sealed_opens_only_in_its_place_and_with_its_key() {
        let sealed = keyring(7).seal(&SystemEntropy, "sec_1", b"hunter2-hunter2");
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(*keyring(7).unseal("sec_1", &sealed).unwrap(), b"hunter2-hunter2");
        assert!(keyring(7).unseal("sec_2", &sealed).is_err());
        assert!(keyring(8).unseal("sec_1", &sealed).is_err());
        assert!(keyring(7).unseal("sec_1", &sealed[..20]).is_err());
        assert_ne!(sealed, keyring(7).seal(&SystemEntropy, "sec_1", b"hunter2-hunter2"));
    }

    #[test]
    fn fingerprints_are_short_keyed_and_stable() {
        assert_eq!(keyring(7).fingerprint(b"abc").len(), 12);
        assert_eq!(keyring(7).fingerprint(b"abc"), keyring(7).fingerprint(b"abc"));
        assert_ne!(keyring(7).fingerprint(b"abc"), keyring(8).fingerprint(b"abc"));
    }
}
