//! What of an incident may be mailed: all, some members, or nothing while a silence or an unreachable target
//! holds it back.

use std::collections::BTreeSet;

use super::{add_event, announce, policy_of};
use crate::domain::clock::{Timestamp, rfc3339};
use crate::domain::incident::{Incident, IncidentState, Mute};
use crate::domain::notification::Notice;
use crate::domain::silence::{Cover, Silence};
use crate::services::Context;
use crate::store::incidents::Stored;
use crate::store::{StoreError, Tx, incidents};

/// Which part of an incident on-call hears of.
pub(super) struct Hearing {
    mute: Mute,
    /// Members that are left out.
    silenced: BTreeSet<String>,
}

impl Hearing {
    pub(super) const MUTED: Self = Self { mute: Mute::Muted, silenced: BTreeSet::new() };

    pub(super) fn of(mute: Mute, cover: Cover) -> Self {
        match cover {
            Cover::Nothing => Self { mute, silenced: BTreeSet::new() },
            Cover::Members(silenced) => Self { mute, silenced },
            Cover::Whole => Self::MUTED,
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.mute == Mute::Quiet
    }

    pub(super) fn owed(&self, ctx: &Context, incident: &Incident) -> Option<Notice> {
        self.audible(incident).owed(ctx.now(), self.mute, &policy_of(ctx, incident))
    }

    /// Notes a mail. Members that it left out stay untold, so that they are news once they may be heard.
    pub(super) fn tell(&self, incident: &mut Incident, notice: Notice, now: Timestamp) {
        let mut heard = self.audible(incident);
        heard.tell(notice, now);
        incident.told = heard.told;
    }

    /// The incident as it is mailed.
    pub(super) fn audible(&self, incident: &Incident) -> Incident {
        let mut heard = incident.clone();
        if self.silenced.is_empty() {
            return heard;
        }
        let facts = &mut heard.facts;
        facts.members.retain(|member| !self.silenced.contains(&member.key));
        facts.severity = facts.members.iter().map(|member| member.severity).min().unwrap_or(facts.severity);
        let left_out = incident.facts.members.len() - facts.members.len();
        let what =
            if left_out == 1 { "1 more, which is".into() } else { format!("{left_out} more, which are") };
        facts.context.push(("Silenced".into(), format!("{what} not listed here")));
        heard
    }
}

/// Tells an incident that goes on although its silence has ended, whatever was told of it before.
pub async fn tell_after_silence(
    ctx: &Context,
    tx: &mut Tx,
    stored: Stored,
    silence: &Silence,
) -> Result<bool, StoreError> {
    let hearing = super::hearing(ctx, tx, &stored.incident).await?;
    if hearing.mute == Mute::Muted {
        // Another silence covers it, whose end will tell.
        return Ok(false);
    }
    let Stored { mut incident, version } = stored;
    let now = ctx.now();
    let open = incident.state == IncidentState::Open && hearing.mute == Mute::Audible;
    let Some(notice) = hearing.owed(ctx, &incident).or(open.then_some(Notice::Reminder)) else {
        return Ok(false);
    };
    hearing.tell(&mut incident, notice, now);
    if !incidents::update(tx, &incident, version).await? {
        return Err(StoreError::Contended("incident"));
    }
    let detail =
        format!("{}, silenced by {} until {}", silence.reason, silence.owner, rfc3339(silence.ends_at));
    add_event(ctx, tx, &incident.id, "deploywatch", "silence ended", &detail).await?;
    let mut heard = hearing.audible(&incident);
    let line = format!("ended; {} had set it: {}", silence.owner, silence.reason);
    heard.facts.context.push(("Silence".into(), line));
    announce::incident(ctx, tx, &heard, notice).await?;
    Ok(true)
}
