//! What the environment and its files hold becomes versions: seen once, kept sealed, never overwriting.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::operations::{self, NewVersion, Who};
use super::{Keyring, SecretError, policy};
use crate::domain::secret::{Evidence, Origin, SecretState, Slot, SlotMode, StateName, format, plan};
use crate::services::Context;
use crate::settings::WebhookSource;
use crate::store::{Tx, secrets};

/// What was found at start, a sentence each, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// Takes in the secrets of the settings as they are now.
pub async fn start(ctx: &Context, keyring: &Keyring) -> Result<Started, SecretError> {
    take_in(ctx, keyring, &ctx.settings.webhooks.sources).await
}

/// Takes in the secrets of these sources, at the start or because a file changed.
///
/// First start: the current value is active, the previous one retires with an overlap from this moment.
/// Later: a value never seen before is staged; a value that was seen, in whatever state, changes nothing, so
/// that an environment which still holds a retired secret does not bring it back.
pub async fn take_in(
    ctx: &Context,
    keyring: &Keyring,
    sources: &BTreeMap<String, WebhookSource>,
) -> Result<Started, SecretError> {
    let mut tx = ctx.db.begin().await?;
    let mut started = Started::default();
    for (name, source) in sources {
        let slots = [
            (SlotMode::Live, &source.secret, &source.secret_previous),
            (SlotMode::Test, &source.test_secret, &source.test_secret_previous),
        ];
        for (mode, current, previous) in slots {
            let slot = Slot { source: name.clone(), mode };
            if let Some(value) = current {
                take(ctx, &mut tx, keyring, &slot, (value, Place::Current), &mut started).await?;
            }
            if let Some(value) = previous {
                take(ctx, &mut tx, keyring, &slot, (value, Place::Previous), &mut started).await?;
            }
        }
        if [&source.secret, &source.test_secret].iter().all(|s| s.is_none())
            && !secrets::list(&mut tx).await?.iter().any(|v| v.slot.source == *name && v.state.is_live())
        {
            started.warnings.push(format!("source {name} has no secret: its endpoint answers 503"));
        }
    }
    tx.commit().await.map_err(crate::store::StoreError::from)?;
    if !started.notes.is_empty() {
        // What was refused without them is verified again at once.
        ctx.nudge.job("webhooks");
    }
    Ok(started)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Current,
    Previous,
}

async fn take(
    ctx: &Context,
    tx: &mut Tx,
    keyring: &Keyring,
    slot: &Slot,
    (value, place): (&SecretString, Place),
    started: &mut Started,
) -> Result<(), SecretError> {
    // A file ends with a newline, which nobody means; anything else odd is kept and warned about.
    let text = value.expose_secret();
    let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.is_empty() {
        return Ok(());
    }
    let scheme = ctx.settings.webhooks.scheme(&slot.source);
    format::inspect(text.as_bytes(), scheme.longest_secret).map_err(plan::Refusal::from)?;
    let (now, policy) = (ctx.now(), policy(&ctx.settings));
    let versions = secrets::list_slot(tx, slot).await?;
    let fingerprint = keyring.fingerprint(text.as_bytes());
    if let Some(known) = versions.iter().find(|v| v.fingerprint == fingerprint) {
        let gone =
            matches!(known.state.name(), StateName::Retired | StateName::Compromised | StateName::Purged);
        if gone && place == Place::Current {
            started.warnings.push(format!(
                "the environment still holds {} of {slot}, which is {}; it is not accepted, update the environment",
                known.label(),
                known.state.name().as_str()
            ));
        }
        return Ok(());
    }
    let state = match place {
        Place::Previous => SecretState::Retiring { since: now, overlap_until: now + policy.overlap },
        Place::Current => match plan::add(&versions, &fingerprint, Evidence::Environment, &policy, now) {
            Ok(plan::Addition::New(state)) => state,
            Ok(plan::Addition::Revive(_)) => return Ok(()),
            Err(refusal) => {
                started.warnings.push(format!("a new secret of {slot} was not taken in: {refusal}"));
                return Ok(());
            }
        },
    };
    let new = NewVersion { slot, secret: text.as_bytes(), origin: Origin::Environment, state };
    let who = Who { actor: "environment".into(), reason: String::new() };
    let version = operations::insert(ctx, tx, keyring, new, &versions, &who).await?;
    for warning in &version.warnings {
        started.warnings.push(format!("{} of {slot}: {}", version.label(), warning.explain()));
    }
    started.notes.push(format!("{} of {slot} is {}", version.label(), version.state.name().as_str()));
    Ok(())
}
