//! The checks that deploys are watched by, kept in memory: they never change under their digest, and a fleet of
//! ten thousand windows with one suite would parse the same text ten thousand times a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::AnyConnection;

use crate::domain::check::Check;
use crate::store::{StoreError, deploys};

/// Sets kept at most; beyond, all are forgotten and read again as they are needed.
const KEPT: usize = 256;

/// Cheap to clone; shared by everything in a process.
#[derive(Debug, Clone, Default)]
pub struct CheckSets(Arc<Mutex<ByDigest>>);

type ByDigest = HashMap<String, Arc<[Arc<Check>]>>;

impl CheckSets {
    /// The checks under a digest.
    pub async fn get(&self, c: &mut AnyConnection, digest: &str) -> Result<Arc<[Arc<Check>]>, StoreError> {
        if let Some(known) = self.lock().get(digest) {
            return Ok(Arc::clone(known));
        }
        let read = deploys::get_check_set(c, digest).await?;
        let checks: Arc<[Arc<Check>]> = read.into_iter().map(Arc::new).collect();
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(digest.to_owned(), Arc::clone(&checks));
        Ok(checks)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<[Arc<Check>]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
