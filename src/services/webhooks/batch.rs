//! One transaction for a batch of requests: matches, events, deliveries, bodies, quarantine, changes of
//! state, health and incidents, all or nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::advance::{Match, advance, moves_on};
use super::body;
use super::notices::{self, Oddity};
use super::signals::health_signals;
use super::writer::Item;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::delivery::{
    Answer, Check, Delivery, Disposition, EventHead, Overdue, Rules, Standing, dispose,
};
use crate::domain::diagnosis::Class;
use crate::domain::events;
use crate::domain::ids::{EventId, SecretVersionId};
use crate::domain::incident::Signal;
use crate::domain::secret::SecretVersion;
use crate::domain::signature;
use crate::domain::signature::scheme::Text;
use crate::services::secrets::{Keyring, compromised_signal, stale_signal};
use crate::services::{Context, alerting};
use crate::settings::OverduePolicy;
use crate::store::deliveries::{NewBody, NewDelivery, NewEvent};
use crate::store::quarantine::Kept;
use crate::store::relays::NewRelay;
use crate::store::{StoreError, Tx, deliveries, quarantine, relays, secrets};

/// How long refused bodies wait for the right secret.
const KEEP_FOR: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Larger bodies are not kept: real ones have 2 to 4 KB.
const KEEP_BYTES: usize = 64 * 1024;
const KEEP_ROWS: u64 = 1000;
const KEEP_ROWS_OF_SENDER: u64 = 500;
/// A retry of a body comes within this time; Lemon Squeezy gives up after 155 seconds.
const RETRY_HORIZON: SignedDuration = SignedDuration::from_mins(10);

/// Records the batch and returns the answers in its order, once the commit is durable.
pub(super) async fn record(
    ctx: &Context,
    keyring: &Keyring,
    items: &[Arc<Item>],
) -> Result<Vec<Answer>, StoreError> {
    let mut tx = ctx.db.begin().await?;
    let mut told = Vec::new();
    let judged = judge(ctx, &mut tx, items, &mut told).await?;
    let relayed = store_events(ctx, &mut tx, keyring, items, &judged).await?;
    store_refused(ctx, &mut tx, keyring, items, &judged).await?;
    let mut signals = signals(ctx, &mut tx, items, &judged).await?;
    signals.extend(told);
    if !signals.is_empty() {
        alerting::record(ctx, &mut tx, &signals).await?;
    }
    tx.commit().await?;
    if !signals.is_empty() {
        ctx.nudge.job(alerting::OUTBOX_JOB);
    }
    if relayed {
        ctx.nudge.job("relay");
    }
    Ok(judged.iter().map(|j| j.disposition.answer).collect())
}

/// What was decided about one request, with the version as it stands in this transaction.
struct Judged {
    disposition: Disposition,
    version: Option<SecretVersion>,
}

/// What the settings say about a source's deliveries.
pub(super) fn rules_of<'a>(ctx: &'a Context, source: &str, agents: &'a [Text]) -> Rules<'a> {
    Rules {
        overdue: match ctx.settings.secrets.overdue {
            OverduePolicy::Accept => Overdue::Accept,
            OverduePolicy::Reject => Overdue::Reject,
        },
        store_ids: ctx.settings.webhooks.sources.get(source).map_or(&[], |s| s.store_ids.as_slice()),
        agents,
    }
}

