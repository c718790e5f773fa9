//! What a scan would do, without reading any row: the statements with the planner's view of each.

use std::collections::VecDeque;

use crate::domain::check::CheckKey;

use super::super::outline::{ScanPlan, Step, steps};
use super::super::plan::sql::Dialect;
use super::super::plan::text::{Arguments, bind};
use super::super::run::Job;
use super::super::{ScanRequest, TargetError, TargetOptions};
use super::engine::close;
use super::open::{Opened, open};
use super::reader::outline;

pub async fn explain(options: &TargetOptions, request: &ScanRequest) -> Result<ScanPlan, TargetError> {
    let Opened { mut session, relations, as_of, prints, mut assembly, .. } = open(options, request).await?;
    let arguments = Arguments { params: &request.params, as_of };
    let jobs: VecDeque<Job> = std::mem::take(&mut assembly.together)
        .into_iter()
        .chain(std::mem::take(&mut assembly.apart))
        .collect();
    let mut planned = steps(&jobs, request, arguments, Dialect::Postgres);
    for Step { sql, cost, nodes, problem, .. } in &mut planned {
        let Some(sql) = sql else { continue };
        // In parentheses, as the scan sends it, what is not one SELECT is refused.
        let explain = format!("EXPLAIN (FORMAT JSON) SELECT * FROM (\n{sql}\n) AS dw_q");
        let bound = match bind(&explain, arguments, Dialect::Postgres) {
            Ok(bound) => bound,
            Err(unset) => {
                *problem = Some(unset.reason());
                continue;
            }
        };
        match session.explain(&bound).await {
            Ok(plan) => {
                *cost = plan[0]["Plan"]["Total Cost"].as_f64();
                *nodes = Some(outline(&plan));
            }
            Err(error) => {
                let said = super::errors::statement(&error, None, &relations, &session.facts.role);
                *problem = Some(said.to_string());
            }
        }
    }
    let carriable: Vec<CheckKey> = request
        .checks
        .iter()
        .zip(&prints)
        .filter(|(_, print)| print.is_some())
        .map(|(check, _)| check.key().clone())
        .collect();
    let server = session.facts.server.clone();
    if let Some(conn) = session.end().await {
        close(conn).await;
    }
    Ok(ScanPlan::of(server, planned, &assembly, request, carriable))
}
