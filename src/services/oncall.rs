//! Who is told of what, now and later; and standing in for somebody without a change of the settings.

pub mod view;

use sqlx::AnyConnection;

use crate::domain::check::Severity;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::ids::uuid_v7;
use crate::domain::oncall::{Called, Shift, Substitute, same_address};
use crate::services::Context;
use crate::settings::{OnCallPlan, oncall_plan};
use crate::store::audit::{self, AuditEntry};
use crate::store::oncall::{self, Override};
use crate::store::{StoreError, Tx};

/// The longest that somebody may stand in at once; more is a change of the rotation.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 92);

/// The roster with everybody who stands in, those of the store last: they are newer than the settings.
async fn plan(ctx: &Context, c: &mut AnyConnection, from: Timestamp) -> Result<OnCallPlan, StoreError> {
    let (mut plan, _) = oncall_plan(&ctx.settings.oncall);
    let more = oncall::list(c, from).await?;
    plan.substitutes.extend(more.into_iter().map(|over| over.substitute));
    Ok(plan)
}

/// Whom an environment's matter of this severity is told now.
pub async fn called(
    ctx: &Context,
    c: &mut AnyConnection,
    environment: &str,
    severity: Severity,
) -> Result<Vec<Called>, StoreError> {
    let duty = ctx.settings.duty(environment);
    let now = ctx.now();
    let plan = plan(ctx, c, now).await?;
    Ok(plan.roster.called(duty.of(severity), &plan.substitutes, now))
}

/// Whom it is told when nobody has acknowledged.
pub async fn second(
    ctx: &Context,
    c: &mut AnyConnection,
    environment: &str,
) -> Result<Vec<Called>, StoreError> {
    let now = ctx.now();
    let plan = plan(ctx, c, now).await?;
    Ok(plan.roster.called(&ctx.settings.duty(environment).second, &plan.substitutes, now))
}

/// When an environment's quiet hours end, if a matter of this severity has to wait for that.
pub fn quiet_until(ctx: &Context, environment: &str, severity: Severity) -> Option<Timestamp> {
    if severity == Severity::Critical {
        return None;
    }
    let (plan, _) = oncall_plan(&ctx.settings.oncall);
    ctx.settings.quiet(environment, &plan.zone)?.ends(ctx.now())
}

/// Whoever some environment, or what belongs to none, would tell of something at this moment: turns and stand-ins
/// count, and the second step does. Each person once.
pub async fn on_duty(ctx: &Context) -> Result<Vec<String>, StoreError> {
    let now = ctx.now();
    let plan = plan(ctx, &mut *ctx.db.reader().await?, now).await?;
    let environments = std::iter::once("").chain(ctx.settings.environments.keys().map(String::as_str));
    let mut people: Vec<String> = Vec::new();
    for environment in environments {
        let duty = ctx.settings.duty(environment);
        let severities = [Severity::Critical, Severity::Warning, Severity::Info];
        for names in severities.map(|severity| duty.of(severity)).into_iter().chain([duty.second.as_slice()])
        {
            for called in plan.roster.called(names, &plan.substitutes, now) {
                if !people.iter().any(|known| same_address(known, &called.person.email)) {
                    people.push(called.person.email);
                }
            }
        }
    }
    Ok(people)
}

/// The turns of one rotation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turns {
    pub rotation: String,
    pub shifts: Vec<Shift>,
}

/// Whom an environment tells at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct OnDuty {
    pub environment: String,
    pub critical: Vec<Called>,
    pub warning: Vec<Called>,
    pub second: Vec<Called>,
    pub escalate_after: Option<SignedDuration>,
    pub quiet_until: Option<Timestamp>,
}

/// On-call at an instant, and what comes after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub at: Timestamp,
    pub environments: Vec<OnDuty>,
    pub turns: Vec<Turns>,
    /// How each person is called, by the name in the settings.
    pub names: std::collections::BTreeMap<String, String>,
    pub overrides: Vec<Override>,
}

