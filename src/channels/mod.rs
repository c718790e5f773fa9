//! Second channels: the same news as by mail, as JSON for programs (a signed webhook), for a chat (Slack's
//! incoming webhooks and what imitates them) and for a pager (PagerDuty Events v2).
//!
//! What is said is fixed when its cause is recorded ([`payload`]); addresses, keys and signatures are added
//! when it is sent ([`send`]), so that no secret is in the outbox.

mod call;
mod pagerduty;
mod payload;
mod slack;
mod webhook;

use std::time::Duration;

use secrecy::ExposeSecret;

pub use call::{Allow, Call, call};
pub use payload::{Bulletin, payload, title};

use crate::domain::clock::Timestamp;
use crate::domain::notification::{FailureClass, Stage};
use crate::settings::{Channel, ChannelKind};

/// One attempt as a whole. A receiver that needs longer is busy, and is tried again.
pub const ATTEMPT: Duration = Duration::from_secs(10);

/// A receiver took a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub status: u16,
    pub answer: String,
}

/// A receiver did not take a message. The text never holds the address, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    pub class: FailureClass,
    pub code: Option<u16>,
    pub text: String,
}

impl Failure {
    pub(crate) fn new(stage: Stage, class: FailureClass, text: impl Into<String>) -> Self {
        Self { stage, class, code: None, text: text.into() }
    }
}

/// Hands one message over. `id` stays the same on every attempt, so that a receiver knows a second copy.
pub async fn send(settings: &Channel, id: &str, body: &str, now: Timestamp) -> Result<Taken, Failure> {
    let call = match settings.kind {
        ChannelKind::Webhook => webhook::request(settings, id, body, now)?,
        ChannelKind::Slack => slack::request(settings, body)?,
        ChannelKind::Pagerduty => pagerduty::request(settings, body)?,
    };
    let answer = tokio::time::timeout(ATTEMPT, self::call(call)).await.unwrap_or_else(|_| {
        // Where it stood is unknown, so it may have been taken.
        Err(Failure::new(Stage::Content, FailureClass::Transient, "no answer came within 10 s"))
    })?;
    judge(settings.kind, answer)
}

/// What an answer means for the next attempt.
fn judge(kind: ChannelKind, Taken { status, answer }: Taken) -> Result<Taken, Failure> {
    let (class, hint) = match status {
        200..=299 => return Ok(Taken { status, answer }),
        300..=399 => {
            (FailureClass::Configuration, "; redirects are not followed, so give the address it leads to")
        }
        401 | 403 | 404 | 410 => {
            (FailureClass::Configuration, "; check the url and the secret of this channel in the settings")
        }
        // The routing key is a part of the message, so that a wrong key looks like a wrong message.
        400 if kind == ChannelKind::Pagerduty => {
            (FailureClass::Configuration, "; check the routing key of this channel in the settings")
        }
        408 | 425 | 429 => (FailureClass::Transient, ""),
        400..=499 => (FailureClass::Message, ""),
        _ => (FailureClass::Transient, ""),
    };
    let said = if answer.is_empty() { String::new() } else { format!(" ({answer})") };
    let text = format!("answered {status}{said}{hint}");
    Err(Failure { stage: Stage::Content, class, code: Some(status), text })
}

/// The channel's address, which the settings have checked.
fn address(settings: &Channel, fallback: Option<&str>) -> Result<url::Url, Failure> {
    let text = settings.url.as_ref().map(ExposeSecret::expose_secret).or(fallback).unwrap_or_default();
    url::Url::parse(text)
        .map_err(|_| Failure::new(Stage::Build, FailureClass::Configuration, "its url is not a web address"))
}

fn allowed(settings: &Channel) -> Allow {
    if settings.allow_private { Allow::Private } else { Allow::PublicOnly }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_outbox_needs_to_know() {
        use FailureClass::{Configuration, Message, Transient};
        for (kind, status, class) in [
            (ChannelKind::Webhook, 200, None),
            (ChannelKind::Pagerduty, 202, None),
            (ChannelKind::Webhook, 302, Some(Configuration)),
            (ChannelKind::Webhook, 400, Some(Message)),
            (ChannelKind::Pagerduty, 400, Some(Configuration)),
            (ChannelKind::Slack, 404, Some(Configuration)),
            (ChannelKind::Slack, 413, Some(Message)),
            (ChannelKind::Slack, 429, Some(Transient)),
            (ChannelKind::Webhook, 500, Some(Transient)),
            (ChannelKind::Webhook, 503, Some(Transient)),
        ] {
            let judged = judge(kind, Taken { status, answer: String::new() });
            assert_eq!(judged.err().map(|failure| failure.class), class, "{kind:?} {status}");
        }
    }
}
