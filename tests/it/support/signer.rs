//! Lemon Squeezy's side of a webhook: bodies exactly as on the wire, signed as it signs them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Hex HMAC-SHA256 over the exact bytes.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// A captured body of `tests/fixtures/lemon_squeezy`, e.g. `subscription_created.captured-2025`.
pub fn captured(name: &str) -> Vec<u8> {
    super::fixture_bytes(&format!("lemon_squeezy/{name}.wire.json"))
}

/// A captured body as another event, and as in production: its webhook id and its data id carry `number`.
pub fn numbered(number: u32) -> Vec<u8> {
    let text = String::from_utf8(captured("subscription_created.captured-2025")).expect("bodies are UTF-8");
    let text = text.replace("\"test_mode\":true", "\"test_mode\":false");
    let id = format!("{number:08x}");
    let at = text.find("\"webhook_id\":\"").expect("the body has a webhook id") + "\"webhook_id\":\"".len();
    let data = text.find("\"data\":{").expect("the body has data");
    let data_id = data + text[data..].find("\"id\":\"").expect("data has an id") + "\"id\":\"".len();
    let end = data_id + text[data_id..].find('"').expect("the id ends");
    let width = end - data_id;
    let mut body = text.into_bytes();
    body[at..at + 8].copy_from_slice(id.as_bytes());
    let digits = format!("{number:0width$}");
    body[data_id..end].copy_from_slice(digits.as_bytes());
    body
}

/// Posts `body` as Lemon Squeezy does.
pub async fn deliver(address: std::net::SocketAddr, body: Vec<u8>, signature: &str) -> reqwest::Response {
    super::http::client()
        .post(format!("http://{address}/webhooks/lemonsqueezy"))
        .header("User-Agent", "LemonSqueezy-Hookshot")
        .header("Content-Type", "application/json")
        .header("X-Event-Name", "subscription_created")
        .header("X-Signature", signature)
        .body(body)
        .send()
        .await
        .expect("the server answers")
}
