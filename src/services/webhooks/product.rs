//! What the product's answers mean for rotations and for on-call: which secret it holds, and whether it takes
//! deliveries at all.

use crate::domain::check::Severity;
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::ids::DeliveryId;
use crate::domain::incident::{Facts, IncidentKind, Signal};
use crate::domain::relay::{Reaction, trouble};
use crate::domain::rotation::{Proof, ProofKind, Side};
use crate::domain::secret::{SecretVersion, StateName};
use crate::domain::wording::sentence;
use crate::services::Context;
use crate::services::secrets::{key, product_key, subject};
use crate::store::relays::Due;
use crate::store::{StoreError, Tx, products, relays, rotations};

/// One attempt and what came of it.
pub(super) struct Attempt<'a> {
    pub due: &'a Due,
    /// The version that the provider signed with.
    pub version: &'a SecretVersion,
    pub reaction: Reaction,
    pub status: Option<u16>,
    pub dead: bool,
    pub now: Timestamp,
}

/// The product took what `version` signed: it holds that secret, which is a rotation's proof if it is the new
/// one.
pub(super) async fn took(
    tx: &mut Tx,
    version: &SecretVersion,
    delivery: &DeliveryId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let known = products::get(tx, &version.slot).await?;
    if known.is_none_or(|held| held.version != version.id) {
        products::set(tx, &version.slot, &version.id, now, "relay").await?;
    }
    let Some(open) = rotations::get_open(tx, &version.slot).await? else { return Ok(()) };
    if open.rotation.to.as_ref() != Some(&version.id) {
        return Ok(());
    }
    let by = ProofKind::Relay { delivery: delivery.to_string() };
    if let Ok(seen) = open.rotation.clone().observe(Side::Product, Proof { at: now, by })
        && seen != open.rotation
    {
        rotations::update(tx, &open, &seen, open.told_at).await?;
    }
    Ok(())
}

/// What on-call hears of an attempt.
pub(super) async fn signals(
    ctx: &Context,
    tx: &mut Tx,
    attempt: &Attempt<'_>,
) -> Result<Vec<Signal>, StoreError> {
    let source = &attempt.due.source;
    let down = key(ctx, source, IncidentKind::ProductDown);
    let at = attempt.now;
    Ok(match attempt.reaction {
        Reaction::Accepted => {
            let note = "the product takes deliveries again".to_owned();
            let mut signals = vec![Signal::Cleared { key: down, at, note }];
            // What the old secret signed says nothing about the new one, which another delivery may have been
            // refused with at the same moment.
            if matches!(attempt.version.state.name(), StateName::Active | StateName::Staged) {
                signals.push(holds_again(ctx, attempt.version, at));
            }
            signals
        }
        Reaction::ProductOnOld | Reaction::ProductOnNew => {
            let facts = other_secret(ctx, tx, attempt).await?;
            vec![Signal::Firing { key: product_key(ctx, source), at, facts }]
        }
        Reaction::Trouble => match trouble(attempt.due.attempts, attempt.dead) {
            Some(severity) => {
                let facts = does_not_take(ctx, tx, attempt, severity).await?;
                vec![Signal::Firing { key: down, at, facts }]
            }
            None => Vec::new(),
        },
    })
}

/// The end of "the product is on another secret".
fn holds_again(ctx: &Context, version: &SecretVersion, at: Timestamp) -> Signal {
    let note = format!("the product took a delivery signed with {}", version.label());
    Signal::Cleared { key: product_key(ctx, &version.slot.source), at, note }
}

