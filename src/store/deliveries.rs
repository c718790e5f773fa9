//! Rows of webhook requests, of the events in them and of their sealed bodies.
//!
//! Writes take many rows at once, since one commit serves many requests.

use std::collections::HashSet;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::dialect::{ManyRows, piece, pieces};
use super::secrets::{instant, json, mode_of};
use super::{Engine, StoreError};
use crate::domain::clock::{SignedDuration, Timestamp, from_micros, to_micros};
use crate::domain::delivery::{Delivery, EventHead};
use crate::domain::ids::{DeliveryId, EventId, SecretVersionId};
use crate::domain::secret::SlotMode;
use crate::domain::source_health::SourceHealth;

/// An event as it is first seen.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    pub id: EventId,
    pub source: &'a str,
    pub head: &'a EventHead,
    pub at: Timestamp,
    pub delivery: &'a DeliveryId,
    pub late: bool,
}

/// A delivery to insert; its id is new.
#[derive(Debug, Clone)]
pub struct NewDelivery<'a> {
    pub row: Delivery,
    pub standing: &'static str,
    pub sender: &'a str,
}

static INSERT_EVENTS: ManyRows = ManyRows::new(
    "INSERT INTO webhook_events
       (id, source, dedup_key, business_key, mode, event_name, data_type, data_id, store_id, received_at, delivery_id, late)
     VALUES",
    12,
    "ON CONFLICT (source, dedup_key) DO NOTHING RETURNING id",
);
static INSERT_DELIVERIES: ManyRows = ManyRows::new(
    "INSERT INTO webhook_deliveries
       (id, source, received_at, status, class, standing, mode, version_id, event_id, event_name,
        duplicate, late, flags, sender, user_agent, body_bytes, body_digest)
     VALUES",
    17,
    "",
);
static INSERT_BODIES: ManyRows =
    ManyRows::new("INSERT INTO webhook_bodies (delivery_id, sealed, headers) VALUES", 3, "");

