//! After a time without us: from when to when, and what was missed.

use std::collections::BTreeSet;

use crate::domain::check::Severity;
use crate::domain::clock::{Timestamp, humane};
use crate::domain::deploy::{Deploy, DeployState};
use crate::domain::incident::{Facts, Signal};
use crate::email::instant;
use crate::services::{Context, alerting};
use crate::store::{StoreError, Tx, deploys};

/// Tells each environment that was being watched what was missed of it. Where nothing was watched but webhooks
/// are taken, their absence is told; else nobody has missed anything.
pub(super) async fn tell(
    ctx: &Context,
    tx: &mut Tx,
    from: Timestamp,
    to: Timestamp,
) -> Result<(), StoreError> {
    let mut signals = Vec::new();
    for environment in ctx.settings.environments.keys() {
        for row in deploys::list_open(tx, environment).await? {
            if row.deploy.state != DeployState::Verifying {
                continue;
            }
            let checks = deploys::get_check_set(tx, &row.check_set).await?;
            let plan = &row.deploy.plan;
            let missed: BTreeSet<Timestamp> = checks
                .iter()
                .flat_map(|check| plan.slots(&check.policy).map(|slot| slot.at))
                .filter(|at| from < *at && *at < to)
                .collect();
            if !missed.is_empty() {
                signals.push(signal(environment, Some(&row.deploy), missed.len(), from, to));
            }
        }
    }
    if signals.is_empty() && !ctx.settings.webhooks.sources.is_empty() {
        signals.push(signal("", None, 0, from, to));
    }
    tracing::warn!(from = %from, to = %to, "nothing was watched in this time");
    alerting::record(ctx, tx, &signals).await?;
    ctx.nudge.job(alerting::OUTBOX_JOB);
    Ok(())
}

fn signal(
    environment: &str,
    deploy: Option<&Deploy>,
    missed: usize,
    from: Timestamp,
    to: Timestamp,
) -> Signal {
    let length = humane(to.duration_since(from));
    let hours = |at: Timestamp| at.strftime("%H:%M").to_string();
    let lost = match (deploy, missed) {
        (None, _) => {
            "webhooks were not taken meanwhile; the provider tries again for a few minutes".to_owned()
        }
        (Some(deploy), 1) => format!("1 run of deploy {} in {environment} was missed", deploy.label()),
        (Some(deploy), n) => format!("{n} runs of deploy {} in {environment} were missed", deploy.label()),
    };
    let mut context = vec![("Away from".to_owned(), instant(from)), ("Back at".to_owned(), instant(to))];
    if let Some(deploy) = deploy {
        context.push(("Version".to_owned(), deploy.label()));
        context.push(("Runs missed".to_owned(), missed.to_string()));
    }
    Signal::Report {
        environment: environment.to_owned(),
        scope: match deploy {
            Some(deploy) => format!("gap/{}/{}", from.as_microsecond(), deploy.id),
            None => format!("gap/{}", from.as_microsecond()),
        },
        at: to,
        facts: Facts {
            severity: Severity::Warning,
            label: "CHECKER DOWN".to_owned(),
            subject: if environment.is_empty() {
                "deploywatch itself".to_owned()
            } else {
                format!("deploywatch for {environment}")
            },
            headline: format!("deploywatch was down {} to {} UTC ({length}): {lost}", hours(from), hours(to)),
            since: from,
            next_steps: vec![
                "See why it was down: the log of the service manager, the host, an upgrade".to_owned(),
                "Nothing is known of that time: it counts as missed, neither good nor bad".to_owned(),
                "To hear of it while it lasts, set heartbeat.url to a watcher elsewhere".to_owned(),
            ],
            context,
            members: Vec::new(),
        },
    }
}
