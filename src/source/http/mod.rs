//! A listener: accepts connections, bounds what each may cost, and hands requests to a service.
//!
//! HTTP/1 only, with our own accept loop, because the ready-made one also speaks HTTP/2 without
//! being asked and bounds neither connections nor time. Generic over the service, so the public
//! and the private listener are the same code. Invariants: a request that was begun is answered
//! before a graceful end, and a panic in one request is that request's 500. It knows nothing of
//! paths, sources or deliveries.

pub(super) mod body;
pub(super) mod body_budget;
pub mod connections;
pub(super) mod framing;
mod handshake;
pub(super) mod head;
pub(super) mod networks;
pub mod options;
pub mod problem;
pub(super) mod timeout_stream;
pub mod tls;
pub(super) mod turns;

pub use options::{HttpOptions, TlsOptions};

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::http::connections::Connections;
use super::http::head::Fault;
use super::http::networks::{ConnectionPermit, GUEST, Guest, Networks};
use super::http::problem::{closing, is_granted, problem};
use super::http::timeout_stream::{ConnectionState, TimeoutStream, Timeouts};
use super::http::tls::Tls;
use handshake::encrypt;

/// Bytes of a request's head; beyond it, or beyond the parser's own 100 headers, the answer is 431.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Connections of the private listener: people, a scraper, an orchestrator's probes.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// How long requests to the private listener may take at the end of a stop.
const ADMIN_DRAIN_MAX: Duration = Duration::from_secs(1);
/// The pause after the system refused a connection for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// How long a request's head (and a TLS handshake) may take.
    pub header_timeout: Duration,
    /// How long an idle connection is kept, and how long a peer may take to read an answer.
    pub idle_timeout: Duration,
    /// Open connections in all; more wait in the system's backlog, but for one that waits here. Three
    /// quarters of them are for networks that were not authentic lately.
    pub connections_max: usize,
    /// Open connections from one address (IPv6: from one /64); more are closed at once.
    pub connections_per_address_max: usize,
    /// How long requests in flight may take to end once the listener is told to stop.
    pub drain_timeout: Duration,
}

impl HttpLimits {
    /// The configured limits.
    pub fn new(config: &HttpOptions, drain_timeout: Duration) -> Self {
        Self {
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
            connections_max: config.connections_max,
            connections_per_address_max: config.connections_per_address_max,
            drain_timeout,
        }
    }

    /// The same for the private listener, which strangers do not reach: one address may have all, and
    /// there are always some for it, however many the public one has. It ends last, when the grace may be
    /// over, so that nobody there is waited for much longer.
    pub fn private(self) -> Self {
        let connections_max = ADMIN_CONNECTIONS_MAX;
        let drain_timeout = self.drain_timeout.min(ADMIN_DRAIN_MAX);
        Self { connections_max, connections_per_address_max: connections_max, drain_timeout, ..self }
    }
}

/// Serves connections until told to stop, then ends them in order: no new ones, idle ones are
/// closed, requests in flight are answered; what has not ended by the drain timeout is cut.
///
/// `service` is cloned for every request and must always be ready, as an axum `Router` is.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: HttpLimits,
    tally: Arc<Connections>,
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
    let networks = Networks::new(limits.connections_max, limits.connections_per_address_max, tally.clone());
    let tls = tls.map(Arc::new);
    while let Some(accepted) = stop.run_until_cancelled(enter(&listener, &slots, &networks, &stop)).await {
        let Accepted { stream, place, slot } = accepted;
        let open = tally.open();
        let (tally, service, guest) = (tally.clone(), service.clone(), place.0.clone());
        let connection = Connection { limits, tally, service, guest: guest.clone(), cut: cut.clone() };
        let tls = tls.clone();
        connections.spawn(GUEST.scope(guest, async move {
            connection.run(stream, tls.as_deref()).await;
            drop((place, slot, open));
        }));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "cutting connections that did not end in time");
        cut.cancel();
        connections.wait().await;
    }
}

struct Accepted {
    stream: TcpStream,
    place: ConnectionPermit,
    slot: OwnedSemaphorePermit,
}

/// The next connection that has a place, once there is a slot for it.
async fn enter(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    networks: &Arc<Networks>,
    stop: &CancellationToken,
) -> Accepted {
    loop {
        let (stream, address) = accept(listener).await;
        if let Some(place) = networks.enter(address, stop.child_token()) {
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            return Accepted { stream, place, slot };
        }
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    let mut refused = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip()),
            // The peer is gone already; the listener is fine.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Most likely no descriptors are left: trying again at once would only spin.
            Err(error) => {
                if !std::mem::replace(&mut refused, true) {
                    tracing::error!(%error, "cannot accept connections, trying again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection<S> {
    limits: HttpLimits,
    tally: Arc<Connections>,
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
        // An answer is one small write: waiting for more to send with it only costs time. A peer
        // that is gone already shows at the first read.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.converse(stream).await };
        let acceptor = tls.acceptor();
        let handshake = encrypt(&acceptor, stream, &self.guest);
        let handshake = tokio::time::timeout(self.limits.header_timeout, handshake);
        match self.guest.closing.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.converse(stream).await,
            Some(Ok(Err(error))) => self.tally.handshake_failed(&error),
            Some(Err(_)) | None => {}
        }
    }

    /// Answers requests until the peer or the bridge has had enough.
    async fn converse<IO: AsyncRead + AsyncWrite + Unpin>(self, io: IO) {
        let Self { limits, tally, service, guest, cut } = self;
        let (tally, guest) = (&*tally, &*guest);
        let patience = Timeouts { head: limits.header_timeout, idle: limits.idle_timeout };
        let (wire, exchange) = TimeoutStream::new(io, patience);
        guest.speaks(exchange.clone());
        let service =
            service_fn(move |request| answer(service.clone(), exchange.clone(), guest, tally, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None) // `Wire` has it: this one would also cut idle connections.
            .half_close(true) // Who only ends its own side still waits for the answer.
            .writev(false) // Answers are small: one copy is cheaper than two slices.
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(wire), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = guest.closing.cancelled() => {
                if guest.is_displaced() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = cut.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tally.broke(&error);
        }
    }
}

/// Answers one request, whatever happens in the service.
async fn answer<S, B>(
    service: S,
    exchange: ConnectionState,
    guest: &Guest,
    tally: &Connections,
    request: Request<Incoming>,
) -> Result<Response<B>, Infallible>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: From<Bytes>,
{
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let response = if exchange.begin(chunked).is_err() {
        tally.ambiguous_length();
        closing(problem(StatusCode::BAD_REQUEST, "the length of the body is stated in two ways"))
    } else if let Some(fault) = Fault::of(&request) {
        tally.bad_head(fault.reason());
        closing(problem(fault.status(), fault.detail()))
    } else {
        match catch_panic(pin!(service.oneshot(request))).await {
            // The framing is followed up to a chunked request and not beyond it.
            Ok(Ok(response)) if chunked => closing(response),
            // Answered before its body was here. The parser would close the connection behind the
            // answer, and whoever is not told so sends it the next request.
            Ok(Ok(response)) if exchange.owes_body() => closing(response),
            Ok(Ok(response)) => response,
            Err(Panicked) => closing(problem(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here")),
        }
    };
    if is_granted(&response) {
        guest.prove();
    }
    // Who has shown who he is may wait, whatever else he is told.
    exchange.end(response.status().is_success() && guest.is_proven());
    Ok(response)
}

/// A future panicked. The panic hook has reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Contains a panic: what the future owned is dropped with it, the connection lives on. Borrows the
/// future, because one that is passed on by value takes its room twice.
pub(super) async fn catch_panic<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}
