//! `connections` and `long_transactions`: what the server is busy with.

use serde::Deserialize;

use crate::domain::measurement::{Measured, Unit};
use crate::target::plan::sql::ident;

use super::{Ask, ObjectError, wrong};

#[derive(Deserialize)]
struct Connections {
    used: f64,
    allowed: f64,
}

/// From the statistics of each database, since a plain role does not see the sessions of others.
const CONNECTIONS: &str = "
SELECT json_build_object('used', (SELECT sum(numbackends) FROM pg_stat_database),
  'allowed', current_setting('max_connections')::int)::text";

pub async fn connections(ask: &mut Ask<'_>) -> Result<Measured, ObjectError> {
    let rows: Vec<Connections> = ask.rows(CONNECTIONS, &[]).await?;
    let (used, allowed) = rows.first().map_or((0.0, 0.0), |c| (c.used, c.allowed));
    Ok(Measured {
        value: (allowed > 0.0).then(|| used / allowed * 100.0),
        unit: Unit::Percent,
        tested: Some(allowed),
        detail: Some(format!("{used} of {allowed} connections in use")),
        ..Measured::default()
    })
}

#[derive(Deserialize)]
struct Long {
    pid: i64,
    seconds: f64,
    state: Option<String>,
}

const LONG: &str = "
SELECT json_build_object('pid', pid, 'state', state,
  'seconds', round(extract(epoch FROM clock_timestamp() - xact_start)))::text
FROM pg_stat_activity
WHERE xact_start < clock_timestamp() - CAST($1 AS interval) AND pid <> pg_backend_pid()
  AND backend_type = 'client backend' AND application_name <> 'deploywatch'
ORDER BY xact_start";

pub async fn long_transactions(ask: &mut Ask<'_>, over: u32) -> Result<Measured, ObjectError> {
    let sees: Vec<bool> = ask
        .rows(
            "SELECT (pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') \
             OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user))::text",
            &[],
        )
        .await?;
    if sees.first() != Some(&true) {
        let role = &ask.session.facts.role;
        return Err(wrong(
            format!(
                "the role {role} does not see the transactions of others, so counting them would mislead"
            ),
            Some(format!("as an administrator: GRANT pg_read_all_stats TO {}", ident(role))),
        ));
    }
    let long: Vec<Long> = ask.rows(LONG, &[&format!("{over} seconds")]).await?;
    let lines: Vec<String> = long
        .iter()
        .map(|t| {
            let state = t.state.as_deref().unwrap_or("unknown");
            format!("process {} has a transaction open for {} s ({state})", t.pid, t.seconds)
        })
        .collect();
    Ok(Measured { unit: Unit::Number, ..Measured::of_problems(lines) })
}
