//! Writes each mail as a file that mail programs open: for development.

use super::message::build;
use super::{Mail, SendError, Taken};
use crate::domain::notification::Stage;
use crate::settings::Email;

/// Writes `DIRECTORY/<instant>-<message id>.eml`. The name is the same on every attempt, so that a repeated
/// one replaces its file.
pub async fn write(settings: &Email, mail: &Mail) -> Result<Taken, SendError> {
    let built = build(settings, mail)?;
    let id: String = mail
        .content
        .message_id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        .collect();
    let name = format!("{}-{id}.eml", mail.date.strftime("%Y%m%dT%H%M%S"));
    let path = settings.directory.join(name);
    let written = async {
        tokio::fs::create_dir_all(&settings.directory).await?;
        let part = path.with_extension("part");
        tokio::fs::write(&part, &built.bytes).await?;
        tokio::fs::rename(&part, &path).await
    };
    written.await.map_err(|error| {
        let directory = settings.directory.display();
        SendError::configuration(
            Stage::Connect,
            format!("the mail could not be written into email.directory ({directory}): {error}"),
        )
    })?;
    Ok(Taken { code: None, answer: format!("written to {}", path.display()) })
}
