//! What on-call reads about secrets: which version by fingerprint, since when, how often, what happened
//! nearby, and what to do in order. Never a value.

use super::environment_of;
use crate::domain::check::Severity;
use crate::domain::clock::{Timestamp, humane, rfc3339};
use crate::domain::diagnosis::Class;
use crate::domain::incident::{DedupKey, Facts, IncidentKind, Member, Signal};
use crate::domain::rotation::{Phase, Side};
use crate::domain::secret::{SecretVersion, Slot, StateName};
use crate::domain::wording::sentence;
use crate::services::Context;
use crate::store::{StoreError, Tx, deliveries, deploys, quarantine, rotations, secrets};

/// The dedup key of a webhook incident: one for each source and kind.
pub(crate) fn key(ctx: &Context, source: &str, kind: IncidentKind) -> DedupKey {
    DedupKey { environment: environment_of(&ctx.settings, source), scope: source.to_owned(), kind }
}

/// The incident of a product that holds another secret than the one that deliveries are signed with.
pub(crate) fn product_key(ctx: &Context, source: &str) -> DedupKey {
    DedupKey { scope: format!("{source} product"), ..key(ctx, source, IncidentKind::StaleSecret) }
}

/// The product reports an old secret while deliveries are signed with `active`.
pub(super) fn beside_active(
    ctx: &Context,
    held: &SecretVersion,
    active: &SecretVersion,
    at: Timestamp,
) -> Facts {
    let source = &held.slot.source;
    Facts {
        severity: Severity::Critical,
        label: "PRODUCT ON ANOTHER SECRET".into(),
        subject: subject(ctx, source),
        headline: format!(
            "The product reports that it holds {} of {}, but deliveries are signed with {}: it refuses them",
            held.label(),
            held.slot,
            active.label()
        ),
        since: at,
        next_steps: vec![
            "Set the current secret in the product's environment and redeploy it (Vercel: a changed variable needs a new deployment)".to_owned(),
            format!("Let its deploy job report again; `deploywatch secret status {source}` shows what was reported"),
        ],
        context: vec![
            ("the product holds".into(), format!("{}, {}", held.label(), held.describe_state(at))),
            ("deliveries are signed with".into(), active.label()),
            ("last delivery with it".into(), active.usage.last_match_at.map_or_else(|| "none yet".to_owned(), rfc3339)),
        ],
        members: Vec::new(),
    }
}

/// `acme-production lemonsqueezy webhook`: the stable identity in the subject.
pub(crate) fn subject(ctx: &Context, source: &str) -> String {
    let environment = environment_of(&ctx.settings, source);
    format!("{environment} {source} webhook").trim().to_owned()
}

/// The whole current picture of stale versions of a source, or that there is none any more.
pub(crate) async fn stale_signal(
    ctx: &Context,
    tx: &mut Tx,
    source: &str,
    at: Timestamp,
) -> Result<Option<Signal>, StoreError> {
    let all: Vec<SecretVersion> =
        secrets::list(tx).await?.into_iter().filter(|v| v.slot.source == source).collect();
    let stale: Vec<&SecretVersion> =
        all.iter().filter(|v| v.stale_since.is_some() && v.state.name() != StateName::Compromised).collect();
    let Some(first) = stale.iter().min_by_key(|v| v.stale_since) else { return Ok(None) };
    let refused = stale.iter().any(|v| v.state.name() == StateName::Retired);
    let since = first.stale_since.unwrap_or(at);
    let active = all.iter().find(|v| v.state.name() == StateName::Active && v.slot == first.slot);
    let consequence = if refused {
        "these deliveries are refused with 401 and kept in quarantine"
    } else {
        "these deliveries are still accepted, so nothing is lost yet"
    };
    let headline = format!(
        "{} still signs {source} deliveries with the old secret {}, {}; {consequence}",
        sentence(&ctx.settings.webhooks.scheme(source).provider),
        first.label(),
        first.describe_state(at),
    );
    let class = if refused { Class::StaleSecret } else { Class::OverdueSecret };
    let mut context = vec![
        ("source".into(), first.slot.to_string()),
        ("expected secret".into(), active.map_or_else(|| "none is active".to_owned(), SecretVersion::label)),
        (
            "last delivery with it".into(),
            active.and_then(|v| v.usage.last_match_at).map_or_else(|| "none yet".to_owned(), rfc3339),
        ),
    ];
    context.extend(nearby(ctx, tx, source, at).await?);
    if refused {
        let waiting = quarantine::count_source(tx, source).await?;
        context.push(("in quarantine".into(), format!("{waiting} refused bodies, kept for 7 days")));
    }
    let members = stale.iter().map(|version| member(version, at)).collect();
    let facts = Facts {
        severity: Severity::Critical,
        label: "STALE SECRET".into(),
        subject: subject(ctx, source),
        headline,
        since,
        next_steps: class.next_steps(source, &ctx.settings.webhooks.scheme(source)),
        context,
        members,
    };
    Ok(Some(Signal::Firing { key: key(ctx, source, IncidentKind::StaleSecret), at, facts }))
}

