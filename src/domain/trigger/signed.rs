//! Each provider's own signature over the raw bytes, checked before anything is parsed.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use super::Provider;

/// Whether one of the secrets signed the body. All are tried, so that the time tells nobody which one did;
/// an empty secret verifies nothing.
pub fn is_signed(provider: Provider, secrets: &[&[u8]], header: &str, body: &[u8]) -> bool {
    let hex = match provider {
        Provider::Github | Provider::Generic => header.trim().strip_prefix("sha256="),
        Provider::Vercel => Some(header.trim()),
    };
    let Some(signature) = hex.and_then(|hex| hex::decode(hex).ok()) else { return false };
    let mut good = false;
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        good |= match provider {
            Provider::Github | Provider::Generic => verifies::<Hmac<Sha256>>(secret, body, &signature),
            Provider::Vercel => verifies::<Hmac<Sha1>>(secret, body, &signature),
        };
    }
    good
}

/// Compares in constant time.
fn verifies<M: Mac + KeyInit>(secret: &[u8], body: &[u8], signature: &[u8]) -> bool {
    let mut mac = <M as KeyInit>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn githubs_published_vector_holds() {
        let secret: &[u8] = b"It's a Secret to Everybody";
        let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is_signed(Provider::Github, &[b"other", secret], header, b"Hello, World!"));
        assert!(!is_signed(Provider::Github, &[secret], header, b"Hello, World?"));
        assert!(!is_signed(Provider::Github, &[b"other"], header, b"Hello, World!"));
        assert!(
            !is_signed(Provider::Github, &[secret], &header[7..], b"Hello, World!"),
            "without its prefix"
        );
        assert!(!is_signed(Provider::Vercel, &[secret], header, b"Hello, World!"));
        for wrong in ["", "sha256=", "sha256=zz", "sha1=757107ea", &header[..70]] {
            assert!(!is_signed(Provider::Github, &[secret], wrong, b"Hello, World!"), "{wrong:?}");
        }
    }

    #[test]
    fn vercels_is_sha1_in_hex() {
        // RFC 2202, test case 2.
        let header = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        let body = b"what do ya want for nothing?";
        assert!(is_signed(Provider::Vercel, &[b"Jefe"], header, body));
        assert!(!is_signed(Provider::Vercel, &[b"jefe"], header, body));
        assert!(!is_signed(Provider::Github, &[b"Jefe"], header, body));
    }

    #[test]
    fn an_empty_secret_verifies_nothing() {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(b"").expect("HMAC takes a key of any length");
        mac.update(b"x");
        let header = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        assert!(!is_signed(Provider::Generic, &[b""], &header, b"x"));
    }
}
