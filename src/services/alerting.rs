//! Turns signals into incidents and notifications, inside the transaction of their cause.

pub mod act;
pub mod announce;

use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::{IncidentId, uuid_v7};
use crate::domain::incident::{
    AlertPolicy, DedupKey, Facts, Incident, IncidentChange, IncidentKind, Mute, Signal,
};
use crate::services::Context;
use crate::store::incidents::{Event, Stored, Which};
use crate::store::{StoreError, Tx, incidents};

/// The job that sends; nudge it after the commit of a transaction that recorded signals.
pub const OUTBOX_JOB: &str = "outbox";

/// Writes by others that one of ours outlives.
const TRIES: usize = 8;

/// Records what `signals` mean: opens, updates, resolves or re-opens incidents and writes the notification
/// rows. Nothing is sent here; the sender picks the rows up after the commit.
pub async fn record(ctx: &Context, tx: &mut Tx, signals: &[Signal]) -> Result<(), StoreError> {
    // What inhibits comes first, so that the inhibited ones of the same cause find it in place.
    let (first, rest): (Vec<&Signal>, Vec<&Signal>) =
        signals.iter().partition(|signal| kind(signal) == Some(IncidentKind::CannotCheck));
    for signal in first.into_iter().chain(rest) {
        match signal {
            Signal::Firing { key, at, facts } => fire(ctx, tx, key, *at, facts).await?,
            Signal::Cleared { key, at, note } => clear(ctx, tx, key, *at, note).await?,
            Signal::Report { environment, scope, at, facts } => {
                announce::report(ctx, tx, environment, scope, *at, facts).await?;
            }
        }
    }
    Ok(())
}

/// Writes what time alone made due: reminders, held-back updates, ends of snoozes. Returns how many incidents
/// were told.
pub async fn catch_up(ctx: &Context) -> Result<u64, StoreError> {
    let open = {
        let mut reader = ctx.db.reader().await?;
        incidents::list(&mut reader, Which::Open, None, 1_000).await?
    };
    let mut told = 0;
    for stored in open {
        // Most owe nothing; only those that do are worth a write transaction.
        if stored.incident.owed(ctx.now(), Mute::Audible, &policy(ctx)).is_none() {
            continue;
        }
        let mut tx = ctx.db.begin().await?;
        let owed = tell_owed(ctx, &mut tx, stored, IncidentChange::Nothing, "clock").await?;
        tx.commit().await?;
        told += u64::from(owed);
    }
    if told > 0 {
        ctx.nudge.job(OUTBOX_JOB);
    }
    Ok(told)
}

/// The settings in the domain's words.
pub fn policy(ctx: &Context) -> AlertPolicy {
    let alerts = &ctx.settings.alerts;
    let seconds = |n: u32| SignedDuration::from_secs(n.into());
    AlertPolicy {
        reopen: seconds(alerts.reopen_seconds),
        reminders: alerts.reminder_seconds.iter().map(|n| seconds(*n)).collect(),
        update_every: SignedDuration::from_mins(5),
    }
}

fn kind(signal: &Signal) -> Option<IncidentKind> {
    match signal {
        Signal::Firing { key, .. } | Signal::Cleared { key, .. } => Some(key.kind),
        Signal::Report { .. } => None,
    }
}

async fn fire(
    ctx: &Context,
    tx: &mut Tx,
    key: &DedupKey,
    at: Timestamp,
    facts: &Facts,
) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let known = incidents::find_latest(tx, key).await?;
        let (stored, change) = match known.filter(|known| known.incident.covers(at, &policy(ctx))) {
            Some(Stored { incident, version }) => {
                let (incident, change) = incident.fire(at, facts.clone());
                (Stored { incident, version }, Some(change))
            }
            None => {
                let id = IncidentId::new(ctx.now(), ctx.entropy.as_ref());
                let incident = Incident::open(id, key.clone(), at, facts.clone());
                if !incidents::insert(tx, &incident).await? {
                    continue;
                }
                add_event(ctx, tx, &incident.id, "deploywatch", "opened", &facts.headline).await?;
                (Stored { incident, version: 1 }, None)
            }
        };
        if write(ctx, tx, stored, change.unwrap_or(IncidentChange::Nothing), "deploywatch").await? {
            return Ok(());
        }
    }
    Err(StoreError::Contended("incident"))
}

async fn clear(
    ctx: &Context,
    tx: &mut Tx,
    key: &DedupKey,
    at: Timestamp,
    note: &str,
) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let Some(Stored { incident, version }) = incidents::find_latest(tx, key).await? else {
            return Ok(());
        };
        let (incident, change) = incident.resolve(at, note);
        if change == IncidentChange::Nothing {
            return Ok(());
        }
        if write(ctx, tx, Stored { incident, version }, change, "deploywatch").await? {
            return release(ctx, tx, key).await;
        }
    }
    Err(StoreError::Contended("incident"))
}