/// Who is on call at `at`, and each rotation's turns for `days` from then on.
pub async fn standing(ctx: &Context, at: Timestamp, days: u32) -> Result<Standing, StoreError> {
    let mut reader = ctx.db.reader().await?;
    let plan = plan(ctx, &mut reader, at).await?;
    let overrides = oncall::list(&mut reader, at).await?;
    drop(reader);
    let until = at + SignedDuration::from_hours(24 * i64::from(days.clamp(1, 366)));
    let turns = plan.roster.rotations.iter().map(|(name, rotation)| Turns {
        rotation: name.clone(),
        shifts: rotation.schedule(&of_rotation(&plan.substitutes, name), at, until),
    });
    let environments = ctx.settings.environments.keys().map(|environment| {
        let duty = ctx.settings.duty(environment);
        let called = |names: &[String]| plan.roster.called(names, &plan.substitutes, at);
        OnDuty {
            environment: environment.clone(),
            critical: called(duty.of(Severity::Critical)),
            warning: called(duty.of(Severity::Warning)),
            second: called(&duty.second),
            escalate_after: ctx.settings.escalate_after(environment),
            quiet_until: ctx.settings.quiet(environment, &plan.zone).and_then(|quiet| quiet.ends(at)),
        }
    });
    Ok(Standing {
        at,
        environments: environments.collect(),
        turns: turns.collect(),
        names: plan.roster.people.values().map(|p| (p.id.clone(), p.name.clone())).collect(),
        overrides,
    })
}

fn of_rotation(substitutes: &[Substitute], rotation: &str) -> Vec<Substitute> {
    substitutes.iter().filter(|sub| sub.rotation == rotation).cloned().collect()
}

/// Why somebody cannot stand in.
#[derive(Debug, thiserror::Error)]
pub enum OverrideError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Lets somebody stand in, as `actor`.
pub async fn add_override(
    ctx: &Context,
    substitute: Substitute,
    reason: &str,
    actor: &str,
) -> Result<Override, OverrideError> {
    let (plan, _) = oncall_plan(&ctx.settings.oncall);
    let refused = |text: String| Err(OverrideError::Refused(text));
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    if !plan.roster.rotations.contains_key(&substitute.rotation) {
        let known = names(plan.roster.rotations.keys().map(String::as_str).collect());
        return refused(format!("there is no rotation {:?}; the settings have {known}", substitute.rotation));
    }
    if !plan.roster.people.contains_key(&substitute.person) {
        let known = names(plan.roster.people.keys().map(String::as_str).collect());
        return refused(format!("there is nobody called {:?}; the settings have {known}", substitute.person));
    }
    let now = ctx.now();
    let length = substitute.until.duration_since(substitute.from);
    if length <= SignedDuration::ZERO || substitute.until <= now {
        return refused("it must end after it begins, and not be over already".into());
    }
    if length > LONGEST {
        return refused("at most 92 days at once; change the rotation for more".into());
    }
    let over = Override {
        id: uuid_v7(now, ctx.entropy.as_ref()).simple().to_string(),
        substitute,
        reason: reason.trim().to_owned(),
        created_by: actor.to_owned(),
        created_at: now,
    };
    let mut tx = ctx.db.begin().await?;
    oncall::insert(&mut tx, &over).await?;
    record(ctx, &mut tx, "oncall.override", &over, actor).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(over)
}

/// Takes a stand-in back. `None`: there is none with this id.
pub async fn remove_override(ctx: &Context, id: &str, actor: &str) -> Result<Option<Override>, StoreError> {
    let mut tx = ctx.db.begin().await?;
    let Some(over) = oncall::find_by_suffix(&mut tx, id).await?.into_iter().find(|over| over.id == id) else {
        return Ok(None);
    };
    oncall::delete(&mut tx, id).await?;
    record(ctx, &mut tx, "oncall.override.remove", &over, actor).await?;
    tx.commit().await?;
    Ok(Some(over))
}

async fn record(
    ctx: &Context,
    tx: &mut Tx,
    action: &str,
    over: &Override,
    actor: &str,
) -> Result<(), StoreError> {
    let sub = &over.substitute;
    let entry = AuditEntry {
        at: ctx.now(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: over.id.clone(),
        detail: serde_json::json!({
            "rotation": sub.rotation, "person": sub.person, "reason": over.reason,
            "from": sub.from.to_string(), "until": sub.until.to_string(),
        }),
    };
    audit::append(tx, ctx.entropy.as_ref(), &entry).await
}
