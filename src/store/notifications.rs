//! The outbox: messages, their claims and their attempts.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::{Engine, StoreError};
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::ids::{IncidentId, NotificationId};
use crate::domain::notification::{Content, FailureClass, Held, Notice, NotificationState, Stage};

/// A message as it was written down. Debug shows neither whom it goes to nor what it says.
#[derive(Clone, PartialEq)]
pub struct Notification {
    pub id: NotificationId,
    /// Two rows with the same text are the same message.
    pub dedupe: String,
    pub channel: String,
    pub incident: Option<IncidentId>,
    pub environment: String,
    pub notice: Notice,
    pub severity: String,
    pub recipient: String,
    pub content: Content,
    pub created_at: Timestamp,
    pub not_before: Timestamp,
}

/// A message with what became of it.
#[derive(Debug, Clone)]
pub struct Stored {
    pub notification: Notification,
    pub state: NotificationState,
    pub attempts: u32,
    pub maybe_taken: bool,
    pub finished_at: Option<Timestamp>,
    pub failure: Option<FailureClass>,
    /// Why it waits, or waited, although the path works.
    pub held: Option<Held>,
    /// What it says of its own lateness.
    pub note: Option<String>,
    /// The mail that tells it instead.
    pub digest: Option<NotificationId>,
    /// When it was written, or when a person last tried it again.
    pub tried_from: Timestamp,
}

/// A message that this process may send until the lease ends.
#[derive(Debug)]
pub struct Claim {
    pub stored: Stored,
    pub lease: String,
}

/// One try at sending. `answer` is the server's text, or what went wrong.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    pub at: Timestamp,
    pub duration_ms: u64,
    pub sent: bool,
    pub stage: Option<Stage>,
    pub class: Option<FailureClass>,
    pub code: Option<u16>,
    pub answer: String,
}

impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notification")
            .field("id", &self.id)
            .field("channel", &self.channel)
            .field("notice", &self.notice)
            .finish_non_exhaustive()
    }
}

/// Writes a message. `false`: it was written before.
pub async fn insert(c: &mut AnyConnection, n: &Notification) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO notifications (id, dedupe, channel, incident_id, environment, notice, severity, recipient,
             message_id, subject, headers, text_body, html_body, state, created_at, not_before, attempts, maybe_taken,
             turn)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'pending', $14, $15, 0, 0,
             (SELECT coalesce(max(turn), 0) + 1 FROM notifications WHERE incident_id = $4))
         ON CONFLICT DO NOTHING",
    )
    .bind(n.id.as_str())
    .bind(&n.dedupe)
    .bind(&n.channel)
    .bind(n.incident.as_ref().map(|id| id.as_str().to_owned()))
    .bind(&n.environment)
    .bind(n.notice.as_str())
    .bind(&n.severity)
    .bind(&n.recipient)
    .bind(&n.content.message_id)
    .bind(&n.content.subject)
    .bind(headers_json(&n.content.headers))
    .bind(&n.content.text)
    .bind(&n.content.html)
    .bind(to_micros(n.created_at))
    .bind(to_micros(n.not_before))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces what a message says, as long as no server can have seen it. `false`: too late.
pub async fn replace_unsent(
    c: &mut AnyConnection,
    id: &NotificationId,
    notice: Notice,
    content: &Content,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET notice = $2, subject = $3, headers = $4, text_body = $5, html_body = $6
         WHERE id = $1 AND state = 'pending' AND maybe_taken = 0",
    )
    .bind(id.as_str())
    .bind(notice.as_str())
    .bind(&content.subject)
    .bind(headers_json(&content.headers))
    .bind(&content.text)
    .bind(&content.html)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Claims the message of a channel that has been due longest. A message waits until all earlier ones of its
