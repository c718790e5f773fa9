//! The one error type of handlers: a problem, logged once with its cause.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};

use crate::api::problem::{Code, Problem};
use crate::store::StoreError;

/// What a handler returns when it cannot answer.
#[derive(Debug, thiserror::Error)]
#[error("{}", problem.detail)]
pub struct ApiError {
    pub problem: Problem,
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ApiError {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { problem: Problem::new(code, detail), cause: None }
    }

    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl From<StoreError> for ApiError {
    fn from(cause: StoreError) -> Self {
        Self::new(Code::StoreUnavailable, "the store did not answer; try again").caused_by(cause)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code())
            .content_type("application/problem+json")
            .insert_header(("Cache-Control", "no-store"))
            .json(&self.problem)
    }
}