/// Counts the matches, applies the changes of state that follow, and decides about each request.
async fn judge(
    ctx: &Context,
    tx: &mut Tx,
    items: &[Arc<Item>],
    told: &mut Vec<Signal>,
) -> Result<Vec<Judged>, StoreError> {
    let mut uses: BTreeMap<&SecretVersionId, (u32, Timestamp, Timestamp)> = BTreeMap::new();
    for item in items {
        if let Check::Matched { version, .. } = &item.received.check {
            let at = item.received.at;
            let (count, first, last) = uses.entry(version).or_insert((0, at, at));
            (*count, *first, *last) = (*count + 1, (*first).min(at), (*last).max(at));
        }
    }
    let mut versions = HashMap::new();
    for (id, (count, first, last)) in uses {
        if let Some(version) = secrets::count_matches(tx, id, count, first, last).await? {
            versions.insert(id.clone(), version);
        }
    }
    let mut judged = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let id = match &item.received.check {
            Check::Matched { version, .. } => Some(version),
            _ => None,
        };
        let version = id.and_then(|id| versions.get(id)).cloned();
        let rules = rules_of(ctx, &item.received.source, &item.agents);
        let disposition = dispose(&item.received, version.as_ref(), rules);
        if let Some(version) = &version
            && moves_on(disposition.class)
        {
            // This match and those after it in the batch count for the new state.
            let same = |item: &&Arc<Item>| matches!(&item.received.check, Check::Matched { version: id, .. } if *id == version.id);
            let following = u32::try_from(items[position..].iter().filter(same).count()).unwrap_or(u32::MAX);
            let event_name = match &item.received.check {
                Check::Matched { head: Ok(head), .. } => Some(head.event_name.as_str()),
                _ => None,
            };
            let (at, delivery) = (item.received.at, item.received.id.as_str());
            let matched = Match { version, delivery, event_name, at, following };
            let advanced = advance(ctx, tx, &matched).await?;
            for change in advanced.changes {
                if let Some(held) = versions.get_mut(&change.version) {
                    held.state = change.to;
                    held.usage.state_matches = 0;
                }
            }
            told.extend(advanced.told);
        }
        judged.push(Judged { disposition, version });
    }
    Ok(judged)
}

/// Writes events, deliveries and bodies, and says whether something is to be passed on. The unique key
/// decides what is a duplicate, never a look before.
async fn store_events(
    ctx: &Context,
    tx: &mut Tx,
    keyring: &Keyring,
    items: &[Arc<Item>],
    judged: &[Judged],
) -> Result<bool, StoreError> {
    let heads: Vec<Option<&EventHead>> =
        items.iter().zip(judged).map(|(item, j)| accepted_head(item, &j.disposition)).collect();
    let mut events = Vec::new();
    for (item, head) in items.iter().zip(&heads) {
        let Some(head) = head else { continue };
        let received = &item.received;
        let id = EventId::new(received.at, &*ctx.entropy);
        let (source, at, delivery) = (received.source.as_str(), received.at, &received.id);
        events.push(NewEvent { id, source, head, at, delivery, late: false });
    }
    // One order for all processes, so that two batches never wait for each other in a circle.
    events.sort_by_cached_key(|event| (event.source, event.head.dedup_key()));
    let inserted = deliveries::insert_events(tx, &events).await?;
    let new: HashMap<&str, &EventId> = events
        .iter()
        .filter(|event| inserted.contains(event.id.as_str()))
        .map(|event| (event.delivery.as_str(), &event.id))
        .collect();

    let mut rows = Vec::with_capacity(items.len());
    let mut bodies = Vec::new();
    let mut relays = Vec::new();
    for ((item, judged), head) in items.iter().zip(judged).zip(&heads) {
        let received = &item.received;
        let mut row = row_of(item, judged, *head);
        let mut keep = head.is_none() && judged.disposition.class == Class::Unparsable;
        if let Some(head) = head {
            match new.get(received.id.as_str()) {
                Some(event) => {
                    row.event = Some((*event).clone());
                    keep = true;
                    relays.extend(relay_of(ctx, item, judged, event));
                }
                None => {
                    row.duplicate = true;
                    let known = deliveries::count_duplicate(tx, &received.source, &head.dedup_key()).await?;
                    if let Some((event, business_key)) = known {
                        row.event = Some(event);
                        if business_key != head.business_key() {
                            row.flags.push("same_id_other_content".into());
                            keep = true;
                        }
                    }
                }
            }
        }
        if keep {
            let sealed = item
                .sealed
                .clone()
                .unwrap_or_else(|| body::seal(keyring, &*ctx.entropy, &received.id, &item.body));
            let (delivery, headers) = (received.id.clone(), item.headers.clone());
            bodies.push(NewBody { delivery, sealed, headers });
        }
        let standing = judged.disposition.standing.as_str();
        rows.push(NewDelivery { row, standing, sender: &received.sender });
    }
    deliveries::insert_bodies(tx, bodies).await?;
    relays::insert(tx, &relays).await?;
    deliveries::insert_deliveries(tx, &rows).await?;
    Ok(!relays.is_empty())
}

