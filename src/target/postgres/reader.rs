//! One session at work for a scan: wraps statements, guards them, and explains what the server says.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::measure::{Catalog, Server};
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measured};

use super::super::plan::relation::Relations;
use super::super::plan::sql::Dialect;
use super::super::plan::text::{Arguments, Bound, bind, words};
use super::super::run::{ReadError, Reader};
use super::super::{ScanRequest, TargetOptions};
use super::objects::{self, ObjectError};
use super::session::Session;
use super::{catalog, errors};

/// One session at work.
pub struct PgReader<'a> {
    pub session: Session,
    pub relations: &'a Relations,
    pub options: &'a TargetOptions,
    pub request: &'a ScanRequest,
    pub as_of: Timestamp,
}

impl Reader for PgReader<'_> {
    async fn read(
        &mut self,
        sql: &str,
        user: Option<usize>,
        limit: usize,
        timeout: Duration,
    ) -> Result<Vec<String>, ReadError> {
        // Any type comes back as text, and what is not one SELECT does not fit into the parentheses.
        const PREFIX: &str = "SELECT row_to_json(dw_q)::text FROM (\n";
        let wrapped = format!("{PREFIX}{sql}\n) AS dw_q LIMIT {limit}");
        let arguments = Arguments { params: &self.request.params, as_of: self.as_of };
        let bound = bind(&wrapped, arguments, Dialect::Postgres)
            .map_err(|unset| ReadError::Skipped(unset.reason()))?;
        let prefix = user.filter(|_| bound.values.is_empty()).map(|own| own + PREFIX.len());
        if let Err(error) = self.guard(&bound, user.is_some()).await {
            return Err(match error {
                ObjectError::Refused(error) => error.into(),
                ObjectError::Database(error) => self.explained(&error, prefix).await.into(),
            });
        }
        match self.session.rows(&bound, Some(timeout)).await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(self.explained(&error, prefix).await.into()),
        }
    }

    async fn catalog(&mut self, catalog: &Catalog, timeout: Duration) -> Result<Measured, MeasureError> {
        objects::measure(&mut self.session, catalog, timeout)
            .await
            .map_err(|error| error.explain(self.relations, &self.session.facts.role))
    }

    async fn server(&mut self, server: &Server, timeout: Duration) -> Result<Measured, MeasureError> {
        objects::server(&mut self.session, server, timeout)
            .await
            .map_err(|error| error.explain(self.relations, &self.session.facts.role))
    }

    fn lost(&self) -> Option<MeasureError> {
        self.session.lost.clone()
    }
}

impl PgReader<'_> {
    /// Refuses a statement that the plan shows to be too costly, or that would not see all rows.
    async fn guard(&mut self, bound: &Bound, is_users: bool) -> Result<(), ObjectError> {
        if is_users && !self.options.row_security_off {
            let words = words(&bound.sql, Dialect::Postgres);
            if let Some(table) = catalog::hidden(&mut self.session, &words).await? {
                return Err(errors::hidden(&self.session.facts.role, &table).into());
            }
        }
        let Some(most) = self.options.max_cost else { return Ok(()) };
        let explain =
            Bound { sql: format!("EXPLAIN (FORMAT JSON) {}", bound.sql), values: bound.values.clone() };
        let plan = self.session.explain(&explain).await?;
        let cost = plan[0]["Plan"]["Total Cost"].as_f64().unwrap_or_default();
        if cost <= most {
            return Ok(());
        }
        Err(MeasureError {
            code: MeasureErrorCode::Cost,
            message: format!(
                "its plan costs {cost:.0}, more than the {most:.0} that are allowed: {}",
                outline(&plan)
            ),
            hint: Some("add an index that helps it, narrow it by `where`, or raise scan.max_cost".into()),
        }
        .into())
    }

    async fn explained(&mut self, error: &sqlx::Error, prefix: Option<usize>) -> MeasureError {
        let said = errors::statement(error, prefix, self.relations, &self.session.facts.role);
        if said.hint.is_some() || !errors::is_missing_table(error) {
            return said;
        }
        let names = catalog::names(&mut self.session).await.unwrap_or_default();
        let relations = Relations::new(Default::default(), names);
        errors::statement(error, prefix, &relations, &self.session.facts.role)
    }
}

/// The nodes of a plan in a line, outermost first.
pub fn outline(plan: &serde_json::Value) -> String {
    let mut nodes = Vec::new();
    let mut node = &plan[0]["Plan"];
    while let Some(kind) = node["Node Type"].as_str() {
        let on = node["Relation Name"].as_str().map(|r| format!(" on {r}")).unwrap_or_default();
        nodes.push(format!("{kind}{on}"));
        node = &node["Plans"][0];
    }
    nodes.join(" ← ")
}
