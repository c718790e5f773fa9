//! Asking the provider's API about the webhooks that point here, now and then, and telling what does not fit.

use url::Url;

use crate::domain::clock::SignedDuration;
use crate::domain::incident::{DedupKey, IncidentKind, Signal};
use crate::domain::provider::{Expected, Finding, ON_ITS_WAY, Registered, SKEW, Side, audit, carry_on};
use crate::domain::provider_facts;
use crate::domain::secret::{SecretVersion, SlotMode};
use crate::lemonsqueezy::{self, ApiError};
use crate::services::secrets::{key, subject};
use crate::services::{Context, alerting};
use crate::store::{StoreError, deliveries, provider, secrets};

/// A few calls in this time: far below the 300 a minute that a key may make.
const EVERY: SignedDuration = SignedDuration::from_mins(10);
/// Longer than all calls of one look may take.
const CLAIM: SignedDuration = SignedDuration::from_mins(5);
/// How far back events count as still expected.
const MONTH: SignedDuration = SignedDuration::from_hours(24 * 30);

/// What the provider's API says, compared with what we expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Webhooks that the keys can see.
    pub webhooks: u64,
    pub findings: Vec<Finding>,
}

/// Why there was nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(
        "the source {0} has no API key; make one in Lemon Squeezy > Settings > API and set webhooks.sources.{0}.api.key"
    )]
    NoKey(String),
    #[error("the source {0} does not sign as Lemon Squeezy does, and no other provider's API is known here")]
    NoApi(String),
    #[error("the store is not available")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Asks now. Nothing is written.
pub async fn look(ctx: &Context, source: &str) -> Result<Look, LookError> {
    if ctx.settings.webhooks.scheme(source).name != "lemonsqueezy" {
        return Err(LookError::NoApi(source.to_owned()));
    }
    let no_key = || LookError::NoKey(source.to_owned());
    let settings = ctx.settings.webhooks.sources.get(source).ok_or_else(no_key)?;
    let keys = [(SlotMode::Live, &settings.api.key), (SlotMode::Test, &settings.api.test_key)];
    let base = match &settings.api.base_url {
        Some(base) => base.clone(),
        None => Url::parse(lemonsqueezy::API).expect("the address of the API is well-formed"),
    };
    let mut registered: Vec<Registered> = Vec::new();
    let mut sides = Vec::new();
    for (mode, api_key) in keys {
        let Some(api_key) = api_key else { continue };
        for webhook in lemonsqueezy::webhooks(&base, api_key).await? {
            if registered.iter().all(|known| known.id != webhook.id) {
                registered.push(webhook);
            }
        }
        sides.push(side(ctx, source, mode, &registered).await?);
    }
    if sides.is_empty() {
        return Err(no_key());
    }
    let route = format!("/webhooks/{source}");
    let url = ctx.settings.http.public_url.as_ref();
    let url = url.map(|url| format!("{}{route}", url.as_str().trim_end_matches('/')));
    let findings = audit(
        &registered,
        &Expected {
            source,
            url: url.as_deref(),
            route: &route,
            events: &settings.api.events,
            store_ids: &settings.store_ids,
            sides: &sides,
            now: ctx.now(),
        },
    );
    Ok(Look { webhooks: registered.len() as u64, findings })
}

async fn side(
    ctx: &Context,
    source: &str,
    mode: SlotMode,
    registered: &[Registered],
) -> Result<Side, StoreError> {
    let now = ctx.now();
    let mut reader = ctx.db.reader().await?;
    let all = secrets::list(&mut reader).await?;
    let of_source: Vec<&SecretVersion> = all.iter().filter(|v| v.slot.source == source).collect();
    let mut last_receipt = deliveries::last_receipt(&mut reader, source, mode).await?;
    // The latest of a quiet mode may lie behind thousands of the other one.
    for sent in
        registered.iter().filter(|webhook| webhook.mode == mode).filter_map(|webhook| webhook.last_sent_at)
    {
        if last_receipt.is_none_or(|at| at + SKEW < sent) {
            let near = (sent - SKEW, sent + ON_ITS_WAY);
            last_receipt =
                last_receipt.max(deliveries::receipt_between(&mut reader, source, mode, near).await?);
        }
    }
    let kept = now - SignedDuration::from_hours(24 * i64::from(ctx.settings.store.retention_days));
    Ok(Side {
        mode,
        has_secret: of_source.iter().any(|v| v.slot.mode == mode && v.state.is_live()),
        last_receipt,
        log_since: of_source.iter().map(|v| v.added_at).min().map(|added| added.max(kept)),
        seen: deliveries::event_names(&mut reader, source, mode, now - MONTH).await?,
    })
}

