//! Turns signals into incidents and notifications, inside the transaction of their cause.

pub mod act;
pub mod announce;
pub mod broadcast;
mod hearing;

use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::{IncidentId, uuid_v7};
use crate::domain::incident::{
    AlertPolicy, DedupKey, Facts, Incident, IncidentChange, IncidentKind, IncidentState, Member, Mute, Signal,
};
use crate::domain::notification::Notice;
use crate::services::{Context, oncall, silences};
use crate::store::incidents::{Event, Stored, Which};
use crate::store::{StoreError, Tx, incidents};

use hearing::Hearing;
pub use hearing::tell_after_silence;

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
            Signal::Cleared { key, at, note } => {
                change(ctx, tx, key, |incident, policy| incident.clear(*at, note.clone(), policy)).await?;
            }
            Signal::Wavered { key, at } => change(ctx, tx, key, |incident, _| incident.waver(*at)).await?,
            Signal::Superseded { key, at, by } => {
                change(ctx, tx, key, |incident, _| incident.supersede(*at, by.clone())).await?;
            }
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
        let policy = policy_of(ctx, &stored.incident);
        let (settled, change) = stored.incident.clone().settle(ctx.now(), &policy);
        let quiet = change == IncidentChange::Nothing;
        if quiet && settled.owed(ctx.now(), Mute::Audible, &policy).is_none() {
            continue;
        }
        let mut tx = ctx.db.begin().await?;
        let owed = if quiet {
            tell_owed(ctx, &mut tx, stored, change, "clock").await?
        } else {
            let (key, version) = (settled.key.clone(), stored.version);
            let settled = Stored { incident: settled, version };
            let written = write(ctx, &mut tx, settled, change, "clock").await?;
            if written && change == IncidentChange::Resolved {
                release(ctx, &mut tx, &key).await?;
            }
            written
        };
        tx.commit().await?;
        told += u64::from(owed);
    }
    if told > 0 {
        ctx.nudge.job(OUTBOX_JOB);
    }
    Ok(told)
}

/// The settings in the domain's words, for an incident's environment.
pub fn policy_of(ctx: &Context, incident: &Incident) -> AlertPolicy {
    let alerts = &ctx.settings.alerts;
    let seconds = |n: u32| SignedDuration::from_secs(n.into());
    AlertPolicy {
        reopen: seconds(alerts.reopen_seconds),
        reminders: alerts.reminder_seconds.iter().map(|n| seconds(*n)).collect(),
        update_every: SignedDuration::from_mins(5),
        resolve_hold: seconds(alerts.resolve_hold_seconds),
        escalate_after: ctx.settings.escalate_after(&incident.key.environment),
    }
}