/// Inserts the events whose key is new, and returns the ids of those. Of two with one key in `events`, the
/// first one wins.
pub async fn insert_events(
    c: &mut AnyConnection,
    events: &[NewEvent<'_>],
) -> Result<HashSet<String>, StoreError> {
    let engine = Engine::of(c);
    let mut inserted = HashSet::new();
    for piece in pieces(events) {
        let mut query = sqlx::query(INSERT_EVENTS.text(engine, piece.len()));
        for event in piece {
            query = query
                .bind(event.id.as_str().to_owned())
                .bind(event.source.to_owned())
                .bind(event.head.dedup_key())
                .bind(event.head.business_key())
                .bind(event.head.mode().as_str())
                .bind(event.head.event_name.clone())
                .bind(event.head.data_type.clone())
                .bind(event.head.data_id.clone())
                .bind(event.head.store_id.and_then(|id| i64::try_from(id).ok()))
                .bind(to_micros(event.at))
                .bind(event.delivery.as_str().to_owned())
                .bind(i64::from(event.late));
        }
        for row in query.fetch_all(&mut *c).await? {
            inserted.insert(row.try_get::<String, _>("id")?);
        }
    }
    Ok(inserted)
}

/// Counts another delivery of a known event; returns the event and its business key.
pub async fn count_duplicate(
    c: &mut AnyConnection,
    source: &str,
    dedup_key: &str,
) -> Result<Option<(EventId, String)>, StoreError> {
    let row = sqlx::query(
        "UPDATE webhook_events SET deliveries = deliveries + 1
         WHERE source = $1 AND dedup_key = $2 RETURNING id, business_key",
    )
    .bind(source)
    .bind(dedup_key)
    .fetch_optional(c)
    .await?;
    row.map(|row| Ok((EventId::from_text(row.try_get::<String, _>("id")?), row.try_get("business_key")?)))
        .transpose()
}

pub async fn insert_deliveries(
    c: &mut AnyConnection,
    deliveries: &[NewDelivery<'_>],
) -> Result<(), StoreError> {
    let engine = Engine::of(c);
    for piece in pieces(deliveries) {
        let mut query = sqlx::query(INSERT_DELIVERIES.text(engine, piece.len()));
        for NewDelivery { row, standing, sender } in piece {
            query = query
                .bind(row.id.as_str().to_owned())
                .bind(row.source.clone())
                .bind(to_micros(row.received_at))
                .bind(i64::from(row.status))
                .bind(row.class.clone())
                .bind(*standing)
                .bind(row.mode.map(|mode| mode.as_str().to_owned()))
                .bind(row.version.as_ref().map(|id| id.as_str().to_owned()))
                .bind(row.event.as_ref().map(|id| id.as_str().to_owned()))
                .bind(row.event_name.clone())
                .bind(i64::from(row.duplicate))
                .bind(i64::from(row.late))
                .bind(serde_json::to_string(&row.flags).expect("flags are plain names"))
                .bind((*sender).to_owned())
                .bind(row.user_agent.clone())
                .bind(i64::try_from(row.body_bytes).unwrap_or(i64::MAX))
                .bind(row.body_digest.clone());
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// A body to keep under the id of its delivery, and the headers that came with it where they go on; both sealed.
#[derive(Debug, Clone)]
pub struct NewBody {
    pub delivery: DeliveryId,
    pub sealed: Vec<u8>,
    pub headers: Option<Vec<u8>>,
}

pub async fn insert_bodies(c: &mut AnyConnection, bodies: Vec<NewBody>) -> Result<(), StoreError> {
    let engine = Engine::of(c);
    let mut left = bodies.into_iter();
    while left.len() > 0 {
        let size = piece(left.len());
        let mut query = sqlx::query(INSERT_BODIES.text(engine, size));
        for body in left.by_ref().take(size) {
            query = query.bind(body.delivery.as_str().to_owned()).bind(body.sealed).bind(body.headers);
        }
        query.execute(&mut *c).await?;
    }
    Ok(())
}

/// Turns a refused delivery into an accepted one, once its secret is known.
pub async fn accept_late(
    c: &mut AnyConnection,
    id: &DeliveryId,
    version: &SecretVersionId,
    event: Option<&EventId>,
    (class, event_name, mode): (&str, Option<&str>, &str),
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE webhook_deliveries
         SET late = 1, class = $1, version_id = $2, event_id = $3, event_name = $4, mode = $5 WHERE id = $6",
    )
    .bind(class)
    .bind(version.as_str())
    .bind(event.map(|e| e.as_str().to_owned()))
    .bind(event_name.map(str::to_owned))
    .bind(mode)
    .bind(id.as_str())
    .execute(c)
    .await?;
    Ok(())
}

/// Writes down why a delivery was refused, once that was found out.
pub async fn set_class(c: &mut AnyConnection, id: &DeliveryId, class: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_deliveries SET class = $1 WHERE id = $2")
        .bind(class)
        .bind(id.as_str())
        .execute(c)
        .await?;
    Ok(())
}

/// Whether this very body already failed since `after`, in a delivery before `except`: a retry, not
/// another event.
pub async fn failed_before(
    c: &mut AnyConnection,
    source: &str,
    digest: &str,
    after: Timestamp,
    except: &DeliveryId,
) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT 1 AS found FROM webhook_deliveries
         WHERE source = $1 AND standing = 'bad' AND received_at >= $2 AND body_digest = $3 AND id < $4 LIMIT 1",
    )
    .bind(source)
    .bind(to_micros(after))
    .bind(digest)
    .bind(except.as_str())
    .fetch_optional(c)
    .await?;
    Ok(row.is_some())
}

/// Of a source's newest accepted deliveries since then, at most `most`: how many were sent before, and how many
/// there are.
pub async fn count_repeated(
    c: &mut AnyConnection,
    source: &str,
    since: Timestamp,
    most: u32,
) -> Result<(u64, u64), StoreError> {
    let row = sqlx::query(
        "SELECT CAST(coalesce(sum(duplicate), 0) AS BIGINT) AS repeated, count(*) AS n FROM (
             SELECT duplicate FROM webhook_deliveries
             WHERE source = $1 AND standing = 'good' AND received_at >= $2
             ORDER BY received_at DESC LIMIT $3) AS newest",
    )
    .bind(source)
    .bind(to_micros(since))
    .bind(i64::from(most))
    .fetch_one(c)
    .await?;
    let number = |name: &str| Ok::<_, StoreError>(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0));
    Ok((number("repeated")?, number("n")?))
}

