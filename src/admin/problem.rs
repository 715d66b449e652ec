//! Failures as RFC 9457 problem documents.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::spool::state::StateError;

/// A request that was not granted, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status code.
    pub status: StatusCode,
    /// What is wrong, for people. Holds nothing secret.
    pub detail: Cow<'static, str>,
}

impl Problem {
    /// A problem with this status.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into() }
    }
}

impl From<StateError> for Problem {
    /// The cause goes to the log: who may ask need not know the disk's paths.
    fn from(error: StateError) -> Self {
        if let StateError::NoRoom { .. } = error {
            // In the log it is said by the state itself.
            let detail = "the state has no room: make some on its file system, then ask again";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        }
        tracing::error!(error = &error as &dyn std::error::Error, "the state cannot be used");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the state cannot be read or written: see the log")
    }
}

impl IntoResponse for Problem {
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