/// incident to its recipient are out of the way, a digest that tells them included, so that RESOLVED never
/// overtakes FAIL.
pub async fn claim(
    c: &mut AnyConnection,
    engine: Engine,
    channel: &str,
    now: Timestamp,
    lease: &str,
    lease_until: Timestamp,
) -> Result<Option<Claim>, StoreError> {
    let sql = format!(
        "UPDATE notifications SET state = 'sending', lease = $2, lease_until = $3, attempts = attempts + 1,
             maybe_taken = CASE WHEN state = 'sending' THEN 1 ELSE maybe_taken END
         WHERE id = (
             SELECT n.id FROM notifications n
             WHERE n.channel = $4
               AND ((n.state = 'pending' AND n.not_before <= $1) OR (n.state = 'sending' AND n.lease_until <= $1))
               AND NOT EXISTS (
                   SELECT 1 FROM notifications e
                   WHERE e.incident_id = n.incident_id AND e.recipient = n.recipient AND e.channel = n.channel
                     AND e.turn < n.turn
                     AND (e.state IN ('pending', 'sending') OR (e.state = 'digested' AND EXISTS (
                         SELECT 1 FROM notifications d
                         WHERE d.id = e.digest_id AND d.state IN ('pending', 'sending')))))
             ORDER BY n.not_before, n.turn, n.id LIMIT 1{})
         RETURNING *",
        engine.skip_locked()
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(to_micros(now))
        .bind(lease)
        .bind(to_micros(lease_until))
        .bind(channel)
        .fetch_optional(c)
        .await?;
    row.as_ref().map(|row| Ok(Claim { stored: read(row)?, lease: lease.to_owned() })).transpose()
}

/// Ends a claim. `false`: the lease was lost to another process.
pub async fn finish(
    c: &mut AnyConnection,
    claim: &Claim,
    state: NotificationState,
    at: Timestamp,
    failure: Option<FailureClass>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET state = $3, finished_at = $4, failure = $5, lease = NULL, lease_until = NULL
         WHERE id = $1 AND lease = $2",
    )
    .bind(claim.stored.notification.id.as_str())
    .bind(&claim.lease)
    .bind(state.as_str())
    .bind(to_micros(at))
    .bind(failure.map(FailureClass::as_str))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a claimed message back for a later attempt.
pub async fn postpone(
    c: &mut AnyConnection,
    claim: &Claim,
    not_before: Timestamp,
    failure: FailureClass,
    maybe_taken: MaybeTaken,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET state = 'pending', not_before = $3, failure = $4, lease = NULL, lease_until = NULL,
             maybe_taken = CASE WHEN $5 = 1 THEN 1 ELSE maybe_taken END
         WHERE id = $1 AND lease = $2",
    )
    .bind(claim.stored.notification.id.as_str())
    .bind(&claim.lease)
    .bind(to_micros(not_before))
    .bind(failure.as_str())
    .bind(i64::from(maybe_taken == MaybeTaken::Yes))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a server may have taken a message although no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaybeTaken {
    No,
    Yes,
}

/// The path works again: messages that wait out a failure of the path are due now.
pub async fn wake(c: &mut AnyConnection, channel: &str, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET not_before = $2
         WHERE channel = $1 AND state = 'pending' AND not_before > $2 AND attempts > 0
           AND failure IN ('transient', 'configuration')",
    )
    .bind(channel)
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}

/// Cancels what was not sent of an incident to a recipient, since its announcement can never arrive.
pub async fn cancel_unsent(
    c: &mut AnyConnection,
    incident: &IncidentId,
    channel: &str,
    recipient: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET state = 'cancelled', finished_at = $4
         WHERE incident_id = $1 AND channel = $2 AND recipient = $3 AND state = 'pending' AND notice = 'resolved'",
    )
    .bind(incident.as_str())
    .bind(channel)
    .bind(recipient)
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}

/// Cancels what was written after an announcement that now tells the end as well.
pub async fn cancel_follow_ups(
    c: &mut AnyConnection,
    incident: &IncidentId,
    channel: &str,
    recipient: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET state = 'cancelled', finished_at = $4
         WHERE incident_id = $1 AND channel = $2 AND recipient = $3 AND state = 'pending'
           AND notice IN ('update', 'worsened', 'reminder')",
    )
    .bind(incident.as_str())
    .bind(channel)
    .bind(recipient)
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}

/// The channels that messages wait for.
pub async fn list_waiting_channels(c: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let rows =
        sqlx::query("SELECT DISTINCT channel FROM notifications WHERE state IN ('pending', 'sending')")
            .fetch_all(c)
            .await?;
    rows.iter().map(|row| Ok(row.try_get("channel")?)).collect()
}

/// Cancels what waits for a channel that is no more.
pub async fn cancel_channel(c: &mut AnyConnection, channel: &str, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET state = 'cancelled', finished_at = $2, lease = NULL, lease_until = NULL
         WHERE channel = $1 AND state IN ('pending', 'sending')",
    )
    .bind(channel)
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}

/// Cancels a message that waits for a later attempt. `false`: it does not wait.
pub async fn withdraw(
    c: &mut AnyConnection,
    id: &NotificationId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE notifications SET state = 'cancelled', finished_at = $2 WHERE id = $1 AND state = 'pending'",
    )
    .bind(id.as_str())
    .bind(to_micros(now))
    .execute(c)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn add_attempt(
    c: &mut AnyConnection,
    id: &str,
    notification: &NotificationId,
    attempt: &Attempt,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO notification_attempts (id, notification_id, at, duration_ms, sent, stage, class, code, answer)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id)
    .bind(notification.as_str())
    .bind(to_micros(attempt.at))
    .bind(i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX))
    .bind(i64::from(attempt.sent))
    .bind(attempt.stage.map(Stage::as_str))
    .bind(attempt.class.map(FailureClass::as_str))
    .bind(attempt.code.map(i64::from))
    .bind(&attempt.answer)
    .execute(c)
    .await?;
    Ok(())
}

