//! Tokens and sessions: making them, recognising them, ending them.
//!
//! A token reads `dw_<id>_<secret>`. The secret is 256 random bits, so one round of SHA-256 is enough to keep
//! it: there is nothing to guess.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::access::{Grant, Scopes};
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::TokenId;
use crate::services::Context;
use crate::store::StoreError;
use crate::store::audit::{self, AuditEntry};
use crate::store::sessions::{self, Session};
use crate::store::tokens::{self, Token};

/// How long a browser stays signed in.
pub const SESSION_LENGTH: SignedDuration = SignedDuration::from_hours(12);

/// A poller should not write at every request.
const TOUCH_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// A token at its making, the only time its text is known.
#[derive(Debug)]
pub struct NewToken {
    pub token: Token,
    pub text: SecretString,
}

/// A session at its making.
#[derive(Debug)]
pub struct NewSession {
    pub cookie: SecretString,
    pub expires_at: Timestamp,
}

/// Makes a token. `actor` is who asked, for the audit log.
pub async fn create_token(
    ctx: &Context,
    actor: &str,
    name: &str,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
) -> Result<NewToken, StoreError> {
    let now = ctx.now();
    let id = TokenId::new(now, ctx.entropy.as_ref());
    let secret = random_hex(ctx);
    let token = Token {
        id: id.clone(),
        name: name.to_owned(),
        scopes,
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    let mut tx = ctx.db.begin().await?;
    tokens::insert_token(&mut tx, &token, &hash(&secret)).await?;
    let detail = serde_json::json!({ "name": name, "scopes": token.scopes.to_string() });
    record(ctx, &mut tx, actor, "token.create", id.as_str(), detail).await?;
    tx.commit().await?;
    let public = id.as_str().trim_start_matches("tok_");
    Ok(NewToken { text: format!("dw_{public}_{secret}").into(), token })
}

/// What a presented token stands for; `None` when it is unknown, expired or revoked, whichever it is.
pub async fn authenticate(ctx: &Context, presented: &str) -> Result<Option<Grant>, StoreError> {
    let Some((public, secret)) = presented.strip_prefix("dw_").and_then(|rest| rest.split_once('_')) else {
        return Ok(None);
    };
    let id = TokenId::from_text(format!("{}_{public}", TokenId::PREFIX));
    let found = tokens::get_token(&mut *ctx.db.reader().await?, &id).await?;
    let Some((token, kept)) = found else { return Ok(None) };
    let same: bool = hash(secret).as_bytes().ct_eq(kept.as_bytes()).into();
    if !same || !token.is_live(ctx.now()) {
        return Ok(None);
    }
    used(ctx, &token).await?;
    Ok(Some(token.grant()))
}

async fn used(ctx: &Context, token: &Token) -> Result<(), StoreError> {
    let now = ctx.now();
    if token.last_used_at.is_some_and(|at| now.duration_since(at) < TOUCH_EVERY) {
        return Ok(());
    }
    let mut tx = ctx.db.begin().await?;
    tokens::touch_token(&mut tx, &token.id, now).await?;
    Ok(tx.commit().await?)
}

/// Whether a token was ever made. From then on loopback alone opens nothing, even when all are revoked.
pub async fn any_token(ctx: &Context) -> Result<bool, StoreError> {
    tokens::any_token(&mut *ctx.db.reader().await?).await
}

/// Ends a token and its sessions. False when there is no such live token.
pub async fn revoke_token(ctx: &Context, actor: &str, id: &TokenId) -> Result<bool, StoreError> {
    let mut tx = ctx.db.begin().await?;
    if !tokens::revoke_token(&mut tx, id, ctx.now()).await? {
        return Ok(false);
    }
    sessions::delete_sessions_of(&mut tx, id).await?;
    record(ctx, &mut tx, actor, "token.revoke", id.as_str(), serde_json::json!({})).await?;
    tx.commit().await?;
    Ok(true)
}

/// Turns a token into a browser session; `None` when the token is not valid.
pub async fn sign_in(ctx: &Context, presented: &str) -> Result<Option<NewSession>, StoreError> {
    let Some(grant) = authenticate(ctx, presented).await? else { return Ok(None) };
    let now = ctx.now();
    let cookie = random_hex(ctx);
    let session =
        Session { token: grant.token.clone(), expires_at: now + SESSION_LENGTH, csrf: random_hex(ctx) };
    let mut tx = ctx.db.begin().await?;
    sessions::delete_expired_sessions(&mut tx, now).await?;
    sessions::insert_session(&mut tx, &hash(&cookie), &session, now).await?;
    let actor = format!("token {}", grant.name);
    record(ctx, &mut tx, &actor, "session.start", grant.token.as_str(), serde_json::json!({})).await?;
    tx.commit().await?;
    Ok(Some(NewSession { cookie: cookie.into(), expires_at: session.expires_at }))
}

/// The grant behind a session's cookie, with the text that its forms must carry. It ends with its token.
pub async fn session(ctx: &Context, cookie: &str) -> Result<Option<(Grant, String)>, StoreError> {
    let mut c = ctx.db.reader().await?;
    let Some(session) = sessions::get_session(&mut c, &hash(cookie)).await? else { return Ok(None) };
    let now = ctx.now();
    if session.expires_at <= now {
        return Ok(None);
    }
    let Some((token, _)) = tokens::get_token(&mut c, &session.token).await? else { return Ok(None) };
    Ok(token.is_live(now).then(|| (token.grant(), session.csrf)))
}

pub async fn sign_out(ctx: &Context, cookie: &str) -> Result<(), StoreError> {
    let mut tx = ctx.db.begin().await?;
    sessions::delete_session(&mut tx, &hash(cookie)).await?;
    Ok(tx.commit().await?)
}

/// Whether two texts are equal, in a time that does not tell where they differ.
pub fn same_text(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

async fn record(
    ctx: &Context,
    tx: &mut crate::store::Tx,
    actor: &str,
    action: &str,
    subject: &str,
    detail: serde_json::Value,
) -> Result<(), StoreError> {
    let (action, subject) = (action.to_owned(), subject.to_owned());
    let entry = AuditEntry { at: ctx.now(), actor: actor.to_owned(), action, subject, detail };
    audit::append(tx, ctx.entropy.as_ref(), &entry).await
}

fn random_hex(ctx: &Context) -> String {
    let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
    ctx.entropy.fill(bytes.as_mut());
    hex::encode(bytes.as_slice())
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Lets a caller show the text once, without the type leaking it elsewhere.
pub fn reveal(new: &NewToken) -> &str {
    new.text.expose_secret()
}
