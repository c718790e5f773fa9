//! Webhooks: verify the bytes, commit what they mean, only then answer.
//!
//! Verification needs no store and runs in the request; recording goes through one writer, which commits
//! for many requests at once and answers each after its own commit.

mod batch;
mod keys;
mod late;
mod looking;
mod passing;
mod signals;
mod upkeep;
mod writer;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultKeyedRateLimiter, Quota};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use keys::KeysError;
pub use late::verify_again;
pub use passing::{PassingError, pass_on, probe, replay};
pub use upkeep::{forget, upkeep};

use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Answer, Check, Received, read_head};
use crate::domain::ids::DeliveryId;
use crate::domain::signature::{self, HeaderProblem, parse_header};
use crate::services::Context;
use crate::services::secrets::{Keyring, SharedKeyring};
use crate::store::deliveries;
use keys::KeyCache;

/// Memory for bodies that are still arriving, over all requests.
const BODY_BUDGET: usize = 64 * 1024 * 1024;
/// Refused requests of one address: this many at once, then this many a second.
const REFUSALS_AT_ONCE: NonZeroU32 = NonZeroU32::new(200).expect("200 is not zero");
const REFUSALS_A_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// A request as the driver read it: nothing is interpreted yet.
#[derive(Debug, Clone)]
pub struct Request {
    pub source: String,
    pub body: Body,
    /// The raw values of all signature headers.
    pub signatures: Vec<Vec<u8>>,
    pub user_agent: Option<String>,
    pub event_header: Option<String>,
    pub content_encoding: Option<String>,
    pub sender: IpAddr,
}

/// How far the body got.
#[derive(Debug, Clone)]
pub enum Body {
    Whole(Vec<u8>),
    TooLarge { read: u64 },
    TooSlow { read: u64 },
}

/// Takes deliveries in. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct Ingest(Arc<Inner>);

struct Inner {
    ctx: Context,
    keyring: SharedKeyring,
    keys: KeyCache,
    writer: writer::Writer,
    refusals: DefaultKeyedRateLimiter<IpAddr>,
    budget: Semaphore,
}

impl Ingest {
    /// Starts the writer; it ends when the last clone is gone.
    pub fn start(ctx: Context) -> Self {
        let keyring = Arc::new(Keyring::new(&ctx.keys));
        let quota = Quota::per_second(REFUSALS_A_SECOND).allow_burst(REFUSALS_AT_ONCE);
        let writer = writer::Writer::start(ctx.clone(), Arc::clone(&keyring));
        Self(Arc::new(Inner {
            keys: KeyCache::default(),
            writer,
            refusals: DefaultKeyedRateLimiter::keyed(quota),
            budget: Semaphore::new(BODY_BUDGET / 1024),
            ctx,
            keyring,
        }))
    }

    /// Room for another KiB of a body that is arriving; `None` while others fill the memory.
    pub fn reserve_kib(&self, kib: u32) -> Option<SemaphorePermit<'_>> {
        self.0.budget.try_acquire_many(kib).ok()
    }

    /// Whether a source of this name takes deliveries.
    pub fn knows(&self, source: &str) -> bool {
        source == "lemonsqueezy" || self.0.ctx.settings.webhooks.sources.contains_key(source)
    }

    /// Verifies, records and says what to answer. Whatever is answered is in the store, except 429 and 503.
    pub async fn receive(&self, request: Request) -> Answer {
        let inner = &*self.0;
        let at = inner.ctx.now();
        let (check, body) = match self.check(&request).await {
            Ok(checked) => checked,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "webhook secrets cannot be read");
                return Answer::Unavailable;
            }
        };
        if refuses(&check) && inner.refusals.check_key(&request.sender).is_err() {
            return Answer::TooMany;
        }
        let received = self.received(&request, check, &body, at);
        inner.writer.record(received, body).await
    }

    /// Forgets senders that have been silent; called now and then.
    pub fn tidy(&self) {
        self.0.refusals.retain_recent();
    }

    async fn check(&self, request: &Request) -> Result<(Check, Vec<u8>), keys::KeysError> {
        let inner = &*self.0;
        let body = match &request.body {
            Body::Whole(body) => body.clone(),
            Body::TooLarge { .. } => return Ok((Check::TooLarge, Vec::new())),
            Body::TooSlow { .. } => return Ok((Check::TooSlow, Vec::new())),
        };
        let signature = match parse_header(request.signatures.iter().map(Vec::as_slice)) {
            Ok(signature) => signature,
            Err(problem) => return Ok((Check::Header(problem), body)),
        };
        let mut keys = inner.keys.get(&inner.ctx, &inner.keyring).await?;
        let mut found = keys.verify(&request.source, &body, &signature);
        if found.is_none() {
            // A version added a moment ago in another process must not cost a delivery.
            let fresh = inner.keys.refresh(&inner.ctx, &inner.keyring, &keys).await?;
            if let Some(fresh) = fresh {
                found = fresh.verify(&request.source, &body, &signature);
                keys = fresh;
            } else if !keys.has_any(&request.source) {
                return Ok((Check::NoSecret, body));
            }
        }
        Ok(match found {
            Some(matches) => {
                let head = read_head(&body);
                let version = keys.choose(&matches, head.as_ref().ok());
                (Check::Matched { version, signature, head }, body)
            }
            None => (Check::Unmatched { signature }, body),
        })
    }

    fn received(&self, request: &Request, check: Check, body: &[u8], at: Timestamp) -> Received {
        let inner = &*self.0;
        let body_bytes = match &request.body {
            Body::Whole(body) => body.len() as u64,
            Body::TooLarge { read } | Body::TooSlow { read } => *read,
        };
        Received {
            id: DeliveryId::new(at, &*inner.ctx.entropy),
            source: request.source.clone(),
            at,
            sender: inner.keyring.fingerprint(request.sender.to_string().as_bytes()),
            user_agent: request.user_agent.as_deref().map(plain),
            event_header: request.event_header.as_deref().map(plain),
            content_encoding: request.content_encoding.as_deref().map(plain),
            body_bytes,
            body_digest: signature::digest(body),
            check,
        }
    }
}

/// The body of a delivery as it was received; `None` where it was not kept.
pub async fn body_of(ctx: &Context, id: &DeliveryId) -> Result<Option<Vec<u8>>, keys::KeysError> {
    let sealed = deliveries::get_body(&mut *ctx.db.reader().await?, id).await?;
    let Some((id, sealed)) = sealed else { return Ok(None) };
    Ok(Some(Keyring::new(&ctx.keys).unseal(id.as_str(), &sealed)?.to_vec()))
}

/// Whether the sender proved nothing: only then does it count against its address.
fn refuses(check: &Check) -> bool {
    match check {
        Check::Matched { .. } | Check::NoSecret => false,
        Check::Unmatched { .. } | Check::TooLarge | Check::TooSlow => true,
        Check::Header(HeaderProblem::Missing | HeaderProblem::Ambiguous | HeaderProblem::Malformed(_)) => {
            true
        }
    }
}

/// A header's text as it is kept: printable ASCII, at most 200 characters.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(200).collect()
}