pub async fn list_attempts(c: &mut AnyConnection, id: &NotificationId) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM notification_attempts WHERE notification_id = $1 ORDER BY at, id LIMIT 200",
    )
    .bind(id.as_str())
    .fetch_all(c)
    .await?;
    rows.iter().map(read_attempt).collect()
}

/// All messages of an incident, oldest first.
pub async fn list_of_incident(
    c: &mut AnyConnection,
    incident: &IncidentId,
) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query("SELECT * FROM notifications WHERE incident_id = $1 ORDER BY turn, id LIMIT 1000")
        .bind(incident.as_str())
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

/// The newest messages first: the inbox of the demo and the notification log.
pub async fn list_recent(c: &mut AnyConnection, limit: u32) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query("SELECT * FROM notifications ORDER BY created_at DESC, id DESC LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    rows.iter().map(read).collect()
}

pub async fn get(c: &mut AnyConnection, id: &NotificationId) -> Result<Option<Stored>, StoreError> {
    let row =
        sqlx::query("SELECT * FROM notifications WHERE id = $1").bind(id.as_str()).fetch_optional(c).await?;
    row.as_ref().map(read).transpose()
}

/// How many messages are in each state, for metrics and readiness.
pub async fn count_by_state(c: &mut AnyConnection) -> Result<Vec<(String, i64)>, StoreError> {
    let rows = sqlx::query("SELECT state, count(*) AS n FROM notifications GROUP BY state ORDER BY state")
        .fetch_all(c)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("state")?, row.try_get("n")?))).collect()
}

pub(super) fn read(row: &AnyRow) -> Result<Stored, StoreError> {
    let word = |column: &str| row.try_get::<String, _>(column);
    let corrupt = |what: &str, text: &str| StoreError::Corrupt(format!("notification {what} {text}"));
    let (notice, state) = (word("notice")?, word("state")?);
    let headers = word("headers")?;
    let created_at = from_micros(row.try_get("created_at")?);
    let maybe = |column: &str| row.try_get::<Option<String>, _>(column);
    Ok(Stored {
        notification: Notification {
            id: NotificationId::from_text(word("id")?),
            dedupe: word("dedupe")?,
            channel: word("channel")?,
            incident: row.try_get::<Option<String>, _>("incident_id")?.map(IncidentId::from_text),
            environment: word("environment")?,
            notice: Notice::parse(&notice).ok_or_else(|| corrupt("notice", &notice))?,
            severity: word("severity")?,
            recipient: word("recipient")?,
            content: Content {
                message_id: word("message_id")?,
                subject: word("subject")?,
                headers: serde_json::from_str(&headers).map_err(|_| corrupt("headers", "of another form"))?,
                text: word("text_body")?,
                html: word("html_body")?,
            },
            created_at,
            not_before: from_micros(row.try_get("not_before")?),
        },
        state: NotificationState::parse(&state).ok_or_else(|| corrupt("state", &state))?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        maybe_taken: row.try_get::<i64, _>("maybe_taken")? == 1,
        finished_at: row.try_get::<Option<i64>, _>("finished_at")?.map(from_micros),
        failure: maybe("failure")?.as_deref().and_then(FailureClass::parse),
        held: maybe("held")?.as_deref().and_then(Held::parse),
        note: maybe("note")?,
        digest: maybe("digest_id")?.map(NotificationId::from_text),
        tried_from: row.try_get::<Option<i64>, _>("tried_from")?.map_or(created_at, from_micros),
    })
}

fn read_attempt(row: &AnyRow) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        at: from_micros(row.try_get("at")?),
        duration_ms: u64::try_from(row.try_get::<i64, _>("duration_ms")?).unwrap_or(0),
        sent: row.try_get::<i64, _>("sent")? == 1,
        stage: row.try_get::<Option<String>, _>("stage")?.as_deref().and_then(Stage::parse),
        class: row.try_get::<Option<String>, _>("class")?.as_deref().and_then(FailureClass::parse),
        code: row.try_get::<Option<i64>, _>("code")?.and_then(|code| u16::try_from(code).ok()),
        answer: row.try_get("answer")?,
    })
}

fn headers_json(headers: &[(String, String)]) -> String {
    serde_json::to_string(headers).expect("pairs of strings are JSON")
}