async fn other_secret(ctx: &Context, tx: &mut Tx, attempt: &Attempt<'_>) -> Result<Facts, StoreError> {
    let (version, source, at) = (attempt.version, &attempt.due.source, attempt.now);
    let scheme = ctx.settings.webhooks.scheme(source);
    let status = attempt.status.map_or_else(|| "no answer".into(), |status| status.to_string());
    let was_switched = attempt.reaction == Reaction::ProductOnNew || is_leaving(tx, version).await?;
    let (headline, next_steps) = if !was_switched {
        (
            format!(
                "{} signs with {}, but the product refuses it with {status}: it still holds another secret",
                sentence(&scheme.provider),
                version.label()
            ),
            vec![
                "Set the current secret in the product's environment and redeploy it (Vercel: a changed variable needs a new deployment)".to_owned(),
                "Nothing is lost meanwhile: refused deliveries are kept and tried again for more than a day".to_owned(),
                format!("Check with `deploywatch secret probe {source}`"),
            ],
        )
    } else {
        (
            format!(
                "{} still signs with the old {}, but the product refuses it with {status}: it was switched first",
                sentence(&scheme.provider),
                version.label()
            ),
            vec![
                format!("Set the new secret in {}", scheme.place),
                "Or let the product accept both until the rotation is over, or set `product_resign = true` for this source".to_owned(),
                format!("Follow it with `deploywatch secret status {source}`"),
            ],
        )
    };
    let mut context = vec![
        ("signed with".into(), format!("{}, {}", version.label(), version.describe_state(at))),
        ("product's answer".into(), status),
    ];
    if let Some(held) = products::get(tx, &version.slot).await? {
        let what = if held.version == version.id { "this secret" } else { "another secret" };
        context
            .push(("product last held".into(), format!("{what}, {} ({})", rfc3339(held.seen_at), held.how)));
    }
    context.extend(waiting(tx, source).await?);
    Ok(Facts {
        severity: Severity::Critical,
        label: "PRODUCT ON ANOTHER SECRET".into(),
        subject: subject(ctx, source),
        headline,
        since: at,
        next_steps,
        context,
        members: Vec::new(),
    })
}

/// Whether a rotation waits for the provider to leave this secret: then a product that refuses it was switched
/// first, although the secret is still the active one.
async fn is_leaving(tx: &mut Tx, version: &SecretVersion) -> Result<bool, StoreError> {
    let open = rotations::get_open(tx, &version.slot).await?.map(|open| open.rotation);
    Ok(open.is_some_and(|rotation| {
        rotation.from.as_ref() == Some(&version.id) && rotation.to.is_some() && rotation.provider.is_none()
    }))
}

async fn does_not_take(
    ctx: &Context,
    tx: &mut Tx,
    attempt: &Attempt<'_>,
    severity: Severity,
) -> Result<Facts, StoreError> {
    let source = &attempt.due.source;
    let answer =
        attempt.status.map_or_else(|| "does not answer".into(), |status| format!("answers {status}"));
    let consequence = if attempt.dead {
        "deliveries were given up after a day and wait for a replay"
    } else {
        "deliveries are kept and tried again, nothing is lost yet"
    };
    let mut context =
        vec![("tried".into(), format!("{} times, last {}", attempt.due.attempts, rfc3339(attempt.now)))];
    context.extend(waiting(tx, source).await?);
    Ok(Facts {
        severity,
        label: "PRODUCT DOES NOT TAKE WEBHOOKS".into(),
        subject: subject(ctx, source),
        headline: format!("The product {answer} to {source} deliveries: {consequence}"),
        since: attempt.now,
        next_steps: vec![
            "Look at the product's own errors and its latest deploy: this is not about the signing secret"
                .into(),
            format!(
                "Check the address in `webhooks.sources.{source}.product_url`: redirects are not followed"
            ),
            format!(
                "Once it works, send what was given up with `deploywatch webhook replay --dead --source {source}`"
            ),
        ],
        context,
        members: Vec::new(),
    })
}

async fn waiting(tx: &mut Tx, source: &str) -> Result<Vec<(String, String)>, StoreError> {
    let backlog = relays::backlog(tx, source).await?;
    let mut facts = vec![("waiting for the product".into(), backlog.queued.to_string())];
    if backlog.dead > 0 {
        facts.push(("given up".into(), backlog.dead.to_string()));
    }
    if let Some(oldest) = backlog.oldest {
        facts.push(("oldest of them".into(), rfc3339(oldest)));
    }
    Ok(facts)
}
