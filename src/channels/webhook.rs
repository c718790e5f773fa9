//! A webhook signed as Standard Webhooks say (<https://www.standardwebhooks.com>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::{Call, Failure, address, allowed};
use crate::domain::clock::Timestamp;
use crate::domain::notification::{FailureClass, Stage};
use crate::settings::{Channel, signing_key};

pub(super) fn request(settings: &Channel, id: &str, body: &str, now: Timestamp) -> Result<Call, Failure> {
    let key = settings.secret.as_ref().and_then(|secret| signing_key(secret.expose_secret()));
    let key = key.ok_or_else(|| {
        Failure::new(Stage::Build, FailureClass::Configuration, "its secret is not a whsec_ secret")
    })?;
    let timestamp = now.as_second().to_string();
    Ok(Call {
        url: address(settings, None)?,
        headers: vec![
            ("content-type", "application/json".into()),
            ("webhook-signature", signature(&key, id, &timestamp, body)),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp),
        ],
        body: Some(body.to_owned()),
        allow: allowed(settings),
    })
}

/// `v1,` and the HMAC-SHA256 over id, time and body, joined by dots.
fn signature(key: &[u8], id: &str, timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // The example of the Standard Webhooks libraries.
        let key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
