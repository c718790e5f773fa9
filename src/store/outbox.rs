//! The outbox seen as a queue: what was sent when, what waits, what a digest takes over, what a person retries.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use super::notifications::{Claim, Stored, read};
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::NotificationId;
use crate::domain::notification::Held;

/// When `recipient` was last sent mails, oldest first. Tests are not counted: a person asked for them.
pub async fn list_sent_since(
    c: &mut AnyConnection,
    channel: &str,
    recipient: &str,
    since: Timestamp,
) -> Result<Vec<Timestamp>, StoreError> {
    let rows = sqlx::query(
        "SELECT finished_at FROM notifications
         WHERE channel = $1 AND state = 'sent' AND finished_at > $3 AND recipient = $2 AND notice <> 'test'
         ORDER BY finished_at",
    )
    .bind(channel)
    .bind(recipient)
    .bind(to_micros(since))
    .fetch_all(c)
    .await?;
    rows.iter().map(|row| Ok(from_micros(row.try_get("finished_at")?))).collect()
}

/// How many messages the channel took since then.
pub async fn count_sent_since(
    c: &mut AnyConnection,
    channel: &str,
    since: Timestamp,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "SELECT count(*) AS n FROM notifications WHERE channel = $1 AND state = 'sent' AND finished_at > $2",
    )
    .bind(channel)
    .bind(to_micros(since))
    .fetch_one(c)
    .await?;
    Ok(u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or(0))
}

/// What waits for a recipient and no server can have seen: what a digest may tell instead. Oldest first.
pub async fn list_waiting_for(
    c: &mut AnyConnection,
    channel: &str,
    recipient: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM notifications
         WHERE channel = $1 AND recipient = $2 AND state = 'pending' AND maybe_taken = 0
           AND (not_before <= $3 OR held = 'storm') AND notice NOT IN ('test', 'digest')
         ORDER BY created_at, turn, id LIMIT $4",
    )
    .bind(channel)
    .bind(recipient)
    .bind(to_micros(now))
    .bind(i64::from(limit))
    .fetch_all(c)
    .await?;
    rows.iter().map(read).collect()
}

/// A digest tells these messages; they are not sent themselves. Gives how many it was not too late for.
pub async fn put_into_digest(
    c: &mut AnyConnection,
    digest: &NotificationId,
    ids: &[NotificationId],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut done = 0;
    for id in ids {
        done += sqlx::query(
            "UPDATE notifications SET state = 'digested', digest_id = $2, finished_at = $3, lease = NULL,
                 lease_until = NULL
             WHERE id = $1 AND state IN ('pending', 'sending') AND maybe_taken = 0",
        )
        .bind(id.as_str())
        .bind(digest.as_str())
        .bind(to_micros(now))
        .execute(&mut *c)
        .await?
        .rows_affected();
    }
    Ok(done)
}

/// Gives a claimed message back without counting the claim as an attempt. `false`: the lease was lost.
pub async fn hold(
    c: &mut AnyConnection,
    claim: &Claim,
    until: Timestamp,
    why: Held,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET state = 'pending', not_before = $3, held = $4, attempts = attempts - 1,
             lease = NULL, lease_until = NULL
         WHERE id = $1 AND lease = $2",
    )
    .bind(claim.stored.notification.id.as_str())
    .bind(&claim.lease)
    .bind(to_micros(until))
    .bind(why.as_str())
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Nothing more to this recipient before `until`, so that the queue behind is not looked at one by one.
pub async fn hold_recipient(
    c: &mut AnyConnection,
    channel: &str,
    recipient: &str,
    until: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET not_before = $3, held = 'storm'
         WHERE channel = $1 AND recipient = $2 AND state = 'pending' AND maybe_taken = 0 AND not_before < $3
           AND notice NOT IN ('test', 'digest')",
    )
    .bind(channel)
    .bind(recipient)
    .bind(to_micros(until))
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}

/// A new message waits until then, by a decision and not for a failure.
pub async fn hold_new(
    c: &mut AnyConnection,
    id: &NotificationId,
    until: Timestamp,
    why: Held,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE notifications SET not_before = $2, held = $3 WHERE id = $1 AND state = 'pending'")
        .bind(id.as_str())
        .bind(to_micros(until))
        .bind(why.as_str())
        .execute(c)
        .await?;
    Ok(())
}

/// Lets a held message go.
pub async fn release(c: &mut AnyConnection, id: &NotificationId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE notifications SET not_before = $2, held = NULL WHERE id = $1 AND state = 'pending'")
        .bind(id.as_str())
        .bind(to_micros(now))
        .execute(c)
        .await?;
    Ok(())
}

/// Keeps what a claimed mail says of its own lateness, before a server can see it.
pub async fn set_note(c: &mut AnyConnection, claim: &Claim, note: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE notifications SET note = $3 WHERE id = $1 AND lease = $2 AND maybe_taken = 0")
        .bind(claim.stored.notification.id.as_str())
        .bind(&claim.lease)
        .bind(note)
        .execute(c)
        .await?;
    Ok(())
}

/// Makes a message due now: one that waits, or one that was given up or withdrawn. Its age counts from now on.
/// `false`: it was sent, is being sent, or a digest has told it.
pub async fn retry(c: &mut AnyConnection, id: &NotificationId, now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET state = 'pending', not_before = $2, tried_from = $2, held = NULL,
             finished_at = NULL
         WHERE id = $1 AND state IN ('pending', 'dead', 'cancelled')",
    )
    .bind(id.as_str())
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Which messages to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Not sent yet.
    Waiting,
    /// Given up.
    Dead,
    All,
}

/// Newest first.
pub async fn list(c: &mut AnyConnection, which: Which, limit: u32) -> Result<Vec<Stored>, StoreError> {
    let states = match which {
        Which::Waiting => "state IN ('pending', 'sending')",
        Which::Dead => "state = 'dead'",
        Which::All => "1 = 1",
    };
    let sql =
        format!("SELECT * FROM notifications WHERE {states} ORDER BY created_at DESC, id DESC LIMIT $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(i64::from(limit)).fetch_all(c).await?;
    rows.iter().map(read).collect()
}

/// Messages whose id ends with `suffix`; at most two, since two are already too many.
pub async fn find_by_suffix(c: &mut AnyConnection, suffix: &str) -> Result<Vec<Stored>, StoreError> {
    // The suffix is compared, not matched, so that % and _ in it mean nothing.
    let rows = sqlx::query(
        "SELECT * FROM notifications WHERE substr(id, CAST(length(id) - $1 + 1 AS INTEGER)) = $2 ORDER BY created_at DESC LIMIT 2",
    )
    .bind(i64::try_from(suffix.chars().count()).unwrap_or(i64::MAX))
    .bind(suffix)
    .fetch_all(c)
    .await?;
    rows.iter().map(read).collect()
}

/// What waits, for metrics and readiness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub messages: u64,
    /// Of those that are due: the one that was written first.
    pub oldest: Option<Timestamp>,
}

/// What a channel has not sent, but for what is held on purpose.
pub async fn waiting(c: &mut AnyConnection, channel: &str) -> Result<Waiting, StoreError> {
    let row = sqlx::query(
        "SELECT count(*) AS n, min(created_at) AS oldest FROM notifications
         WHERE channel = $1 AND state IN ('pending', 'sending') AND held IS NULL",
    )
    .bind(channel)
    .fetch_one(c)
    .await?;
    Ok(Waiting {
        messages: u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or(0),
        oldest: row.try_get::<Option<i64>, _>("oldest")?.map(from_micros),
    })
}