/// What became of a delivery, as one looks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered 200, or taken in later.
    Accepted,
    Refused,
    Duplicate,
    /// Verified after it was refused.
    Late,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Duplicate, Self::Late];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    fn condition(self) -> &'static str {
        match self {
            Self::Accepted => "(status = 200 OR late = 1)",
            Self::Refused => "(status <> 200 AND late = 0)",
            Self::Duplicate => "duplicate = 1",
            // Only what was refused can be late: what was answered stays as it was.
            Self::Late => "(status <> 200 AND late = 1)",
        }
    }
}

/// What to list; the newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub source: Option<String>,
    pub class: Option<String>,
    pub outcome: Option<Outcome>,
    pub event_name: Option<String>,
    /// Any of these; all where empty.
    pub versions: Vec<SecretVersionId>,
    pub event: Option<EventId>,
    pub since: Option<Timestamp>,
    /// Only what was received before.
    pub until: Option<Timestamp>,
    /// Only ids before this one: the cursor of the next page.
    pub before: Option<DeliveryId>,
    pub limit: u32,
}

/// The next millisecond, where there is one.
fn just_after(at: Timestamp) -> Option<Timestamp> {
    at.checked_add(SignedDuration::from_millis(1)).ok()
}

pub async fn list(c: &mut AnyConnection, filter: &Filter) -> Result<Vec<Delivery>, StoreError> {
    let mut texts: Vec<String> = Vec::new();
    let mut conditions = Vec::new();
    let narrow = filter.class.is_some() || matches!(filter.outcome, Some(Outcome::Refused | Outcome::Late));
    // SQLite would rather go by the source, which most rows share.
    let of_source = if narrow { "coalesce(source, '') =" } else { "source =" };
    let columns = [
        (of_source, filter.source.clone()),
        ("class =", filter.class.clone()),
        ("event_name =", filter.event_name.clone()),
        ("event_id =", filter.event.as_ref().map(|id| id.as_str().to_owned())),
        ("id <", filter.before.as_ref().map(|id| id.as_str().to_owned())),
        ("id >=", filter.since.map(DeliveryId::earliest)),
        ("id <", filter.until.and_then(just_after).map(DeliveryId::earliest)),
    ];
    for (column, value) in columns {
        if let Some(value) = value {
            texts.push(value);
            conditions.push(format!("{column} ${}", texts.len() + 3));
        }
    }
    if !filter.versions.is_empty() {
        let places = filter.versions.iter().map(|id| {
            texts.push(id.as_str().to_owned());
            format!("${}", texts.len() + 3)
        });
        let places: Vec<String> = places.collect();
        conditions.push(format!("version_id IN ({})", places.join(", ")));
    }
    conditions.extend(filter.outcome.map(|outcome| outcome.condition().to_owned()));
    // Ids say the time to the millisecond, so that their index serves both the bounds and the order.
    conditions.push("received_at >= $1 AND received_at < $2".into());
    let text = format!(
        "SELECT * FROM webhook_deliveries WHERE {} ORDER BY id DESC LIMIT $3",
        conditions.join(" AND ")
    );
    let since = filter.since.map_or(0, to_micros);
    let until = filter.until.map_or(i64::MAX, to_micros);
    let mut query = sqlx::query(AssertSqlSafe(text)).bind(since).bind(until).bind(i64::from(filter.limit));
    for value in texts {
        query = query.bind(value);
    }
    query.fetch_all(c).await?.iter().map(read).collect()
}

