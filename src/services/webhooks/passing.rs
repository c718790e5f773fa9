//! Passing deliveries on to the product, a few at a time: what it does not take is tried again by the plan of
//! `domain::relay`, and its answers tell which secret it holds.

use futures_util::StreamExt;

use super::body;
use super::keys::{KeySet, KeysError};
use super::product;
use crate::domain::clock::SignedDuration;
use crate::domain::ids::{DeliveryId, SecretVersionId};
use crate::domain::relay::{Reaction, react, refuses_signature, wait_after};
use crate::domain::secret::{SecretVersion, Slot};
use crate::domain::signature::scheme::Events;
use crate::domain::signature::{Scheme, SigningKey};
use crate::relay::{Forward, ForwardError, Outbound, Reply};
use crate::services::secrets::{Keyring, SecretError};
use crate::services::{Context, alerting};
use crate::settings::WebhookSource;
use crate::store::relays::Due;
use crate::store::{StoreError, deliveries, products, relays};

/// Deliveries of one claim, and how many are under way at once. All of them together end before the claim
/// does, however slow the product: 64 / 16 × 15 s.
const AT_ONCE: u32 = 64;
const UNDER_WAY: usize = 16;
const LEASE: SignedDuration = SignedDuration::from_mins(3);
/// Claims of one activation; the next one goes on.
const CLAIMS: usize = 20;

