//! Browser sessions, obtained with a token. Only the SHA-256 of the cookie is kept.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::TokenId;

/// One session.
#[derive(Debug, Clone)]
pub struct Session {
    pub token: TokenId,
    pub expires_at: Timestamp,
    /// What a form must carry to prove that our page made it.
    pub csrf: String,
}

pub async fn insert_session(
    c: &mut AnyConnection,
    hash: &str,
    session: &Session,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO sessions (hash, token_id, created_at, expires_at, csrf) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(hash)
    .bind(session.token.as_str())
    .bind(to_micros(now))
    .bind(to_micros(session.expires_at))
    .bind(session.csrf.as_str())
    .execute(c)
    .await?;
    Ok(())
}

pub async fn get_session(c: &mut AnyConnection, hash: &str) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query("SELECT token_id, expires_at, csrf FROM sessions WHERE hash = $1")
        .bind(hash)
        .fetch_optional(c)
        .await?;
    row.map(|row| {
        Ok(Session {
            token: TokenId::from_text(row.try_get::<String, _>("token_id")?),
            expires_at: from_micros(row.try_get("expires_at")?),
            csrf: row.try_get("csrf")?,
        })
    })
    .transpose()
}

pub async fn delete_session(c: &mut AnyConnection, hash: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM sessions WHERE hash = $1").bind(hash).execute(c).await?;
    Ok(())
}

/// Ends every session of a token; sessions end with it.
pub async fn delete_sessions_of(c: &mut AnyConnection, token: &TokenId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM sessions WHERE token_id = $1").bind(token.as_str()).execute(c).await?;
    Ok(())
}

/// How many were over.
pub async fn delete_expired_sessions(c: &mut AnyConnection, now: Timestamp) -> Result<u64, StoreError> {
    let done =
        sqlx::query("DELETE FROM sessions WHERE expires_at <= $1").bind(to_micros(now)).execute(c).await?;
    Ok(done.rows_affected())
}
