//! The one writer: whatever waits is committed together, so that one sync to disk serves many requests, and
//! each is answered only after the commit that holds it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::batch;
use crate::domain::delivery::{Answer, Received};
use crate::domain::signature::scheme::Text;
use crate::services::Context;
use crate::services::secrets::SharedKeyring;
use crate::store::StoreError;

/// Requests that may wait; beyond that the answer is 503 and the provider tries again.
const QUEUE: usize = 4096;
/// Requests of one commit.
const BATCH: usize = 256;

/// One judged request with its bytes.
#[derive(Debug)]
pub(super) struct Item {
    pub received: Received,
    pub body: Vec<u8>,
    /// How requests of this source's provider call themselves.
    pub agents: Arc<[Text]>,
    /// The body as it is kept where it is accepted.
    pub sealed: Option<Vec<u8>>,
    /// What goes on to the product beside the body, sealed.
    pub headers: Option<Vec<u8>>,
}

struct Waiting {
    item: Arc<Item>,
    answer: oneshot::Sender<Answer>,
}

pub(super) struct Writer(mpsc::Sender<Waiting>);

impl Writer {
    pub fn start(ctx: Context, keyring: SharedKeyring) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(run(ctx, keyring, receiver));
        Self(sender)
    }

    /// Waits for the commit. A full queue, a failing store or a stopped writer all mean "not stored".
    pub async fn record(&self, item: Item) -> Answer {
        let (answer, committed) = oneshot::channel();
        let item = Arc::new(item);
        if self.0.try_send(Waiting { item, answer }).is_err() {
            return Answer::Unavailable;
        }
        committed.await.unwrap_or(Answer::Unavailable)
    }
}

async fn run(ctx: Context, keyring: SharedKeyring, mut queue: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut waiting, BATCH).await > 0 {
        let items: Vec<Arc<Item>> = waiting.iter().map(|w| Arc::clone(&w.item)).collect();
        let answers = commit(&ctx, &keyring, items).await;
        for (waiting, answer) in waiting.drain(..).zip(answers) {
            // A caller that hung up does not need the answer; its delivery is stored all the same.
            let _ = waiting.answer.send(answer);
        }
    }
}

/// Commits in a task of its own, so that a panic costs this batch a 503 and not the writer its life.
async fn commit(ctx: &Context, keyring: &SharedKeyring, items: Vec<Arc<Item>>) -> Vec<Answer> {
    let count = items.len();
    let (ctx, keyring) = (ctx.clone(), Arc::clone(keyring));
    let task = tokio::spawn(async move { record(&ctx, &keyring, &items).await });
    match task.await {
        Ok(answers) => answers,
        Err(_) => {
            tracing::error!(requests = count, "recording webhooks panicked");
            vec![Answer::Unavailable; count]
        }
    }
}

async fn record(ctx: &Context, keyring: &SharedKeyring, items: &[Arc<Item>]) -> Vec<Answer> {
    let error = match batch::record(ctx, keyring, items).await {
        Ok(answers) => return answers,
        Err(error) => error,
    };
    tracing::error!(
        error = &error as &dyn std::error::Error,
        requests = items.len(),
        "webhooks could not be stored"
    );
    if items.len() == 1 || !concerns_one_row(&error) {
        return vec![Answer::Unavailable; items.len()];
    }
    // One row that the store refuses must not take its neighbours with it.
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let alone = batch::record(ctx, keyring, std::slice::from_ref(item)).await;
        answers.push(alone.map_or(Answer::Unavailable, |answers| answers[0]));
    }
    answers
}

fn concerns_one_row(error: &StoreError) -> bool {
    let StoreError::Database(sqlx::Error::Database(database)) = error else { return false };
    let text = database.message();
    !["locked", "busy", "full", "disk", "readonly", "read-only"].iter().any(|word| text.contains(word))
}
