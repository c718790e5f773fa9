//! What the provider's API answered, the orders that were counted beside the webhooks, and what was found out
//! about the provider by trying.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::StoreError;
use super::secrets::{instant, json};
use crate::domain::clock::{Timestamp, from_micros, to_micros};
use crate::domain::provider::Finding;
use crate::domain::rhythm::Orders;

/// The latest look at a source's webhooks at its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub source: String,
    pub next_at: Timestamp,
    pub asked_at: Option<Timestamp>,
    pub answered_at: Option<Timestamp>,
    pub webhooks: u64,
    pub findings: Vec<Finding>,
    /// Why there was no answer the last time.
    pub problem: Option<String>,
}

/// The two tables in which a source's next look is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    Audits,
    Orders,
}

/// Claims a look that is due: false while it is not, or when another process was first.
pub async fn claim(
    c: &mut AnyConnection,
    watch: Watch,
    source: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let text = match watch {
        Watch::Audits => {
            "INSERT INTO provider_audits (source, next_at) VALUES ($1, $2)
             ON CONFLICT (source) DO UPDATE SET next_at = excluded.next_at WHERE provider_audits.next_at <= $3"
        }
        Watch::Orders => {
            "INSERT INTO order_watches (source, next_at) VALUES ($1, $2)
             ON CONFLICT (source) DO UPDATE SET next_at = excluded.next_at WHERE order_watches.next_at <= $3"
        }
    };
    let done = sqlx::query(text).bind(source).bind(to_micros(until)).bind(to_micros(now)).execute(c).await?;
    Ok(done.rows_affected() == 1)
}

/// Writes an answer and what follows from it.
pub async fn answered(
    c: &mut AnyConnection,
    source: &str,
    next_at: Timestamp,
    now: Timestamp,
    (webhooks, findings): (u64, &[Finding]),
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE provider_audits
         SET next_at = $1, asked_at = $2, answered_at = $2, webhooks = $3, findings = $4, problem = NULL
         WHERE source = $5",
    )
    .bind(to_micros(next_at))
    .bind(to_micros(now))
    .bind(i64::try_from(webhooks).unwrap_or(i64::MAX))
    .bind(serde_json::to_string(findings).expect("findings are plain values"))
    .bind(source)
    .execute(c)
    .await?;
    Ok(())
}

/// Writes that there was no answer; what was known before stays.
pub async fn unanswered(
    c: &mut AnyConnection,
    source: &str,
    next_at: Timestamp,
    now: Timestamp,
    problem: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE provider_audits SET next_at = $1, asked_at = $2, problem = $3 WHERE source = $4")
        .bind(to_micros(next_at))
        .bind(to_micros(now))
        .bind(problem)
        .bind(source)
        .execute(c)
        .await?;
    Ok(())
}

pub async fn get_audit(c: &mut AnyConnection, source: &str) -> Result<Option<Audit>, StoreError> {
    let row =
        sqlx::query("SELECT * FROM provider_audits WHERE source = $1").bind(source).fetch_optional(c).await?;
    row.as_ref().map(read_audit).transpose()
}

pub async fn get_orders(c: &mut AnyConnection, source: &str) -> Result<Orders, StoreError> {
    let row =
        sqlx::query("SELECT * FROM order_watches WHERE source = $1").bind(source).fetch_optional(c).await?;
    let Some(row) = row else { return Ok(Orders::default()) };
    Ok(Orders {
        received_at: optional(&row, "received_at")?,
        counted: row.try_get("counted")?,
        latest: row.try_get("latest")?,
        grown_at: optional(&row, "grown_at")?,
    })
}

/// Writes what was counted, or why it could not be.
pub async fn put_orders(
    c: &mut AnyConnection,
    source: &str,
    orders: &Orders,
    problem: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE order_watches SET received_at = $1, counted = $2, latest = $3, grown_at = $4, problem = $5
         WHERE source = $6",
    )
    .bind(orders.received_at.map(to_micros))
    .bind(orders.counted)
    .bind(orders.latest)
    .bind(orders.grown_at.map(to_micros))
    .bind(problem.map(str::to_owned))
    .bind(source)
    .execute(c)
    .await?;
    Ok(())
}

/// Why the orders of a source could not be counted the last time.
pub async fn get_orders_problem(c: &mut AnyConnection, source: &str) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT problem FROM order_watches WHERE source = $1")
        .bind(source)
        .fetch_optional(c)
        .await?;
    Ok(row.map(|row| row.try_get("problem")).transpose()?.flatten())
}

/// What was found out about a provider by trying.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Known {
    pub question: String,
    pub answer: String,
    pub evidence: String,
    pub recorded_at: Timestamp,
    pub recorded_by: String,
}

pub async fn put_answer(c: &mut AnyConnection, known: &Known) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO provider_answers (question, answer, evidence, recorded_at, recorded_by)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (question) DO UPDATE SET answer = excluded.answer, evidence = excluded.evidence,
           recorded_at = excluded.recorded_at, recorded_by = excluded.recorded_by",
    )
    .bind(known.question.as_str())
    .bind(known.answer.as_str())
    .bind(known.evidence.as_str())
    .bind(to_micros(known.recorded_at))
    .bind(known.recorded_by.as_str())
    .execute(c)
    .await?;
    Ok(())
}

pub async fn list_answers(c: &mut AnyConnection) -> Result<Vec<Known>, StoreError> {
    let rows = sqlx::query("SELECT * FROM provider_answers ORDER BY question").fetch_all(c).await?;
    rows.iter()
        .map(|row| {
            Ok(Known {
                question: row.try_get("question")?,
                answer: row.try_get("answer")?,
                evidence: row.try_get("evidence")?,
                recorded_at: instant(row, "recorded_at")?,
                recorded_by: row.try_get("recorded_by")?,
            })
        })
        .collect()
}

fn optional(row: &AnyRow, name: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(name)?.map(from_micros))
}

fn read_audit(row: &AnyRow) -> Result<Audit, StoreError> {
    Ok(Audit {
        source: row.try_get("source")?,
        next_at: instant(row, "next_at")?,
        asked_at: optional(row, "asked_at")?,
        answered_at: optional(row, "answered_at")?,
        webhooks: u64::try_from(row.try_get::<i64, _>("webhooks")?).unwrap_or(0),
        findings: json(row.try_get::<&str, _>("findings")?, "provider_audits.findings")?,
        problem: row.try_get("problem")?,
    })
}