fn kind(signal: &Signal) -> Option<IncidentKind> {
    match signal {
        Signal::Firing { key, .. }
        | Signal::Cleared { key, .. }
        | Signal::Wavered { key, .. }
        | Signal::Superseded { key, .. } => Some(key.kind),
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
        let known = known.filter(|known| known.incident.covers(at, &policy_of(ctx, &known.incident)));
        let (stored, change) = match known {
            Some(Stored { incident, version }) => {
                let (incident, change) = incident.fire(at, facts.clone());
                (Stored { incident, version }, Some(change))
            }
            None => {
                let id = IncidentId::new(ctx.now(), ctx.entropy.as_ref());
                let facts = continued(tx, key, facts.clone()).await?;
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

/// A problem that a newer deploy took over is the same one to whoever knows it, so the new incident names the old.
async fn continued(tx: &mut Tx, key: &DedupKey, mut facts: Facts) -> Result<Facts, StoreError> {
    let Some(Stored { incident, .. }) = incidents::find_superseded(tx, &key.environment, key.kind).await?
    else {
        return Ok(facts);
    };
    let same = |known: &&Member| facts.members.iter().any(|member| member.key == known.key);
    let still: Vec<&str> = incident.facts.members.iter().filter(same).map(|m| m.title.as_str()).collect();
    if incident.key.scope == key.scope || still.is_empty() {
        return Ok(facts);
    }
    let since = crate::domain::clock::rfc3339(incident.facts.since);
    let told = format!("incident #{} since {since}: {}", incident.short_id(), still.join(", "));
    facts.context.push(("Failing before".into(), told));
    Ok(facts)
}

/// Lets a report change the incident of a key, where there is one.
async fn change(
    ctx: &Context,
    tx: &mut Tx,
    key: &DedupKey,
    turn: impl Fn(Incident, &AlertPolicy) -> (Incident, IncidentChange),
) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let Some(Stored { incident, version }) = incidents::find_latest(tx, key).await? else {
            return Ok(());
        };
        let policy = policy_of(ctx, &incident);
        let (incident, change) = turn(incident, &policy);
        if change == IncidentChange::Nothing {
            return Ok(());
        }
        let over = incident.state.is_resolved();
        if write(ctx, tx, Stored { incident, version }, change, "deploywatch").await? {
            return if over { release(ctx, tx, key).await } else { Ok(()) };
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
    if matches!(change, IncidentChange::Resolved | IncidentChange::Superseded) {
        let Stored { incident, version } = stored;
        if !incidents::update(tx, &incident, version).await? {
            return Ok(false);
        }
        note_change(ctx, tx, &incident, change, actor).await?;
        // The newer deploy's own mail tells what still fails: one mail, not two.
        if change == IncidentChange::Resolved {
            announce::resolved(ctx, tx, &incident).await?;
        } else {
            announce::withdraw_held(ctx, tx, &incident).await?;
            // A pager keeps what nobody resolves.
            broadcast::follow_up(ctx, tx, &incident, Notice::Resolved).await?;
        }
        return Ok(true);
    }
    let hearing = hearing(ctx, tx, &stored.incident).await?;
    let owes = hearing.owed(ctx, &stored.incident).is_some();
    if change == IncidentChange::Nothing && !owes {
        return Ok(true);
    }
    write_with_owed(ctx, tx, stored, change, actor, &hearing).await
}

async fn write_with_owed(
    ctx: &Context,
    tx: &mut Tx,
    stored: Stored,
    change: IncidentChange,
    actor: &str,
    hearing: &Hearing,
) -> Result<bool, StoreError> {
    let Stored { mut incident, version } = stored;
    let owed = hearing.owed(ctx, &incident);
    if let Some(notice) = owed {
        // What is held for the morning is told then, so that its reminders count from there.
        let quiet = oncall::quiet_until(ctx, &incident.key.environment, incident.facts.severity);
        hearing.tell(&mut incident, notice, quiet.unwrap_or_else(|| ctx.now()));
    }
    // What was written for the morning says what is true by then, so that it is told once.
    let waits = hearing.is_quiet() && owed.is_none();
    let held = if waits { announce::held(tx, &incident).await? } else { Vec::new() };
    if !held.is_empty() {
        let heard = hearing.audible(&incident).facts.members;
        incident.told.members = Some(heard.into_iter().map(|member| member.key).collect());
    }
    if !incidents::update(tx, &incident, version).await? {
        return Ok(false);
    }
    note_change(ctx, tx, &incident, change, actor).await?;
    for first in &held {
        announce::renew(ctx, tx, &hearing.audible(&incident), first, held.len() - 1).await?;
    }
    if waits {
        broadcast::renew_held(ctx, tx, &hearing.audible(&incident)).await?;
    }
    if let Some(notice) = owed {
        announce::incident(ctx, tx, &hearing.audible(&incident), notice).await?;
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
    let hearing = hearing(ctx, tx, &stored.incident).await?;
    if hearing.owed(ctx, &stored.incident).is_none() {
        return Ok(false);
    }
    write_with_owed(ctx, tx, stored, change, actor, &hearing).await
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

async fn hearing(ctx: &Context, tx: &mut Tx, incident: &Incident) -> Result<Hearing, StoreError> {
    let mute = mute(ctx, tx, incident).await?;
    if mute == Mute::Muted {
        return Ok(Hearing::MUTED);
    }
    Ok(Hearing::of(mute, silences::covering(ctx, tx, incident).await?))
}

async fn mute(ctx: &Context, tx: &mut Tx, incident: &Incident) -> Result<Mute, StoreError> {
    let key = &incident.key;
    let inhibitors: Vec<_> = IncidentKind::ALL.iter().filter(|other| other.inhibits(key.kind)).collect();
    if !inhibitors.is_empty() {
        let open = incidents::list(tx, Which::Open, Some(&key.environment), 1_000).await?;
        if open.iter().any(|stored| inhibitors.contains(&&stored.incident.key.kind)) {
            return Ok(Mute::Muted);
        }
    }
    let quiet = oncall::quiet_until(ctx, &key.environment, incident.facts.severity).is_some();
    Ok(if quiet { Mute::Quiet } else { Mute::Audible })
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
        IncidentChange::Superseded => ("superseded", resolution(incident)),
        IncidentChange::Acknowledged => ("acknowledged", String::new()),
        IncidentChange::Snoozed => {
            ("snoozed", incident.snoozed_until.map(crate::domain::clock::rfc3339).unwrap_or_default())
        }
    };
    add_event(ctx, tx, &incident.id, actor, event, &detail).await
}

fn resolution(incident: &Incident) -> String {
    match &incident.state {
        IncidentState::Resolved { note, .. } => note.clone(),
        IncidentState::Superseded { by, .. } => format!("by deploy {by}"),
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
