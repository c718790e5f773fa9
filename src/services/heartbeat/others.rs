//! Processes that share a store tell each other what stands still in them, so that the one heartbeat that they all
//! send stops when any of them does.

use serde::{Deserialize, Serialize};

use crate::domain::clock::{SignedDuration, Timestamp, from_micros, to_micros};
use crate::services::Context;
use crate::store::{StoreError, Tx, meta};

const PREFIX: &str = "heartbeat of ";
/// What a process said longer ago says nothing of now: two beats and a half. One that is silent altogether is no
/// matter of this: its leases pass to the others, and a restart would look the same.
const FRESH: SignedDuration = SignedDuration::from_secs(150);

/// What a process last said of itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    at: i64,
    still: Vec<String>,
}

/// Writes down what stands still in this process.
pub(super) async fn say(
    ctx: &Context,
    tx: &mut Tx,
    still: &[&'static str],
    now: Timestamp,
) -> Result<(), StoreError> {
    let said = Said { at: to_micros(now), still: still.iter().map(|text| (*text).to_owned()).collect() };
    let text = serde_json::to_string(&said).expect("words and a number are JSON");
    meta::set(tx, &name(ctx), &text, now).await
}

/// What stands still in the others, in words for a log; the rows of those that are gone are swept.
pub(super) async fn standing_still(
    ctx: &Context,
    tx: &mut Tx,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let own = name(ctx);
    let mut found = Vec::new();
    for (name, text) in meta::list(tx, PREFIX).await? {
        if name == own {
            continue;
        }
        let said = serde_json::from_str::<Said>(&text).ok();
        match said.filter(|said| now.duration_since(from_micros(said.at)) < FRESH) {
            Some(said) => {
                let process = name.trim_start_matches(PREFIX);
                found.extend(said.still.iter().map(|what| format!("{what} in process {process}")));
            }
            None => meta::delete(tx, &name).await?,
        }
    }
    Ok(found)
}

/// A process that stops on purpose takes its word back, so that what it said last holds up nobody.
pub async fn leave(ctx: &Context) -> Result<(), StoreError> {
    let mut tx = ctx.db.begin().await?;
    meta::delete(&mut tx, &name(ctx)).await?;
    Ok(tx.commit().await?)
}

fn name(ctx: &Context) -> String {
    format!("{PREFIX}{}", ctx.progress.name(ctx.entropy.as_ref()))
}
