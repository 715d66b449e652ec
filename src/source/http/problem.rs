//! Error answers: RFC 9457 problem documents, the same from every listener.
//!
//! A document is fixed text and the number of its request: it repeats nothing of the request, and the reason
//! why an authentication failed is only in the metrics and among the last steps.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::problem::{ProblemCode, RequestNumber, document};

/// Seconds after which a provider is asked to send a delivery again that was answered 503.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// An answer with a problem document, under the status that goes with its code.
///
/// A 503 carries `Retry-After`, a 415 the encoding that is accepted.
pub fn problem<B: From<Bytes>>(code: ProblemCode, detail: &str, request: RequestNumber) -> Response<B> {
    problem_as(code.status(), code, detail, request)
}

/// The same under another status.
pub fn problem_as<B: From<Bytes>>(
    status: StatusCode,
    code: ProblemCode,
    detail: &str,
    request: RequestNumber,
) -> Response<B> {
    let document = document(code, status, detail, request);
    let mut response = Response::new(B::from(Bytes::from(document)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))
        }
        _ => None,
    };
    response
}

/// Marks an answer as the connection's last.
pub fn closing<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Marks an answer that does not prove the peer authentic: its network stays as unknown as it
/// was.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Unproven;

/// Marks a refusal that proves the peer authentic all the same: what it sent is stored.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Proven;

/// Whether an answer proves the peer authentic.
pub(in crate::source) fn is_granted<B>(response: &Response<B>) -> bool {
    let marks = response.extensions();
    (response.status().is_success() || marks.get::<Proven>().is_some()) && marks.get::<Unproven>().is_none()
}
