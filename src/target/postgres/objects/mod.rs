//! What the catalog and the server know: one file for each family of kinds.

use std::time::Duration;

use crate::domain::measure::{Catalog, Server};
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measured};

use super::super::plan::relation::Relations;
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

impl ObjectError {
    pub fn explain(self, relations: &Relations, role: &str) -> MeasureError {
        match self {
            Self::Database(error) => errors::statement(&error, None, relations, role),
            Self::Refused(error) => error,
        }
    }
}

pub async fn measure(
    _session: &mut Session,
    _catalog: &Catalog,
    _timeout: Duration,
) -> Result<Measured, ObjectError> {
    Err(not_yet())
}

pub async fn server(
    _session: &mut Session,
    _server: &Server,
    _timeout: Duration,
) -> Result<Measured, ObjectError> {
    Err(not_yet())
}

fn not_yet() -> ObjectError {
    ObjectError::Refused(MeasureError {
        code: MeasureErrorCode::Sql,
        message: "this kind cannot be measured yet".into(),
        hint: None,
    })
}
