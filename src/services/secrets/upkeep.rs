//! What time does to secrets and rotations: a job asks every few seconds, the store says what is due.

use sqlx::AnyConnection;

use super::signals::{
    has_secret_signal, key, new_secret_signal, no_secret_key, no_secret_signal, old_secret_key,
    old_secret_signal, stale_signal, stuck_key, stuck_signal,
};
use super::{SecretError, apply, policy, reports};
use crate::domain::clock::{SignedDuration, Timestamp, humane};
use crate::domain::incident::{DedupKey, IncidentKind, Signal};
use crate::domain::rotation::{EndKind, Phase};
use crate::domain::secret::{SecretVersion, Slot, StateName, plan};
use crate::services::{Context, alerting};
use crate::settings::Settings;
use crate::store::{StoreError, Tx, incidents, rotations, secrets};

/// Moves versions along, closes and reports rotations, ends stale-secret incidents. Returns how many things
/// changed. Safe to run in several processes at once.
pub async fn upkeep(ctx: &Context) -> Result<u64, SecretError> {
    let now = ctx.now();
    let all = secrets::list(&mut *ctx.db.reader().await?).await?;
    let mut slots: Vec<Slot> = all.iter().map(|v| v.slot.clone()).collect();
    slots.dedup();
    let policy = policy(&ctx.settings);
    let mut done = watch_empty(ctx, &all, now).await?;
    for slot in &slots {
        done += watch_age(ctx, slot, &all, now).await?;
    }
    done += end_stuck(ctx, &slots, now).await?;
    for slot in slots {
        let mine: Vec<SecretVersion> = all.iter().filter(|v| v.slot == slot).cloned().collect();
        let due = !plan::elapsed(&mine, &policy, now).is_empty();
        let stale = mine.iter().any(|v| v.stale_since.is_some());
        let rotating = rotations::get_open(&mut *ctx.db.reader().await?, &slot).await?.is_some();
        if due || stale || rotating {
            done += tend(ctx, &slot, now).await?;
        }
    }
    Ok(done)
}

/// Whether an incident says so. One that a person resolved although it is still so is told again, and one that
/// seems to be over is told to be back.
async fn is_told(c: &mut AnyConnection, key: &DedupKey) -> Result<bool, StoreError> {
    let known = incidents::find_latest(c, key).await?.map(|stored| stored.incident);
    Ok(known.is_some_and(|incident| !incident.state.is_resolved() && incident.told.ending.is_none()))
}

/// A configured source without an accepted secret refuses everything: that pages until there is one.
async fn watch_empty(ctx: &Context, all: &[SecretVersion], now: Timestamp) -> Result<u64, StoreError> {
    let mut done = 0;
    for source in ctx.settings.webhooks.sources.keys() {
        let empty = !all.iter().any(|v| v.slot.source == *source && v.state.is_live());
        if empty == is_told(&mut *ctx.db.reader().await?, &no_secret_key(ctx, source)).await? {
            continue;
        }
        let mut tx = ctx.db.begin().await?;
        let signal =
            if empty { no_secret_signal(ctx, source, now) } else { has_secret_signal(ctx, source, now) };
        alerting::record(ctx, &mut tx, &[signal]).await?;
        tx.commit().await?;
        ctx.nudge.job(alerting::OUTBOX_JOB);
        done += 1;
    }
    Ok(done)
}

/// The active version of a slot, if it is older than the settings want, warns until it is replaced.
async fn watch_age(
    ctx: &Context,
    slot: &Slot,
    all: &[SecretVersion],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let active = all.iter().find(|v| v.slot == *slot && v.state.name() == StateName::Active);
    let old = active.filter(|v| too_old(&ctx.settings, v, now, 0));
    if old.is_some() == is_told(&mut *ctx.db.reader().await?, &old_secret_key(ctx, slot)).await? {
        return Ok(0);
    }
    let mut tx = ctx.db.begin().await?;
    let signal = match old {
        Some(version) => old_secret_signal(ctx, version, now),
        None => new_secret_signal(ctx, slot, now),
    };
    alerting::record(ctx, &mut tx, &[signal]).await?;
    tx.commit().await?;
    ctx.nudge.job(alerting::OUTBOX_JOB);
    Ok(1)
}

/// Whether a version is older than the settings want, or will be in `ahead` days.
pub(super) fn too_old(settings: &Settings, version: &SecretVersion, now: Timestamp, ahead: u32) -> bool {
    let days = settings.secrets.max_age_days;
    let most = SignedDuration::from_hours(24 * i64::from(days.saturating_sub(ahead)));
    days > 0 && now.duration_since(version.added_at) >= most
}

async fn tend(ctx: &Context, slot: &Slot, now: Timestamp) -> Result<u64, SecretError> {
    let policy = policy(&ctx.settings);
    let mut tx = ctx.db.begin().await?;
    let versions = secrets::list_slot(&mut tx, slot).await?;
    let changes = plan::elapsed(&versions, &policy, now);
    apply(ctx, &mut tx, &changes, "deploywatch").await?;
    let versions = secrets::list_slot(&mut tx, slot).await?;

    let mut signals = end_stale(ctx, &mut tx, &versions, now).await?;
    let mut done = changes.len() as u64 + signals.len() as u64;
    if let Some(open) = rotations::get_open(&mut tx, slot).await? {
        let (changed, told) = follow(ctx, &mut tx, &open, &versions, now).await?;
        done += u64::from(changed);
        signals.extend(told);
    }
    if done == 0 {
        return Ok(0);
    }
    alerting::record(ctx, &mut tx, &signals).await?;
    tx.commit().await.map_err(StoreError::from)?;
    ctx.nudge.job(alerting::OUTBOX_JOB);
    Ok(done)
}

