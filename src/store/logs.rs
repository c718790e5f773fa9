//! Counted lines of log drains: what is counted, how often, and when a drain was last heard of.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, from_micros, to_micros};

/// A filter that some check asks for, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFilter {
    pub id: String,
    pub filter: String,
}

/// When a drain sent something first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub lines: i64,
}

/// Asks for a filter to be counted from now on, or says that it is still asked for; since when it counts.
pub async fn ask(
    c: &mut AnyConnection,
    source: &str,
    asked: &StoredFilter,
    now: Timestamp,
) -> Result<Timestamp, StoreError> {
    let row = sqlx::query(
        "INSERT INTO log_filters (source, id, filter, since, asked_at) VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (source, id) DO UPDATE SET asked_at = excluded.asked_at
         RETURNING since",
    )
    .bind(source)
    .bind(asked.id.as_str())
    .bind(asked.filter.as_str())
    .bind(to_micros(now))
    .fetch_one(c)
    .await?;
    Ok(from_micros(row.try_get("since")?))
}

/// What is counted of a source.
pub async fn list_filters(c: &mut AnyConnection, source: &str) -> Result<Vec<StoredFilter>, StoreError> {
    let rows = sqlx::query("SELECT id, filter FROM log_filters WHERE source = $1 ORDER BY id")
        .bind(source)
        .fetch_all(c)
        .await?;
    rows.iter()
        .map(|row| Ok(StoredFilter { id: row.try_get("id")?, filter: row.try_get("filter")? }))
        .collect()
}

/// Remembers a body; false when it was counted before.
pub async fn is_new_batch(
    c: &mut AnyConnection,
    source: &str,
    digest: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO log_batches (source, digest, at) VALUES ($1, $2, $3) ON CONFLICT (source, digest) DO NOTHING",
    )
    .bind(source)
    .bind(digest)
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Adds lines to a bucket.
pub async fn add(
    c: &mut AnyConnection,
    source: &str,
    filter: &str,
    bucket: i64,
    lines: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO log_counts (source, filter_id, bucket, lines) VALUES ($1, $2, $3, $4)
         ON CONFLICT (source, filter_id, bucket) DO UPDATE SET lines = log_counts.lines + excluded.lines",
    )
    .bind(source)
    .bind(filter)
    .bind(bucket)
    .bind(lines)
    .execute(c)
    .await?;
    Ok(())
}

/// Notes that a drain is alive.
pub async fn hear(c: &mut AnyConnection, source: &str, lines: i64, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO log_sources (name, first_at, last_at, lines) VALUES ($1, $2, $2, $3)
         ON CONFLICT (name) DO UPDATE SET
           last_at = CASE WHEN excluded.last_at > log_sources.last_at THEN excluded.last_at
                          ELSE log_sources.last_at END,
           lines = log_sources.lines + excluded.lines",
    )
    .bind(source)
    .bind(to_micros(now))
    .bind(lines)
    .execute(c)
    .await?;
    Ok(())
}

/// When a drain was heard of; `None` if never.
pub async fn get_heard(c: &mut AnyConnection, source: &str) -> Result<Option<Heard>, StoreError> {
    let row = sqlx::query("SELECT first_at, last_at, lines FROM log_sources WHERE name = $1")
        .bind(source)
        .fetch_optional(c)
        .await?;
    row.map(|row| {
        Ok(Heard {
            first_at: from_micros(row.try_get("first_at")?),
            last_at: from_micros(row.try_get("last_at")?),
            lines: row.try_get("lines")?,
        })
    })
    .transpose()
}

/// Lines in the buckets that begin at `from` or later and before `until`, in seconds since the epoch.
pub async fn count(
    c: &mut AnyConnection,
    source: &str,
    filter: &str,
    from: i64,
    until: i64,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT CAST(coalesce(sum(lines), 0) AS BIGINT) AS lines FROM log_counts
         WHERE source = $1 AND filter_id = $2 AND bucket >= $3 AND bucket < $4",
    )
    .bind(source)
    .bind(filter)
    .bind(from)
    .bind(until)
    .fetch_one(c)
    .await?;
    Ok(row.try_get("lines")?)
}

/// Deletes counts and filters that nobody asks for any more, and digests of bodies that nobody sends again.
pub async fn forget(
    c: &mut AnyConnection,
    counts_before: Timestamp,
    batches_before: Timestamp,
    asked_before: Timestamp,
) -> Result<u64, StoreError> {
    let mut gone = 0;
    for (sql, before) in [
        ("DELETE FROM log_counts WHERE bucket < $1", counts_before.as_second()),
        ("DELETE FROM log_batches WHERE at < $1", to_micros(batches_before)),
        ("DELETE FROM log_filters WHERE asked_at < $1", to_micros(asked_before)),
    ] {
        gone += sqlx::query(sql).bind(before).execute(&mut *c).await?.rows_affected();
    }
    Ok(gone)
}
