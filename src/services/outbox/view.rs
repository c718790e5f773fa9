//! A message as people and programs are shown it.

use crate::api::outbox::MessageView;
use crate::domain::clock::rfc3339;
use crate::email::mask;
use crate::store::notifications::Stored;

/// The last six letters of the id: what people type.
pub fn short_id(stored: &Stored) -> &str {
    let text = stored.notification.id.as_str();
    text.get(text.len().saturating_sub(6)..).unwrap_or(text)
}

pub fn view(stored: &Stored) -> MessageView {
    let mail = &stored.notification;
    MessageView {
        id: mail.id.to_string(),
        channel: mail.channel.clone(),
        notice: mail.notice.as_str().into(),
        environment: mail.environment.clone(),
        incident: mail.incident.as_ref().map(ToString::to_string),
        severity: mail.severity.clone(),
        recipient: mask(&mail.recipient),
        subject: mail.content.subject.clone(),
        state: stored.state.as_str().into(),
        attempts: stored.attempts,
        created_at: rfc3339(mail.created_at),
        not_before: rfc3339(mail.not_before),
        finished_at: stored.finished_at.map(rfc3339),
        failure: stored.failure.map(|class| class.as_str().into()),
        held: stored.held.map(|held| held.as_str().into()),
        digest: stored.digest.as_ref().map(ToString::to_string),
    }
}