/// Why something was not passed on.
#[derive(Debug, thiserror::Error)]
pub enum PassingError {
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Secrets(#[from] SecretError),
    #[error("the store is not available")]
    Store(#[from] StoreError),
    #[error("the delivery {0} was not accepted, or its source has no product_url; nothing was passed on")]
    NotQueued(DeliveryId),
    #[error("the source {0} has no product_url to send to")]
    NoProduct(String),
    #[error("a probe needs a new and an old secret in {0}; begin a rotation first")]
    NothingToCompare(Slot),
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Sends what is due. Several processes may do so at once; each delivery is claimed by one.
pub async fn pass_on(ctx: &Context) -> Result<u64, PassingError> {
    let mut done = 0;
    for _ in 0..CLAIMS {
        let now = ctx.now();
        let due = {
            let mut tx = ctx.db.begin().await?;
            let skip_locked = ctx.db.engine().skip_locked();
            let due = relays::claim_due(&mut tx, skip_locked, now, now + LEASE, AT_ONCE).await?;
            if due.is_empty() {
                return Ok(done);
            }
            tx.commit().await.map_err(StoreError::from)?;
            due
        };
        let keyring = Keyring::new(&ctx.keys);
        let keys = KeySet::load(ctx, &keyring).await?;
        let pass = Pass { ctx, keyring: &keyring, keys: &keys, outbound: Outbound::new()? };
        // One that cannot be recorded keeps none of the others back; its claim ends by itself.
        let results: Vec<Result<(), StoreError>> = futures_util::stream::iter(due)
            .map(|due| pass.one(due))
            .buffer_unordered(UNDER_WAY)
            .collect()
            .await;
        done += results.iter().filter(|result| result.is_ok()).count() as u64;
        for result in results {
            result?;
        }
    }
    Ok(done)
}

struct Pass<'a> {
    ctx: &'a Context,
    keyring: &'a Keyring,
    keys: &'a KeySet,
    outbound: Outbound,
}

/// What a delivery consists of on its way out.
struct Parcel {
    url: url::Url,
    body: Vec<u8>,
    headers: Vec<(String, String)>,
    /// Whether the headers are those of the request, its signature among them.
    original: bool,
    traceparent: String,
}

impl Pass<'_> {
    async fn one(&self, due: Due) -> Result<(), StoreError> {
        let (ctx, due) = (self.ctx, &due);
        let source = ctx.settings.webhooks.sources.get(&due.source);
        let held = self.keys.all().iter().find(|(version, _)| version.id == due.version);
        let parcel = self.pack(source, due).await?;
        let (Some(source), Some(parcel), Some((version, _))) = (source, parcel, held) else {
            let mut tx = ctx.db.begin().await?;
            let why = "its body, its secret or the product's address is gone";
            relays::finish(&mut tx, &due.delivery, "dead", None, (None, Some(why)), None).await?;
            tx.commit().await?;
            return Ok(());
        };
        let (sent, signed_with) = self.send(source, &parcel, due, version).await?;
        let (status, error) = match &sent {
            Ok(reply) => (Some(reply.status), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let reaction = status.map_or(Reaction::Trouble, |status| react(version.state.name(), status));
        let now = ctx.now();
        let mut random = [0_u8; 1];
        ctx.entropy.fill(&mut random);
        let (state, next) = match (reaction, wait_after(due.attempts, random[0])) {
            (Reaction::Accepted, _) => ("delivered", None),
            (_, Some(wait)) => ("queued", Some(now + wait)),
            (_, None) => ("dead", None),
        };
        let told = product::Attempt { due, version, reaction, status, dead: state == "dead", now };
        let mut tx = ctx.db.begin().await?;
        let finding = (status, error.as_deref());
        relays::finish(&mut tx, &due.delivery, state, next, finding, Some(&signed_with)).await?;
        let signals = product::signals(ctx, &mut tx, &told).await?;
        if !signals.is_empty() {
            alerting::record(ctx, &mut tx, &signals).await?;
        }
        if reaction == Reaction::Accepted {
            let by = self.keys.all().iter().find(|(held, _)| held.id == signed_with);
            if let Some((by, _)) = by {
                product::took(&mut tx, by, &due.delivery, now).await?;
            }
        }
        tx.commit().await?;
        if !signals.is_empty() {
            ctx.nudge.job(alerting::OUTBOX_JOB);
        }
        Ok(())
    }

    /// Body and headers as they came; `None` where they are gone.
    async fn pack(&self, source: Option<&WebhookSource>, due: &Due) -> Result<Option<Parcel>, StoreError> {
        let Some(url) = source.and_then(|source| source.product_url.clone()) else { return Ok(None) };
        let mut reader = self.ctx.db.reader().await?;
        let Some((id, sealed)) = deliveries::get_body(&mut reader, &due.delivery).await? else {
            return Ok(None);
        };
        let Ok(body) = body::open(self.keyring, &id, &sealed) else { return Ok(None) };
        let kept = products::get_headers(&mut reader, &id).await?;
        let kept = kept.and_then(|sealed| open_headers(self.keyring, &id, &sealed));
        let original = kept.is_some();
        let scheme = self.ctx.settings.webhooks.scheme(&due.source);
        let headers = kept.unwrap_or_else(|| usual_headers(&scheme, &due.event_name));
        let traceparent = traceparent(self.ctx, &headers);
        Ok(Some(Parcel { url, body, headers, original, traceparent }))
    }

    /// Sends with the signature of the version that the delivery was signed with. Where the source asks for it,
    /// a refusal is answered with the signatures of the other live versions, the one that the product is known
    /// to hold first, so that a half-done rotation costs no delivery.
    async fn send(
        &self,
        source: &WebhookSource,
        parcel: &Parcel,
        due: &Due,
        matched: &SecretVersion,
    ) -> Result<(Result<Reply, ForwardError>, SecretVersionId), StoreError> {
        let mut order: Vec<&(SecretVersion, SigningKey)> =
            self.keys.all().iter().filter(|(v, _)| v.slot == matched.slot).collect();
        if source.product_resign {
            let known = products::get(&mut *self.ctx.db.reader().await?, &matched.slot).await?;
            let known = known.map(|held| held.version);
            order.retain(|(v, _)| v.state.is_live() || v.id == matched.id);
            order.sort_by_key(|(v, _)| {
                (known.as_ref() != Some(&v.id), v.id != matched.id, v.state.preference())
            });
        } else {
            order.retain(|(v, _)| v.id == matched.id);
        }
        let mut last = None;
        for (version, key) in order {
            let signer = (!parcel.original || version.id != matched.id).then_some(key);
            let sent = self.attempt(parcel, due, signer).await;
            let refused = matches!(&sent, Ok(reply) if refuses_signature(reply.status));
            last = Some((sent, version.id.clone()));
            if !refused {
                break;
            }
        }
        Ok(last.expect("the matched version is always tried"))
    }

    /// One request; without a signer it goes out with the signature that it came with.
    async fn attempt(
        &self,
        parcel: &Parcel,
        due: &Due,
        signer: Option<&SigningKey>,
    ) -> Result<Reply, ForwardError> {
        let mut headers = parcel.headers.clone();
        headers.retain(|(name, _)| name != "traceparent");
        if let Some(key) = signer {
            let scheme = self.ctx.settings.webhooks.scheme(&due.source);
            let signed = scheme.sign(key, due.delivery.as_str(), self.ctx.now(), &parcel.body);
            headers.retain(|(name, _)| signed.iter().all(|(ours, _)| ours != name));
            headers.extend(signed);
        }
        self.outbound
            .send(Forward {
                url: &parcel.url,
                body: parcel.body.clone(),
                headers,
                traceparent: parcel.traceparent.clone(),
                delivery: due.delivery.to_string(),
            })
            .await
    }
}

/// What the provider's requests carry beside the signature.
pub(super) fn usual_headers(scheme: &Scheme, event_name: &str) -> Vec<(String, String)> {
    let agent = scheme.agents.first().map_or("deploywatch", |agent| agent);
    let mut headers = vec![("user-agent", agent), ("content-type", "application/json")];
    if scheme.events == Events::LemonSqueezy {
        headers.push(("x-event-name", event_name));
    }
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    headers.into_iter().map(own).collect()
}

/// Headers that concern one connection, our own proxies or somebody's session: they are not passed on.
fn is_own(name: &str) -> bool {
    const OWN: [&str; 17] = [
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
    ];
    OWN.contains(&name) || name.starts_with("x-forwarded-") || name.starts_with("cf-")
}

/// As many bytes of headers as are kept: what exceeds them is no webhook's.
const HEADER_BYTES: usize = 8 * 1024;

/// What of a request's headers goes on to the product, sealed for the store.
pub(super) fn seal_headers(
    ctx: &Context,
    keyring: &Keyring,
    id: &DeliveryId,
    headers: &[(String, String)],
) -> Option<Vec<u8>> {
    let kept: Vec<&(String, String)> = headers.iter().filter(|(name, _)| !is_own(name)).collect();
    let text = serde_json::to_vec(&kept).expect("headers are text");
    (text.len() <= HEADER_BYTES).then(|| keyring.seal(&*ctx.entropy, &headers_of(id), &text))
}

fn open_headers(keyring: &Keyring, id: &DeliveryId, sealed: &[u8]) -> Option<Vec<(String, String)>> {
    serde_json::from_slice(&keyring.unseal(&headers_of(id), sealed).ok()?).ok()
}

fn headers_of(id: &DeliveryId) -> String {
    format!("{id} headers")
}

/// Joins the trace that the request came with, else begins one.
pub(super) fn traceparent(ctx: &Context, headers: &[(String, String)]) -> String {
    let mut bytes = [0_u8; 24];
    ctx.entropy.fill(&mut bytes);
    let given = headers.iter().find(|(name, _)| name == "traceparent").and_then(|(_, value)| trace_of(value));
    let trace = given.unwrap_or_else(|| hex::encode(&bytes[..16]));
    format!("00-{trace}-{}-01", hex::encode(&bytes[16..]))
}

/// The trace's id of a well-formed `traceparent`.
fn trace_of(value: &str) -> Option<String> {
    let mut parts = value.split('-');
    let (version, trace, parent, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let well = version.len() == 2 && trace.len() == 32 && parent.len() == 16 && hex(trace) && hex(parent);
    (well && trace.bytes().any(|b| b != b'0')).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_joined_only_where_it_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_of(good).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in ["", "00", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "00-1-2-3"] {
            assert_eq!(trace_of(bad), None, "{bad}");
        }
        assert_eq!(trace_of(&format!("00-{}-b7ad6b7169203331-01", "0".repeat(32))), None);
    }

    #[test]
    fn what_concerns_a_connection_or_a_session_stays_here() {
        for name in
            ["host", "cookie", "authorization", "x-forwarded-for", "cf-connecting-ip", "content-length"]
        {
            assert!(is_own(name), "{name}");
        }
        for name in [
            "x-signature",
            "x-event-name",
            "user-agent",
            "content-type",
            "content-encoding",
            "stripe-signature",
        ] {
            assert!(!is_own(name), "{name}");
        }
    }
}
