//! Each provider's own signature over the raw bytes, checked before anything is parsed.

use super::Provider;
use crate::domain::signature::{Headers, SigningKey, built_in, verify};

/// Whether one of the secrets signed the body; an empty secret verifies nothing. Our own JSON is signed as
/// GitHub signs, in a header of another name.
pub fn is_signed(provider: Provider, secrets: &[&[u8]], header: &str, body: &[u8]) -> bool {
    let name = match provider {
        Provider::Github | Provider::Generic => "github",
        Provider::Vercel => "vercel",
    };
    let scheme = built_in(name).expect("both schemes come with the program");
    let mut headers = Headers::default();
    headers.add(scheme.headers[0].clone(), header.as_bytes());
    let Ok(claim) = scheme.read(&headers) else { return false };
    let keys: Vec<SigningKey> = secrets.iter().filter_map(|secret| scheme.key(secret).ok()).collect();
    !verify(scheme, body, &claim, &keys).is_empty()
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

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
