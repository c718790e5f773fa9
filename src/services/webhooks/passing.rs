//! Passing deliveries on to the product and learning from its answers which secret it holds.

use super::keys::{KeySet, KeysError};
use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp, rfc3339};
use crate::domain::ids::DeliveryId;
use crate::domain::incident::{DedupKey, Facts, IncidentKind, Signal};
use crate::domain::relay::{Probed, Reaction, conclude, react, wait_after};
use crate::domain::rotation::{ProofKind, Side};
use crate::domain::secret::{SecretVersion, Slot, StateName};
use crate::domain::signature::SigningKey;
use crate::relay::{Forward, forward};
use crate::services::secrets::{self as secret_services, Keyring, SecretError, key, subject};
use crate::services::{Context, alerting};
use crate::store::relays::Due;
use crate::store::{StoreError, deliveries, relays, rotations};

/// Deliveries of one activation, and how long a claim holds: longer than an attempt takes.
const AT_ONCE: u32 = 20;
const LEASE: SignedDuration = SignedDuration::from_mins(2);

/// Why something was not passed on.
#[derive(Debug, thiserror::Error)]
pub enum PassingError {
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Secrets(#[from] SecretError),
    #[error("the store is not available")]
    Store(#[from] StoreError),
    #[error("the delivery {0} was not accepted, or its source has no product_url; nothing was passed on")]
    NotQueued(DeliveryId),
    #[error("the source {0} has no product_url to send to")]
    NoProduct(String),
    #[error("a probe needs a new and an old secret in {0}; begin a rotation first")]
    NothingToCompare(Slot),
    #[error(transparent)]
    Forward(#[from] crate::relay::ForwardError),
}

/// Sends what is due. Several processes may do so at once; each delivery is claimed by one.
pub async fn pass_on(ctx: &Context) -> Result<u64, PassingError> {
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    let due = relays::claim_due(&mut tx, ctx.db.engine().skip_locked(), now, now + LEASE, AT_ONCE).await?;
    if due.is_empty() {
        return Ok(0);
    }
    tx.commit().await.map_err(StoreError::from)?;
    let keyring = Keyring::new(&ctx.keys);
    let keys = KeySet::load(ctx, &keyring).await?;
    for due in &due {
        pass_one(ctx, &keyring, &keys, due).await?;
    }
    Ok(due.len() as u64)
}

async fn pass_one(ctx: &Context, keyring: &Keyring, keys: &KeySet, due: &Due) -> Result<(), PassingError> {
    let url = ctx.settings.webhooks.sources.get(&due.source).and_then(|s| s.product_url.clone());
    let sealed = deliveries::get_body(&mut *ctx.db.reader().await?, &due.delivery).await?;
    let body = sealed.and_then(|(id, sealed)| keyring.unseal(id.as_str(), &sealed).ok());
    let held = keys.all().iter().find(|(version, _)| version.id == due.version);
    let (Some(url), Some(body), Some((version, key))) = (url, body, held) else {
        let mut tx = ctx.db.begin().await?;
        let why = "its body, its secret or the product's address is gone";
        relays::finish(&mut tx, &due.delivery, "dead", None, (None, Some(why))).await?;
        tx.commit().await.map_err(StoreError::from)?;
        return Ok(());
    };
    let sent = forward(Forward {
        url: &url,
        body: body.to_vec(),
        headers: signed(keys, &due.source, key, (due.delivery.as_str(), ctx.now()), &body),
        event_name: due.event_name.clone(),
        traceparent: traceparent(ctx),
        delivery: due.delivery.to_string(),
    })
    .await;
    let (status, error) = match &sent {
        Ok(status) => (Some(*status), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let reaction = status.map_or(Reaction::Trouble, |status| react(version.state.name(), status));
    let now = ctx.now();
    let mut random = [0_u8; 1];
    ctx.entropy.fill(&mut random);
    let next = wait_after(due.attempts, random[0]).map(|wait| now + wait);
    let (state, next) = match (reaction, next) {
        (Reaction::Accepted, _) => ("delivered", None),
        (_, Some(next)) => ("queued", Some(next)),
        (_, None) => ("dead", None),
    };
    let mut tx = ctx.db.begin().await?;
    relays::finish(&mut tx, &due.delivery, state, next, (status, error.as_deref())).await?;
    let signal = product_signal(ctx, version, reaction, status, now);
    if let Some(signal) = signal {
        alerting::record(ctx, &mut tx, &[signal]).await?;
    }
    if reaction == Reaction::Accepted {
        prove_product(&mut tx, version, &due.delivery, now).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// A delivery signed with the rotation's new secret that the product took is the product's proof.
async fn prove_product(
    tx: &mut crate::store::Tx,
    version: &SecretVersion,
    delivery: &DeliveryId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(open) = rotations::get_open(tx, &version.slot).await? else { return Ok(()) };
    if open.rotation.to.as_ref() != Some(&version.id) {
        return Ok(());
    }
    let by = ProofKind::Relay { delivery: delivery.to_string() };
    let proof = crate::domain::rotation::Proof { at: now, by };
    if let Ok(seen) = open.rotation.clone().observe(Side::Product, proof) {
        rotations::update(tx, &open, &seen, open.told_at).await?;
    }
    Ok(())
}

/// What on-call learns when the product refuses a genuine delivery: which side is behind.
fn product_signal(
    ctx: &Context,
    version: &SecretVersion,
    reaction: Reaction,
    status: Option<u16>,
    at: Timestamp,
) -> Option<Signal> {
    let source = &version.slot.source;
    let key = DedupKey { scope: format!("{source} product"), ..key(ctx, source, IncidentKind::StaleSecret) };
    let status = status.unwrap_or(0);
    let (headline, next_steps) = match reaction {
        Reaction::Accepted => {
            let note = format!("the product took a delivery signed with {}", version.label());
            return Some(Signal::Cleared { key, at, note });
        }
        Reaction::Trouble => return None,
        Reaction::ProductOnOld => (
            format!("Lemon Squeezy signs with {}, but the product refuses it ({status}): the product still holds another secret", version.label()),
            vec![
                "Set the current secret in the product's environment and redeploy it (Vercel: a changed variable needs a new deployment)".to_owned(),
                "Refused deliveries are kept and tried again for more than a day; nothing is lost meanwhile".to_owned(),
                format!("Check with `deploywatch secret probe {source}`"),
            ],
        ),
        Reaction::ProductOnNew => (
            format!("Lemon Squeezy still signs with the old {}, but the product refuses it ({status}): the product was switched first", version.label()),
            vec![
                "Set the new secret in Lemon Squeezy > Settings > Webhooks".to_owned(),
                "Or let the product accept both until the rotation is over".to_owned(),
                format!("Follow it with `deploywatch secret status {source}`"),
            ],
        ),
    };
    let facts = Facts {
        severity: Severity::Critical,
        label: "PRODUCT ON ANOTHER SECRET".into(),
        subject: subject(ctx, source),
        headline,
        since: at,
        next_steps,
        context: vec![
            ("signed with".into(), format!("{}, {}", version.label(), version.describe_state(at))),
            ("product's answer".into(), status.to_string()),
            ("seen".into(), rfc3339(at)),
        ],
        members: Vec::new(),
    };
    Some(Signal::Firing { key, at, facts })
}

/// Queues a delivery anew.
pub async fn replay(ctx: &Context, id: &DeliveryId, actor: &str) -> Result<(), PassingError> {
    let mut tx = ctx.db.begin().await?;
    if !relays::requeue(&mut tx, id, ctx.now()).await? {
        let found = deliveries::get(&mut tx, id).await?;
        let queued = found.and_then(|d| {
            let has_product = ctx.settings.webhooks.sources.get(&d.source)?.product_url.is_some();
            (has_product && d.status == 200 || d.late).then_some(())?;
            let (event, version) = (d.event?, d.version?);
            Some(relays::NewRelay { delivery: d.id, source: d.source, event, version, at: ctx.now() })
        });
        let Some(queued) = queued else { return Err(PassingError::NotQueued(id.clone())) };
        relays::insert(&mut tx, &[queued]).await?;
    }
    secret_services::audit(ctx, &mut tx, actor, "delivery.replay", id.as_str(), &serde_json::json!({}))
        .await?;
    tx.commit().await.map_err(StoreError::from)?;
    ctx.nudge.job("relay");
    Ok(())
}

/// Asks the product which secret it accepts: three marked test events, signed with the new secret, the old
/// one and garbage. A clear answer is the product's proof of the open rotation.
pub async fn probe(ctx: &Context, slot: &Slot, actor: &str) -> Result<Probed, PassingError> {
    let url = ctx.settings.webhooks.sources.get(&slot.source).and_then(|s| s.product_url.clone());
    let url = url.ok_or_else(|| PassingError::NoProduct(slot.source.clone()))?;
    let keyring = Keyring::new(&ctx.keys);
    let keys = KeySet::load(ctx, &keyring).await?;
    let mine: Vec<_> = keys.all().iter().filter(|(v, _)| v.slot == *slot).collect();
    let newest = |states: &[StateName]| {
        let held = mine.iter().filter(|(v, _)| states.contains(&v.state.name()));
        held.max_by_key(|(v, _)| v.number).map(|(_, key)| key)
    };
    let staged = newest(&[StateName::Staged]);
    let (new, old) = match staged {
        Some(staged) => (Some(staged), newest(&[StateName::Active])),
        None => (
            newest(&[StateName::Active]),
            newest(&[StateName::Retiring, StateName::Overdue, StateName::Retired]),
        ),
    };
    let (Some(new), Some(old)) = (new, old) else {
        return Err(PassingError::NothingToCompare(slot.clone()));
    };
    let mut random = [0_u8; 32];
    ctx.entropy.fill(&mut random);
    let scheme = ctx.settings.webhooks.scheme(&slot.source);
    let garbage = SigningKey::with(scheme.algorithm, &random, &random).expect("32 bytes are not empty");
    let id = crate::domain::ids::uuid_v7(ctx.now(), &*ctx.entropy);
    let body = format!(
        r#"{{"meta":{{"test_mode":true,"event_name":"deploywatch_probe","webhook_id":"{id}"}},"data":{{"type":"deploywatch-probes","id":"1","attributes":{{}}}}}}"#
    );
    let mut answers = [0_u16; 3];
    for (answer, key) in answers.iter_mut().zip([new, old, &garbage]) {
        *answer = forward(Forward {
            url: &url,
            body: body.clone().into_bytes(),
            headers: signed(&keys, &slot.source, key, ("probe", ctx.now()), body.as_bytes()),
            event_name: "deploywatch_probe".into(),
            traceparent: traceparent(ctx),
            delivery: "probe".into(),
        })
        .await?;
    }
    let probed = conclude(answers[0], answers[1], answers[2]);
    if matches!(probed, Probed::Switched | Probed::AcceptsBoth) {
        secret_services::confirm_product(ctx, slot, ProofKind::Probe, actor).await?;
    }
    Ok(probed)
}

/// The headers with which the source's provider would send `body`, signed now.
fn signed(
    keys: &KeySet,
    source: &str,
    key: &SigningKey,
    (id, now): (&str, Timestamp),
    body: &[u8],
) -> Vec<(String, String)> {
    keys.scheme(source).map_or_else(Vec::new, |scheme| scheme.sign(key, id, now, body))
}

fn traceparent(ctx: &Context) -> String {
    let mut bytes = [0_u8; 24];
    ctx.entropy.fill(&mut bytes);
    format!("00-{}-{}-01", hex::encode(&bytes[..16]), hex::encode(&bytes[16..]))
}
