//! Webhooks: verify the bytes, commit what they mean, only then answer.
//!
//! Verification needs no store and runs in the request; recording goes through one writer, which commits
//! for many requests at once and answers each after its own commit.

mod advance;
mod batch;
mod body;
mod keys;
mod late;
mod looking;
mod notices;
mod passing;
mod probing;
mod product;
mod replaying;
mod search;
mod signals;
mod upkeep;
mod writer;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::{DefaultDirectRateLimiter, Quota};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use keys::KeysError;
pub use late::verify_again;
pub use passing::{PassingError, pass_on};
pub use probing::probe;
pub use replaying::{Replayed, replay, replay_all};
pub use search::{Page, Search, SearchError, search};
pub use upkeep::{forget, upkeep};

use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::delivery::{Answer, Check, Received, read_event};
use crate::domain::ids::DeliveryId;
use crate::domain::secret::SecretVersion;
use crate::domain::signature::scheme::{Events, Text};
use crate::domain::signature::{self, HeaderProblem, Headers, Scheme};
use crate::services::Context;
use crate::services::refusals::Refusals;
use crate::services::secrets::{Keyring, SharedKeyring};
use crate::store::deliveries;
use keys::KeyCache;
use passing::seal_headers;

/// Memory for bodies that are still arriving, over all requests.
const BODY_BUDGET: usize = 64 * 1024 * 1024;
const DOUBTS_A_SECOND: NonZeroU32 = NonZeroU32::new(50).expect("50 is not zero");
const TELL_SLOWED: SignedDuration = SignedDuration::from_mins(10);

/// A request as the driver read it: nothing is interpreted yet.
#[derive(Debug, Clone)]
pub struct Request {
    pub source: String,
    pub body: Body,
    /// The headers that [`Ingest::wanted`] names.
    pub headers: Headers,
    pub user_agent: Option<String>,
    pub event_header: Option<String>,
    pub content_encoding: Option<String>,
    /// What the product gets beside the body; empty where nothing is passed on.
    pub passed_on: Vec<(String, String)>,
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
    sources: HashMap<String, Source>,
    writer: writer::Writer,
    refusals: Refusals,
    /// How often an unknown signature makes us look for new secrets.
    doubts: DefaultDirectRateLimiter,
    budget: Semaphore,
    /// When on-call was last told that a source's senders are slowed down.
    slowed: Mutex<HashMap<String, Timestamp>>,
    /// Requests are handled on runtimes that end with the server.
    home: Handle,
}

/// What never changes about a source while the program runs.
struct Source {
    scheme: Scheme,
    wanted: Vec<Text>,
    agents: Arc<[Text]>,
}

impl Ingest {
    /// Starts the writer; it ends when the last clone is gone.
    pub fn start(ctx: Context) -> Self {
        let keyring = Arc::new(Keyring::new(&ctx.keys));
        let writer = writer::Writer::start(ctx.clone(), Arc::clone(&keyring));
        let names = ctx.settings.webhooks.sources.keys().map(String::as_str).chain(["lemonsqueezy"]);
        let sources = names.map(|name| {
            let scheme = ctx.settings.webhooks.scheme(name);
            let (wanted, agents) = (scheme.wanted(), scheme.agents.clone().into());
            (name.to_owned(), Source { scheme, wanted, agents })
        });
        Self(Arc::new(Inner {
            keys: KeyCache::default(),
            sources: sources.collect(),
            writer,
            refusals: Refusals::default(),
            doubts: DefaultDirectRateLimiter::direct(Quota::per_second(DOUBTS_A_SECOND)),
            budget: Semaphore::new(BODY_BUDGET / 1024),
            slowed: Mutex::default(),
            home: Handle::current(),
            ctx,
            keyring,
        }))
    }