/// What is passed on to the product: new, genuine and meant for it.
fn relay_of(ctx: &Context, item: &Item, judged: &Judged, event: &EventId) -> Option<NewRelay> {
    let received = &item.received;
    ctx.settings.webhooks.sources.get(&received.source)?.product_url.as_ref()?;
    if !judged.disposition.class.is_for_product() {
        return None;
    }
    Some(NewRelay {
        delivery: received.id.clone(),
        source: received.source.clone(),
        event: event.clone(),
        version: judged.version.as_ref()?.id.clone(),
        at: received.at,
    })
}

/// The event of an accepted delivery; a refused one has none, however well it reads.
fn accepted_head<'a>(item: &'a Item, disposition: &Disposition) -> Option<&'a EventHead> {
    match &item.received.check {
        Check::Matched { head: Ok(head), .. } if disposition.answer == Answer::Stored => Some(head),
        _ => None,
    }
}

fn row_of(item: &Item, judged: &Judged, head: Option<&EventHead>) -> Delivery {
    let received = &item.received;
    Delivery {
        id: received.id.clone(),
        source: received.source.clone(),
        mode: head.map(EventHead::mode).or(judged.version.as_ref().map(|v| v.slot.mode)),
        received_at: received.at,
        status: judged.disposition.answer.status(),
        class: judged.disposition.class.as_str().to_owned(),
        version: judged.version.as_ref().map(|v| v.id.clone()),
        event: None,
        event_name: head.map(|head| head.event_name.clone()),
        duplicate: false,
        late: false,
        flags: Vec::new(),
        body_bytes: received.body_bytes,
        body_digest: received.body_digest.clone(),
        user_agent: received.user_agent.clone(),
    }
}

/// Keeps the bytes of refused requests that a later secret may verify.
async fn store_refused(
    ctx: &Context,
    tx: &mut Tx,
    keyring: &Keyring,
    items: &[Arc<Item>],
    judged: &[Judged],
) -> Result<(), StoreError> {
    for (item, judged) in items.iter().zip(judged) {
        let received = &item.received;
        if !judged.disposition.quarantine || item.body.len() > KEEP_BYTES {
            continue;
        }
        let (all, own) = quarantine::count(tx, &received.sender).await?;
        if own >= KEEP_ROWS_OF_SENDER {
            continue;
        }
        if all >= KEEP_ROWS {
            quarantine::drop_one(tx).await?;
        }
        let (Check::Unmatched { claim } | Check::Matched { claim, .. }) = &received.check else {
            continue;
        };
        let plain = [claim.to_text().as_bytes(), item.body.as_slice()].concat();
        let kept = Kept {
            delivery: received.id.clone(),
            source: received.source.clone(),
            received_at: received.at,
            expires_at: received.at + KEEP_FOR,
            sender: received.sender.clone(),
            body_digest: signature::digest(&plain),
            encoding: received.content_encoding.clone(),
            event_header: received.event_header.clone(),
            sealed: keyring.seal(&*ctx.entropy, received.id.as_str(), &plain),
            headers: item.headers.clone(),
        };
        quarantine::keep(tx, &kept).await?;
    }
    Ok(())
}

