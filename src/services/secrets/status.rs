//! What `secret status`, the API and the page show: slots, versions, rotations, and the next step.

use serde::{Deserialize, Serialize};

use super::upkeep::too_old;
use super::{Keyring, SecretError, fingerprint_text};
use crate::domain::clock::Timestamp;
use crate::domain::rotation::{End, Phase, Proof, Rotation};
use crate::domain::secret::{FormatWarning, SecretVersion, Slot, SlotMode, StateName};
use crate::services::Context;
use crate::settings::Settings;
use crate::store::products::{self, Held};
use crate::store::{deliveries, quarantine, rotations, secrets};

/// How many days before a secret is too old `secret status` says so.
const WARN_DAYS: u32 = 30;

/// One slot as a person looks at it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SlotView {
    pub source: String,
    pub mode: String,
    /// `ok`, `warning` or `stale`, with the reason.
    pub health: String,
    pub summary: String,
    pub versions: Vec<VersionView>,
    pub rotation: Option<RotationView>,
    pub last_good_at: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub quarantined: u64,
    /// What is known of the product's secret: `v5 (1f0c3a9be21d), seen 2026-05-01T12:00:00Z by relay`.
    pub product: Option<String>,
    /// The text over which the product computes its fingerprint.
    pub fingerprint_text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionView {
    pub id: String,
    pub version: u32,
    pub fingerprint: String,
    pub state: StateName,
    pub description: String,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
    pub origin: String,
    pub length: u32,
    pub matches: u64,
    pub matches_in_state: u64,
    pub last_match_at: Option<Timestamp>,
    pub warnings: Vec<FormatWarning>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RotationView {
    pub id: String,
    #[serde(flatten)]
    pub phase: Phase,
    pub explanation: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub started_at: Timestamp,
    pub started_by: String,
    pub deadline_at: Timestamp,
    pub provider: Option<Proof>,
    pub product: Option<Proof>,
    pub next_steps: Vec<String>,
}

/// All slots, or those of one source.
pub async fn status(ctx: &Context, source: Option<&str>) -> Result<Vec<SlotView>, SecretError> {
    let (now, keyring) = (ctx.now(), Keyring::new(&ctx.keys));
    let mut reader = ctx.db.reader().await?;
    let all = secrets::list(&mut reader).await?;
    let mut slots: Vec<Slot> = all.iter().map(|v| v.slot.clone()).collect();
    slots.dedup();
    let mut views = Vec::new();
    for slot in slots.into_iter().filter(|slot| source.is_none_or(|s| s == slot.source)) {
        let versions: Vec<&SecretVersion> = all.iter().filter(|v| v.slot == slot).collect();
        let health = deliveries::get_health(&mut reader, &slot.source).await?;
        let open = rotations::get_open(&mut reader, &slot).await?;
        let rotation = open.map(|open| {
            let place = ctx.settings.webhooks.scheme(&slot.source).place;
            rotation_view(&open.rotation, &versions, now, &place)
        });
        let failing_since = health.failing.as_ref().map(|f| f.since);
        let (word, summary) = summarise(&ctx.settings, &versions, rotation.as_ref(), failing_since, now);
        views.push(SlotView {
            source: slot.source.clone(),
            mode: slot.mode.as_str().to_owned(),
            health: word.to_owned(),
            summary,
            versions: versions.iter().map(|v| version_view(v, now)).collect(),
            rotation,
            last_good_at: health.last_good_at,
            failing_since,
            quarantined: quarantine::count_source(&mut reader, &slot.source).await?,
            product: products::get(&mut reader, &slot).await?.map(|held| holds(&versions, &held)),
            fingerprint_text: fingerprint_text(&keyring, &slot),
        });
    }
    Ok(views)
}

fn holds(versions: &[&SecretVersion], held: &Held) -> String {
    let version = versions.iter().find(|v| v.id == held.version);
    let label = version.map_or_else(|| "a secret of before".to_owned(), |v| v.label());
    format!("{label}, seen {} by {}", crate::domain::clock::rfc3339(held.seen_at), held.how)
}

/// How the newest rotation of a slot ended; `None` where there is none, or it is open.
pub async fn last_end(ctx: &Context, slot: &Slot) -> Result<Option<End>, SecretError> {
    let all = rotations::list_of(&mut *ctx.db.reader().await?, &slot.source, 50).await?;
    let newest = all.into_iter().find(|stored| stored.rotation.slot == *slot);
    Ok(newest.and_then(|stored| stored.rotation.end))
}

/// One word and one sentence; unproven is never called ok.
fn summarise(
    settings: &Settings,
    versions: &[&SecretVersion],
    rotation: Option<&RotationView>,
    failing_since: Option<Timestamp>,
    now: Timestamp,
) -> (&'static str, String) {
    let in_state = |state: StateName| versions.iter().find(|v| v.state.name() == state);
    if let Some(stale) = versions.iter().find(|v| v.stale_since.is_some()) {
        let text = format!("the old secret {} still signs deliveries", stale.label());
        return ("stale", text);
    }
    if let Some(since) = failing_since {
        return ("stale", format!("deliveries fail since {}", crate::domain::clock::rfc3339(since)));
    }
    let Some(active) = in_state(StateName::Active) else {
        return ("warning", "no secret is active".into());
    };
    if let Some(rotation) = rotation {
        return ("warning", format!("rotation {}: {}", rotation.phase.as_str(), rotation.explanation));
    }
    if let Some(old) = in_state(StateName::Retiring) {
        return ("warning", format!("{} is {}", old.label(), old.describe_state(now)));
    }
    if too_old(settings, active, now, WARN_DAYS) {
        let age = crate::domain::clock::humane(now.duration_since(active.added_at));
        let most = settings.secrets.max_age_days;
        return ("warning", format!("{} is {age} old; rotate it before {most} days", active.label()));
    }
    match active.usage.last_match_at {
        Some(_) => ("ok", format!("{} is active and in use", active.label())),
        None => ("warning", format!("{} is active; no delivery has proved it yet", active.label())),
    }
}

fn version_view(version: &SecretVersion, now: Timestamp) -> VersionView {
    VersionView {
        id: version.id.to_string(),
        version: version.number,
        fingerprint: version.fingerprint.clone(),
        state: version.state.name(),
        description: version.describe_state(now),
        since: version.state.since(),
        until: version.state.until(),
        origin: version.origin.as_str().to_owned(),
        length: version.length,
        matches: version.usage.matches,
        matches_in_state: version.usage.state_matches,
        last_match_at: version.usage.last_match_at,
        warnings: version.warnings.clone(),
    }
}

fn rotation_view(
    rotation: &Rotation,
    versions: &[&SecretVersion],
    now: Timestamp,
    place: &str,
) -> RotationView {
    let find = |id: Option<&crate::domain::ids::SecretVersionId>| {
        id.and_then(|id| versions.iter().find(|v| v.id == *id)).copied()
    };
    let from = find(rotation.from.as_ref());
    let phase = rotation.phase(from.map(|v| &v.state), now);
    RotationView {
        id: rotation.id.to_string(),
        phase,
        explanation: phase.explain().to_owned(),
        from: from.map(SecretVersion::label),
        to: find(rotation.to.as_ref()).map(SecretVersion::label),
        started_at: rotation.started_at,
        started_by: rotation.started_by.clone(),
        deadline_at: rotation.deadline_at,
        provider: rotation.provider.clone(),
        product: rotation.product.clone(),
        next_steps: steps(rotation, phase, place),
    }
}

/// The steps of a rotation that are still to be done, in order.
fn steps(rotation: &Rotation, phase: Phase, place: &str) -> Vec<String> {
    let source = &rotation.slot.source;
    let mode = match rotation.slot.mode {
        SlotMode::Live => "",
        SlotMode::Test => " --mode test",
    };
    let mut steps = Vec::new();
    if phase.is_over() {
        return steps;
    }
    if rotation.to.is_none() {
        steps.push(format!(
            "Stage the new secret here: `deploywatch secret rotate {source}{mode} --from-file FILE`"
        ));
    }
    if rotation.product.is_none() {
        steps.push("Set the new secret in the product's environment and redeploy it; best a version that accepts both. Vercel: `vercel env rm LEMONSQUEEZY_WEBHOOK_SECRET production`, `vercel env add LEMONSQUEEZY_WEBHOOK_SECRET production < FILE`, `vercel --prod`; elsewhere the same: change the variable, then deploy".into());
    }
    if rotation.provider.is_none() {
        steps.push(format!("Set the new secret in {place} (it replaces the old one at once), then send any delivery again from there: the first one that it signs is the proof"));
    }
    if rotation.product.is_none() {
        steps.push(format!(
            "Show that the product runs with it: a delivery passed on that it takes, `deploywatch secret probe {source}{mode}`, its fingerprint report, or your word: `deploywatch secret rotate {source}{mode} --product-done`"
        ));
    }
    steps.push("The old secret retires by itself once its overlap is over and it is quiet".into());
    steps
}
