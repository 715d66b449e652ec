//! Carries encoded spans to an OpenTelemetry collector, by HTTP or gRPC.
//!
//! Both are the HTTP client that the bridge has anyway: a unary call of gRPC is a POST over HTTP/2 whose
//! message has five bytes in front and whose status is in the trailers. Nothing is read from the environment.

use std::error::Error;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;

use super::trace_options::{TraceOptions, TraceProtocol};

/// Longest time of a request, from the connection to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for connecting to one address, so that there is time to try another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Most bytes of an answer, which says little.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The method of the collector's service.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// In front of a message of gRPC: a mark that it is not compressed, and its length.
const GRPC_PREFIX_BYTES: usize = 5;

/// Why a collector has not taken a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExportError {
    /// A word from a fixed list.
    pub word: &'static str,
    /// An explanation for the operator.
    pub detail: String,
    /// Whether the same request can succeed later.
    pub can_pass: bool,
}

impl ExportError {
    fn passing(word: &'static str, detail: impl Into<String>) -> Self {
        Self { word, detail: detail.into(), can_pass: true }
    }
}

/// Sends requests to one collector, over one connection.
pub(super) struct CollectorClient {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    protocol: TraceProtocol,
    uri: Uri,
    headers: HeaderMap,
}

impl CollectorClient {
    pub(super) fn new(options: &TraceOptions, mut tls: ClientConfig) -> Self {
        let TraceOptions { endpoint, protocol, headers, .. } = options.clone();
        let is_grpc = protocol == TraceProtocol::Grpc;
        tls.alpn_protocols = vec![if is_grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .http2_only(is_grpc)
            .build(HttpsConnector::from((tcp, tls)));
        let mut client = Self { http, protocol, uri: endpoint, headers };
        let agent = concat!("fanbridge/", env!("CARGO_PKG_VERSION"));
        client.headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let kind = if is_grpc { "application/grpc" } else { "application/x-protobuf" };
        client.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if is_grpc {
            client.headers.insert(TE, HeaderValue::from_static("trailers"));
            client.uri = grpc_uri(&client.uri);
        }
        client
    }

    /// Hands a message over, and returns the collector's.
    ///
    /// # Errors
    /// When the collector has not taken it, as far as is known.
    pub(super) async fn send(&self, message: &Bytes) -> Result<Bytes, ExportError> {
        let sent = tokio::time::timeout(TIMEOUT, self.exchange(message)).await;
        sent.unwrap_or_else(|_| {
            Err(ExportError::passing("timeout", format!("no answer within {} s", TIMEOUT.as_secs())))
        })
    }

    async fn exchange(&self, message: &Bytes) -> Result<Bytes, ExportError> {
        let body = match self.protocol {
            TraceProtocol::Http => message.clone(),
            TraceProtocol::Grpc => framed(message),
        };
        let mut request = Request::post(self.uri.clone())
            .body(Full::new(body))
            .map_err(|error| ExportError { word: "request", detail: error.to_string(), can_pass: false })?;
        *request.headers_mut() = self.headers.clone();
        let response = self.http.request(request).await;
        let response = response.map_err(|error| ExportError::passing("unreachable", causes(&error)))?;
        match self.protocol {
            TraceProtocol::Http => http_answer(response).await,
            TraceProtocol::Grpc => grpc_answer(response).await,
        }
    }
}

/// The method's URL at a collector.
fn grpc_uri(endpoint: &Uri) -> Uri {
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(GRPC_PATH));
    Uri::from_parts(parts).unwrap_or_else(|_| unreachable!("an endpoint has a scheme and a host"))
}

/// A message as gRPC sends it.
fn framed(message: &Bytes) -> Bytes {
    let mut framed = Vec::with_capacity(GRPC_PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.into()
}

async fn http_answer(response: Response<Incoming>) -> Result<Bytes, ExportError> {
    let status = response.status();
    if status.is_success() {
        return Ok(collected(response).await?.0);
    }
    // The statuses that the protocol allows to try again.
    let can_pass = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    Err(ExportError { word: "status", detail: format!("the collector answers {status}"), can_pass })
}

async fn grpc_answer(response: Response<Incoming>) -> Result<Bytes, ExportError> {
    let status = response.status();
    if status != StatusCode::OK {
        let detail = format!("the collector answers {status}, which no service of gRPC does");
        return Err(ExportError { word: "status", detail, can_pass: true });
    }
    // A refusal can have its status in the head.
    let of_head = GrpcStatus::of(response.headers());
    let (body, trailers) = collected(response).await?;
    let status = of_head.or_else(|| trailers.as_ref().and_then(GrpcStatus::of));
    match status {
        Some(GrpcStatus { code: 0, .. }) => Ok(body.slice(GRPC_PREFIX_BYTES.min(body.len())..)),
        Some(status) => {
            let detail = format!("the collector answers with the status {} of gRPC", status.code);
            Err(ExportError { word: "status", detail, can_pass: status.can_pass() })
        }
        None => Err(ExportError::passing("status", "the collector's answer has no status of gRPC")),
    }
}

/// How a call of gRPC has ended.
struct GrpcStatus {
    code: u32,
    /// Whether details came with it, such as when to try again.
    is_detailed: bool,
}

impl GrpcStatus {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
        Some(Self { code, is_detailed: headers.contains_key("grpc-status-details-bin") })
    }

    /// Whether the same request can be tried again, by the protocol.
    fn can_pass(&self) -> bool {
        match self.code {
            // Cancelled, deadline, aborted, out of range, unavailable, data loss.
            1 | 4 | 10 | 11 | 14 | 15 => true,
            // Exhausted: without saying when to try again it is said of a request that is too large.
            8 => self.is_detailed,
            _ => false,
        }
    }
}

async fn collected(response: Response<Incoming>) -> Result<(Bytes, Option<HeaderMap>), ExportError> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| ExportError::passing("answer", error.to_string()))?;
    let trailers = body.trailers().cloned();
    Ok((body.to_bytes(), trailers))
}

/// An error with its causes.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_too_large_for_a_collector_is_not_tried_for_ever() {
        let can_pass = |code: &'static str, details: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", HeaderValue::from_static(code));
            let details = details.map(HeaderValue::from_static);
            details.map(|details| headers.insert("grpc-status-details-bin", details));
            GrpcStatus::of(&headers).map(|status| status.can_pass())
        };
        assert_eq!((can_pass("8", None), can_pass("8", Some("CAgS"))), (Some(false), Some(true)));
        assert_eq!((can_pass("14", None), can_pass("3", None)), (Some(true), Some(false)));
    }

    #[test]
    fn a_call_of_grpc_goes_to_the_method_with_the_length_in_front() {
        let uri = grpc_uri(&Uri::from_static("http://127.0.0.1:4317"));
        assert_eq!(uri.to_string(), format!("http://127.0.0.1:4317{GRPC_PATH}"));
        assert_eq!(&framed(&Bytes::from_static(b"abc"))[..], b"\0\0\0\0\x03abc");
    }
}
