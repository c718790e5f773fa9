//! Finding out for certain why a signature did not verify: the variants of secret and body that are known
//! to happen are signed again, and a match is a proof.

use std::borrow::Cow;

use super::Class;
use super::php::reencode;
use crate::domain::signature::scheme::Scheme;
use crate::domain::signature::{Claim, SigningKey};

/// One key to try, and where it is from.
#[derive(Debug)]
pub struct Candidate<'a> {
    pub key: &'a SigningKey,
    /// Whether it belongs to the source that the request went to.
    pub own_source: bool,
}

/// Larger bodies are not tried: real ones have 2 to 4 KB, and the work is done for strangers.
pub const LARGEST: usize = 64 * 1024;

/// Tries every variant with every key and returns the first proof in the order of likelihood.
pub fn recompute(scheme: &Scheme, body: &[u8], claim: &Claim, candidates: &[Candidate<'_>]) -> Option<Class> {
    if body.len() > LARGEST {
        return None;
    }
    let verifies = |key: &SigningKey, body: &[u8]| scheme.verifies(key, claim, body);
    // Another source's key is made anew: there, its text may stand for other bytes.
    let elsewhere = |secret: &[u8]| scheme.key(secret).is_ok_and(|key| verifies(&key, body));
    if candidates.iter().any(|c| !c.own_source && elsewhere(c.key.expose())) {
        return Some(Class::OtherSlot);
    }
    let own = || candidates.iter().filter(|c| c.own_source).map(|c| c.key);
    for (class, bodies) in
        [(Class::WhitespaceChanged, other_whitespace(body)), (Class::Reserialised, reserialised(body))]
    {
        if bodies.iter().any(|body| own().any(|key| verifies(key, body))) {
            return Some(class);
        }
    }
    own().find_map(|key| {
        let variants = secret_variants(key.expose(), scheme.longest_secret);
        variants
            .into_iter()
            .find_map(|(class, secret)| verifies(&scheme.key(&secret).ok()?, body).then_some(class))
    })
}

/// The forms in which PHP may have written this JSON before somebody parsed it.
fn reserialised(body: &[u8]) -> Vec<Vec<u8>> {
    reencode(body).into_iter().filter(|form| form != body).collect()
}

/// The body with other line ends, and with or without a byte-order mark or a last newline.
fn other_whitespace(body: &[u8]) -> Vec<Vec<u8>> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let mut forms: Vec<Cow<'_, [u8]>> = vec![
        [body, b"\n"].concat().into(),
        [body, b"\r\n"].concat().into(),
        [MARK, body].concat().into(),
        replace(body, b"\r\n", b"\n").into(),
        replace(body, b"\n", b"\r\n").into(),
    ];
    for end in [&b"\r\n"[..], b"\n"] {
        forms.extend(body.strip_suffix(end).map(Cow::Borrowed));
    }
    forms.extend(body.strip_prefix(MARK).map(Cow::Borrowed));
    forms.into_iter().filter(|form| &**form != body).map(Cow::into_owned).collect()
}