fn member(version: &SecretVersion, at: Timestamp) -> Member {
    let uses = version.usage.state_matches;
    let deliveries = if uses == 1 { "1 delivery".to_owned() } else { format!("{uses} deliveries") };
    let last = version.usage.last_match_at.map_or_else(|| "never".to_owned(), rfc3339);
    Member {
        key: version.id.to_string(),
        title: format!("secret {} of {}", version.label(), version.slot),
        severity: Severity::Critical,
        expected: "no delivery is signed with it".into(),
        observed: format!("{deliveries} since it is {}, last {last}", version.state.name().as_str()),
        baseline: None,
        change: None,
        first_seen_at: version.usage.state_first_match_at.or(version.stale_since).unwrap_or(at),
        count: u32::try_from(uses).unwrap_or(u32::MAX),
        runs: u32::try_from(version.usage.matches).unwrap_or(u32::MAX),
        message: format!("{} signed {deliveries} since {}", version.label(), rfc3339(version.state.since())),
        runbook: None,
    }
}

/// A request signed with a revoked version.
pub(crate) async fn compromised_signal(
    ctx: &Context,
    tx: &mut Tx,
    version: &SecretVersion,
    at: Timestamp,
) -> Result<Signal, StoreError> {
    let source = &version.slot.source;
    let mut context = vec![("source".into(), version.slot.to_string())];
    context.extend(nearby(ctx, tx, source, at).await?);
    let facts = Facts {
        severity: Severity::Critical,
        label: "REVOKED SECRET USED".into(),
        subject: subject(ctx, source),
        headline: format!(
            "A request to {source} was signed with {}, {}; it was refused",
            version.label(),
            version.describe_state(at)
        ),
        since: version.usage.state_first_match_at.unwrap_or(at),
        next_steps: Class::CompromisedSecret.next_steps(source, &ctx.settings.webhooks.scheme(source)),
        context,
        members: vec![member(version, at)],
    };
    Ok(Signal::Firing { key: key(ctx, source, IncidentKind::CompromisedSecret), at, facts })
}

pub(super) fn old_secret_key(ctx: &Context, slot: &Slot) -> DedupKey {
    DedupKey { scope: format!("{slot} age"), ..key(ctx, &slot.source, IncidentKind::WebhookOddity) }
}

/// A secret that should have been rotated by now.
pub(super) fn old_secret_signal(ctx: &Context, version: &SecretVersion, at: Timestamp) -> Signal {
    let source = &version.slot.source;
    let age = humane(at.duration_since(version.added_at));
    let facts = Facts {
        severity: Severity::Warning,
        label: "SECRET IS OLD".into(),
        subject: subject(ctx, source),
        headline: format!(
            "The secret {} of {} has been in use for {age}; `secrets.max_age_days` is {}",
            version.label(),
            version.slot,
            ctx.settings.secrets.max_age_days
        ),
        since: at,
        next_steps: vec![format!(
            "Rotate it when it suits: `deploywatch secret rotate {source} --from-file FILE` prints the steps"
        )],
        context: vec![("added".into(), rfc3339(version.added_at))],
        members: Vec::new(),
    };
    Signal::Firing { key: old_secret_key(ctx, &version.slot), at, facts }
}

pub(super) fn new_secret_signal(ctx: &Context, slot: &Slot, at: Timestamp) -> Signal {
    Signal::Cleared { key: old_secret_key(ctx, slot), at, note: "the secret was rotated".into() }
}

pub(super) fn no_secret_key(ctx: &Context, source: &str) -> DedupKey {
    DedupKey { scope: format!("{source} secret"), ..key(ctx, source, IncidentKind::WebhookOddity) }
}

/// A source that can verify nothing.
pub(super) fn no_secret_signal(ctx: &Context, source: &str, at: Timestamp) -> Signal {
    let scheme = ctx.settings.webhooks.scheme(source);
    let facts = Facts {
        severity: Severity::Critical,
        label: "NO SECRET".into(),
        subject: subject(ctx, source),
        headline: format!(
            "The source {source} has no secret, so that every delivery is answered 503 and lost after the provider's last retry"
        ),
        since: at,
        next_steps: vec![
            format!(
                "Add the webhook's secret with `deploywatch secret add {source} --from-file FILE`, or set it in the environment and restart"
            ),
            format!("Then let {} send again what failed meanwhile ({})", scheme.provider, scheme.place),
        ],
        context: Vec::new(),
        members: Vec::new(),
    };
    Signal::Firing { key: no_secret_key(ctx, source), at, facts }
}