/// A stale version that has been quiet for the quiet period is no longer a problem.
async fn end_stale(
    ctx: &Context,
    tx: &mut Tx,
    versions: &[SecretVersion],
    now: Timestamp,
) -> Result<Vec<Signal>, StoreError> {
    let quiet = policy(&ctx.settings).quiet;
    let (mut ended, mut revoked) = (Vec::new(), Vec::new());
    for version in versions.iter().filter(|v| v.stale_since.is_some()) {
        let silent = version.usage.last_match_at.is_none_or(|last| now.duration_since(last) >= quiet);
        if silent || version.state.name() == StateName::Active {
            secrets::set_stale(tx, &version.id, None).await?;
            let over = if version.state.name() == StateName::Compromised { &mut revoked } else { &mut ended };
            over.push(version);
        }
    }
    let cleared = |version: &SecretVersion, kind| Signal::Cleared {
        key: key(ctx, &version.slot.source, kind),
        at: now,
        note: format!("{} has signed nothing for {}", version.label(), humane(quiet)),
    };
    let mut signals: Vec<Signal> =
        revoked.into_iter().map(|version| cleared(version, IncidentKind::CompromisedSecret)).collect();
    if let Some(first) = ended.first() {
        let still = stale_signal(ctx, tx, &first.slot.source, now).await?;
        signals.push(still.unwrap_or_else(|| cleared(first, IncidentKind::StaleSecret)));
    }
    Ok(signals)
}

/// A rotation that was told as stuck and then rolled back, given up or replaced is nobody's problem any more.
async fn end_stuck(ctx: &Context, slots: &[Slot], now: Timestamp) -> Result<u64, StoreError> {
    let mut done = 0;
    for slot in slots {
        let key = stuck_key(ctx, slot);
        let mut reader = ctx.db.reader().await?;
        let open = rotations::get_open(&mut reader, slot).await?;
        if open.is_some_and(|open| open.told_at.is_some()) || !is_told(&mut reader, &key).await? {
            continue;
        }
        let latest = rotations::list_of(&mut reader, &slot.source, 20).await?;
        drop(reader);
        let latest = latest.iter().map(|stored| &stored.rotation).filter(|rotation| rotation.slot == *slot);
        let end = latest.filter_map(|rotation| rotation.end.as_ref()).max_by_key(|end| end.at);
        let note = match end.map(|end| end.how) {
            Some(EndKind::RolledBack) => "the rotation was rolled back: the old secret is in use again",
            Some(EndKind::Failed) => "the rotation was given up or replaced by a newer one",
            Some(EndKind::Completed) | None => "no rotation is stuck any more",
        };
        let mut tx = ctx.db.begin().await?;
        alerting::record(ctx, &mut tx, &[Signal::Cleared { key, at: now, note: note.into() }]).await?;
        tx.commit().await?;
        ctx.nudge.job(alerting::OUTBOX_JOB);
        done += 1;
    }
    Ok(done)
}

/// Closes a rotation that is complete, tells on-call once about one that is stuck, and takes that back.
async fn follow(
    ctx: &Context,
    tx: &mut Tx,
    open: &rotations::Stored,
    versions: &[SecretVersion],
    now: Timestamp,
) -> Result<(bool, Vec<Signal>), SecretError> {
    let old = open.rotation.from.as_ref().and_then(|id| versions.iter().find(|v| v.id == *id));
    let phase = open.rotation.phase(old.map(|v| &v.state), now);
    let key = stuck_key(ctx, &open.rotation.slot);
    match phase {
        Phase::Completed => {
            let note = "both sides switched and the old secret is retired";
            let closed = open.rotation.clone().close(EndKind::Completed, now, note);
            let closed = closed.map_err(|_| SecretError::Conflict)?;
            rotations::update(tx, open, &closed, open.told_at).await?;
            let new = closed.to.as_ref().and_then(|id| versions.iter().find(|v| v.id == *id));
            let mut signals = vec![reports::completed(ctx, &closed, (old, new), now)];
            if open.told_at.is_some() {
                signals.push(Signal::Cleared { key, at: now, note: "the rotation completed".into() });
            }
            Ok((true, signals))
        }
        Phase::Stuck { .. } if open.told_at.is_none() || !is_told(tx, &key).await? => {
            rotations::update(tx, open, &open.rotation, Some(now)).await?;
            Ok((true, vec![stuck_signal(ctx, open, phase, versions, now)]))
        }
        Phase::Draining | Phase::HalfSwitched { .. } if open.told_at.is_some() => {
            rotations::update(tx, open, &open.rotation, None).await?;
            Ok((true, vec![Signal::Cleared { key, at: now, note: "the rotation moved on".into() }]))
        }
        _ => Ok((false, Vec::new())),
    }
}
