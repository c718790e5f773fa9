//! The only place where a webhook's signature is checked and where secrets are compared.
//!
//! Lemon Squeezy signs the raw body: `X-Signature: hex(HMAC-SHA256(secret, body))`. There is no timestamp
//! and no delivery id in the header, so nothing but the bytes decides.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A signing secret, ready to sign and verify. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SigningKey {
    secret: Zeroizing<Vec<u8>>,
    mac: Hmac<Sha256>,
}

/// HMAC takes an empty key without complaint and everybody knows it, so it is refused here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing secret is empty, and an empty secret verifies what anybody sends")]
pub struct EmptySecret;

impl SigningKey {
    pub fn new(secret: &[u8]) -> Result<Self, EmptySecret> {
        if secret.is_empty() {
            return Err(EmptySecret);
        }
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Ok(Self { secret: Zeroizing::new(secret.to_vec()), mac })
    }

    /// The 32 bytes of HMAC-SHA256 over `body`.
    pub fn sign(&self, body: &[u8]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(body);
        mac.finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub fn verifies(&self, body: &[u8], signature: &Signature) -> bool {
        let mut mac = self.mac.clone();
        mac.update(body);
        mac.verify_slice(&signature.0).is_ok()
    }

    /// The plain bytes, for sealing them in the store and for the variants that a diagnosis tries.
    pub fn expose(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

/// What the header claims: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 32]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A right signature of a captured body is a key to replay it.
        f.write_str("Signature([redacted])")
    }
}

/// Why a header is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderProblem {
    Missing,
    /// Several that differ, or a comma list: a proxy that doubles headers, or an attempt to confuse.
    Ambiguous,
    /// Not 64 hex digits; where the form is known, whose it is.
    Malformed(Option<ForeignFormat>),
}

/// Signature formats of other providers, recognised so that on-call learns that the wrong webhook points here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignFormat {
    GitHub,
    Stripe,
    Paddle,
    StandardWebhooks,
    Vercel,
    Base64,
}

impl ForeignFormat {
    /// As an operator would say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub's (sha256=…)",
            Self::Stripe => "Stripe's (t=…,v1=…)",
            Self::Paddle => "Paddle's (ts=…;h1=…)",
            Self::StandardWebhooks => "Standard Webhooks' (v1,…)",
            Self::Vercel => "Vercel's (40 hex digits, SHA-1)",
            Self::Base64 => "a base64 one, as Shopify's",
        }
    }
}

/// Reads the values of all `X-Signature` headers of one request, in any order.
///
/// Exactly one, or all identical: anything else is [`HeaderProblem::Ambiguous`]. Only outer blanks are
/// forgiven; hex digits may have any case.
pub fn parse_header<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Signature, HeaderProblem> {
    let mut values = values.into_iter().map(<[u8]>::trim_ascii);
    let first = values.next().ok_or(HeaderProblem::Missing)?;
    if values.any(|other| other != first) {
        return Err(HeaderProblem::Ambiguous);
    }
    if first.is_empty() {
        return Err(HeaderProblem::Missing);
    }
    let mut bytes = [0_u8; 32];
    match hex::decode_to_slice(first, &mut bytes) {
        Ok(()) => Ok(Signature(bytes)),
        Err(_) if is_list(first) => Err(HeaderProblem::Ambiguous),
        Err(_) => Err(HeaderProblem::Malformed(recognise(first))),
    }
}

/// Checks `body` against every key and returns the positions of those that verify it.
///
/// All keys are computed, whatever the first ones say, so that the time tells nobody which one matched.
pub fn verify<'a>(
    body: &[u8],
    signature: &Signature,
    keys: impl IntoIterator<Item = &'a SigningKey>,
) -> Vec<usize> {
    let verdicts: Vec<bool> = keys.into_iter().map(|key| key.verifies(body, signature)).collect();
    verdicts.iter().enumerate().filter_map(|(at, good)| good.then_some(at)).collect()
}

