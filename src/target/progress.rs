//! How far a scan has come, told to whoever waits for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Called after each statement of a scan with the number of checks that have an answer by then.
///
/// A scan that has to read everything once more begins again at a lower number.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(usize) + Send + Sync>>);

impl Progress {
    pub fn to(told: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    /// A counter for one pass over the checks, some of which are answered before anything is read.
    pub fn begin(&self, answered: usize) -> Pass<'_> {
        let pass = Pass { progress: self, answered: AtomicUsize::new(0) };
        pass.answered(answered);
        pass
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(told)" } else { "Progress" })
    }
}

/// One pass over a scan's checks; the connections of the scan count together.
#[derive(Debug)]
pub struct Pass<'a> {
    progress: &'a Progress,
    answered: AtomicUsize,
}

impl Pass<'_> {
    pub fn answered(&self, more: usize) {
        let now = self.answered.fetch_add(more, Ordering::Relaxed) + more;
        if let Some(tell) = &self.progress.0 {
            tell(now);
        }
    }
}
