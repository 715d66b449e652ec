//! A double of an OpenTelemetry collector: it takes spans by OTLP, over HTTP or gRPC, and keeps them.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::support::await_until;

/// How long spans may take on their way.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running collector. Dropping it closes its connections.
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    kept: Arc<Kept>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Kept {
    requests: Mutex<Vec<Taken>>,
    /// The status of all answers, if it is not success.
    refuses: AtomicU16,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Taken {
    pub path: String,
    pub headers: HeaderMap,
    pub message: ExportTraceServiceRequest,
    /// All of it, for what must not be in it.
    pub bytes: Bytes,
}

impl Collector {
    /// A collector at a free port, by HTTP.
    pub fn http() -> Self {
        Self::at(0, false)
    }

    /// The same by gRPC.
    pub fn grpc() -> Self {
        Self::at(0, true)
    }

    /// A collector at this port.
    pub fn at(port: u16, is_grpc: bool) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = runtime.block_on(listening).expect("the port is free");
        let address = listener.local_addr().expect("an address");
        let kept: Arc<Kept> = Arc::default();
        let of_tasks = Arc::clone(&kept);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, is_grpc, Arc::clone(&of_tasks)));
            }
        });
        Self { address, kept, _runtime: runtime }
    }

    /// Answers with this status from now on; 200 takes spans.
    pub fn refuse(&self, status: u16) {
        self.kept.refuses.store(status, Ordering::Relaxed);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Taken> {
        self.kept.requests.lock().unwrap().clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|taken| taken.message.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Waits for so many spans whose name begins so.
    pub fn await_spans(&self, name: &str, count: usize) -> Vec<Span> {
        await_until(&format!("{count} spans {name}"), DEADLINE, || {
            let named: Vec<Span> =
                self.spans().into_iter().filter(|span| span.name.starts_with(name)).collect();
            (named.len() >= count).then_some(named)
        })
    }
}

/// The value of an attribute, as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{name} is {other:?}"),
    })
}

async fn serve(stream: TcpStream, is_grpc: bool, kept: Arc<Kept>) {
    let service = service_fn(move |request| answer(request, is_grpc, Arc::clone(&kept)));
    let io = TokioIo::new(stream);
    // It ends with the bridge's connection, however that ends.
    if is_grpc {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    is_grpc: bool,
    kept: Arc<Kept>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
    let body = body.to_bytes();
    let refuses = kept.refuses.load(Ordering::Relaxed);
    if refuses != 0 && refuses != 200 {
        return Ok(Response::builder().status(refuses).body(Full::default().boxed()).unwrap());
    }
    let bytes = if is_grpc {
        assert_eq!(body[0], 0, "the message is not compressed");
        assert_eq!(body[1..5], u32::try_from(body.len() - 5).unwrap().to_be_bytes());
        body.slice(5..)
    } else {
        body
    };
    let message = ExportTraceServiceRequest::decode(bytes.clone()).expect("a message of OTLP");
    let path = head.uri.path().to_owned();
    kept.requests.lock().unwrap().push(Taken { path, headers: head.headers, message, bytes });
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    if !is_grpc {
        return Ok(Response::new(Full::from(answer).boxed()));
    }
    let mut framed = vec![0; 5];
    framed[1..5].copy_from_slice(&u32::try_from(answer.len()).unwrap().to_be_bytes());
    framed.extend(answer);
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let body = Full::from(framed).with_trailers(async move { Some(Ok(trailers)) });
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(body.boxed()).unwrap())
}
