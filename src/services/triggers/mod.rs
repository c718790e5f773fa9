//! Taking in what providers tell us of releases: verified, stored, answered; then carried out by a job, so that
//! a provider never waits for a baseline and a restart loses nothing.

mod run;

use secrecy::ExposeSecret;

use crate::domain::ids::uuid_v7;
use crate::domain::signature::digest;
use crate::domain::trigger::{Address, Heard, Malformed, Provider, Wish, generic, github, signed, vercel};
use crate::services::Context;
use crate::settings::Trigger;
use crate::store::StoreError;
use crate::store::triggers::{self, TriggerEvent};

pub use run::run_due;

/// The job's name in the scheduler's table.
pub const JOB: &str = "triggers";

/// A request as it arrived. `Debug` shows none of it.
pub struct Request<'a> {
    /// The name in the route.
    pub source: &'a str,
    pub signature: Option<&'a str>,
    /// `X-GitHub-Event`.
    pub event: Option<&'a str>,
    /// The provider's own id of the delivery, where it is a header.
    pub delivery: Option<&'a str>,
    /// One of our own tokens vouches for the sender instead of a signature, for the generic trigger alone.
    pub vouched: bool,
    pub body: &'a [u8],
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Stored, and about to be carried out.
    Accepted { action: &'static str, environment: String, version: Option<String> },
    /// Stored before.
    Duplicate,
    /// Verified, and nothing of ours.
    Ignored(String),
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    #[error("there is no trigger of this name; [triggers.NAME] in the settings makes one")]
    Unknown,
    #[error("the signature is missing or not right")]
    Signature,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Verifies a request and takes it in.
pub async fn receive(ctx: &Context, request: &Request<'_>) -> Result<Received, TriggerError> {
    let trigger = ctx.settings.triggers.get(request.source).ok_or(TriggerError::Unknown)?;
    let provider = trigger.provider_of(request.source).ok_or(TriggerError::Unknown)?;
    verify(trigger, provider, request)?;
    let (delivery, heard) = match provider {
        Provider::Github => (
            request.delivery.map(str::to_owned),
            github::hear(request.event.unwrap_or_default(), request.body)?,
        ),
        Provider::Vercel => vercel::hear(request.body)?,
        Provider::Generic => generic::hear(request.body)?,
    };
    let wish = match heard {
        Heard::Wish(wish) => *wish,
        Heard::Ignored(why) => return Ok(Received::Ignored(why)),
    };
    if let Some(why) = not_meant(trigger, &wish) {
        return Ok(Received::Ignored(why));
    }
    let theirs: Vec<&str> = wish.places.iter().map(String::as_str).collect();
    let Some(environment) = trigger.environment_of(provider, &theirs, &ctx.settings.environments) else {
        let named = wish.places.first().map_or("", String::as_str);
        return Ok(Received::Ignored(format!(
            "{named:?} is none of our environments; triggers.{}.environments = [\"{named}=ENVIRONMENT\"] makes it one",
            request.source
        )));
    };
    let delivery = delivery.unwrap_or_else(|| unnamed(ctx, provider, request.body));
    store(ctx, request, wish, environment, delivery).await
}

fn verify(trigger: &Trigger, provider: Provider, request: &Request<'_>) -> Result<(), TriggerError> {
    let secrets: Vec<&[u8]> = trigger.secrets().map(|secret| secret.expose_secret().as_bytes()).collect();
    let good = match request.signature {
        Some(signature) => signed::is_signed(provider, &secrets, signature, request.body),
        // Only our own JSON may come with one of our tokens: nobody else's body names its sender.
        None => provider == Provider::Generic && request.vouched,
    };
    if good { Ok(()) } else { Err(TriggerError::Signature) }
}

/// A delivery without an id: GitHub always has one, Vercel's are in the body; what is left is told apart by
/// its bytes, or not at all where saying the same twice may be meant.
fn unnamed(ctx: &Context, provider: Provider, body: &[u8]) -> String {
    match provider {
        Provider::Github | Provider::Vercel => format!("sha256:{}", digest(body)),
        Provider::Generic => uuid_v7(ctx.now(), ctx.entropy.as_ref()).simple().to_string(),
    }
}

fn not_meant(trigger: &Trigger, wish: &Wish) -> Option<String> {
    let repository = wish.repository.as_ref()?;
    let listed = trigger.repositories.iter().any(|listed| listed.eq_ignore_ascii_case(repository));
    (!trigger.repositories.is_empty() && !listed)
        .then(|| format!("{repository} is not in the list of repositories that are listened to"))
}

async fn store(
    ctx: &Context,
    request: &Request<'_>,
    wish: Wish,
    environment: String,
    delivery: String,
) -> Result<Received, TriggerError> {
    let now = ctx.now();
    let action = wish.action.word();
    let release = wish.action.release();
    let version = release.map(|release| release.version.clone());
    let place = wish.answers.first().map(Address::place);
    let event = TriggerEvent {
        id: format!("trg_{}", uuid_v7(now, ctx.entropy.as_ref()).simple()),
        source: request.source.to_owned(),
        delivery,
        event: wish.event,
        // A question waits for nothing but itself.
        subject: version.clone().or(place).unwrap_or_default(),
        environment: environment.clone(),
        action: wish.action,
        answers: wish.answers,
        received_at: now,
    };
    let mut tx = ctx.db.begin().await?;
    let new = triggers::insert(&mut tx, &event).await?;
    tx.commit().await.map_err(StoreError::from)?;
    if !new {
        return Ok(Received::Duplicate);
    }
    ctx.nudge.job(JOB);
    tracing::info!(source = request.source, event = %event.event, %environment, action, "trigger taken in");
    Ok(Received::Accepted { action, environment, version })
}