pub async fn get(c: &mut AnyConnection, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
    let row = sqlx::query("SELECT * FROM webhook_deliveries WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(c)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The sealed body of a delivery, or of the first delivery of its event.
pub async fn get_body(
    c: &mut AnyConnection,
    id: &DeliveryId,
) -> Result<Option<(DeliveryId, Vec<u8>)>, StoreError> {
    let row = sqlx::query(
        "SELECT b.delivery_id, b.sealed FROM webhook_bodies b
         WHERE b.delivery_id = $1
            OR b.delivery_id = (SELECT e.delivery_id FROM webhook_events e
                                JOIN webhook_deliveries d ON d.event_id = e.id WHERE d.id = $1)
         ORDER BY CASE WHEN b.delivery_id = $1 THEN 0 ELSE 1 END LIMIT 1",
    )
    .bind(id.as_str())
    .fetch_optional(c)
    .await?;
    row.map(|row| {
        Ok((DeliveryId::from_text(row.try_get::<String, _>("delivery_id")?), row.try_get("sealed")?))
    })
    .transpose()
}

/// How many deliveries came since then, and how many of them were refused. Noise does not count.
pub async fn count_since(
    c: &mut AnyConnection,
    source: &str,
    since: Timestamp,
) -> Result<(u64, u64), StoreError> {
    let row = sqlx::query(
        "SELECT CAST(count(*) AS BIGINT) AS total,
                CAST(COALESCE(sum(CASE WHEN standing = 'bad' THEN 1 ELSE 0 END), 0) AS BIGINT) AS refused
         FROM webhook_deliveries WHERE source = $1 AND standing IN ('good', 'bad') AND received_at >= $2",
    )
    .bind(source)
    .bind(to_micros(since))
    .fetch_one(c)
    .await?;
    let count = |column| Ok::<_, StoreError>(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0));
    Ok((count("total")?, count("refused")?))
}

/// The newest request that may have come from the provider, verified or not, in this mode or in one that could
/// not be told. Only the latest of the source are looked at, so that a mode without traffic costs little.
pub async fn last_receipt(
    c: &mut AnyConnection,
    source: &str,
    mode: SlotMode,
) -> Result<Option<Timestamp>, StoreError> {
    let mut newest = None;
    for standing in ["good", "bad"] {
        let row = sqlx::query(
            "SELECT received_at FROM
               (SELECT received_at, mode FROM webhook_deliveries
                WHERE source = $1 AND standing = $2 ORDER BY received_at DESC LIMIT 2000) AS latest
             WHERE mode = $3 OR mode IS NULL ORDER BY received_at DESC LIMIT 1",
        )
        .bind(source)
        .bind(standing)
        .bind(mode.as_str())
        .fetch_optional(&mut *c)
        .await?;
        newest = newest.max(row.map(|row| instant(&row, "received_at")).transpose()?);
    }
    Ok(newest)
}

/// A request that may have come from the provider in this mode, between these instants.
pub async fn receipt_between(
    c: &mut AnyConnection,
    source: &str,
    mode: SlotMode,
    (from, to): (Timestamp, Timestamp),
) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query(
        "SELECT received_at FROM webhook_deliveries
         WHERE source = $1 AND standing IN ('good', 'bad') AND received_at >= $2 AND received_at <= $3
           AND (mode = $4 OR mode IS NULL) ORDER BY received_at LIMIT 1",
    )
    .bind(source)
    .bind(to_micros(from))
    .bind(to_micros(to))
    .bind(mode.as_str())
    .fetch_optional(c)
    .await?;
    row.map(|row| instant(&row, "received_at")).transpose()
}

/// When the latest events of a slot arrived, of at most `most` good deliveries of the source.
pub async fn arrivals(
    c: &mut AnyConnection,
    source: &str,
    mode: SlotMode,
    since: Timestamp,
    most: u32,
) -> Result<Vec<Timestamp>, StoreError> {
    let rows = sqlx::query(
        "SELECT received_at FROM
           (SELECT received_at, mode, duplicate, late FROM webhook_deliveries
            WHERE source = $1 AND standing = 'good' AND received_at >= $2 ORDER BY received_at DESC LIMIT $3) AS latest
         WHERE mode = $4 AND duplicate = 0 AND late = 0",
    )
    .bind(source)
    .bind(to_micros(since))
    .bind(i64::from(most))
    .bind(mode.as_str())
    .fetch_all(c)
    .await?;
    rows.iter().map(|row| instant(row, "received_at")).collect()
}

/// The names of the events of a slot, of the latest thousand good deliveries of the source.
pub async fn event_names(
    c: &mut AnyConnection,
    source: &str,
    mode: SlotMode,
    since: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "SELECT DISTINCT event_name FROM
           (SELECT event_name, mode FROM webhook_deliveries
            WHERE source = $1 AND standing = 'good' AND received_at >= $2 ORDER BY received_at DESC LIMIT 1000) AS latest
         WHERE mode = $3 AND event_name IS NOT NULL ORDER BY event_name",
    )
    .bind(source)
    .bind(to_micros(since))
    .bind(mode.as_str())
    .fetch_all(c)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("event_name")?)).collect()
}

