//! Takes the requests of log drains: verified over the bytes as received, unpacked within bounds, counted,
//! dropped.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::clock::{Timestamp, truncate};
use crate::domain::logs::{Lines, LogFilter, LogFormat, Matcher, bucket, parse};
use crate::services::Context;
use crate::settings::LogSource;
use crate::store::{StoreError, logs};

/// A batch unpacks to at most this much, however small it arrived.
const UNPACKED_BYTES: u64 = 32 << 20;
/// Memory for batches that are still arriving, over all requests; webhooks have their own.
const BODY_BUDGET: usize = 32 << 20;
/// Filters whose regular expressions are kept compiled.
const KEPT: usize = 1_000;

/// One request of a drain, as it was read.
#[derive(Debug, Default)]
pub struct Delivered {
    pub body: Vec<u8>,
    /// `x-vercel-signature`, or `x-signature` for ndjson.
    pub signature: Option<String>,
    /// `Authorization: Bearer …`, or `x-deploywatch-token`.
    pub token: Option<String>,
    pub gzip: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Read, counted and dropped.
    Counted {
        lines: usize,
        matched: i64,
    },
    /// The same body was counted before.
    Repeated,
    /// Unsigned, where the drain asks only whether the endpoint is ours.
    Handshake,
    Refused,
    /// Signed, and not what the format says.
    Unreadable,
    TooLarge,
    Unavailable,
}

/// Counts lines. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct Drains {
    ctx: Context,
    compiled: Arc<Mutex<HashMap<String, Arc<Matcher>>>>,
    budget: Arc<Semaphore>,
}

impl Drains {
    pub fn new(ctx: Context) -> Self {
        Self { ctx, compiled: Arc::default(), budget: Arc::new(Semaphore::new(BODY_BUDGET / 1024)) }
    }

    /// Room for another KiB of a batch that is arriving; `None` while others fill the memory.
    pub fn reserve_kib(&self, kib: u32) -> Option<SemaphorePermit<'_>> {
        self.budget.try_acquire_many(kib).ok()
    }

    pub fn source(&self, name: &str) -> Option<&LogSource> {
        self.ctx.settings.signals.logs.get(name)
    }

    /// Verifies, reads, counts. Nothing of the lines is kept.
    pub async fn take(&self, name: &str, delivered: Delivered) -> Taken {
        let Some(source) = self.source(name) else { return Taken::Refused };
        let Some(format) = source.format else { return Taken::Refused };
        if format == LogFormat::Vercel && delivered.signature.is_none() && source.verify.is_some() {
            return Taken::Handshake;
        }
        if !verifies(source, format, &delivered) {
            return Taken::Refused;
        }
        let digest = hex::encode(Sha256::digest(&delivered.body));
        // A batch may unpack to much more than it seems, which would hold up the other requests.
        let reading = tokio::task::spawn_blocking(move || {
            let body = if delivered.gzip { unpack(&delivered.body)? } else { delivered.body };
            parse(format, &body).map_err(|_| Taken::Unreadable)
        });
        let lines = match reading.await {
            Ok(Ok(lines)) => lines,
            Ok(Err(refusal)) => return refusal,
            Err(_) => return Taken::Unavailable,
        };
        match self.count(name, format, &lines, &digest).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(source = %name, error = &error as &dyn std::error::Error, "log lines could not be counted");
                Taken::Unavailable
            }
        }
    }

    async fn count(
        &self,
        name: &str,
        format: LogFormat,
        lines: &Lines,
        digest: &str,
    ) -> Result<Taken, StoreError> {
        let now = truncate(self.ctx.now());
        let filters = logs::list_filters(&mut *self.ctx.db.reader().await?, name).await?;
        let mut counts: BTreeMap<(&str, i64), i64> = BTreeMap::new();
        for stored in &filters {
            let Some(matcher) = self.matcher(&stored.id, &stored.filter) else { continue };
            for line in lines.lines.iter().filter(|line| matcher.counts(line)) {
                *counts.entry((&stored.id, bucket(line, now))).or_default() += 1;
            }
        }
        let mut tx = self.ctx.db.begin().await?;
        // Their lines have ids and instants, so that an equal body is a repeated one; anybody's need not.
        if format != LogFormat::Ndjson && !logs::is_new_batch(&mut tx, name, digest, now).await? {
            return Ok(Taken::Repeated);
        }
        for ((filter, bucket), matched) in &counts {
            logs::add(&mut tx, name, filter, *bucket, *matched).await?;
        }
        self.hear(&mut tx, name, lines, now).await?;
        tx.commit().await?;
        Ok(Taken::Counted { lines: lines.lines.len(), matched: counts.values().sum() })
    }

    async fn hear(
        &self,
        tx: &mut crate::store::Tx,
        name: &str,
        lines: &Lines,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let heard = i64::try_from(lines.lines.len()).unwrap_or(i64::MAX);
        if heard == 0 {
            return Ok(());
        }
        logs::hear(tx, name, heard, now).await
    }

    /// The compiled filter; `None` for one that this version cannot read.
    fn matcher(&self, id: &str, filter: &str) -> Option<Arc<Matcher>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(id) {
            return Some(Arc::clone(known));
        }
        let filter: LogFilter = serde_json::from_str(filter).ok()?;
        let matcher = Arc::new(Matcher::new(&filter).ok()?);
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        compiled.insert(id.to_owned(), Arc::clone(&matcher));
        Some(matcher)
    }
}

