//! The schemes that come with the program. Each is checked against vectors that its provider published
//! (`tests/fixtures/signatures`).

use std::sync::LazyLock;

use super::Algorithm;
use super::scheme::{Content, Encoding, Events, KeyForm, Piece, Scheme, Texts};

/// The name with which Lemon Squeezy calls.
pub const HOOKSHOT: &str = "LemonSqueezy-Hookshot";

fn texts<const N: usize>(texts: [&'static str; N]) -> Texts {
    texts.map(Into::into).into()
}

fn pointers<const N: usize, const M: usize>(name: [&'static str; N], id: [&'static str; M]) -> Events {
    Events::Pointers { name: texts(name), id: texts(id), live: None }
}

/// What most providers share: the hex HMAC-SHA256 of the body, by itself in one header.
fn plain() -> Scheme {
    Scheme {
        name: "generic".into(),
        provider: "the sender".into(),
        place: "the sender's webhook settings".into(),
        headers: texts(["x-signature", "x-webhook-signature", "x-signature-256"]),
        algorithm: Algorithm::Sha256,
        encoding: Encoding::Hex,
        separator: None,
        prefix: "".into(),
        timestamp_prefix: None,
        timestamp_headers: texts([]),
        id_headers: texts([]),
        event_headers: texts([]),
        content: Content(vec![Piece::Body]),
        tolerance: None,
        key: KeyForm::Text,
        longest_secret: None,
        agents: texts([]),
        patience: None,
        events: pointers([], []),
    }
}

/// All of them. A value of unknown origin is recognised by the first one that it fits.
pub static BUILT_IN: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
    vec![
        Scheme {
            name: "lemonsqueezy".into(),
            provider: "Lemon Squeezy".into(),
            place: "Lemon Squeezy > Settings > Webhooks".into(),
            headers: texts(["x-signature"]),
            longest_secret: Some(40),
            agents: texts([HOOKSHOT]),
            patience: Some(" (Resend): it gives up after four attempts in about 155 seconds".into()),
            events: Events::LemonSqueezy,
            ..plain()
        },
        Scheme {
            name: "github".into(),
            provider: "GitHub".into(),
            place: "GitHub > Settings > Webhooks".into(),
            agents: texts(["GitHub-Hookshot/"]),
            headers: texts(["x-hub-signature-256"]),
            prefix: "sha256=".into(),
            id_headers: texts(["x-github-delivery"]),
            event_headers: texts(["x-github-event"]),
            ..plain()
        },
        Scheme {
            name: "stripe".into(),
            provider: "Stripe".into(),
            place: "Stripe > Developers > Webhooks".into(),
            agents: texts(["Stripe/"]),
            headers: texts(["stripe-signature"]),
            separator: Some(','),
            prefix: "v1=".into(),
            timestamp_prefix: Some("t=".into()),
            content: Content(vec![Piece::Timestamp, Piece::Literal(".".into()), Piece::Body]),
            tolerance: Some(300),
            events: Events::Pointers {
                name: texts(["/type"]),
                id: texts(["/id"]),
                live: Some("/livemode".into()),
            },
            ..plain()
        },
        Scheme {
            name: "paddle".into(),
            provider: "Paddle".into(),
            place: "Paddle > Developer tools > Notifications".into(),
            agents: texts(["Paddle"]),
            headers: texts(["paddle-signature"]),
            separator: Some(';'),
            prefix: "h1=".into(),
            timestamp_prefix: Some("ts=".into()),
            content: Content(vec![Piece::Timestamp, Piece::Literal(":".into()), Piece::Body]),
            // Paddle's own libraries allow 5 s, which a queue before us would use up.
            tolerance: Some(300),
            events: pointers(["/event_type"], ["/event_id"]),
            ..plain()
        },
        Scheme {
            name: "standard_webhooks".into(),
            provider: "the sender (Standard Webhooks, Svix)".into(),
            place: "the sender's webhook settings".into(),
            agents: texts(["Svix-Webhooks/"]),
            headers: texts(["webhook-signature", "svix-signature"]),
            encoding: Encoding::Base64,
            separator: Some(' '),
            prefix: "v1,".into(),
            timestamp_headers: texts(["webhook-timestamp", "svix-timestamp"]),
            id_headers: texts(["webhook-id", "svix-id"]),
            content: Content(vec![
                Piece::Id,
                Piece::Literal(".".into()),
                Piece::Timestamp,
                Piece::Literal(".".into()),
                Piece::Body,
            ]),
            tolerance: Some(300),
            key: KeyForm::Base64 { prefix: "whsec_".into() },
            events: pointers(["/type", "/event_type", "/eventType", "/event"], []),
            ..plain()
        },
        Scheme {
            name: "vercel".into(),
            provider: "Vercel".into(),
            place: "Vercel > Settings > Webhooks".into(),
            agents: texts(["vercel"]),
            headers: texts(["x-vercel-signature"]),
            algorithm: Algorithm::Sha1,
            events: pointers(["/type"], ["/id"]),
            ..plain()
        },
        Scheme {
            name: "shopify".into(),
            provider: "Shopify".into(),
            place: "Shopify > Settings > Notifications > Webhooks".into(),
            agents: texts(["Shopify"]),
            headers: texts(["x-shopify-hmac-sha256"]),
            encoding: Encoding::Base64,
            id_headers: texts(["x-shopify-webhook-id"]),
            event_headers: texts(["x-shopify-topic"]),
            ..plain()
        },
        plain(),
    ]
});

/// A scheme by its name in the settings.
pub fn built_in(name: &str) -> Option<&'static Scheme> {
    BUILT_IN.iter().find(|scheme| scheme.name == name)
}