/// Deletes what was received before `before` (to the millisecond), at most `limit` rows of each kind; returns how
/// many went. An event goes after its deliveries, so that a late resend is still recognised.
pub async fn forget(c: &mut AnyConnection, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let statements = [
        "DELETE FROM webhook_bodies WHERE delivery_id IN
           (SELECT id FROM webhook_deliveries WHERE id < $1 ORDER BY id LIMIT $2)",
        "DELETE FROM relays WHERE next_at IS NULL AND delivery_id IN
           (SELECT id FROM webhook_deliveries WHERE id < $1 ORDER BY id LIMIT $2)",
        "DELETE FROM webhook_deliveries WHERE id IN
           (SELECT id FROM webhook_deliveries WHERE id < $1 ORDER BY id LIMIT $2)",
    ];
    let mut gone = 0;
    for statement in statements {
        let query = sqlx::query(statement).bind(DeliveryId::earliest(before)).bind(i64::from(limit));
        gone += query.execute(&mut *c).await?.rows_affected();
    }
    let events = sqlx::query(
        "DELETE FROM webhook_events WHERE id IN
           (SELECT e.id FROM webhook_events e WHERE e.received_at < $1
             AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.event_id = e.id)
            ORDER BY e.received_at LIMIT $2)",
    );
    let events = events.bind(to_micros(before)).bind(i64::from(limit)).execute(&mut *c).await?;
    Ok(gone + events.rows_affected())
}

/// Health of one source; a source never heard of is healthy.
pub async fn get_health(c: &mut AnyConnection, source: &str) -> Result<SourceHealth, StoreError> {
    let row = sqlx::query("SELECT last_good_at, failing FROM source_health WHERE source = $1")
        .bind(source)
        .fetch_optional(c)
        .await?;
    let Some(row) = row else { return Ok(SourceHealth::default()) };
    let failing: Option<String> = row.try_get("failing")?;
    Ok(SourceHealth {
        last_good_at: row.try_get::<Option<i64>, _>("last_good_at")?.map(from_micros),
        failing: failing.map(|text| json(&text, "source_health.failing")).transpose()?,
    })
}

/// Sources that fail now.
pub async fn list_failing(c: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT source FROM source_health WHERE failing IS NOT NULL ORDER BY source")
        .fetch_all(c)
        .await?;
    rows.iter().map(|row| Ok(row.try_get("source")?)).collect()
}

pub async fn put_health(
    c: &mut AnyConnection,
    source: &str,
    health: &SourceHealth,
    now: Timestamp,
) -> Result<(), StoreError> {
    let failing = health.failing.as_ref();
    sqlx::query(
        "INSERT INTO source_health (source, last_good_at, failing, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (source) DO UPDATE SET last_good_at = excluded.last_good_at, failing = excluded.failing,
                                            updated_at = excluded.updated_at",
    )
    .bind(source)
    .bind(health.last_good_at.map(to_micros))
    .bind(failing.map(|f| serde_json::to_string(f).expect("health is plain values")))
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Delivery, StoreError> {
    let optional = |name: &str| row.try_get::<Option<String>, _>(name);
    Ok(Delivery {
        id: DeliveryId::from_text(row.try_get::<String, _>("id")?),
        source: row.try_get("source")?,
        mode: optional("mode")?.map(mode_of).transpose()?,
        received_at: instant(row, "received_at")?,
        status: u16::try_from(row.try_get::<i64, _>("status")?).unwrap_or(0),
        class: row.try_get("class")?,
        version: optional("version_id")?.map(SecretVersionId::from_text),
        event: optional("event_id")?.map(EventId::from_text),
        event_name: optional("event_name")?,
        duplicate: row.try_get::<i64, _>("duplicate")? != 0,
        late: row.try_get::<i64, _>("late")? != 0,
        flags: json(row.try_get::<&str, _>("flags")?, "webhook_deliveries.flags")?,
        body_bytes: u64::try_from(row.try_get::<i64, _>("body_bytes")?).unwrap_or(0),
        body_digest: row.try_get("body_digest")?,
        user_agent: optional("user_agent")?,
    })
}
