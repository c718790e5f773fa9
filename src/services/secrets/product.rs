//! The product's own word: it, or its deploy job, reports the fingerprint of the secret that it holds.

use serde::Serialize;

use super::signals::{beside_active, product_key};
use super::{Keyring, SecretError, confirm_product};
use crate::domain::clock::Timestamp;
use crate::domain::incident::Signal;
use crate::domain::rotation::ProofKind;
use crate::domain::secret::{SecretVersion, Slot, StateName};
use crate::services::{Context, alerting};
use crate::store::{StoreError, products, rotations, secrets};

/// What a report says about the slot.
#[derive(Debug, Clone, Serialize)]
pub struct Reported {
    pub version: u32,
    pub state: StateName,
    /// Whether it was the proof that an open rotation waited for.
    pub rotation_proved: bool,
}

/// The text over which the product computes `hex(HMAC-SHA256(secret, text))`, of which it reports the first 16
/// digits. The salt is public and of this instance and slot alone. What is reported tells as much about the
/// secret as any signed webhook does, and is none.
pub fn fingerprint_text(keyring: &Keyring, slot: &Slot) -> String {
    let salt = keyring.fingerprint(format!("salt of {slot}").as_bytes());
    format!("deploywatch-fingerprint:{slot}:{salt}")
}

/// The first 16 digits, as the product computes them.
pub fn product_fingerprint(keyring: &Keyring, slot: &Slot, secret: &[u8]) -> Option<String> {
    let key = crate::domain::signature::SigningKey::new(secret).ok()?;
    let mut text = hex::encode(key.sign(fingerprint_text(keyring, slot).as_bytes()).as_bytes());
    text.truncate(16);
    Some(text)
}

/// Takes a report in: by the product's own fingerprint (16 digits), or by ours (12 digits, as `secret status`
/// shows it). The new secret is the product's proof of the open rotation; one that deliveries are no longer signed
/// with pages.
pub async fn report_product(
    ctx: &Context,
    keyring: &Keyring,
    slot: &Slot,
    fingerprint: &str,
    actor: &str,
) -> Result<Reported, SecretError> {
    let held = find(ctx, keyring, slot, fingerprint).await?.ok_or(SecretError::UnknownFingerprint)?;
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    products::set(&mut tx, slot, &held.id, now, "fingerprint").await?;
    let open = rotations::get_open(&mut tx, slot).await?;
    let versions = secrets::list_slot(&mut tx, slot).await?;
    let signal = judge(ctx, &versions, &held, now);
    alerting::record(ctx, &mut tx, &[signal]).await?;
    tx.commit().await.map_err(StoreError::from)?;
    ctx.nudge.job(alerting::OUTBOX_JOB);
    let rotation_proved = open.is_some_and(|open| open.rotation.to.as_ref() == Some(&held.id))
        && confirm_product(ctx, slot, ProofKind::Fingerprint, actor).await?;
    Ok(Reported { version: held.number, state: held.state.name(), rotation_proved })
}

/// A product on the active or the staged secret is fine, and so is one on the old secret while the provider has
/// not signed with the new one.
fn judge(ctx: &Context, versions: &[SecretVersion], held: &SecretVersion, now: Timestamp) -> Signal {
    let key = product_key(ctx, &held.slot.source);
    let active = versions.iter().find(|v| v.state.name() == StateName::Active);
    match (held.state.name(), active) {
        (StateName::Active | StateName::Staged, _) | (_, None) => Signal::Cleared {
            key,
            at: now,
            note: format!("the product reports that it holds {}", held.label()),
        },
        (_, Some(active)) => Signal::Firing { key, at: now, facts: beside_active(ctx, held, active, now) },
    }
}

async fn find(
    ctx: &Context,
    keyring: &Keyring,
    slot: &Slot,
    fingerprint: &str,
) -> Result<Option<SecretVersion>, SecretError> {
    let given = fingerprint.trim().to_ascii_lowercase();
    let all = secrets::list_sealed(&mut *ctx.db.reader().await?).await?;
    for row in all.into_iter().filter(|row| row.version.slot == *slot) {
        if row.version.fingerprint == given {
            return Ok(Some(row.version));
        }
        let Some(sealed) = &row.sealed else { continue };
        let Ok(secret) = keyring.unseal(row.version.id.as_str(), sealed) else { continue };
        if product_fingerprint(keyring, slot, &secret).is_some_and(|own| own == given) {
            return Ok(Some(row.version));
        }
    }
    Ok(None)
}
