//! Time-limited claims of a name by one process, with a fencing token that grows at each take-over.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{SignedDuration, Timestamp, to_micros};

/// A held lease. Writes that depend on it compare `token`, so that a holder that was asleep for too long
/// cannot overwrite its successor's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub holder: String,
    pub token: i64,
}

/// Takes the lease if it is free, over, or already ours; `None` while somebody else holds it. Taking our own
/// again extends it and keeps its token.
pub async fn acquire(
    c: &mut AnyConnection,
    name: &str,
    holder: &str,
    now: Timestamp,
    length: SignedDuration,
) -> Result<Option<Lease>, StoreError> {
    let row = sqlx::query(
        "INSERT INTO leases (name, holder, token, expires_at) VALUES ($1, $2, 1, $3)
         ON CONFLICT (name) DO UPDATE SET
           token = CASE WHEN leases.holder = excluded.holder AND leases.expires_at > $4
                        THEN leases.token ELSE leases.token + 1 END,
           holder = excluded.holder,
           expires_at = excluded.expires_at
         WHERE leases.holder = excluded.holder OR leases.expires_at <= $4
         RETURNING token",
    )
    .bind(name)
    .bind(holder)
    .bind(to_micros(now + length))
    .bind(to_micros(now))
    .fetch_optional(c)
    .await?;
    row.map(|row| Ok(Lease { name: name.into(), holder: holder.into(), token: row.try_get("token")? }))
        .transpose()
}

/// Extends a lease that is still ours; false when it was taken over, and then its work must not be recorded.
pub async fn renew(
    c: &mut AnyConnection,
    lease: &Lease,
    now: Timestamp,
    length: SignedDuration,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE leases SET expires_at = $4 WHERE name = $1 AND holder = $2 AND token = $3")
            .bind(lease.name.as_str())
            .bind(lease.holder.as_str())
            .bind(lease.token)
            .bind(to_micros(now + length))
            .execute(c)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the lease is still the holder's; asked in the transaction that records its work.
pub async fn is_held(c: &mut AnyConnection, lease: &Lease) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT token FROM leases WHERE name = $1 AND holder = $2 AND token = $3")
        .bind(lease.name.as_str())
        .bind(lease.holder.as_str())
        .bind(lease.token)
        .fetch_optional(c)
        .await?;
    Ok(row.is_some())
}

/// Gives the lease back. The row stays, so that the token goes on growing.
pub async fn release(c: &mut AnyConnection, lease: &Lease) -> Result<(), StoreError> {
    sqlx::query("UPDATE leases SET expires_at = 0 WHERE name = $1 AND holder = $2 AND token = $3")
        .bind(lease.name.as_str())
        .bind(lease.holder.as_str())
        .bind(lease.token)
        .execute(c)
        .await?;
    Ok(())
}
