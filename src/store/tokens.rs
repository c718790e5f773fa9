//! API tokens: only the SHA-256 of the secret part is kept.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use crate::domain::access::{Grant, Scopes};
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::TokenId;

/// One token as listed; the secret is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub scopes: Scopes,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

impl Token {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    pub fn grant(&self) -> Grant {
        Grant { token: self.id.clone(), name: self.name.clone(), scopes: self.scopes.clone() }
    }
}

/// `hash` is the lower-case hex SHA-256 of the secret part.
pub async fn insert_token(c: &mut AnyConnection, token: &Token, hash: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO tokens (id, name, hash, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(token.id.as_str())
    .bind(token.name.as_str())
    .bind(hash)
    .bind(token.scopes.to_string())
    .bind(to_micros(token.created_at))
    .bind(token.expires_at.map(to_micros))
    .execute(c)
    .await?;
    Ok(())
}

/// The token with its hash, dead ones included: whether it is live is for the caller to say.
pub async fn get_token(c: &mut AnyConnection, id: &TokenId) -> Result<Option<(Token, String)>, StoreError> {
    let row = sqlx::query(
        "SELECT id, name, scopes, created_at, expires_at, revoked_at, last_used_at, hash FROM tokens WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(c)
    .await?;
    row.map(|row| Ok((token(&row)?, row.try_get("hash")?))).transpose()
}

/// All tokens, oldest first.
pub async fn list_tokens(c: &mut AnyConnection) -> Result<Vec<Token>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, name, scopes, created_at, expires_at, revoked_at, last_used_at FROM tokens ORDER BY id",
    )
    .fetch_all(c)
    .await?;
    rows.iter().map(token).collect()
}

/// Whether a token was ever created.
pub async fn any_token(c: &mut AnyConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query("SELECT id FROM tokens LIMIT 1").fetch_optional(c).await?.is_some())
}

/// False when there is no such token or it was revoked before.
pub async fn revoke_token(c: &mut AnyConnection, id: &TokenId, now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id.as_str())
        .bind(to_micros(now))
        .execute(c)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn touch_token(c: &mut AnyConnection, id: &TokenId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE tokens SET last_used_at = $2 WHERE id = $1")
        .bind(id.as_str())
        .bind(to_micros(now))
        .execute(c)
        .await?;
    Ok(())
}

fn token(row: &sqlx::any::AnyRow) -> Result<Token, StoreError> {
    let at = |name: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(name)?.map(from_micros))
    };
    let scopes: String = row.try_get("scopes")?;
    Ok(Token {
        id: TokenId::from_text(row.try_get::<String, _>("id")?),
        name: row.try_get("name")?,
        scopes: scopes.parse().map_err(|_| StoreError::Corrupt(format!("token scopes {scopes:?}")))?,
        created_at: from_micros(row.try_get("created_at")?),
        expires_at: at("expires_at")?,
        revoked_at: at("revoked_at")?,
        last_used_at: at("last_used_at")?,
    })
}
