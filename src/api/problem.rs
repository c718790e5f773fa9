//! Errors on the wire: `application/problem+json` (RFC 9457) with a stable `code`.

use serde::{Deserialize, Serialize};

/// Every error code with its HTTP status and title. Codes are part of the API: never reused, never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    IdempotencyMismatch,
    IdempotencyInFlight,
    PayloadTooLarge,
    RateLimited,
    TargetUnavailable,
    StoreUnavailable,
    Internal,
}

impl Code {
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Conflict | Self::IdempotencyInFlight => 409,
            Self::PayloadTooLarge => 413,
            Self::IdempotencyMismatch => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::TargetUnavailable | Self::StoreUnavailable => 503,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not valid",
            Self::Unauthenticated => "A valid token is needed",
            Self::Forbidden => "The token lacks the scope",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "This address does not take this method",
            Self::RequestTimeout => "The request took too long to arrive",
            Self::Conflict => "The state does not allow this",
            Self::IdempotencyMismatch => "The Idempotency-Key was used with another request",
            Self::IdempotencyInFlight => "A request with this Idempotency-Key is in flight",
            Self::PayloadTooLarge => "The body is too large",
            Self::RateLimited => "Too many requests",
            Self::TargetUnavailable => "The watched database cannot be measured",
            Self::StoreUnavailable => "The store is not available",
            Self::Internal => "Something went wrong on our side",
        }
    }
}

/// The body of every error answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What is wrong here, and what to do.
    pub detail: String,
    pub code: Code,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code,
            request_id: None,
        }
    }
}
