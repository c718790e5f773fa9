//! What every use case needs, handed in once.

use std::sync::Arc;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::Entropy;
use crate::services::targets::Prober;
use crate::settings::Settings;
use crate::store::Db;

/// Cheap to clone; shared by handlers, jobs and commands.
#[derive(Clone)]
pub struct Context {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub settings: Arc<Settings>,
    /// Measures the watched databases; [`crate::services::targets::Targets`] but in tests.
    pub prober: Arc<dyn Prober>,
}

impl Context {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
