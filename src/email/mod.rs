//! Mail: put into words ([`mod@prepare`]), then handed over ([`Mailer`]), far apart from each other.

mod directory;
pub mod late;
mod memory;
mod message;
pub mod prepare;
pub mod samples;
mod smtp;
mod text;

use std::sync::Arc;

pub use memory::Memory;
pub use prepare::{Desk, Letter, Links, prepare};
pub use text::{instant, mask};

use crate::domain::clock::Timestamp;
use crate::domain::notification::{Content, FailureClass, Stage};
use crate::settings::{Email, EmailTransport};

/// A message on its way out. Debug shows neither whom it goes to nor what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    pub to: String,
    pub content: Content,
    /// When it was written, which may be long before it is sent.
    pub date: Timestamp,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("message_id", &self.content.message_id).finish_non_exhaustive()
    }
}

/// The server took a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub code: Option<u16>,
    pub answer: String,
}

/// A message was not taken. The text is for a person who looks at the log of attempts: it may repeat what the
/// server said, addresses included, so it never goes to a log.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SendError {
    pub stage: Stage,
    pub class: FailureClass,
    pub code: Option<u16>,
    pub text: String,
}

impl std::fmt::Debug for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stage, class, code, .. } = self;
        write!(f, "SendError({stage:?}, {class:?}, {code:?})")
    }
}

impl SendError {
    pub fn new(stage: Stage, code: Option<u16>, text: impl Into<String>) -> Self {
        Self { stage, class: FailureClass::of(stage, code), code, text: text.into() }
    }

    /// A failure that only a change of settings ends, whatever the server said.
    pub fn configuration(stage: Stage, text: impl Into<String>) -> Self {
        Self { stage, class: FailureClass::Configuration, code: None, text: text.into() }
    }

    /// Whether the failure says something of the path rather than of this one message.
    pub fn is_of_the_path(&self) -> bool {
        self.stage < Stage::Recipient && self.stage != Stage::Build
    }
}

/// Hands messages over; cheap to clone.
#[derive(Debug, Clone)]
pub enum Mailer {
    Smtp(Arc<Email>),
    Directory(Arc<Email>),
    Memory(Memory, Arc<Email>),
}

impl Mailer {
    pub fn of(settings: &Email) -> Self {
        let settings = Arc::new(settings.clone());
        match settings.transport {
            EmailTransport::Smtp => Self::Smtp(settings),
            EmailTransport::Directory => Self::Directory(settings),
            EmailTransport::Memory => Self::Memory(Memory::default(), settings),
        }
    }

    /// Opens a path for a burst of messages. It is not kept between bursts: servers close idle connections, and
    /// a message would be lost on finding that out.
    pub async fn open(&self) -> Result<Burst, SendError> {
        Ok(match self {
            Self::Smtp(settings) => {
                Burst::Smtp(Box::new(smtp::Session::open(&settings.smtp).await?), settings.clone())
            }
            Self::Directory(settings) => Burst::Directory(settings.clone()),
            Self::Memory(memory, settings) => Burst::Memory(memory.clone(), settings.clone()),
        })
    }

    /// What the memory transport took so far.
    pub fn memory(&self) -> Option<&Memory> {
        match self {
            Self::Memory(memory, _) => Some(memory),
            _ => None,
        }
    }
}

/// An open path.
#[derive(Debug)]
pub enum Burst {
    Smtp(Box<smtp::Session>, Arc<Email>),
    Directory(Arc<Email>),
    Memory(Memory, Arc<Email>),
}

impl Burst {
    /// Hands one message over, within the attempt's deadline.
    pub async fn send(&mut self, mail: &Mail) -> Result<Taken, SendError> {
        match self {
            Self::Smtp(session, settings) => session.send(&message::build(settings, mail)?).await,
            Self::Directory(settings) => directory::write(settings, mail).await,
            Self::Memory(memory, settings) => memory.take(settings, mail),
        }
    }

    /// Whether the path can carry another message.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::Smtp(session, _) => session.is_usable(),
            Self::Directory(_) | Self::Memory(..) => true,
        }
    }

    /// Says goodbye where that is polite.
    pub async fn close(self) {
        if let Self::Smtp(session, _) = self {
            session.close().await;
        }
    }
}