/// Asks for every source whose time has come.
pub(super) async fn due(ctx: &Context) -> Result<u64, StoreError> {
    let mut done = 0;
    for (source, settings) in &ctx.settings.webhooks.sources {
        if settings.api.key.is_none() && settings.api.test_key.is_none() {
            continue;
        }
        let now = ctx.now();
        let mut tx = ctx.db.begin().await?;
        let mine = provider::claim(&mut tx, provider::Watch::Audits, source, now, now + CLAIM).await?;
        tx.commit().await?;
        if mine {
            match look(ctx, source).await {
                Ok(look) => write(ctx, source, look).await?,
                Err(LookError::Store(error)) => return Err(error),
                Err(LookError::Api(error)) => write_problem(ctx, source, &error).await?,
                Err(LookError::NoKey(_) | LookError::NoApi(_)) => {}
            }
            done += 1;
        }
    }
    Ok(done)
}

async fn write(ctx: &Context, source: &str, mut look: Look) -> Result<(), StoreError> {
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    let before = provider::get_audit(&mut tx, source).await?.map_or_else(Vec::new, |before| before.findings);
    carry_on(&mut look.findings, &before, now);
    provider::answered(&mut tx, source, now + jittered(ctx), now, (look.webhooks, &look.findings)).await?;
    let setup = key(ctx, source, IncidentKind::WebhookSetup);
    let signal = match look.findings.first() {
        Some(_) => {
            let facts =
                provider_facts::setup(subject(ctx, source), source, look.webhooks, &look.findings, now);
            Signal::Firing { key: setup, at: now, facts }
        }
        None => {
            let note = "the webhooks at Lemon Squeezy are as they should be again".to_owned();
            Signal::Cleared { key: setup, at: now, note }
        }
    };
    let answers = Signal::Cleared { key: key_refused(ctx, source), at: now, note: "the API answers".into() };
    alerting::record(ctx, &mut tx, &[signal, answers]).await?;
    tx.commit().await?;
    Ok(())
}

async fn write_problem(ctx: &Context, source: &str, error: &ApiError) -> Result<(), StoreError> {
    let now = ctx.now();
    let next = match error {
        ApiError::Busy(pause) => SignedDuration::try_from(*pause).unwrap_or(EVERY).max(EVERY),
        _ => jittered(ctx),
    };
    let text = error.to_string();
    tracing::warn!(source, error = text, "the provider's API was not looked at");
    let mut tx = ctx.db.begin().await?;
    provider::unanswered(&mut tx, source, now + next, now, &text).await?;
    if let ApiError::Key(_) = error {
        let facts = provider_facts::key_refused(subject(ctx, source), source, text, now);
        alerting::record(ctx, &mut tx, &[Signal::Firing { key: key_refused(ctx, source), at: now, facts }])
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

fn key_refused(ctx: &Context, source: &str) -> DedupKey {
    DedupKey { scope: format!("{source} api"), ..key(ctx, source, IncidentKind::WebhookSetup) }
}

/// Ten minutes, a minute more or less, so that many instances do not ask at once.
fn jittered(ctx: &Context) -> SignedDuration {
    let mut random = [0_u8; 1];
    ctx.entropy.fill(&mut random);
    EVERY + SignedDuration::from_secs(i64::from(random[0]) * 120 / 255 - 60)
}
