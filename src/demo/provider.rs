//! Lemon Squeezy's part in the demo: an order as it is on the wire, signed as it signs.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::clock::{Timestamp, rfc3339};

/// The secret before the rotation, and the one after it. They exist only in this process.
pub const OLD_SECRET: &str = "demo-old-signing-secret-3f9a";
pub const NEW_SECRET: &str = "demo-new-signing-secret-b81c";

/// `order_created` number `number`: compact JSON with every slash escaped, as PHP writes it.
pub fn order(number: u32, at: Timestamp) -> String {
    let at = rfc3339(at);
    let body = serde_json::json!({
        "meta": {
            "test_mode": false,
            "event_name": "order_created",
            "webhook_id": format!("{number:08x}-0000-4000-8000-0000000000de"),
        },
        "data": {
            "type": "orders",
            "id": (4000 + number).to_string(),
            "attributes": {
                "store_id": 1,
                "order_number": number,
                "user_email": format!("user{number}@example.com"),
                "currency": "GBP",
                "total": 2900,
                "status": "paid",
                "created_at": at,
                "updated_at": at,
                "urls": { "receipt": format!("https://app.example.com/my-orders/{number}") },
            },
        },
    });
    body.to_string().replace('/', "\\/")
}

/// The `X-Signature` over the exact bytes.
pub fn sign(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::read_head;

    #[test]
    fn an_order_is_an_event_in_wire_form() {
        let at: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let body = order(7, at);
        let head = read_head(body.as_bytes()).unwrap();
        assert_eq!((head.event_name.as_str(), head.data_id.as_str()), ("order_created", "4007"));
        assert!(body.contains("https:\\/\\/app.example.com"));
        assert_ne!(order(8, at), body);
        assert_eq!(sign(OLD_SECRET, &body).len(), 64);
    }
}
