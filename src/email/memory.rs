//! Keeps mails in memory: for the demo and for tests.

use std::sync::{Arc, Mutex, PoisonError};

use super::message::build;
use super::{Mail, SendError, Taken};
use crate::settings::Email;

/// The mails that were taken, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    mails: Vec<Mail>,
    /// What the next attempts are answered with, before mails are taken again.
    failures: Vec<SendError>,
}

impl Memory {
    /// The mails that were taken, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).mails.clone()
    }

    /// The next attempt fails with `error`; called twice, the next two.
    pub fn fail_next(&self, error: SendError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failures.push(error);
    }

    pub(super) fn take(&self, settings: &Email, mail: &Mail) -> Result<Taken, SendError> {
        build(settings, mail)?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.failures.is_empty() {
            return Err(kept.failures.remove(0));
        }
        kept.mails.push(mail.clone());
        Ok(Taken { code: Some(250), answer: "kept in memory".into() })
    }
}
