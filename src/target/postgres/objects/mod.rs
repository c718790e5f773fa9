//! What the catalog and the server know: one file for each family of kinds.
//!
//! Each measures the number of problems and names them in `detail`, so that the message says the cause.

mod drift;
mod keys;
mod migrations;
mod policies;
mod policy_terms;
mod policy_truth;
mod routines;
mod sequences;
mod server;
mod visible;

use std::time::Duration;

use crate::domain::measure::{Catalog, Server};
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measured};

use super::super::plan::relation::Relations;
use super::super::plan::text::Bound;
use super::errors;
use super::session::Session;

/// A catalog question that got no answer.
#[derive(Debug)]
pub enum ObjectError {
    Database(sqlx::Error),
    Refused(MeasureError),
}

impl From<sqlx::Error> for ObjectError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<MeasureError> for ObjectError {
    fn from(error: MeasureError) -> Self {
        Self::Refused(error)
    }
}

impl ObjectError {
    pub fn explain(self, relations: &Relations, role: &str) -> MeasureError {
        match self {
            Self::Database(error) => errors::statement(&error, None, relations, role),
            Self::Refused(error) => error,
        }
    }
}

pub async fn measure(
    session: &mut Session,
    catalog: &Catalog,
    timeout: Duration,
) -> Result<Measured, ObjectError> {
    let mut ask = Ask { session, timeout };
    match catalog {
        Catalog::Rls { schema, tables, allow, require, policies, only } => {
            let wanted = policies::Wanted { tables, allow, require, policies, only: *only };
            policies::rls(&mut ask, schema, wanted).await
        }
        Catalog::VisibleRows { table, role, claims, filter } => {
            visible::rows(&mut ask, table, role, claims, filter.as_deref()).await
        }
        Catalog::Columns { .. } => unreachable!("answered with the look at all tables"),
        Catalog::IndexesValid { schema, require } => keys::indexes(&mut ask, schema, require).await,
        Catalog::ConstraintsValid { schema, require, definitions, foreign_keys } => {
            keys::constraints(&mut ask, schema, require, definitions, *foreign_keys).await
        }
        Catalog::Sequences { schema } => sequences::sequences(&mut ask, schema).await,
        Catalog::ForeignKeys { schema, require } => keys::foreign(&mut ask, schema, require).await,
        Catalog::MigrationsApplied { table, files, .. } => {
            migrations::applied(&mut ask, table, files.as_deref()).await
        }
        Catalog::Drift { schema, allow } => drift::fingerprint(&mut ask, schema, allow).await,
        Catalog::Functions { schema, require } => routines::functions(&mut ask, schema, require).await,
        Catalog::Triggers { schema, require } => routines::triggers(&mut ask, schema, require).await,
    }
}

pub async fn server(
    session: &mut Session,
    server: &Server,
    timeout: Duration,
) -> Result<Measured, ObjectError> {
    let mut ask = Ask { session, timeout };
    match server {
        Server::Connections => server::connections(&mut ask).await,
        Server::LongTransactions { over } => server::long_transactions(&mut ask, *over).await,
    }
}

/// One question to the catalog: a SELECT of one JSON text for each row.
struct Ask<'a> {
    session: &'a mut Session,
    timeout: Duration,
}

impl Ask<'_> {
    async fn rows<T: serde::de::DeserializeOwned>(
        &mut self,
        sql: &str,
        values: &[&str],
    ) -> Result<Vec<T>, ObjectError> {
        let bound = Bound { sql: sql.to_owned(), values: values.iter().map(|v| (*v).to_owned()).collect() };
        let rows = self.session.rows(&bound, Some(self.timeout)).await?;
        rows.iter()
            .map(|row| {
                serde_json::from_str(row).map_err(|_| {
                    ObjectError::Refused(MeasureError {
                        code: MeasureErrorCode::Shape,
                        message: "the catalog's answer is not understood".into(),
                        hint: None,
                    })
                })
            })
            .collect()
    }

    /// A schema that does not exist has no problems either, so its absence must be an error.
    async fn need_schema(&mut self, schema: &str) -> Result<(), ObjectError> {
        let found: Vec<bool> =
            self.rows("SELECT 'true' FROM pg_catalog.pg_namespace WHERE nspname = $1", &[schema]).await?;
        if found.is_empty() { Err(wrong(format!("schema {schema} does not exist"), None)) } else { Ok(()) }
    }
}

fn wrong(message: String, hint: Option<String>) -> ObjectError {
    ObjectError::Refused(MeasureError { code: MeasureErrorCode::Sql, message, hint })
}

impl Ask<'_> {
    /// The answer of an EXPLAIN, which is one JSON value and no text.
    async fn rows_json(&mut self, sql: &str) -> Result<serde_json::Value, ObjectError> {
        Ok(self.session.explain(&Bound { sql: sql.to_owned(), values: Vec::new() }).await?)
    }
}
