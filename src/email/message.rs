//! A mail as the bytes that go over the wire.

use std::time::SystemTime;

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use super::{Mail, SendError};
use crate::domain::notification::Stage;
use crate::settings::Email;

/// A message with its envelope.
pub struct Built {
    pub envelope: lettre::address::Envelope,
    pub bytes: Vec<u8>,
}

/// Puts `mail` together; the same mail gives the same bytes on every attempt.
pub fn build(settings: &Email, mail: &Mail) -> Result<Built, SendError> {
    let content = &mail.content;
    let wrong = |what: &str| SendError::new(Stage::Build, None, format!("{what} is not a mail address"));
    let from: Mailbox = settings.from.parse().map_err(|_| wrong("email.from"))?;
    let to: Mailbox = mail.to.parse().map_err(|_| wrong("the recipient"))?;
    let mut builder = Message::builder()
        .from(from)
        .to(to)
        .subject(&content.subject)
        .date(SystemTime::from(mail.date))
        .message_id(Some(content.message_id.clone()));
    if let Some(reply_to) = &settings.reply_to {
        builder = builder.reply_to(reply_to.parse().map_err(|_| wrong("email.reply_to"))?);
    }
    for (name, value) in &content.headers {
        let name = HeaderName::new_from_ascii(name.clone())
            .map_err(|_| SendError::new(Stage::Build, None, "a header's name is not ASCII"))?;
        builder = builder.raw_header(HeaderValue::new(name, value.clone()));
    }
    let digest = hex::encode(Sha256::digest(&content.message_id));
    let body = MultiPart::alternative()
        .boundary(format!("dw-{}", &digest[..24]))
        .singlepart(SinglePart::plain(content.text.clone()))
        .singlepart(SinglePart::html(content.html.clone()));
    let message = builder.multipart(body).map_err(|error| {
        SendError::new(Stage::Build, None, format!("it could not be put together: {error}"))
    })?;
    Ok(Built { envelope: message.envelope().clone(), bytes: message.formatted() })
}
