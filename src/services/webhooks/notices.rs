//! Oddities of genuine deliveries, and of sources: one incident for each source and kind of oddity, told at most
//! once a minute, over after an hour without another.

use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp, from_micros, humane, to_micros};
use crate::domain::delivery::{Received, Standing};
use crate::domain::diagnosis::Class;
use crate::domain::events;
use crate::domain::incident::{DedupKey, Facts, IncidentKind, Signal};
use crate::domain::signature::Scheme;
use crate::services::secrets::{environment_of, key, subject};
use crate::services::{Context, alerting};
use crate::store::{StoreError, Tx, deliveries, meta};

/// Without another one for this long, the matter is over.
const OVER: SignedDuration = SignedDuration::from_hours(1);
/// What is told again sooner says nothing new.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Between two looks at how much was sent before; how far back, and at how many at most.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(5);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const MOST: u32 = 2000;

/// What may be odd about a source's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oddity {
    Unparsable,
    TestOnLive,
    UnexpectedStore,
    EventNameDiffers,
    /// An address sends so much that is refused that it is answered 429.
    TooMany,
    /// Signatures in another form than the provider's.
    Malformed,
    /// Signatures that contradict each other.
    Ambiguous,
    /// The provider sends much of what it has sent before, as it does where it did not get its 200.
    Repeated,
}

impl Oddity {
    const ALL: [Self; 8] = [
        Self::Unparsable,
        Self::TestOnLive,
        Self::UnexpectedStore,
        Self::EventNameDiffers,
        Self::TooMany,
        Self::Malformed,
        Self::Ambiguous,
        Self::Repeated,
    ];