/// What on-call learns from this batch.
async fn signals(
    ctx: &Context,
    tx: &mut Tx,
    items: &[Arc<Item>],
    judged: &[Judged],
) -> Result<Vec<Signal>, StoreError> {
    let mut signals = Vec::new();
    let mut stale = BTreeSet::new();
    let mut told = HashSet::new();
    let mut odd: BTreeMap<(&str, Oddity), notices::Odd<'_>> = BTreeMap::new();
    for (item, judged) in items.iter().zip(judged) {
        let Some(version) = &judged.version else { continue };
        match judged.disposition.class {
            Class::StaleSecret | Class::OverdueSecret => {
                if version.stale_since.is_none() && told.insert(version.id.clone()) {
                    secrets::set_stale(tx, &version.id, Some(item.received.at)).await?;
                }
                stale.insert(item.received.source.as_str());
            }
            Class::CompromisedSecret if told.insert(version.id.clone()) => {
                secrets::set_stale(tx, &version.id, Some(item.received.at)).await?;
                signals.push(compromised_signal(ctx, tx, version, item.received.at).await?);
            }
            _ => {}
        }
    }
    let now = ctx.now();
    for source in stale {
        signals.extend(stale_signal(ctx, tx, source, now).await?);
    }
    let sources: BTreeSet<&str> = items.iter().map(|i| i.received.source.as_str()).collect();
    for source in sources {
        let mut health = deliveries::get_health(tx, source).await?;
        let before = health.clone();
        let mut seen = HashSet::new();
        for (item, judged) in items.iter().zip(judged).filter(|(i, _)| i.received.source == source) {
            let received = &item.received;
            match judged.disposition.standing {
                Standing::Good => health.good(received.at),
                // A known old secret has an incident of its own, which says more.
                Standing::Bad if judged.version.is_some() && judged.disposition.class != Class::OtherSlot => {
                }
                Standing::Bad => {
                    let digest = received.body_digest.as_str();
                    let after = received.at - RETRY_HORIZON;
                    let first = seen.insert(digest) && !failed_earlier(tx, item, after).await?;
                    health.bad(received.at, judged.disposition.class.as_str(), first);
                }
                Standing::Noise => {}
            }
            let Disposition { class, standing, .. } = judged.disposition;
            if let Some(oddity) = Oddity::of(class, standing) {
                let found = odd.entry((source, oddity)).or_insert_with(|| notices::Odd {
                    delivery: Some(received.id.as_str()),
                    bytes: received.body_bytes,
                    foreign: class.foreign(),
                    times: 0,
                    ..notices::Odd::new(source, oddity, received.at)
                });
                found.times += 1;
            }
            if let Some(name) = new_event(ctx, item, &judged.disposition) {
                signals.extend(notices::new_event(ctx, tx, received, name).await?);
            }
        }
        signals.extend(health_signals(ctx, tx, source, &mut health, now).await?);
        if health != before {
            deliveries::put_health(tx, source, &health, now).await?;
        }
    }
    for odd in odd.values() {
        signals.extend(notices::signal(ctx, tx, odd).await?);
    }
    Ok(signals)
}

/// The name of an accepted event that Lemon Squeezy is not known to send. Other providers' are too many to know.
fn new_event<'a>(ctx: &Context, item: &'a Item, disposition: &Disposition) -> Option<&'a str> {
    let name = accepted_head(item, disposition)?.event_name.as_str();
    let ours = || ctx.settings.webhooks.scheme(&item.received.source).name == "lemonsqueezy";
    (events::is_new(name) && ours()).then_some(name)
}

/// Whether the same body failed before this batch: its own row is already written in this transaction.
async fn failed_earlier(tx: &mut Tx, item: &Item, after: Timestamp) -> Result<bool, StoreError> {
    let received = &item.received;
    deliveries::failed_before(tx, &received.source, &received.body_digest, after, &received.id).await
}
