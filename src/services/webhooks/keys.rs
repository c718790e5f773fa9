//! The keys in memory: read from the store when its generation grew, asked at most once a few seconds and
//! whenever a signature fits none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use crate::domain::clock::{SignedDuration, Timestamp, from_micros, to_micros};
use crate::domain::delivery::EventHead;
use crate::domain::ids::SecretVersionId;
use crate::domain::secret::SecretVersion;
use crate::domain::signature::{Claim, Scheme, SigningKey, verify};
use crate::services::Context;
use crate::services::secrets::{Keyring, Unsealable};
use crate::store::{StoreError, secrets};

const FRESH_FOR: SignedDuration = SignedDuration::from_secs(3);

/// Why the keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("the store did not answer")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keyring(#[from] Unsealable),
}

/// Every key of every source, live or kept for detection.
#[derive(Debug)]
pub(super) struct KeySet {
    generation: i64,
    /// Microseconds; moves on when nothing had changed.
    read_at: AtomicI64,
    keys: Vec<(SecretVersion, SigningKey)>,
    /// How each source that has a key signs.
    schemes: HashMap<String, Scheme>,
}

impl KeySet {
    pub async fn load(ctx: &Context, keyring: &Keyring) -> Result<Self, KeysError> {
        let mut reader = ctx.db.reader().await?;
        // The generation first: a change in between is seen by the next question.
        let generation = secrets::generation(&mut reader).await?;
        let mut keys = Vec::new();
        let mut schemes = HashMap::new();
        for row in secrets::list_sealed(&mut reader).await? {
            let Some(sealed) = row.sealed else { continue };
            let secret = keyring.unseal(row.version.id.as_str(), &sealed)?;
            let source = &row.version.slot.source;
            let scheme =
                schemes.entry(source.clone()).or_insert_with(|| ctx.settings.webhooks.scheme(source));
            match scheme.key(&secret) {
                Ok(key) => keys.push((row.version, key)),
                // The source was given another scheme since; its other secrets still count.
                Err(error) => {
                    let version = row.version.label();
                    tracing::error!(source, version, error = %error, "a webhook secret cannot be used");
                }
            }
        }
        let read_at = AtomicI64::new(to_micros(ctx.now()));
        Ok(Self { generation, read_at, keys, schemes })
    }

    fn read_at(&self) -> Timestamp {
        from_micros(self.read_at.load(Ordering::Relaxed))
    }

    pub fn all(&self) -> &[(SecretVersion, SigningKey)] {
        &self.keys
    }

    /// How a source signs that has a key here.
    pub fn scheme(&self, source: &str) -> Option<&Scheme> {
        self.schemes.get(source)
    }

    pub fn has_any(&self, source: &str) -> bool {
        self.keys.iter().any(|(version, _)| version.slot.source == source)
    }

    /// The positions of the versions of `source` that verify `body`; `None` if there is none. All of the
    /// source are computed.
    pub fn verify(&self, source: &str, body: &[u8], claim: &Claim) -> Option<Vec<usize>> {
        let scheme = self.schemes.get(source)?;
        let mine: Vec<usize> =
            (0..self.keys.len()).filter(|at| self.keys[*at].0.slot.source == source).collect();
        let found = verify(scheme, body, claim, mine.iter().map(|at| &self.keys[*at].1));
        let found: Vec<usize> = found.into_iter().map(|at| mine[at]).collect();
        (!found.is_empty()).then_some(found)
    }

    /// Whether one of these may decide that a delivery is genuine.
    pub fn any_live(&self, found: &[usize]) -> bool {
        found.iter().any(|at| self.keys[*at].0.state.is_live())
    }

    /// Where two slots hold the same value, the one whose mode the body names; among the versions of a
    /// slot, the one that accepts most.
    pub fn choose(&self, found: &[usize], head: Option<&EventHead>) -> SecretVersionId {
        let other_mode = |v: &SecretVersion| head.is_some_and(|head| head.mode() != v.slot.mode);
        let versions = found.iter().map(|at| &self.keys[*at].0);
        let best = versions.min_by_key(|v| (!v.state.is_live(), other_mode(v), v.state.preference()));
        best.expect("at least one version was found").id.clone()
    }
}

/// The current key set, replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct KeyCache {
    held: RwLock<Option<Arc<KeySet>>>,
    asking: tokio::sync::Mutex<()>,
}

impl KeyCache {
    /// The keys, at most a few seconds old.
    pub async fn get(&self, ctx: &Context, keyring: &Keyring) -> Result<Arc<KeySet>, KeysError> {
        let held = self.held.read().expect("nobody panics with this lock").clone();
        match held {
            Some(keys) if ctx.now().duration_since(keys.read_at()) < FRESH_FOR => Ok(keys),
            // One asks, the others go on with what is there.
            Some(keys) => match self.asking.try_lock() {
                Ok(_alone) => self.ask(ctx, keyring, keys).await,
                Err(_) => Ok(keys),
            },
            None => self.replace(KeySet::load(ctx, keyring).await?),
        }
    }

    async fn ask(
        &self,
        ctx: &Context,
        keyring: &Keyring,
        held: Arc<KeySet>,
    ) -> Result<Arc<KeySet>, KeysError> {
        if let Some(fresh) = self.refresh(ctx, keyring, &held).await? {
            return Ok(fresh);
        }
        held.read_at.store(to_micros(ctx.now()), Ordering::Relaxed);
        Ok(held)
    }

    /// Asks whether something changed since `held`; `None` if not.
    pub async fn refresh(
        &self,
        ctx: &Context,
        keyring: &Keyring,
        held: &KeySet,
    ) -> Result<Option<Arc<KeySet>>, KeysError> {
        let generation = secrets::generation(&mut *ctx.db.reader().await?).await?;
        if generation != held.generation {
            return Ok(Some(self.replace(KeySet::load(ctx, keyring).await?)?));
        }
        Ok(None)
    }

    fn replace(&self, keys: KeySet) -> Result<Arc<KeySet>, KeysError> {
        let keys = Arc::new(keys);
        *self.held.write().expect("nobody panics with this lock") = Some(Arc::clone(&keys));
        Ok(keys)
    }
}
