//! Error answers: RFC 9457 problem documents, the same from every listener.
//!
//! What a document says is fixed text: nothing of the request is echoed, and the reason for a
//! failed authentication is kept for the metrics.

use std::fmt::Display;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

/// Seconds after which a delivery that could not be taken may be tried again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// A problem document. `detail` is made of fixed words and needs no escaping in JSON.
///
/// 503 comes with `Retry-After`, 415 with the encoding that is understood.
pub fn problem<B: From<Bytes>>(status: StatusCode, detail: impl Display) -> Response<B> {
    let title = status.canonical_reason().unwrap_or("Error");
    let document = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{detail}"}}"#,
        status.as_u16()
    );
    debug_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&document).is_ok(), "{document} is no JSON");
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

/// Marks an answer that is a success and says nothing of who asked: the connection is no better known
/// for it than before.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Unproven;

/// Whether an answer grants what was asked to who has shown who he is.
pub(in crate::source) fn is_granted<B>(response: &Response<B>) -> bool {
    response.status().is_success() && response.extensions().get::<Unproven>().is_none()
}
