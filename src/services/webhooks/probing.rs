//! Asking the product which secret it accepts.

use super::keys::KeySet;
use super::passing::{PassingError, traceparent, usual_headers};
use crate::domain::ids::uuid_v7;
use crate::domain::incident::Signal;
use crate::domain::relay::{Answered, Probed, conclude};
use crate::domain::rotation::ProofKind;
use crate::domain::secret::{SecretVersion, Slot, StateName};
use crate::domain::signature::{Scheme, SigningKey};
use crate::relay::{Forward, Outbound, Reply};
use crate::services::secrets::{self, Keyring, product_key};
use crate::services::{Context, alerting};
use crate::store::{StoreError, products};

const EVENT: &str = "deploywatch_probe";

/// Sends marked test events, signed with the new secret, the old one, and twice with garbage. A clear answer is
/// the product's proof of the open rotation.
pub async fn probe(ctx: &Context, slot: &Slot, actor: &str) -> Result<Probed, PassingError> {
    let url = ctx.settings.webhooks.sources.get(&slot.source).and_then(|s| s.product_url.clone());
    let url = url.ok_or_else(|| PassingError::NoProduct(slot.source.clone()))?;
    let keys = KeySet::load(ctx, &Keyring::new(&ctx.keys)).await?;
    let Some((new, old)) = sides(&keys, slot) else {
        return Err(PassingError::NothingToCompare(slot.clone()));
    };
    let outbound = Outbound::new()?;
    let id = uuid_v7(ctx.now(), &*ctx.entropy);
    let body = format!(
        r#"{{"meta":{{"test_mode":true,"event_name":"{EVENT}","webhook_id":"{id}"}},"data":{{"type":"deploywatch-probes","id":"1","attributes":{{}}}}}}"#
    );
    let scheme = ctx.settings.webhooks.scheme(&slot.source);
    let (garbage, again) = (garbage(ctx, &scheme), garbage(ctx, &scheme));
    let mut replies = Vec::new();
    for key in [&new.1, &old.1, &garbage, &again] {
        replies.push(ask(ctx, &outbound, &url, &body, (&scheme, key)).await?);
    }
    let said: Vec<Answered<'_>> =
        replies.iter().map(|r| Answered { status: r.status, body: &r.body }).collect();
    let probed = conclude(said[0], said[1], [said[2], said[3]]);
    if let Some((held, _)) = match probed {
        Probed::Switched | Probed::AcceptsBoth => Some(new),
        Probed::OnOld => Some(old),
        Probed::Undecidable => None,
    } {
        let mut tx = ctx.db.begin().await?;
        products::set(&mut tx, slot, &held.id, ctx.now(), "probe").await?;
        if probed != Probed::OnOld {
            let note = format!("a probe saw that the product accepts {}", held.label());
            let cleared = Signal::Cleared { key: product_key(ctx, &slot.source), at: ctx.now(), note };
            alerting::record(ctx, &mut tx, &[cleared]).await?;
            ctx.nudge.job(alerting::OUTBOX_JOB);
        }
        tx.commit().await.map_err(StoreError::from)?;
    }
    if matches!(probed, Probed::Switched | Probed::AcceptsBoth) {
        secrets::confirm_product(ctx, slot, ProofKind::Probe, actor).await?;
    }
    Ok(probed)
}

type Held = (SecretVersion, SigningKey);

/// The secret that the product should hold and the one that it should have given up.
fn sides<'a>(keys: &'a KeySet, slot: &Slot) -> Option<(&'a Held, &'a Held)> {
    let newest = |states: &[StateName]| {
        let mine = keys.all().iter().filter(|(v, _)| v.slot == *slot && states.contains(&v.state.name()));
        mine.max_by_key(|(v, _)| v.number)
    };
    match newest(&[StateName::Staged]) {
        Some(staged) => Some((staged, newest(&[StateName::Active])?)),
        None => Some((
            newest(&[StateName::Active])?,
            newest(&[StateName::Retiring, StateName::Overdue, StateName::Retired])?,
        )),
    }
}

fn garbage(ctx: &Context, scheme: &Scheme) -> SigningKey {
    let mut random = [0_u8; 32];
    ctx.entropy.fill(&mut random);
    SigningKey::with(scheme.algorithm, &random, &random).expect("32 bytes are not empty")
}

async fn ask(
    ctx: &Context,
    outbound: &Outbound,
    url: &url::Url,
    body: &str,
    (scheme, key): (&Scheme, &SigningKey),
) -> Result<Reply, PassingError> {
    let mut headers = usual_headers(scheme, EVENT);
    headers.extend(scheme.sign(key, "probe", ctx.now(), body.as_bytes()));
    let forward = Forward {
        url,
        body: body.as_bytes().to_vec(),
        traceparent: traceparent(ctx, &headers),
        headers,
        delivery: "probe".into(),
    };
    Ok(outbound.send(forward).await?)
}
