//! Our own small JSON, for every system that can send one.

use serde::Deserialize;

use super::{Action, Heard, Malformed, Release, Wish, parse};
use crate::domain::deploy::DeployKind;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    action: Word,
    version: String,
    /// The same id is the same request, however often it arrives.
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    environment: Option<String>,
    #[serde(default)]
    commit: Option<String>,
    #[serde(default = "normal")]
    kind: DeployKind,
    #[serde(default)]
    actor: Option<String>,
    #[serde(default)]
    link: Option<String>,
    /// Of a cancel.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Start,
    Finish,
    Cancel,
}

fn normal() -> DeployKind {
    DeployKind::Normal
}

/// The request's own id and the wish, from a verified body.
pub fn hear(body: &[u8]) -> Result<(Option<String>, Heard), Malformed> {
    let asked: Announcement = parse("generic", body)?;
    if asked.version.trim().is_empty() {
        return Err(Malformed { event: "generic".into(), because: "`version` is empty".into() });
    }
    let release = Release {
        version: asked.version.trim().to_owned(),
        commit: asked.commit,
        kind: asked.kind,
        actor: asked.actor,
        link: asked.link,
    };
    let action = match asked.action {
        Word::Start => Action::Start(release),
        Word::Finish => Action::Finish(release),
        Word::Cancel => {
            let reason = asked.reason.filter(|reason| !reason.trim().is_empty());
            Action::Cancel { release, reason: reason.unwrap_or_else(|| "cancelled by its trigger".into()) }
        }
    };
    let wish = Wish {
        event: action.word().to_owned(),
        places: vec![asked.environment.unwrap_or_default()],
        repository: None,
        action,
        answers: Vec::new(),
    };
    Ok((asked.id, Heard::Wish(Box::new(wish))))
}
