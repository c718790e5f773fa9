//! Orders that grow in the watched database while no webhook tells of them.

use std::sync::Arc;

use crate::domain::check::{Check, CheckPolicy};
use crate::domain::clock::SignedDuration;
use crate::domain::incident::{DedupKey, IncidentKind, Signal};
use crate::domain::measure::{Measure, Query, What};
use crate::domain::provider_facts;
use crate::domain::secret::SlotMode;
use crate::services::secrets::{environment_of, key, subject};
use crate::services::targets::{Probe, Reading};
use crate::services::{Context, alerting};
use crate::store::{StoreError, deliveries, deploys, provider};
use crate::target::Params;

const EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Counts for every source whose time has come.
pub(super) async fn due(ctx: &Context) -> Result<u64, StoreError> {
    let mut done = 0;
    for (source, settings) in &ctx.settings.webhooks.sources {
        let Some(sql) = &settings.orders_query else { continue };
        let environment = environment_of(&ctx.settings, source);
        let now = ctx.now();
        // An open snapshot would hold up the migration.
        if deploys::is_migrating(&mut *ctx.db.reader().await?, &environment).await? {
            continue;
        }
        let mut tx = ctx.db.begin().await?;
        let mine = provider::claim(&mut tx, provider::Watch::Orders, source, now, now + EVERY).await?;
        tx.commit().await?;
        if mine {
            let counted = count(ctx, &environment, source, sql).await;
            write(ctx, source, counted).await?;
            done += 1;
        }
    }
    Ok(done)
}

/// One read-only scan of the target that gives one number.
async fn count(ctx: &Context, environment: &str, source: &str, sql: &str) -> Result<f64, String> {
    let check = Check {
        policy: CheckPolicy::new(&format!("webhooks.{source}.orders"), "value"),
        measure: Measure::of(What::Query(Query::Value { sql: sql.to_owned() })),
    };
    let probe = Probe {
        environment: environment.to_owned(),
        checks: vec![Arc::new(check)],
        params: Params { environment: environment.to_owned(), ..Params::default() },
        reading: Reading::Aside,
    };
    let scan = ctx.prober.scan(probe).await.map_err(|error| error.error.message)?;
    let measured = scan.measurements.into_iter().next().map(|measurement| measurement.result);
    match measured {
        Some(Ok(measured)) => measured.value.ok_or_else(|| "orders_query gave no number".to_owned()),
        Some(Err(error)) => Err(error.message),
        None => Err("orders_query was not run".to_owned()),
    }
}

async fn write(ctx: &Context, source: &str, counted: Result<f64, String>) -> Result<(), StoreError> {
    let now = ctx.now();
    let mut tx = ctx.db.begin().await?;
    let before = provider::get_orders(&mut tx, source).await?;
    let value = match counted {
        Ok(value) => value,
        // Could not be counted: neither growth nor none.
        Err(problem) => {
            tracing::warn!(source, error = problem, "orders could not be counted");
            provider::put_orders(&mut tx, source, &before, Some(&problem)).await?;
            tx.commit().await?;
            return Ok(());
        }
    };
    let newest = deliveries::last_receipt(&mut tx, source, SlotMode::Live).await?;
    let orders = before.count(value, newest, now);
    provider::put_orders(&mut tx, source, &orders, None).await?;
    let key =
        DedupKey { scope: format!("{source} orders"), ..key(ctx, source, IncidentKind::WebhookSilence) };
    let signal = match orders.untold(now) {
        Some(_) => Some(Signal::Firing {
            key,
            at: now,
            facts: provider_facts::orders(subject(ctx, source), source, &orders, now),
        }),
        None if before.grown_at.is_some() && orders.grown_at.is_none() => {
            Some(Signal::Cleared { key, at: now, note: "webhooks arrive again".into() })
        }
        None => None,
    };
    if let Some(signal) = signal {
        alerting::record(ctx, &mut tx, &[signal]).await?;
    }
    tx.commit().await?;
    Ok(())
}