/// SHA-256 of the body in hex: tells retries of one body apart from different bodies without reading them.
pub fn digest(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

fn is_list(value: &[u8]) -> bool {
    let mut parts = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    value.contains(&b',') && parts.all(|part| part.len() == 64 && part.iter().all(u8::is_ascii_hexdigit))
}

fn recognise(value: &[u8]) -> Option<ForeignFormat> {
    let text = std::str::from_utf8(value).ok()?;
    let has = |needle: &str| text.contains(needle);
    if text.starts_with("sha256=") {
        Some(ForeignFormat::GitHub)
    } else if has("t=") && has(",v1=") {
        Some(ForeignFormat::Stripe)
    } else if has("ts=") && has("h1=") {
        Some(ForeignFormat::Paddle)
    } else if text.starts_with("v1,") {
        Some(ForeignFormat::StandardWebhooks)
    } else if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Some(ForeignFormat::Vercel)
    } else if text.len() == 44 && text.ends_with('=') {
        Some(ForeignFormat::Base64)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lemon_squeezy");

    fn vectors() -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(format!("{FOLDER}/vectors.json")).unwrap()).unwrap()
    }

    fn key(secret: &str) -> SigningKey {
        SigningKey::new(secret.as_bytes()).unwrap()
    }

    fn header(text: &str) -> Result<Signature, HeaderProblem> {
        parse_header([text.as_bytes()])
    }

    #[test]
    fn every_vector_is_matched_by_its_own_secret_and_by_no_other() {
        let vectors = vectors();
        let new = key(vectors["secrets"]["new"].as_str().unwrap());
        let old = key(vectors["secrets"]["old"].as_str().unwrap());
        let files = vectors["files"].as_object().unwrap();
        assert_eq!(files.len(), 6);
        for (name, vector) in files {
            let body = std::fs::read(format!("{FOLDER}/{name}")).unwrap();
            assert_eq!(body.len() as u64, vector["bytes"].as_u64().unwrap(), "{name}");
            assert_eq!(digest(&body), vector["sha256"].as_str().unwrap(), "{name}");
            for (field, value) in vector.as_object().unwrap() {
                let Some(value) = value.as_str().filter(|_| field.starts_with("sig_")) else { continue };
                let found = match header(value) {
                    Ok(signature) => verify(&body, &signature, [&new, &old]),
                    Err(problem) => {
                        assert_eq!(problem, HeaderProblem::Malformed(Some(ForeignFormat::Base64)));
                        Vec::new()
                    }
                };
                let expected = match field.as_str() {
                    "sig_new" => vec![0],
                    "sig_old" => vec![1],
                    _ => Vec::new(),
                };
                assert_eq!(found, expected, "{name} {field}");
            }
        }
    }

    #[test]
    fn a_vector_published_by_others_holds() {
        let external = &vectors()["external_check"];
        let text = |field: &str| external[field].as_str().unwrap().to_owned();
        assert_eq!(hex::encode(key(&text("secret")).sign(text("body").as_bytes())), text("expected"));
    }

    #[test]
    fn headers_are_read_strictly() {
        let good = "a".repeat(64);
        let upper = good.to_uppercase();
        let list = format!("{good}, {good}");
        let malformed = |format| Err(HeaderProblem::Malformed(format));
        let ok = Ok(Signature([0xaa; 32]));
        let long = "a".repeat(65);
        let spaced = format!("{} {}", "a".repeat(32), "a".repeat(31));
        let base64 = format!("{}=", "A".repeat(43));
        let table: Vec<(Vec<&str>, Result<Signature, HeaderProblem>)> = vec![
            (vec![], Err(HeaderProblem::Missing)),
            (vec![""], Err(HeaderProblem::Missing)),
            (vec!["  "], Err(HeaderProblem::Missing)),
            (vec![&good], ok),
            (vec![&upper], ok),
            (vec![" \taaaa"], malformed(None)),
            (vec![&good, &good], ok),
            (vec![&good, &upper], Err(HeaderProblem::Ambiguous)),
            (vec![&good, ""], Err(HeaderProblem::Ambiguous)),
            (vec![&list], Err(HeaderProblem::Ambiguous)),
            (vec![&good[..63]], malformed(None)),
            (vec![&long], malformed(None)),
            (vec![&spaced], malformed(None)),
            (vec!["0xaaaa"], malformed(None)),
            (vec!["sha256=abcdef"], malformed(Some(ForeignFormat::GitHub))),
            (vec!["t=1492774577,v1=5257a869"], malformed(Some(ForeignFormat::Stripe))),
            (vec!["ts=1671552777;h1=eb4d0dc8"], malformed(Some(ForeignFormat::Paddle))),
            (
                vec!["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
                malformed(Some(ForeignFormat::StandardWebhooks)),
            ),
            (vec![&good[..40]], malformed(Some(ForeignFormat::Vercel))),
            (vec![&base64], malformed(Some(ForeignFormat::Base64))),
        ];
        for (values, expected) in table {
            assert_eq!(parse_header(values.iter().map(|v| v.as_bytes())), expected, "{values:?}");
        }
        assert_eq!(parse_header([&b"\xff\xfe"[..]]), Err(HeaderProblem::Malformed(None)));
        assert_eq!(header(&format!(" {good}\t")), ok);
    }

    #[test]
    fn an_empty_secret_is_refused_and_no_secret_is_shown() {
        assert_eq!(SigningKey::new(b"").unwrap_err(), EmptySecret);
        assert!(!format!("{:?}", key("hunter2-hunter2")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(body in prop::collection::vec(any::<u8>(), 1..400), secret in prop::collection::vec(any::<u8>(), 1..60), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let key = SigningKey::new(&secret).unwrap();
            let good = Signature(key.sign(&body));
            prop_assert!(key.verifies(&body, &good));

            let mut flipped = body.clone();
            flipped[at.index(body.len())] ^= 1 << bit;
            prop_assert!(!key.verifies(&flipped, &good));

            let mut wrong = good;
            wrong.0[at.index(32)] ^= 1 << bit;
            prop_assert!(!key.verifies(&body, &wrong));

            let mut other = secret.clone();
            other[at.index(secret.len())] ^= 1 << bit;
            // A key is padded with zeros, so a last byte that becomes zero makes the same key.
            let same = |s: &[u8]| s.iter().rposition(|b| *b != 0).map_or(Vec::new(), |last| s[..=last].to_vec());
            if same(&other) != same(&secret) {
                prop_assert!(!SigningKey::new(&other).unwrap().verifies(&body, &good));
            }

            let mut longer = body.clone();
            longer.push(b'\n');
            prop_assert!(!key.verifies(&longer, &good));
        }

        #[test]
        fn any_header_is_read_without_a_panic(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..4)) {
            let _ = parse_header(values.iter().map(Vec::as_slice));
        }
    }
}
