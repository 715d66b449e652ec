//! A listener: accepts connections, bounds their number and their time, and hands requests to a service.
//!
//! HTTP/1 only, with an accept loop of its own, because hyper-util's loop also speaks HTTP/2 without
//! being asked and bounds neither connections nor time. The listener is generic over the service, so
//! the public and the private listener are the same code. Invariants: a request whose head was read is
//! answered before a graceful end, and a panic while one request is answered makes that answer a 500.
//! The listener knows nothing of paths, sources or deliveries.

pub(super) mod body;
pub(super) mod body_budget;
pub(super) mod body_error;
pub mod connections;
pub(super) mod framing;
mod handshake;
pub(super) mod head;
pub(super) mod networks;
pub mod options;
pub mod problem;
pub(super) mod timeout_stream;
pub mod tls;

pub use options::{HttpOptions, Limits, TlsOptions};

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::TRANSFER_ENCODING;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::connections::Connections;
use super::http::head::Fault;
use super::http::networks::{ConnectionPermit, GUEST, Guest, Networks};
use super::http::problem::{closing, is_granted, problem, problem_as};
use super::http::timeout_stream::{ConnectionState, TimeoutStream, Timeouts};
use super::http::tls::Tls;
use crate::problem::{ProblemCode, RequestNumber};
use crate::telemetry::Episode;
use handshake::encrypt;

/// Most bytes of a request's head. A longer head, or one with more than the parser's 100 headers, is
/// answered 431.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a connection without any request stays open at a stop: it can have been taken a moment before,
/// and its peer has not been refused.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_millis(500);
/// How often it is looked whether its request has come.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Most open connections of the private listener, which serves people, a scraper and probes.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// How long the listener pauses after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the listener must have accepted all connections before the log says that it does so again.
const ACCEPTS_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Serves connections until `stop` is cancelled. Then it accepts no new connection, closes idle ones,
/// has requests in flight answered, and cuts the connections that are left after `drain_timeout`.
///
/// `service` is cloned for every request and must always be ready, as an axum `Router` is.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: Limits,
    drain_timeout: Duration,
    metrics: Arc<Connections>,
    service: S,
    stop: CancellationToken,
) where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let networks = Networks::new(limits.connections_max, limits.connections_per_address_max, metrics.clone());
    let tls = tls.map(Arc::new);
    let mut accept_failures = Episode::ending_after(ACCEPTS_AGAIN_AFTER);
    loop {
        let entering = enter(&listener, &mut accept_failures, &slots, &networks, &stop);
        let Some(accepted) = stop.run_until_cancelled(entering).await else { break };
        let Accepted { stream, permit, slot } = accepted;
        let open = metrics.open();
        let (metrics, service, guest) = (metrics.clone(), service.clone(), permit.0.clone());
        let connection = Connection { limits, metrics, service, guest: guest.clone(), cut: cut.clone() };
        let tls = tls.clone();
        connections.spawn(GUEST.scope(guest, async move {
            connection.run(stream, tls.as_deref()).await;
            drop((permit, slot, open));
        }));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "the listener stops: connections that did not end within its drain time are cut"
        );
        cut.cancel();
        connections.wait().await;
    }
}

struct Accepted {
    stream: TcpStream,
    permit: ConnectionPermit,
    slot: OwnedSemaphorePermit,
}

/// The next connection that [`Networks`] lets in, once fewer than `connections_max` are open.
async fn enter(
    listener: &TcpListener,
    accept_failures: &mut Episode<String>,
    slots: &Arc<Semaphore>,
    networks: &Arc<Networks>,
    stop: &CancellationToken,
) -> Accepted {
    loop {
        let (stream, address) = accept(listener, accept_failures).await;
        if let Some(permit) = networks.enter(address, stop.child_token()) {
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            return Accepted { stream, permit, slot };
        }
    }
}

