//! A mail that comes late says so, with the time it was written and the reason.

use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::notification::{Content, FailureClass, Held};
use crate::email::{instant, late};
use crate::services::Context;
use crate::store::notifications::{Claim, Stored};
use crate::store::{StoreError, outbox};

/// Sooner than this is on time.
const LATE: SignedDuration = SignedDuration::from_mins(2);

/// What goes over the wire: the mail as it was written, with a line if it is late. The line is kept before it is
/// sent, and not changed once a server may have seen it, so that a second copy is the same mail.
pub async fn content(ctx: &Context, claim: &Claim) -> Result<Content, StoreError> {
    let stored = &claim.stored;
    let written = &stored.notification.content;
    let note = if stored.maybe_taken { stored.note.clone() } else { note(stored, ctx.now()) };
    let Some(note) = note else { return Ok(written.clone()) };
    if !stored.maybe_taken {
        let mut tx = ctx.db.begin().await?;
        outbox::set_note(&mut tx, claim, &note).await?;
        tx.commit().await?;
    }
    Ok(late::with_note(written, &note))
}

fn note(stored: &Stored, now: Timestamp) -> Option<String> {
    let at = stored.notification.created_at;
    if now.duration_since(at) < LATE {
        return None;
    }
    let (written, sent) = (instant(at), instant(now));
    Some(match (stored.held, stored.failure) {
        (Some(Held::Quiet), None) => {
            format!("Written at {written} and held until the end of quiet hours; sent at {sent}.")
        }
        (Some(Held::Storm), None) => {
            format!("Written at {written} and held back, since you had many mails then; sent at {sent}.")
        }
        (_, failure) => format!(
            "This mail was delayed: written at {written}, sent at {sent}, because {}.",
            why(failure, stored.attempts)
        ),
    })
}

fn why(failure: Option<FailureClass>, attempts: u32) -> String {
    let tries = match attempts.saturating_sub(1) {
        1 => "; one try failed".to_owned(),
        n => format!("; {n} tries failed"),
    };
    match failure {
        Some(FailureClass::Configuration) => format!("the mail server refused our settings{tries}"),
        Some(_) => format!("the mail server could not be reached or did not take it{tries}"),
        None => "nothing was sent in between: deploywatch was stopped, or this mail was tried again by hand"
            .into(),
    }
}