    /// Room for another KiB of a body that is arriving; `None` while others fill the memory.
    pub fn reserve_kib(&self, kib: u32) -> Option<SemaphorePermit<'_>> {
        self.0.budget.try_acquire_many(kib).ok()
    }

    /// The headers to read of a request to this source; `None` where there is no such source.
    pub fn wanted(&self, source: &str) -> Option<&[Text]> {
        Some(&self.0.sources.get(source)?.wanted)
    }

    /// Whether deliveries of this source go on to a product.
    pub fn passes_on(&self, source: &str) -> bool {
        self.0.ctx.settings.webhooks.sources.get(source).is_some_and(|source| source.product_url.is_some())
    }

    /// Verifies, records and says what to answer. Whatever is answered is in the store, except 429 and 503.
    pub async fn receive(&self, request: Request) -> Answer {
        let inner = &*self.0;
        let at = inner.ctx.now();
        let (check, body, digest) = match self.check(&request, at).await {
            Ok(checked) => checked,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "webhook secrets cannot be read");
                return Answer::Unavailable;
            }
        };
        if refuses(&check) && inner.refusals.too_many(request.sender) {
            inner.slowed_down(&request.source, at);
            return Answer::TooMany;
        }
        let received = self.received(&request, check, digest, at);
        let agents = inner.sources.get(&request.source).map_or_else(|| [].into(), |s| Arc::clone(&s.agents));
        let headers = (!request.passed_on.is_empty())
            .then(|| seal_headers(&inner.ctx, &inner.keyring, &received.id, &request.passed_on))
            .flatten();
        // Sealed here, beside others, and not by the one writer.
        let sealed = matches!(received.check, Check::Matched { .. })
            .then(|| body::seal(&inner.keyring, &*inner.ctx.entropy, &received.id, &body));
        inner.writer.record(writer::Item { received, body, agents, sealed, headers }).await
    }

    /// What the request proves, with its body and the body's digest.
    async fn check(
        &self,
        request: &Request,
        at: Timestamp,
    ) -> Result<(Check, Vec<u8>, String), keys::KeysError> {
        let inner = &*self.0;
        let body = match &request.body {
            Body::Whole(body) => body.clone(),
            Body::TooLarge { .. } => return Ok((Check::TooLarge, Vec::new(), signature::digest(b""))),
            Body::TooSlow { .. } => return Ok((Check::TooSlow, Vec::new(), signature::digest(b""))),
        };
        let digest = signature::digest(&body);
        let Some(Source { scheme, .. }) = inner.sources.get(&request.source) else {
            return Ok((Check::NoSecret, body, digest));
        };
        let claim = match scheme.read(&request.headers) {
            Ok(claim) => claim,
            Err(problem) => return Ok((Check::Header(problem), body, digest)),
        };
        let mut keys = inner.keys.get(&inner.ctx, &inner.keyring).await?;
        let mut found = keys.verify(&request.source, &body, &claim);
        if found.is_none() {
            // A version added a moment ago in another process must not cost a delivery; strangers must not make
            // us ask the store at their pace.
            let fresh = match inner.doubts.check() {
                Ok(()) => inner.keys.refresh(&inner.ctx, &inner.keyring, &keys).await?,
                Err(_) => None,
            };
            if let Some(fresh) = fresh {
                found = fresh.verify(&request.source, &body, &claim);
                keys = fresh;
            } else if !keys.has_any(&request.source) {
                return Ok((Check::NoSecret, body, digest));
            }
        }
        let check = match found {
            Some(matches) => match scheme.too_far_off(&claim, at) {
                Some(seconds) => Check::OffTime { seconds },
                None => {
                    let head = read_event(scheme, &claim, &body, &digest);
                    let version = keys.choose(&matches, head.as_ref().ok());
                    Check::Matched { version, claim, head }
                }
            },
            None => Check::Unmatched { claim },
        };
        Ok((check, body, digest))
    }

    fn received(&self, request: &Request, check: Check, digest: String, at: Timestamp) -> Received {
        let inner = &*self.0;
        let names_events = matches!(
            inner.sources.get(&request.source),
            Some(Source { scheme: Scheme { events: Events::LemonSqueezy, .. }, .. })
        );
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
            // Only Lemon Squeezy sends the name that its body holds as well.
            event_header: request.event_header.as_deref().filter(|_| names_events).map(plain),
            content_encoding: request.content_encoding.as_deref().map(plain),
            body_bytes,
            body_digest: digest,
            check,
        }
    }
}

impl Inner {
    /// Tells on-call, off the request's path and once in a while.
    fn slowed_down(&self, source: &str, at: Timestamp) {
        let mut last = self.slowed.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(source).is_some_and(|last| at.duration_since(*last) < TELL_SLOWED) {
            return;
        }
        last.insert(source.to_owned(), at);
        let (ctx, source) = (self.ctx.clone(), source.to_owned());
        self.home.spawn(async move {
            let odd = notices::Odd::new(&source, notices::Oddity::TooMany, at);
            if let Err(error) = notices::tell(&ctx, &odd).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "on-call could not be told of refusals"
                );
            }
        });
    }
}

/// The body of a delivery as it was received; `None` where it was not kept.
pub async fn body_of(ctx: &Context, id: &DeliveryId) -> Result<Option<Vec<u8>>, keys::KeysError> {
    let sealed = deliveries::get_body(&mut *ctx.db.reader().await?, id).await?;
    let Some((id, sealed)) = sealed else { return Ok(None) };
    Ok(Some(body::open(&Keyring::new(&ctx.keys), &id, &sealed)?))
}

/// The value of a version of a source (`v3`, or a fingerprint), for signing a test; `None` where there is none or
/// its value is gone.
pub async fn secret_of(
    ctx: &Context,
    source: &str,
    version: &str,
) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, keys::KeysError> {
    let keys = keys::KeySet::load(ctx, &Keyring::new(&ctx.keys)).await?;
    let called = |v: &SecretVersion| {
        v.slot.source == source && (v.fingerprint == version || format!("v{}", v.number) == version)
    };
    let found = keys.all().iter().find(|(v, _)| called(v));
    Ok(found.map(|(_, key)| zeroize::Zeroizing::new(key.expose().to_vec())))
}

/// Whether the sender proved nothing: only then does it count against its address.
fn refuses(check: &Check) -> bool {
    match check {
        Check::Matched { .. } | Check::NoSecret => false,
        Check::Unmatched { .. } | Check::OffTime { .. } | Check::TooLarge | Check::TooSlow => true,
        Check::Header(HeaderProblem::Missing | HeaderProblem::Ambiguous | HeaderProblem::Malformed(_)) => {
            true
        }
    }
}

/// A header's text as it is kept: printable ASCII, at most 200 characters.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(200).collect()
}