pub(super) fn has_secret_signal(ctx: &Context, source: &str, at: Timestamp) -> Signal {
    Signal::Cleared { key: no_secret_key(ctx, source), at, note: "the source has a secret".into() }
}

/// The incident of a slot's rotation: live and test mode rotate each by itself.
pub(super) fn stuck_key(ctx: &Context, slot: &Slot) -> DedupKey {
    DedupKey { scope: format!("{slot} rotation"), ..key(ctx, &slot.source, IncidentKind::RotationStuck) }
}

/// A rotation that did not reach its next phase in time.
pub(crate) fn stuck_signal(
    ctx: &Context,
    rotation: &rotations::Stored,
    phase: Phase,
    versions: &[SecretVersion],
    at: Timestamp,
) -> Signal {
    let rotation = &rotation.rotation;
    let source = &rotation.slot.source;
    let label = |id: &Option<crate::domain::ids::SecretVersionId>| {
        let found = id.as_ref().and_then(|id| versions.iter().find(|v| v.id == *id));
        found.map_or_else(|| "none".to_owned(), SecretVersion::label)
    };
    let (from, to) = (label(&rotation.from), label(&rotation.to));
    let next_steps = match phase {
        Phase::Stuck { waiting_for: Side::Product } => vec![
            "Set the new secret in the product's environment (Vercel: Settings > Environment Variables) and redeploy it; a changed variable without a redeploy changes nothing".to_owned(),
            format!("When it is done, say so with `deploywatch secret rotate {source} --product-done`"),
            format!("Or go back with `deploywatch secret rollback {source}`"),
        ],
        _ => vec![
            format!("Set the new secret {to} in {}, then send any delivery again from there", ctx.settings.webhooks.scheme(source).place),
            format!("Watch `deploywatch secret status {source}` until it says that the provider switched"),
            format!("Or give it up with `deploywatch secret rollback {source}`"),
        ],
    };
    let facts = Facts {
        severity: Severity::Warning,
        label: "ROTATION STUCK".into(),
        subject: subject(ctx, source),
        headline: format!(
            "The rotation of {} from {from} to {to}, begun {} ago, is stuck: {}",
            rotation.slot,
            humane(at.duration_since(rotation.started_at)),
            phase.explain()
        ),
        since: rotation.deadline_at,
        next_steps,
        context: vec![
            ("rotation".into(), rotation.id.to_string()),
            ("started".into(), format!("{} by {}", rfc3339(rotation.started_at), rotation.started_by)),
            ("provider".into(), proof(rotation.provider.as_ref())),
            ("product".into(), proof(rotation.product.as_ref())),
        ],
        members: Vec::new(),
    };
    Signal::Firing { key: stuck_key(ctx, &rotation.slot), at, facts }
}

pub(super) fn proof(proof: Option<&crate::domain::rotation::Proof>) -> String {
    proof.map_or_else(
        || "no proof yet".to_owned(),
        |proof| format!("{} ({})", proof.by.describe(), rfc3339(proof.at)),
    )
}

/// What happened around `at` that may explain it: the last good delivery, the latest rotation, the deploy
/// nearest to it.
pub(crate) async fn nearby(
    ctx: &Context,
    tx: &mut Tx,
    source: &str,
    at: Timestamp,
) -> Result<Vec<(String, String)>, StoreError> {
    let mut facts = Vec::new();
    if let Some(good) = deliveries::get_health(tx, source).await?.last_good_at {
        facts.push(("last good delivery".into(), rfc3339(good)));
    }
    if let Some(latest) = rotations::list_of(tx, source, 1).await?.first() {
        let rotation = &latest.rotation;
        let when = beside(rotation.started_at, at);
        facts.push((
            "latest rotation".into(),
            format!("{} of {}, begun {when} by {}", rotation.id, rotation.slot, rotation.started_by),
        ));
    }
    facts.extend(nearby_deploy(ctx, tx, source, at).await?);
    Ok(facts)
}

pub(crate) async fn nearby_deploy(
    ctx: &Context,
    tx: &mut Tx,
    source: &str,
    at: Timestamp,
) -> Result<Option<(String, String)>, StoreError> {
    let environment = environment_of(&ctx.settings, source);
    let newest = deploys::get_newest(tx, &environment).await?;
    Ok(newest.map(|row| {
        let deploy = &row.deploy;
        let when = beside(deploy.finished_at.unwrap_or(deploy.started_at), at);
        ("latest deploy".into(), format!("{}, {when}", deploy.label()))
    }))
}

/// `3 min before this`, or after it.
fn beside(then: Timestamp, at: Timestamp) -> String {
    let length = at.duration_since(then);
    let side = if length.is_negative() { "after" } else { "before" };
    format!("{} {side} this", humane(length))
}
