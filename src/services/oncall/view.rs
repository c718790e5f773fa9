//! On-call as people and programs are shown it.

use std::collections::BTreeMap;

use super::{OnDuty, Standing};
use crate::api::oncall::{CalledView, OnCallView, OnDutyView, OverrideView, RotationView, ShiftView};
use crate::domain::clock::rfc3339;
use crate::domain::oncall::Called;
use crate::email::mask;
use crate::store::oncall::Override;

pub fn view(standing: &Standing) -> OnCallView {
    OnCallView {
        at: rfc3339(standing.at),
        environments: standing.environments.iter().map(on_duty).collect(),
        rotations: standing
            .turns
            .iter()
            .map(|turns| RotationView {
                name: turns.rotation.clone(),
                shifts: turns
                    .shifts
                    .iter()
                    .map(|shift| ShiftView {
                        from: rfc3339(shift.from),
                        until: rfc3339(shift.until),
                        person: name(&standing.names, &shift.person),
                        instead_of: shift.instead_of.as_ref().map(|id| name(&standing.names, id)),
                    })
                    .collect(),
            })
            .collect(),
        overrides: standing.overrides.iter().map(override_view).collect(),
    }
}

pub fn override_view(over: &Override) -> OverrideView {
    let sub = &over.substitute;
    OverrideView {
        id: over.id.clone(),
        rotation: sub.rotation.clone(),
        person: sub.person.clone(),
        from: rfc3339(sub.from),
        until: rfc3339(sub.until),
        reason: over.reason.clone(),
        created_by: over.created_by.clone(),
    }
}

fn on_duty(duty: &OnDuty) -> OnDutyView {
    let all = |called: &[Called]| called.iter().map(called_view).collect();
    OnDutyView {
        environment: duty.environment.clone(),
        critical: all(&duty.critical),
        warning: all(&duty.warning),
        second: all(&duty.second),
        escalate_after_seconds: duty.escalate_after.map(|after| after.as_secs()),
        quiet_until: duty.quiet_until.map(rfc3339),
    }
}

fn called_view(called: &Called) -> CalledView {
    let address = mask(&called.person.email);
    let name = if called.person.name.is_empty() { address.clone() } else { called.person.name.clone() };
    CalledView { name, address, rotation: called.by.clone() }
}

fn name(names: &BTreeMap<String, String>, id: &str) -> String {
    names.get(id).cloned().unwrap_or_else(|| id.to_owned())
}

/// Several people in one line: `Ada Lovelace (primary), Bob`.
pub fn line(called: &[CalledView]) -> String {
    let one = |c: &CalledView| match &c.rotation {
        Some(rotation) => format!("{} ({rotation})", c.name),
        None => c.name.clone(),
    };
    if called.is_empty() { "nobody".into() } else { called.iter().map(one).collect::<Vec<_>>().join(", ") }
}
