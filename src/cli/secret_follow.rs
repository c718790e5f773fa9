//! `secret rotate --follow`: says each step of a rotation as it happens, until it is complete or stuck.

use std::time::Duration;

use super::Output;
use crate::domain::rotation::Phase;
use crate::domain::secret::Slot;
use crate::services::Context;
use crate::services::secrets::{self, RotationView, SlotView};

/// How often it looks; the states themselves change in the server.
const EVERY: Duration = Duration::from_secs(2);

/// 0 once both sides switched and the old secret is retired (or is only waiting for its overlap, see `until`), 1
/// where a person must act.
pub async fn follow(ctx: &Context, slot: &Slot, until: Until, out: &mut Output) -> anyhow::Result<u8> {
    let mut said = Vec::new();
    loop {
        let views = secrets::status(ctx, Some(&slot.source)).await?;
        let view = views.iter().find(|view| view.mode == slot.mode.as_str());
        let rotation = view.and_then(|view| view.rotation.as_ref());
        let now = lines(view, rotation);
        for line in now.iter().filter(|line| !said.contains(*line)) {
            out.line(line);
        }
        said = now;
        let Some(rotation) = rotation else { return ended(ctx, slot, out).await };
        match rotation.phase {
            Phase::Stuck { .. } | Phase::Overdue => {
                out.line(&format!("{}: {}", rotation.phase.as_str(), rotation.explanation));
                for (number, step) in rotation.next_steps.iter().enumerate() {
                    out.line(&format!("  {}. {step}", number + 1));
                }
                return Ok(1);
            }
            Phase::Draining if until == Until::Switched => return Ok(0),
            _ => tokio::time::sleep(EVERY).await,
        }
    }
}

/// How far to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Both sides use the new secret.
    Switched,
    /// The old secret is retired too, which takes its overlap.
    Completed,
}

fn lines(view: Option<&SlotView>, rotation: Option<&RotationView>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(rotation) = rotation {
        lines.push(format!("{}: {}", rotation.phase.as_str(), rotation.explanation));
        if let Some(proof) = &rotation.provider {
            lines.push(format!("provider: {}", proof.by.describe()));
        }
        if let Some(proof) = &rotation.product {
            lines.push(format!("product: {}", proof.by.describe()));
        }
    }
    for version in view.into_iter().flat_map(|view| &view.versions) {
        lines.push(format!("v{} ({}) is {}", version.version, version.fingerprint, version.state.as_str()));
    }
    lines
}

/// How the newest rotation of the slot ended.
async fn ended(ctx: &Context, slot: &Slot, out: &mut Output) -> anyhow::Result<u8> {
    let Some(end) = secrets::last_end(ctx, slot).await? else {
        anyhow::bail!("no rotation of {slot} was ever begun; `deploywatch secret rotate` begins one");
    };
    let note = if end.note.is_empty() { String::new() } else { format!(": {}", end.note) };
    out.line(&format!("{}{note}", end.how.as_str()));
    Ok(u8::from(end.how != crate::domain::rotation::EndKind::Completed))
}
