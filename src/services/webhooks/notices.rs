//! Oddities of genuine deliveries, and of sources: one incident for each source and kind of oddity, told at most
//! once a minute, over after an hour without another.

use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp, from_micros, humane, to_micros};
use crate::domain::diagnosis::Class;
use crate::domain::incident::{DedupKey, Facts, IncidentKind, Signal};
use crate::domain::signature::Scheme;
use crate::services::secrets::{key, subject};
use crate::services::{Context, alerting};
use crate::store::{StoreError, Tx, meta};

/// Without another one for this long, the matter is over.
const OVER: SignedDuration = SignedDuration::from_hours(1);
/// What is told again sooner says nothing new.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// What may be odd about a source's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oddity {
    Unparsable,
    TestOnLive,
    UnexpectedStore,
    EventNameDiffers,
    /// An address sends so much that is refused that it is answered 429.
    TooMany,
}

impl Oddity {
    const ALL: [Self; 5] =
        [Self::Unparsable, Self::TestOnLive, Self::UnexpectedStore, Self::EventNameDiffers, Self::TooMany];

    pub fn of(class: Class) -> Option<Self> {
        Some(match class {
            Class::Unparsable => Self::Unparsable,
            Class::TestOnLive => Self::TestOnLive,
            Class::UnexpectedStore => Self::UnexpectedStore,
            Class::EventNameDiffers => Self::EventNameDiffers,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unparsable => "unparsable",
            Self::TestOnLive => "test on live",
            Self::UnexpectedStore => "unexpected store",
            Self::EventNameDiffers => "event name",
            Self::TooMany => "too many",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Unparsable => "UNREADABLE WEBHOOK",
            Self::TestOnLive => "TEST EVENT ON LIVE",
            Self::UnexpectedStore => "UNEXPECTED STORE",
            Self::EventNameDiffers => "HEADER CHANGED",
            Self::TooMany => "REFUSALS SLOWED DOWN",
        }
    }

    /// Genuine deliveries that are lost to the product page; the rest can wait for the morning.
    fn severity(self) -> Severity {
        match self {
            Self::Unparsable => Severity::Critical,
            _ => Severity::Warning,
        }
    }

    fn headline(self, source: &str, bytes: u64) -> String {
        match self {
            Self::Unparsable => format!(
                "A {source} delivery of {bytes} bytes is signed correctly but is not an event; it was refused and kept"
            ),
            Self::TestOnLive => format!(
                "A test-mode event came to {source} signed with the live secret: it was stored and is not passed on to the product"
            ),
            Self::UnexpectedStore => format!(
                "A {source} delivery is signed correctly but comes from a store that is not configured: it was stored and is not passed on"
            ),
            Self::EventNameDiffers => format!(
                "A {source} delivery came with an X-Event-Name that differs from its signed body, which wins: something on the way changes headers"
            ),
            Self::TooMany => format!(
                "An address sends so many {source} requests with wrong signatures that it is answered 429; right signatures are never slowed down"
            ),
        }
    }

    fn next_steps(self, source: &str, scheme: &Scheme) -> Vec<String> {
        match self {
            Self::Unparsable => Class::Unparsable.next_steps(source, scheme),
            Self::TestOnLive => vec![
                format!(
                    "Give the test-mode webhook a secret of its own in {}; live and test now share one",
                    scheme.place
                ),
                format!("Add it here with `deploywatch secret add {source} --mode test --from-file FILE`"),
            ],
            Self::UnexpectedStore => vec![
                format!(
                    "Look at the store's number with `deploywatch webhook list --source {source} --class unexpected_store`"
                ),
                format!(
                    "If it is yours, add it to `webhooks.sources.{source}.store_ids`; if not, change the webhook's secret"
                ),
            ],
            Self::EventNameDiffers => {
                vec!["Look at the proxy before deploywatch: it must pass headers on as they are".into()]
            }
            Self::TooMany => vec![
                format!("Look at what comes with `deploywatch webhook list --source {source} --hours 1`"),
                format!(
                    "If it is {}, its secret is another one: the incident about failing signatures says what to do",
                    scheme.provider
                ),
                "If it is not, block the address in the proxy; nothing is lost meanwhile".into(),
            ],
        }
    }

    fn key(self, ctx: &Context, source: &str) -> DedupKey {
        let kind = match self {
            Self::Unparsable => IncidentKind::SignatureFailures,
            _ => IncidentKind::WebhookOddity,
        };
        DedupKey { scope: format!("{source} {}", self.name()), ..key(ctx, source, kind) }
    }

    fn last(self, source: &str) -> String {
        format!("last {} {source}", self.name())
    }
}

/// One odd delivery, or one odd moment.
pub(super) struct Odd<'a> {
    pub source: &'a str,
    pub oddity: Oddity,
    pub at: Timestamp,
    pub delivery: Option<&'a str>,
    pub bytes: u64,
}

/// Reports it, unless that was done a moment ago.
pub(super) async fn signal(ctx: &Context, tx: &mut Tx, odd: &Odd<'_>) -> Result<Option<Signal>, StoreError> {
    let (source, oddity, at) = (odd.source, odd.oddity, odd.at);
    let name = oddity.last(source);
    if last_told(&meta::get(tx, &name).await?).is_some_and(|last| at.duration_since(last) < AGAIN) {
        return Ok(None);
    }
    meta::set(tx, &name, &to_micros(at).to_string(), at).await?;
    let facts = Facts {
        severity: oddity.severity(),
        label: oddity.label().into(),
        subject: subject(ctx, source),
        headline: oddity.headline(source, odd.bytes),
        since: at,
        next_steps: oddity.next_steps(source, &ctx.settings.webhooks.scheme(source)),
        context: odd.delivery.map(|id| ("delivery".into(), id.to_owned())).into_iter().collect(),
        members: Vec::new(),
    };
    Ok(Some(Signal::Firing { key: oddity.key(ctx, source), at, facts }))
}

/// Tells on-call outside of a batch.
pub(super) async fn tell(ctx: &Context, odd: &Odd<'_>) -> Result<(), StoreError> {
    let mut tx = ctx.db.begin().await?;
    if let Some(signal) = signal(ctx, &mut tx, odd).await? {
        alerting::record(ctx, &mut tx, &[signal]).await?;
        tx.commit().await?;
        ctx.nudge.job(alerting::OUTBOX_JOB);
    }
    Ok(())
}

/// Ends what did not happen again.
pub(super) async fn end(ctx: &Context) -> Result<u64, StoreError> {
    let mut done = 0;
    for source in ctx.settings.webhooks.sources.keys() {
        for oddity in Oddity::ALL {
            let name = oddity.last(source);
            let last = last_told(&meta::get(&mut *ctx.db.reader().await?, &name).await?);
            let Some(last) = last else { continue };
            let now = ctx.now();
            if now.duration_since(last) < OVER {
                continue;
            }
            let mut tx = ctx.db.begin().await?;
            meta::set(&mut tx, &name, "", now).await?;
            let note = format!("it did not happen again for {}", humane(OVER));
            let cleared = Signal::Cleared { key: oddity.key(ctx, source), at: now, note };
            alerting::record(ctx, &mut tx, &[cleared]).await?;
            tx.commit().await?;
            ctx.nudge.job(alerting::OUTBOX_JOB);
            done += 1;
        }
    }
    Ok(done)
}

fn last_told(text: &Option<String>) -> Option<Timestamp> {
    text.as_deref()?.parse().ok().map(from_micros)
}