/// What a secret becomes on its way through shells, dashboards and files.
fn secret_variants(secret: &[u8], longest: Option<usize>) -> Vec<(Class, Vec<u8>)> {
    let around = |quote: &[u8]| [quote, secret, quote].concat();
    let mut variants = vec![
        (Class::NewlineInSecret, [secret, b"\n"].concat()),
        (Class::NewlineInSecret, [secret, b"\r\n"].concat()),
        (Class::QuotedSecret, around(b"\"")),
        (Class::QuotedSecret, around(b"'")),
    ];
    let trimmed = secret.trim_ascii();
    if trimmed != secret {
        let ends_in_newline = secret.ends_with(b"\n") && !secret.starts_with(b" ");
        let class = if ends_in_newline { Class::NewlineInSecret } else { Class::TrimmedSecret };
        variants.push((class, trimmed.to_vec()));
    }
    for quote in [b'"', b'\''] {
        if let [first, inner @ .., last] = trimmed
            && (*first, *last) == (quote, quote)
        {
            variants.push((Class::QuotedSecret, inner.to_vec()));
        }
    }
    if let Some(longest) = longest
        && secret.len() > longest
    {
        variants.push((Class::FirstForty, secret[..longest].to_vec()));
    }
    variants
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        match rest.strip_prefix(from) {
            Some(after) => {
                out.extend_from_slice(to);
                rest = after;
            }
            None => {
                out.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signature::{Signature, built_in};

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lemon_squeezy");

    fn key(secret: &str) -> SigningKey {
        SigningKey::new(secret.as_bytes()).unwrap()
    }

    fn find_among(candidates: &[Candidate<'_>], body: &[u8], signature: Signature) -> Option<Class> {
        let scheme = built_in("lemonsqueezy").unwrap();
        recompute(scheme, body, &Claim::plain(signature), candidates)
    }

    fn find(secret: &SigningKey, body: &[u8], signature: Signature) -> Option<Class> {
        find_among(&[Candidate { key: secret, own_source: true }], body, signature)
    }

    #[test]
    fn the_published_variants_of_every_body_are_proved() {
        let vectors: serde_json::Value =
            serde_json::from_slice(&std::fs::read(format!("{FOLDER}/vectors.json")).unwrap()).unwrap();
        let new = key(vectors["secrets"]["new"].as_str().unwrap());
        for (name, vector) in vectors["files"].as_object().unwrap() {
            let body = std::fs::read(format!("{FOLDER}/{name}")).unwrap();
            let signature =
                |field: &str| Signature::new(&hex::decode(vector[field].as_str().unwrap()).unwrap()).unwrap();
            let table = [
                ("sig_new_plus_trailing_newline_in_secret", Some(Class::NewlineInSecret)),
                ("sig_new_plus_crlf_in_secret", Some(Class::NewlineInSecret)),
                ("sig_new_quoted_secret", Some(Class::QuotedSecret)),
                ("sig_new_over_body_plus_newline", Some(Class::WhitespaceChanged)),
                ("sig_old", None),
            ];
            for (field, expected) in table {
                assert_eq!(find(&new, &body, signature(field)), expected, "{name} {field}");
            }
            // What a middleware makes of it: parsed and written again, its slashes no longer escaped.
            let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let received = serde_json::to_vec(&parsed).unwrap();
            assert_ne!(received, body, "{name}");
            assert_eq!(find(&new, &received, signature("sig_new")), Some(Class::Reserialised), "{name}");
            let pretty = serde_json::to_vec_pretty(&parsed).unwrap();
            assert_eq!(find(&new, &pretty, signature("sig_new")), Some(Class::Reserialised), "{name}");
        }
    }

    #[test]
    fn the_other_ways_round_are_proved_too() {
        let long = "0123456789012345678901234567890123456789-and-more";
        let plain = "0123456789abcdef";
        let body = b"{\"a\":1}\r\n";
        let table = [
            (long, &long[..40], Class::FirstForty),
            ("0123456789abcdef\n", plain, Class::NewlineInSecret),
            (" 0123456789abcdef ", plain, Class::TrimmedSecret),
            ("\"0123456789abcdef\"", plain, Class::QuotedSecret),
        ];
        for (ours, theirs, expected) in table {
            let signature = key(theirs).sign(body);
            assert_eq!(find(&key(ours), body, signature), Some(expected), "{ours:?}");
        }
        for form in [&b"{\"a\":1}\n"[..], b"{\"a\":1}", b"\xef\xbb\xbf{\"a\":1}\r\n"] {
            let signature = key(plain).sign(form);
            assert_eq!(find(&key(plain), body, signature), Some(Class::WhitespaceChanged), "{form:?}");
        }
        let elsewhere = key("another-slots-secret");
        let signature = elsewhere.sign(body);
        let candidates = [Candidate { key: &elsewhere, own_source: false }];
        assert_eq!(find_among(&candidates, body, signature), Some(Class::OtherSlot));
        assert_eq!(find(&key(plain), body, signature), None);
    }
}
