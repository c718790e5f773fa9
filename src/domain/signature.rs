//! The only place where a webhook's signature is checked and where secrets are compared.
//!
//! How a provider signs is data (`scheme`): where its signature stands, which digest it is, and which bytes it
//! covers. Lemon Squeezy signs the raw body alone, `X-Signature: hex(HMAC-SHA256(secret, body))`, without a
//! timestamp or an id, so nothing but the bytes decides.

use std::fmt;

use hmac::{Hmac, KeyInit};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

pub mod builtin;
pub mod scheme;

pub use builtin::{BUILT_IN, built_in};
pub use scheme::{Foreign, Headers, Scheme};

/// The digest under the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    /// Bytes of a signature.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A signing secret, ready to sign and verify. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SigningKey {
    secret: Zeroizing<Vec<u8>>,
    state: State,
}

/// The digest with the key already in it, so that a delivery pays for its own bytes only.
#[derive(Clone)]
enum State {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Box<Hmac<Sha512>>),
}

/// HMAC takes an empty key without complaint and everybody knows it, so it is refused here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing secret is empty, and an empty secret verifies what anybody sends")]
pub struct EmptySecret;

impl SigningKey {
    /// A key for HMAC-SHA256, of the secret's own bytes.
    pub fn new(secret: &[u8]) -> Result<Self, EmptySecret> {
        Self::with(Algorithm::Sha256, secret, secret)
    }

    /// A key of the bytes that `secret` stands for in its provider's notation.
    pub fn with(algorithm: Algorithm, secret: &[u8], key: &[u8]) -> Result<Self, EmptySecret> {
        const ANY_LENGTH: &str = "HMAC takes a key of any length";
        if key.is_empty() {
            return Err(EmptySecret);
        }
        let state = match algorithm {
            Algorithm::Sha1 => State::Sha1(Hmac::new_from_slice(key).expect(ANY_LENGTH)),
            Algorithm::Sha256 => State::Sha256(Hmac::new_from_slice(key).expect(ANY_LENGTH)),
            Algorithm::Sha512 => State::Sha512(Box::new(Hmac::new_from_slice(key).expect(ANY_LENGTH))),
        };
        Ok(Self { secret: Zeroizing::new(secret.to_vec()), state })
    }

    /// The HMAC over `body`.
    pub fn sign(&self, body: &[u8]) -> Signature {
        self.sign_pieces([body])
    }

    /// The HMAC over the pieces, one after the other.
    pub fn sign_pieces<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Signature {
        match &self.state {
            State::Sha1(mac) => finish(mac.clone(), pieces),
            State::Sha256(mac) => finish(mac.clone(), pieces),
            State::Sha512(mac) => finish(Hmac::clone(mac), pieces),
        }
    }

    /// The secret as it was given, for sealing it in the store and for the variants that a diagnosis tries.
    pub fn expose(&self) -> &[u8] {
        &self.secret
    }
}

fn finish<'a, M: hmac::Mac>(mut mac: M, pieces: impl IntoIterator<Item = &'a [u8]>) -> Signature {
    for piece in pieces {
        mac.update(piece);
    }
    Signature::new(&mac.finalize().into_bytes()).expect("no digest here is longer than 64 bytes")
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

/// One HMAC, computed or claimed.
#[derive(Clone, Copy)]
pub struct Signature {
    bytes: [u8; 64],
    length: u8,
}

impl Signature {
    /// `None` for more than 64 bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut held = [0; 64];
        held.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: held, length: u8::try_from(bytes.len()).ok()? })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Compares in constant time; lengths are public.
    fn equals(&self, other: &Self) -> Choice {
        self.as_bytes().ct_eq(other.as_bytes())
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other).into()
    }
}

impl Eq for Signature {}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A right signature of a captured body is a key to replay it.
        f.write_str("Signature([redacted])")
    }
}

/// What a request's headers claim: one or more signatures, and what is signed together with the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Several where the provider signs with its old and its new secret at once.
    pub signatures: Vec<Signature>,
    /// As written: it is part of the signed bytes.
    pub timestamp: Option<String>,
    pub id: Option<String>,
    /// The event's name, where a header tells it; no signature covers it.
    pub event: Option<String>,
}

impl Claim {
    /// A signature of the body alone.
    pub fn plain(signature: Signature) -> Self {
        Self { signatures: vec![signature], timestamp: None, id: None, event: None }
    }

    /// Whether `computed` is among the claimed ones; all are compared.
    pub(super) fn holds(&self, computed: &Signature) -> bool {
        let hits = self.signatures.iter().map(|claimed| claimed.equals(computed));
        hits.fold(Choice::from(0), |any, hit| any | hit).into()
    }

    /// For keeping it sealed beside a body that a later secret may verify.
    pub fn to_text(&self) -> String {
        let signatures: Vec<String> = self.signatures.iter().map(hex::encode).collect();
        let line = |text: &Option<String>| text.clone().unwrap_or_default();
        let (timestamp, id, event) = (line(&self.timestamp), line(&self.id), line(&self.event));
        format!("{}\n{timestamp}\n{id}\n{event}\n", signatures.join(" "))
    }

    /// Reads what [`Claim::to_text`] wrote at the beginning of `kept`, and returns the rest.
    pub fn from_kept(kept: &[u8]) -> Option<(Self, &[u8])> {
        let mut parts = kept.splitn(5, |byte| *byte == b'\n');
        let mut line = || std::str::from_utf8(parts.next()?).ok();
        let signatures = line()?.split(' ').map(|text| Signature::new(&hex::decode(text).ok()?));
        let signatures = signatures.collect::<Option<_>>()?;
        let mut some = || Some(Some(line()?.to_owned()).filter(|text| !text.is_empty()));
        let claim = Self { signatures, timestamp: some()?, id: some()?, event: some()? };
        Some((claim, parts.next()?))
    }
}

/// Why headers hold no signature that could be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderProblem {
    Missing,
    /// Several that differ, or a list where one is expected: a proxy that doubles headers, or an attempt to
    /// confuse.
    Ambiguous,
    /// Not what the scheme writes; where the form or the header is another provider's, whose.
    Malformed(Option<Foreign>),
}

/// Checks `body` against every key and returns the positions of those that verify it.
///
/// All keys are computed, whatever the first ones say, so that the time tells nobody which one matched.
pub fn verify<'a>(
    scheme: &Scheme,
    body: &[u8],
    claim: &Claim,
    keys: impl IntoIterator<Item = &'a SigningKey>,
) -> Vec<usize> {
    let verdicts: Vec<bool> = keys.into_iter().map(|key| scheme.verifies(key, claim, body)).collect();
    verdicts.iter().enumerate().filter_map(|(at, good)| good.then_some(at)).collect()
}

/// SHA-256 of the body in hex: tells retries of one body apart from different bodies without reading them.
pub fn digest(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[cfg(test)]
#[path = "signature/tests.rs"]
mod tests;