/// Whether the drain's secret vouches for the bytes as they came.
fn verifies(source: &LogSource, format: LogFormat, delivered: &Delivered) -> bool {
    let Some(secret) = source.secret.as_ref().map(|secret| secret.expose_secret().as_bytes()) else {
        return false;
    };
    let signature = delivered.signature.as_deref().map(str::trim);
    let token = || delivered.token.as_deref().is_some_and(|token| token.as_bytes().ct_eq(secret).into());
    match format {
        // https://vercel.com/docs/drains/security: hex of HMAC-SHA1 over the body.
        LogFormat::Vercel => signature.and_then(|hex| hex::decode(hex).ok()).is_some_and(|claimed| {
            let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret).expect("HMAC takes any key");
            mac.update(&delivered.body);
            mac.verify_slice(&claimed).is_ok()
        }),
        // Supabase does not sign; its custom header carries the secret.
        LogFormat::Supabase => token(),
        LogFormat::Ndjson => match signature {
            Some(signature) => {
                let hex = signature.strip_prefix("sha256=").unwrap_or(signature);
                hex::decode(hex).is_ok_and(|claimed| {
                    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes any key");
                    mac.update(&delivered.body);
                    mac.verify_slice(&claimed).is_ok()
                })
            }
            None => token(),
        },
    }
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, Taken> {
    let mut body = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(packed).take(UNPACKED_BYTES + 1);
    reader.read_to_end(&mut body).map_err(|_| Taken::Unreadable)?;
    if body.len() as u64 > UNPACKED_BYTES { Err(Taken::TooLarge) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn source(format: LogFormat) -> LogSource {
        LogSource {
            format: Some(format),
            secret: Some("key".to_owned().into()),
            verify: None,
            silent_seconds: None,
        }
    }

    const FOX: &[u8] = b"The quick brown fox jumps over the lazy dog";

    fn delivered(signature: Option<&str>, token: Option<&str>) -> Delivered {
        Delivered {
            body: FOX.to_vec(),
            signature: signature.map(str::to_owned),
            token: token.map(str::to_owned),
            gzip: false,
        }
    }

    /// The published test vectors of HMAC-SHA1 and HMAC-SHA256 for this key and text.
    #[test]
    fn the_published_vectors_verify_and_nothing_near_them_does() {
        let sha1 = "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9";
        let sha256 = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        let other = format!("ce{}", &sha1[2..]);
        for (format, signature, token, good) in [
            (LogFormat::Vercel, Some(sha1), None, true),
            (LogFormat::Vercel, Some(other.as_str()), None, false),
            (LogFormat::Vercel, Some(&sha1[..38]), None, false),
            (LogFormat::Vercel, Some(""), None, false),
            (LogFormat::Vercel, None, Some("key"), false),
            (LogFormat::Supabase, None, Some("key"), true),
            (LogFormat::Supabase, None, Some("kez"), false),
            (LogFormat::Supabase, None, Some(""), false),
            (LogFormat::Supabase, Some(sha1), None, false),
            (LogFormat::Ndjson, Some(sha256), None, true),
            (LogFormat::Ndjson, Some(&format!("sha256={sha256}")), None, true),
            (LogFormat::Ndjson, None, Some("key"), true),
            (LogFormat::Ndjson, Some(sha1), Some("key"), false),
            (LogFormat::Ndjson, None, None, false),
        ] {
            let found = verifies(&source(format), format, &delivered(signature, token));
            assert_eq!(found, good, "{format:?} {signature:?} {token:?}");
        }
    }

    #[test]
    fn a_packed_bomb_is_refused() {
        let pack = |bytes: usize| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(&vec![b'a'; bytes]).unwrap();
            packer.finish().unwrap()
        };
        assert_eq!(unpack(&pack(1_000)), Ok(vec![b'a'; 1_000]));
        let bomb = pack(usize::try_from(UNPACKED_BYTES).unwrap() + 1);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(unpack(&bomb), Err(Taken::TooLarge));
        assert_eq!(unpack(b"plain"), Err(Taken::Unreadable));
    }
}