/// The next connection. `accept_failures` is the time in which none can be accepted, by the system's error.
async fn accept(listener: &TcpListener, accept_failures: &mut Episode<String>) -> (TcpStream, IpAddr) {
    loop {
        let accepted = match accept_failures.ends_at() {
            None => listener.accept().await,
            // The end is told in time, even if nobody connects.
            Some(end) => match tokio::time::timeout_at(end.into(), listener.accept()).await {
                Ok(accepted) => accepted,
                Err(_) => {
                    accepts_again(accept_failures);
                    continue;
                }
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                accepts_again(accept_failures);
                return (stream, peer.ip());
            }
            // The peer has left already; nothing is wrong with the listener.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Most likely the process has no descriptor left: another attempt at once would only spin.
            Err(error) => {
                if accept_failures.happens(error.to_string(), Instant::now()).is_some() {
                    tracing::error!(
                        %error,
                        "the listener cannot accept connections and tries again every 100 ms: if the process \
                         has too many open files, raise their limit"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn accepts_again(accept_failures: &mut Episode<String>) {
    if let Some(end) = accept_failures.over(Instant::now()) {
        let (seconds, failures) = (end.seconds(), end.times);
        tracing::info!(seconds, failures, "the listener accepts connections again");
    }
}

struct Connection<S> {
    limits: Limits,
    metrics: Arc<Connections>,
    service: S,
    guest: Arc<Guest>,
    cut: CancellationToken,
}

impl<S, B> Connection<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn run(self, stream: TcpStream, tls: Option<&Tls>) {
        // An answer is one small write, so delaying it to send more with it only costs time. If the
        // peer has left already, the first read fails.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.converse(stream).await };
        let met = encrypted(stream, tls, self.limits.header_timeout, &self.guest).await;
        match met {
            Some(Ok(stream)) => self.converse(stream).await,
            Some(Err(error)) => self.metrics.handshake_failed(&error),
            None => {}
        }
    }

    /// Answers requests until the peer closes the connection, a timeout passes or the listener stops.
    async fn converse<IO: AsyncRead + AsyncWrite + Unpin>(self, io: IO) {
        let Self { limits, metrics, service, guest, cut } = self;
        let (metrics, guest) = (&*metrics, &*guest);
        let timeouts = Timeouts { head: limits.header_timeout, idle: limits.idle_timeout };
        let (stream, state) = TimeoutStream::new(io, timeouts);
        guest.set_state(state.clone());
        let answering = state.clone();
        let service =
            service_fn(move |request| answer(service.clone(), answering.clone(), guest, metrics, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None) // `TimeoutStream` does it: this timer would also cut idle connections.
            .half_close(true) // A peer that closed its sending side still waits for the answer.
            .writev(false) // Answers are small: one copy is cheaper than a write of two slices.
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = guest.closing.cancelled() => {
                if guest.is_displaced() {
                    return;
                }
                let last = async {
                    // A peer whose connection was taken a moment ago is about to send its first request.
                    state.end_soon();
                    let over = Instant::now() + FIRST_REQUEST_WITHIN;
                    while !state.has_begun() && Instant::now() < over {
                        if let Ok(ended) = tokio::time::timeout(LOOK_EVERY, connection.as_mut()).await {
                            return ended;
                        }
                    }
                    connection.as_mut().graceful_shutdown();
                    connection.await
                };
                tokio::select! {
                    ended = last => ended,
                    () = cut.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            metrics.broke(&error);
        }
    }
}

/// The connection once its handshake is complete, or why that failed; `None` if it takes too long.
async fn encrypted(
    stream: TcpStream,
    tls: &Tls,
    within: Duration,
    guest: &Guest,
) -> Option<io::Result<TlsStream<TcpStream>>> {
    let acceptor = tls.acceptor();
    let mut handshake = pin!(tokio::time::timeout(within, encrypt(&acceptor, stream, guest)));
    tokio::select! {
        biased;
        met = handshake.as_mut() => met.ok(),
        () = guest.closing.cancelled() => match guest.is_displaced() {
            true => None,
            false => tokio::time::timeout(FIRST_REQUEST_WITHIN, handshake).await.ok()?.ok(),
        },
    }
}

/// Answers one request; a panic in the service is answered 500.
async fn answer<S, B>(
    mut service: S,
    state: ConnectionState,
    guest: &Guest,
    metrics: &Connections,
    request: Request<Incoming>,
) -> Result<Response<B>, Infallible>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: From<Bytes>,
{
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let response = if state.begin(chunked).is_err() {
        metrics.ambiguous_length();
        let detail = "the length of the body is stated in two ways";
        closing(problem(ProblemCode::BadHead, detail, RequestNumber::next()))
    } else if let Some(fault) = Fault::of(&request) {
        metrics.bad_head(fault.reason());
        let request = RequestNumber::next();
        closing(problem_as(fault.status(), ProblemCode::BadHead, fault.detail(), request))
    } else {
        // Pinned here, because a future that is passed on by value takes its memory twice. The service is
        // always ready, and is called in the future: a panic of the call itself is caught, too.
        match AssertUnwindSafe(pin!(async { service.call(request).await })).catch_unwind().await {
            // `Framing` does not follow the connection beyond a chunked request.
            Ok(Ok(response)) if chunked => closing(response),
            // The service answered before the whole body had arrived. The parser closes the connection
            // after such an answer; a peer that is not told so would send its next request on it.
            Ok(Ok(response)) if state.owes_body() => closing(response),
            Ok(Ok(response)) => response,
            // The panic hook has logged the panic, and what the request owned is dropped with its future.
            Err(_panic) => closing(problem(
                ProblemCode::Failed,
                "fanbridge failed while it handled this request",
                RequestNumber::next(),
            )),
        }
    };
    if is_granted(&response) {
        guest.prove();
    }
    // A proven peer gets the long idle timeout after a success.
    let ends = state.end(response.status().is_success() && guest.is_proven());
    Ok(if ends { closing(response) } else { response })
}