/// Writes an incident with the mails that its change asks for. `false`: somebody else was first.
pub(super) async fn write(
    ctx: &Context,
    tx: &mut Tx,
    stored: Stored,
    change: IncidentChange,
    actor: &str,
) -> Result<bool, StoreError> {
    if change == IncidentChange::Resolved {
        let Stored { incident, version } = stored;
        if !incidents::update(tx, &incident, version).await? {
            return Ok(false);
        }
        note_change(ctx, tx, &incident, change, actor).await?;
        announce::resolved(ctx, tx, &incident).await?;
        return Ok(true);
    }
    let now = ctx.now();
    let mute = mute(tx, &stored.incident.key).await?;
    let owes = stored.incident.owed(now, mute, &policy(ctx)).is_some();
    if change == IncidentChange::Nothing && !owes {
        return Ok(true);
    }
    write_with_owed(ctx, tx, stored, change, actor, mute).await
}

async fn write_with_owed(
    ctx: &Context,
    tx: &mut Tx,
    stored: Stored,
    change: IncidentChange,
    actor: &str,
    mute: Mute,
) -> Result<bool, StoreError> {
    let Stored { mut incident, version } = stored;
    let now = ctx.now();
    let owed = incident.owed(now, mute, &policy(ctx));
    if let Some(notice) = owed {
        incident.tell(notice, now);
    }
    if !incidents::update(tx, &incident, version).await? {
        return Ok(false);
    }
    note_change(ctx, tx, &incident, change, actor).await?;
    if let Some(notice) = owed {
        announce::incident(ctx, tx, &incident, notice).await?;
    }
    Ok(true)
}

async fn tell_owed(
    ctx: &Context,
    tx: &mut Tx,
    stored: Stored,
    change: IncidentChange,
    actor: &str,
) -> Result<bool, StoreError> {
    let mute = mute(tx, &stored.incident.key).await?;
    if stored.incident.owed(ctx.now(), mute, &policy(ctx)).is_none() {
        return Ok(false);
    }
    write_with_owed(ctx, tx, stored, change, actor, mute).await
}

/// The end of an incident lets the ones speak that it held back.
pub(super) async fn release(ctx: &Context, tx: &mut Tx, key: &DedupKey) -> Result<(), StoreError> {
    if !IncidentKind::ALL.iter().any(|other| key.kind.inhibits(*other)) {
        return Ok(());
    }
    for stored in incidents::list(tx, Which::Open, Some(&key.environment), 1_000).await? {
        if key.kind.inhibits(stored.incident.key.kind) {
            tell_owed(ctx, tx, stored, IncidentChange::Nothing, "deploywatch").await?;
        }
    }
    Ok(())
}

async fn mute(tx: &mut Tx, key: &DedupKey) -> Result<Mute, StoreError> {
    let inhibitors: Vec<_> = IncidentKind::ALL.iter().filter(|other| other.inhibits(key.kind)).collect();
    if inhibitors.is_empty() {
        return Ok(Mute::Audible);
    }
    let open = incidents::list(tx, Which::Open, Some(&key.environment), 1_000).await?;
    let muted = open.iter().any(|stored| inhibitors.contains(&&stored.incident.key.kind));
    Ok(if muted { Mute::Muted } else { Mute::Audible })
}

async fn note_change(
    ctx: &Context,
    tx: &mut Tx,
    incident: &Incident,
    change: IncidentChange,
    actor: &str,
) -> Result<(), StoreError> {
    let facts = &incident.facts;
    let (event, detail) = match change {
        // Numbers move with each scan; the observations keep them, the history only keeps turns.
        IncidentChange::Nothing | IncidentChange::Updated => return Ok(()),
        IncidentChange::Reopened => ("reopened", facts.headline.clone()),
        IncidentChange::Escalated => ("escalated", facts.severity.as_str().to_owned()),
        IncidentChange::Resolved => ("resolved", resolution(incident)),
        IncidentChange::Acknowledged => ("acknowledged", String::new()),
        IncidentChange::Snoozed => {
            ("snoozed", incident.snoozed_until.map(crate::domain::clock::rfc3339).unwrap_or_default())
        }
    };
    add_event(ctx, tx, &incident.id, actor, event, &detail).await
}

fn resolution(incident: &Incident) -> String {
    match &incident.state {
        crate::domain::incident::IncidentState::Resolved { note, .. } => note.clone(),
        _ => String::new(),
    }
}

pub(super) async fn add_event(
    ctx: &Context,
    tx: &mut Tx,
    incident: &IncidentId,
    actor: &str,
    event: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let id = uuid_v7(ctx.now(), ctx.entropy.as_ref()).simple().to_string();
    let event = Event { at: ctx.now(), actor: actor.into(), event: event.into(), detail: detail.into() };
    incidents::add_event(tx, &id, incident, &event).await
}
