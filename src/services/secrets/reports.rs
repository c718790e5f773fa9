//! Good news of rotations, told once each: the provider was switched, both sides are.

use super::signals::{nearby_deploy, proof, subject};
use super::{environment_of, policy};
use crate::domain::check::Severity;
use crate::domain::clock::{Timestamp, humane, rfc3339};
use crate::domain::incident::{Facts, Signal};
use crate::domain::rotation::{ProofKind, Rotation};
use crate::domain::secret::SecretVersion;
use crate::domain::wording::sentence;
use crate::services::Context;
use crate::store::{StoreError, Tx};

/// The delivery by which the provider showed its new secret.
pub(crate) struct FirstUse<'a> {
    pub version: &'a SecretVersion,
    pub old: Option<&'a SecretVersion>,
    pub delivery: &'a str,
    pub event_name: Option<&'a str>,
    pub at: Timestamp,
}

/// "The new secret signs": what happens to the old one by itself, and what is left to do.
pub(crate) async fn provider_switched(
    ctx: &Context,
    tx: &mut Tx,
    rotation: &Rotation,
    first: &FirstUse<'_>,
) -> Result<Signal, StoreError> {
    let (source, at) = (&rotation.slot.source, first.at);
    let old = first.old.map_or_else(
        || "there was no other secret".to_owned(),
        |old| format!("{} is accepted for another {}", old.label(), humane(policy(&ctx.settings).overlap)),
    );
    let product_done = rotation.product.as_ref().is_some_and(|proof| proof.by != ProofKind::NotWatched);
    let mut next_steps = Vec::new();
    if !product_done {
        next_steps.push(
            "Make sure that the product runs with the new secret too: set it in its environment and redeploy (Vercel: a changed variable needs a new deployment)"
                .to_owned(),
        );
        next_steps.push(format!("Show it with `deploywatch secret probe {source}`, or say it with `deploywatch secret rotate {source} --product-done`"));
    }
    next_steps.push(format!(
        "Nothing else: the old secret retires by itself; `deploywatch secret status {source}` follows it"
    ));
    let mut context = vec![
        ("rotation".into(), rotation.id.to_string()),
        ("first delivery".into(), format!("{} at {}", first.delivery, rfc3339(at))),
        ("event".into(), first.event_name.unwrap_or("unknown").to_owned()),
        ("product".into(), proof(rotation.product.as_ref())),
    ];
    context.extend(nearby_deploy(ctx, tx, source, at).await?);
    let facts = Facts {
        severity: Severity::Info,
        label: "NEW SECRET SIGNS".into(),
        subject: subject(ctx, source),
        headline: format!(
            "{} signs {} deliveries with the new secret {}; {old}",
            sentence(&ctx.settings.webhooks.scheme(source).provider),
            rotation.slot,
            first.version.label()
        ),
        since: at,
        next_steps,
        context,
        members: Vec::new(),
    };
    Ok(report(ctx, rotation, "switched", at, facts))
}

/// "The rotation is complete."
pub(crate) fn completed(
    ctx: &Context,
    rotation: &Rotation,
    (from, to): (Option<&SecretVersion>, Option<&SecretVersion>),
    at: Timestamp,
) -> Signal {
    let label =
        |version: Option<&SecretVersion>| version.map_or_else(|| "none".to_owned(), SecretVersion::label);
    let source = &rotation.slot.source;
    let here = if source == "lemonsqueezy" {
        "LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS".to_owned()
    } else {
        format!("webhooks.sources.{source}.secret_previous")
    };
    let mut next_steps = vec![format!(
        "Remove the old value where it is still kept: {here} here, and in the product's environment; a delivery signed with it is refused and pages from now on"
    )];
    if rotation.product.as_ref().is_some_and(|proof| proof.by == ProofKind::NotWatched) {
        next_steps.insert(
            0,
            format!("Check the product yourself: nothing here watches its side; `product_url` for {source} or a fingerprint report would"),
        );
    }
    let facts = Facts {
        severity: Severity::Info,
        label: "SECRET ROTATED".into(),
        subject: subject(ctx, source),
        headline: format!(
            "The rotation of {} from {} to {} is complete after {}: the old secret is quiet and retired",
            rotation.slot,
            label(from),
            label(to),
            humane(at.duration_since(rotation.started_at))
        ),
        since: rotation.started_at,
        next_steps,
        context: vec![
            ("rotation".into(), rotation.id.to_string()),
            ("started".into(), format!("{} by {}", rfc3339(rotation.started_at), rotation.started_by)),
            ("provider".into(), proof(rotation.provider.as_ref())),
            ("product".into(), proof(rotation.product.as_ref())),
        ],
        members: Vec::new(),
    };
    report(ctx, rotation, "completed", at, facts)
}

fn report(ctx: &Context, rotation: &Rotation, what: &str, at: Timestamp, facts: Facts) -> Signal {
    let environment = environment_of(&ctx.settings, &rotation.slot.source);
    Signal::Report { environment, scope: format!("{} {what}", rotation.id), at, facts }
}
