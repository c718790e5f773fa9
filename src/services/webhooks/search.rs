//! Looking through the delivery log: by event, time, secret version and outcome, a page at a time.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::delivery::Delivery;
use crate::domain::diagnosis::Class;
use crate::domain::ids::{DeliveryId, EventId, SecretVersionId};
use crate::domain::secret::SecretVersion;
use crate::services::Context;
use crate::store::deliveries::{Filter, Outcome};
use crate::store::{StoreError, deliveries, secrets};

const MOST: u32 = 200;
const USUAL: u32 = 50;

/// What to look for; everything that is given must fit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    pub source: Option<String>,
    /// `stale_secret`, `unknown_secret` …
    pub class: Option<String>,
    /// accepted, refused, duplicate or late.
    pub outcome: Option<String>,
    /// The event's name.
    pub event: Option<String>,
    pub event_id: Option<String>,
    /// `v3`, a fingerprint or an id.
    pub version: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// The `next` of the page before.
    pub before: Option<String>,
    pub limit: Option<u32>,
}

/// One page, the newest first.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    pub deliveries: Vec<Delivery>,
    /// Give it as `before` to go on; absent on the last page.
    pub next: Option<DeliveryId>,
}

/// What was asked for does not exist.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("there is no class {0:?}; there are {classes}", classes = Class::ALL.map(Class::as_str).join(", "))]
    Class(String),
    #[error("there is no outcome {0:?}; there are accepted, refused, duplicate and late")]
    Outcome(String),
    #[error("no secret is called {0:?}; `deploywatch secret list` shows versions and fingerprints")]
    Version(String),
    #[error("the store is not available")]
    Store(#[from] StoreError),
}

pub async fn search(ctx: &Context, search: Search) -> Result<Page, SearchError> {
    let limit = search.limit.unwrap_or(USUAL).clamp(1, MOST);
    let text = |given: Option<String>| given.filter(|text| !text.is_empty());
    let class = text(search.class);
    if let Some(class) = &class
        && Class::parse(class).is_none()
    {
        return Err(SearchError::Class(class.clone()));
    }
    let outcome = match text(search.outcome) {
        None => None,
        Some(given) => Some(Outcome::parse(&given).ok_or(SearchError::Outcome(given))?),
    };
    let source = text(search.source);
    let mut reader = ctx.db.reader().await.map_err(SearchError::Store)?;
    let versions = match text(search.version) {
        None => None,
        Some(given) => {
            let known = secrets::list(&mut reader).await?;
            let called = |v: &&SecretVersion| {
                source.as_ref().is_none_or(|source| *source == v.slot.source)
                    && (v.id.as_str() == given || v.fingerprint == given || format!("v{}", v.number) == given)
            };
            let found: Vec<SecretVersionId> = known.iter().filter(called).map(|v| v.id.clone()).collect();
            if found.is_empty() {
                return Err(SearchError::Version(given));
            }
            Some(found)
        }
    };
    let filter = Filter {
        source,
        class,
        outcome,
        event_name: text(search.event),
        versions: versions.unwrap_or_default(),
        event: text(search.event_id).map(EventId::from_text),
        since: search.since,
        until: search.until,
        before: text(search.before).map(DeliveryId::from_text),
        limit: limit + 1,
    };
    let mut found = deliveries::list(&mut reader, &filter).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = if more { found.last().map(|delivery| delivery.id.clone()) } else { None };
    Ok(Page { deliveries: found, next })
}