    pub fn of(class: Class, standing: Standing) -> Option<Self> {
        Some(match class {
            // Where they are the provider's own they count towards the health of the source, which says more.
            Class::MalformedSignature(_) if standing == Standing::Noise => Self::Malformed,
            Class::AmbiguousSignature if standing == Standing::Noise => Self::Ambiguous,
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
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::Repeated => "repeated",
        }
    }

    /// How often it must come within [`OVER`] until somebody hears of it: one stranger's request is nobody's
    /// business.
    fn patience(self) -> u32 {
        match self {
            Self::Malformed | Self::Ambiguous => 3,
            _ => 1,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Unparsable => "UNREADABLE WEBHOOK",
            Self::TestOnLive => "TEST EVENT ON LIVE",
            Self::UnexpectedStore => "UNEXPECTED STORE",
            Self::EventNameDiffers => "HEADER CHANGED",
            Self::TooMany => "REFUSALS SLOWED DOWN",
            Self::Malformed => "FOREIGN SIGNATURE",
            Self::Ambiguous => "AMBIGUOUS SIGNATURE",
            Self::Repeated => "REPEATED DELIVERIES",
        }
    }

    /// Genuine deliveries that are lost to the product page; the rest can wait for the morning.
    fn severity(self) -> Severity {
        match self {
            Self::Unparsable => Severity::Critical,
            _ => Severity::Warning,
        }
    }

    fn headline(self, odd: &Odd<'_>) -> String {
        let source = odd.source;
        match self {
            Self::Unparsable => format!(
                "A {source} delivery of {} bytes is signed correctly but is not an event; it was refused and kept",
                odd.bytes
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
            Self::Malformed => match odd.foreign {
                Some(provider) => format!(
                    "Requests to {source} carry signatures that look like those of {provider}: they are refused with 400"
                ),
                None => format!(
                    "Requests to {source} carry signatures in a form that its provider does not write: they are refused with 400"
                ),
            },
            Self::Ambiguous => format!(
                "Requests to {source} carry several signatures that contradict each other: they are refused with 400"
            ),
            Self::Repeated => format!(
                "{} of the last {} {source} deliveries were sent before: the provider did not get its 200 in time",
                odd.repeated.0, odd.repeated.1
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
            Self::Malformed => Class::MalformedSignature(None).next_steps(source, scheme),
            Self::Ambiguous => Class::AmbiguousSignature.next_steps(source, scheme),
            Self::Repeated => vec![
                "Look whether deploywatch or the proxy before it was slow, restarted or answered other than 200 in that time".into(),
                format!(
                    "Look at when they came with `deploywatch webhook list --source {source} --outcome duplicate`"
                ),
                "If somebody had old deliveries sent again, all is well; each event counts once in any case"
                    .into(),
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
    /// How many there were at that moment.
    pub times: u32,
    /// The provider whose signature it looks like.
    pub foreign: Option<&'static str>,
    /// How many deliveries, of how many, were sent before.
    pub repeated: (u64, u64),
}

impl<'a> Odd<'a> {
    pub fn new(source: &'a str, oddity: Oddity, at: Timestamp) -> Self {
        Self { source, oddity, at, delivery: None, bytes: 0, times: 1, foreign: None, repeated: (0, 0) }
    }
}

/// Reports it, unless that was done a moment ago.
pub(super) async fn signal(ctx: &Context, tx: &mut Tx, odd: &Odd<'_>) -> Result<Option<Signal>, StoreError> {
    let (source, oddity, at) = (odd.source, odd.oddity, odd.at);
    let name = oddity.last(source);
    if last_told(&meta::get(tx, &name).await?).is_some_and(|last| at.duration_since(last) < AGAIN) {
        return Ok(None);
    }
    if !has_come_often(tx, odd).await? {
        return Ok(None);
    }
    meta::set(tx, &name, &to_micros(at).to_string(), at).await?;
    let facts = Facts {
        severity: oddity.severity(),
        label: oddity.label().into(),
        subject: subject(ctx, source),
        headline: oddity.headline(odd),
        since: at,
        next_steps: oddity.next_steps(source, &ctx.settings.webhooks.scheme(source)),
        context: odd.delivery.map(|id| ("delivery".into(), id.to_owned())).into_iter().collect(),
        members: Vec::new(),
    };
    Ok(Some(Signal::Firing { key: oddity.key(ctx, source), at, facts }))
}

/// Counts what is told only once it has come several times within [`OVER`].
async fn has_come_often(tx: &mut Tx, odd: &Odd<'_>) -> Result<bool, StoreError> {
    if odd.oddity.patience() <= 1 {
        return Ok(true);
    }
    let name = format!("count of {} {}", odd.oddity.name(), odd.source);
    let kept = meta::get(tx, &name).await?.unwrap_or_default();
    let known = kept
        .split_once(' ')
        .and_then(|(first, count)| Some((from_micros(first.parse().ok()?), count.parse::<u32>().ok()?)));
    let (first, before) =
        known.filter(|(first, _)| odd.at.duration_since(*first) < OVER).unwrap_or((odd.at, 0));
    let count = before.saturating_add(odd.times);
    meta::set(tx, &name, &format!("{} {count}", to_micros(first)), odd.at).await?;
    Ok(count >= odd.oddity.patience())
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

/// An event of a name that was never seen; told once for each name.
pub(super) async fn new_event(
    ctx: &Context,
    tx: &mut Tx,
    received: &Received,
    event: &str,
) -> Result<Option<Signal>, StoreError> {
    let (source, at) = (received.source.as_str(), received.at);
    let name = format!("new event {source} {event}");
    if meta::get(tx, &name).await?.is_some() {
        return Ok(None);
    }
    meta::set(tx, &name, received.id.as_str(), at).await?;
    let facts = events::new_event(subject(ctx, source), source, event, received.id.as_str(), at);
    let environment = environment_of(&ctx.settings, source);
    Ok(Some(Signal::Report { environment, scope: name, at, facts }))
}

/// Looks now and then whether a source's provider repeats itself.
pub(super) async fn review_repeated(ctx: &Context) -> Result<u64, StoreError> {
    let mut done = 0;
    for source in ctx.settings.webhooks.sources.keys() {
        let (now, name) = (ctx.now(), format!("looked for repeated {source}"));
        let mut reader = ctx.db.reader().await?;
        if last_told(&meta::get(&mut reader, &name).await?)
            .is_some_and(|last| now.duration_since(last) < LOOK_EVERY)
        {
            continue;
        }
        let repeated = deliveries::count_repeated(&mut reader, source, now - DAY, MOST).await?;
        drop(reader);
        let mut tx = ctx.db.begin().await?;
        meta::set(&mut tx, &name, &to_micros(now).to_string(), now).await?;
        if is_much(repeated) {
            let odd = Odd { repeated, ..Odd::new(source, Oddity::Repeated, now) };
            if let Some(signal) = signal(ctx, &mut tx, &odd).await? {
                alerting::record(ctx, &mut tx, &[signal]).await?;
                ctx.nudge.job(alerting::OUTBOX_JOB);
                done += 1;
            }
        }
        tx.commit().await?;
    }
    Ok(done)
}

/// Three in a hundred, of enough to say so.
fn is_much((repeated, all): (u64, u64)) -> bool {
    all >= 50 && repeated * 100 >= all * 3
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
