//! Finding out about Lemon Squeezy what its documentation leaves open: the delivery log is asked, and what it
//! shows is recorded once.

use crate::domain::clock::SignedDuration;
use crate::domain::questions::{Attempt, QUESTIONS, Writing, question};
use crate::services::Context;
use crate::services::secrets::audit;
use crate::services::webhooks::{KeysError, body_of};
use crate::store::deliveries::{self, Filter};
use crate::store::provider::{self, Known};
use crate::store::{StoreError, secrets};

/// How far back the log is looked through, and how much of it.
const RECENT: SignedDuration = SignedDuration::from_hours(24 * 7);
const MOST: u32 = 2000;
/// Bodies are unsealed only to see how they are written.
const MOST_BODIES: usize = 100;

/// Why an answer could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    #[error("there is no question {0:?}; `deploywatch doctor lemonsqueezy` lists them")]
    Unknown(String),
    #[error("an answer needs at least a word; write {0}=ANSWER")]
    Empty(String),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("the store is not available")]
    Store(#[from] StoreError),
}

/// What is known by now.
pub async fn known(ctx: &Context) -> Result<Vec<Known>, StoreError> {
    provider::list_answers(&mut *ctx.db.reader().await?).await
}

/// Looks through the delivery log of a source and records what it shows about questions that are still open.
/// Returns what is new.
pub async fn observe(ctx: &Context, source: &str) -> Result<Vec<Known>, QuestionError> {
    let known = known(ctx).await?;
    let open = QUESTIONS.iter().filter(|question| known.iter().all(|known| known.question != question.code));
    let open: Vec<_> = open.filter_map(|question| Some((question, question.seen?))).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let attempts = attempts(ctx, source).await?;
    let mut found = Vec::new();
    for (question, look) in open {
        if let Some(answer) = look(&attempts) {
            let new = Known {
                question: question.code.to_owned(),
                answer: answer.answer,
                evidence: answer.evidence,
                recorded_at: ctx.now(),
                recorded_by: "the delivery log".into(),
            };
            write(ctx, &new).await?;
            found.push(new);
        }
    }
    Ok(found)
}

/// Records what a person saw; it replaces what was recorded before.
pub async fn record(ctx: &Context, code: &str, answer: &str, actor: &str) -> Result<Known, QuestionError> {
    let question = question(code).ok_or_else(|| QuestionError::Unknown(code.to_owned()))?;
    let answer = answer.trim();
    if answer.is_empty() {
        return Err(QuestionError::Empty(code.to_owned()));
    }
    let known = Known {
        question: question.code.to_owned(),
        answer: answer.to_owned(),
        evidence: "seen by a person".into(),
        recorded_at: ctx.now(),
        recorded_by: actor.to_owned(),
    };
    write(ctx, &known).await?;
    Ok(known)
}

async fn write(ctx: &Context, known: &Known) -> Result<(), StoreError> {
    let mut tx = ctx.db.begin().await?;
    provider::put_answer(&mut tx, known).await?;
    let detail = serde_json::json!({ "answer": known.answer, "evidence": known.evidence });
    audit(ctx, &mut tx, &known.recorded_by, "provider.answer", &known.question, &detail).await?;
    tx.commit().await?;
    Ok(())
}

/// The requests of Lemon Squeezy in the log, the oldest first.
async fn attempts(ctx: &Context, source: &str) -> Result<Vec<Attempt>, QuestionError> {
    let filter = Filter {
        source: Some(source.to_owned()),
        since: Some(ctx.now() - RECENT),
        limit: MOST,
        ..Filter::default()
    };
    let scheme = ctx.settings.webhooks.scheme(source);
    let (found, versions) = {
        let mut reader = ctx.db.reader().await.map_err(QuestionError::Store)?;
        (deliveries::list(&mut reader, &filter).await?, secrets::list(&mut reader).await?)
    };
    let theirs = |agent: &Option<String>| {
        agent.as_ref().is_some_and(|agent| scheme.agents.iter().any(|known| agent.starts_with(&**known)))
    };
    let ours = |name: &Option<String>| name.as_ref().is_some_and(|name| name.starts_with("deploywatch_"));
    let mut attempts = Vec::new();
    for delivery in found.into_iter().filter(|d| theirs(&d.user_agent) && !ours(&d.event_name)) {
        let accepted = delivery.status == 200 || delivery.late;
        let beyond_ascii = match accepted && attempts.len() < MOST_BODIES {
            true => body_of(ctx, &delivery.id).await?.and_then(|body| Writing::of(&body)),
            false => None,
        };
        let signer = delivery.version.as_ref().and_then(|id| versions.iter().find(|v| v.id == *id));
        attempts.push(Attempt {
            at: delivery.received_at,
            digest: delivery.body_digest,
            accepted,
            late: delivery.late,
            class: delivery.class,
            event: delivery.event.map(|id| id.to_string()),
            secret_length: signer.map(|version| version.length),
            beyond_ascii,
        });
    }
    attempts.reverse();
    Ok(attempts)
}
