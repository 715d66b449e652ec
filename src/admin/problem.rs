//! Failures as problem documents (RFC 9457).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Map, Value as Json};

use crate::problem::{ProblemCode, RequestNumber, document_with};
use crate::state::StateError;

/// A request that failed, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemAnswer {
    /// What is wrong, for programs.
    pub code: ProblemCode,
    /// The HTTP status.
    pub status: StatusCode,
    /// What is wrong, for people. Contains no secret.
    pub detail: Cow<'static, str>,
    /// The number of the request.
    pub request: RequestNumber,
    /// Further members of the document. They contain no secret.
    pub members: Map<String, Json>,
}

impl ProblemAnswer {
    /// A problem with this code, under the status that goes with it.
    pub fn of(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let (status, request) = (code.status(), RequestNumber::next());
        Self { code, status, detail: detail.into(), request, members: Map::new() }
    }

    /// The same with one more member in the document.
    pub fn with(mut self, name: &str, member: Json) -> Self {
        self.members.insert(name.to_owned(), member);
        self
    }
}

impl From<StateError> for ProblemAnswer {
    /// Logs the cause instead of answering it, because the caller need not know paths of the disk.
    fn from(error: StateError) -> Self {
        if let StateError::NoRoom { .. } = error {
            // The state logs this itself.
            let detail =
                "there is no space on the disk for the state file: free some, then repeat the request";
            return Self::of(ProblemCode::NoRoom, detail);
        }
        let detail = "the state file cannot be read or written: see the log";
        let problem = Self::of(ProblemCode::StateUnreadable, detail);
        tracing::error!(
            request = %problem.request,
            error = &error as &dyn std::error::Error,
            "the admin API could not read or write the state file"
        );
        problem
    }
}

impl IntoResponse for ProblemAnswer {
    fn into_response(self) -> Response {
        let document = document_with(self.code, self.status, &self.detail, self.request, self.members);
        let kind = [(CONTENT_TYPE, "application/problem+json")];
        let response = (self.status, kind, document);
        match self.status {
            StatusCode::UNAUTHORIZED => ([(WWW_AUTHENTICATE, "Bearer")], response).into_response(),
            StatusCode::SERVICE_UNAVAILABLE => ([(RETRY_AFTER, "5")], response).into_response(),
            _ => response.into_response(),
        }
    }
}
