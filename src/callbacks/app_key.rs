//! A GitHub App's proof of who it is: a short-lived JWT signed by its private key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::clock::Timestamp;

/// GitHub takes ten minutes at most; a clock of ours that is ahead must not make it more.
const LIVES: i64 = 540;
/// And one that is ahead of GitHub's must not have made it in the future.
const BEFORE: i64 = 60;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("private_key is not an RSA key in PEM; use the file that GitHub made for the App")]
pub struct NotAKey;

/// The App's identity and key.
pub struct AppKey {
    id: String,
    key: RsaKeyPair,
}

impl AppKey {
    /// PKCS#1, as GitHub makes it, or PKCS#8.
    pub fn new(id: &str, pem: &SecretString) -> Result<Self, NotAKey> {
        let der = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|_| NotAKey)?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(NotAKey),
        };
        Ok(Self { id: id.trim().to_owned(), key: key.map_err(|_| NotAKey)? })
    }

    /// A token that says at `now` that it is this App.
    pub fn jwt(&self, now: Timestamp) -> SecretString {
        let header = serde_json::json!({ "alg": "RS256", "typ": "JWT" });
        let seconds = now.as_second();
        let claims = serde_json::json!({ "iat": seconds - BEFORE, "exp": seconds + LIVES, "iss": self.id });
        let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("a key that was read signs, and the buffer has its length");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into()
    }
}

impl std::fmt::Debug for AppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    fn pem(name: &str) -> SecretString {
        let path = format!("{}/tests/fixtures/github/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap().into()
    }

    #[test]
    fn a_jwt_is_signed_and_short_lived() {
        let now: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
        for file in ["app.pkcs1.pem", "app.pkcs8.pem"] {
            let key = AppKey::new(" 12345 ", &pem(file)).unwrap();
            let token = key.jwt(now).expose_secret().to_owned();
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.key.public())
                .verify(signed.as_bytes(), &signature)
                .unwrap();
            let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!(claims["iss"], "12345");
            assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
            assert!(!format!("{key:?}").contains("PRIVATE"));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = pem("app.pkcs1.pem").expose_secret().to_owned();
        for wrong in ["", "secret", &good[..good.len() / 2], &good.replace("RSA PRIVATE KEY", "CERTIFICATE")]
        {
            assert_eq!(AppKey::new("1", &wrong.to_owned().into()).unwrap_err(), NotAKey, "{wrong:?}");
        }
    }
}
