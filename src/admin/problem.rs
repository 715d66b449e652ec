//! Failures as problem documents (RFC 9457).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::state::StateError;

/// A request that failed, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemAnswer {
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong, for people. Contains no secret.
    pub detail: Cow<'static, str>,
}

impl ProblemAnswer {
    /// A problem with this status and detail.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into() }
    }
}

impl From<StateError> for ProblemAnswer {
    /// Logs the cause instead of answering it, because the caller need not know paths of the disk.
    fn from(error: StateError) -> Self {
        if let StateError::NoRoom { .. } = error {
            // The state logs this itself.
            let detail =
                "there is no space on the disk for the state file: free some, then repeat the request";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        }
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the admin API could not read or write the state file"
        );
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the state file cannot be read or written: see the log")
    }
}

impl IntoResponse for ProblemAnswer {
    fn into_response(self) -> Response {
        let document = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let kind = [(CONTENT_TYPE, "application/problem+json")];
        let response = (self.status, kind, document.to_string());
        match self.status {
            StatusCode::UNAUTHORIZED => ([(WWW_AUTHENTICATE, "Bearer")], response).into_response(),
            StatusCode::SERVICE_UNAVAILABLE => ([(RETRY_AFTER, "5")], response).into_response(),
            _ => response.into_response(),
        }
    }
}
