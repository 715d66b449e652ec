//! The byte stream of one connection, with patience that ends.
//!
//! Sits between the socket (or TLS) and the HTTP parser. It ends the stream when a head is
//! dribbled, when a connection idles, and when the peer stops reading its answers; it lets the
//! service compare the parser's view of the framing with [`Framing`]'s; and it closes so that an
//! answer sent before the whole request was read is not lost. One timer a connection, armed only
//! while the peer is waited for: the parser's own head timer would also cut idle connections.
//! It does not time bodies: the reader of a body knows its rate.

use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::framing::{Framing, Stage, Transfer};

/// How long a close waits for the peer to have read the answer. A peer that is still sending when
/// the socket closes is told so by a reset, which discards what it has not read yet.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that are read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 8 << 20;

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Timeouts {
    /// For a head, from its first byte (the first head: from the connection's beginning).
    pub head: Duration,
    /// Between two requests, if the one before was granted for a reason, and for taking an answer.
    /// Whoever is refused, or only probes, has as long as for a head: strangers should not hold
    /// places that others wait for.
    pub idle: Duration,
}

/// A connection's exchange as both its ends, the bytes and the service, see it.
#[derive(Clone, Debug)]
pub(in crate::source) struct ConnectionState(Arc<Mutex<Seen>>);

#[derive(Debug)]
struct Seen {
    framing: Framing,
    /// When the stage last changed.
    since: Instant,
    requests: u64,
    /// A request is being answered.
    answering: bool,
    /// The last request was granted.
    granted: bool,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum PeerState {
    /// It waits for a request, or for the rest of a head.
    Idle,
    /// A request is being answered whose body may not have come to its end.
    Sending,
    /// A whole request is being answered.
    Answering,
}

/// The service and the watcher differ about where a request begins or ends, or the request is
/// framed in two ways at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Ambiguous;

impl ConnectionState {
    fn new() -> Self {
        let since = Instant::now();
        let framing = Framing::default();
        Self(Arc::new(Mutex::new(Seen { framing, since, requests: 0, answering: false, granted: false })))
    }

    /// Notes that a request's head was parsed. `chunked`: it carries a `Transfer-Encoding`.
    ///
    /// # Errors
    /// When the request must be refused and the connection closed.
    pub(in crate::source) fn begin(&self, chunked: bool) -> Result<(), Ambiguous> {
        let mut seen = self.seen();
        seen.answering = true;
        seen.requests += 1;
        let plain = if chunked {
            // Nothing is parsed behind such a request, so it is the one the watcher ended with.
            seen.framing.transfer() == Some(Transfer::Plain) && seen.framing.heads() == seen.requests
        } else {
            seen.framing.heads() >= seen.requests
        };
        if plain { Ok(()) } else { Err(Ambiguous) }
    }

    /// Whether a part of the last request's body has yet to come. What has come and was not read, the
    /// parser passes over by itself.
    pub(in crate::source) fn owes_body(&self) -> bool {
        matches!(self.seen().framing.stage(), Stage::Body(_))
    }

    /// Notes that the request's answer is on its way, and whether it grants what was asked.
    pub(in crate::source) fn end(&self, granted: bool) {
        let mut seen = self.seen();
        seen.answering = false;
        seen.granted = granted;
        seen.since = Instant::now();
    }

    /// What the connection is at.
    pub(in crate::source) fn rest(&self) -> PeerState {
        let seen = self.seen();
        match seen.framing.stage() {
            _ if !seen.answering => PeerState::Idle,
            Stage::Rest => PeerState::Answering,
            Stage::Head(_) | Stage::Body(_) | Stage::Unfollowed => PeerState::Sending,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock()
    }
}

impl Seen {
    fn follow(&mut self, bytes: &[u8]) {
        let resting = self.framing.stage() == Stage::Rest;
        self.framing.follow(bytes);
        if resting != (self.framing.stage() == Stage::Rest) {
            self.since = Instant::now();
        }
    }

    /// Until when the peer may take for its next byte, if it is the peer that is waited for.
    fn deadline(&self, patience: Timeouts) -> Option<Instant> {
        match self.framing.stage() {
            _ if self.answering => None,
            Stage::Rest if self.granted => Some(self.since + patience.idle),
            Stage::Rest | Stage::Head(_) => Some(self.since + patience.head),
            Stage::Body(_) | Stage::Unfollowed => None,
        }
    }
}

/// A stream that ends when the peer takes too long.
pub(in crate::source) struct TimeoutStream<IO> {
    io: IO,
    exchange: ConnectionState,
    patience: Timeouts,
    alarm: Pin<Box<Sleep>>,
    write_stuck: Option<Instant>,
    linger: Option<Linger>,
}

#[derive(Clone, Copy)]
struct Linger {
    until: Instant,
    bytes_left: usize,
}

impl<IO> TimeoutStream<IO> {
    /// Wraps a connection that has just been made.
    pub(in crate::source) fn new(io: IO, patience: Timeouts) -> (Self, ConnectionState) {
        let exchange = ConnectionState::new();
        let alarm = Box::pin(sleep_until(Instant::now() + patience.head));
        let wire = Self { io, exchange: exchange.clone(), patience, alarm, write_stuck: None, linger: None };
        (wire, exchange)
    }

    /// Whether the deadline has passed; if not, the task is woken when it does.
    fn overdue(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        if Instant::now() >= deadline {
            return true;
        }
        // An alarm that rings too early is cheaper than one set anew for every request.
        if self.alarm.deadline() > deadline {
            self.alarm.as_mut().reset(deadline);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            self.alarm.as_mut().reset(deadline);
        }
        false
    }

    /// Passes a write's result on, or gives up on a peer that takes nothing any more.
    fn unless_stuck<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_stuck = None;
            return result;
        }
        let since = *self.write_stuck.get_or_insert_with(Instant::now);
        if self.overdue(cx, since + self.patience.idle) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for TimeoutStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut wire.io).poll_read(cx, buf) {
            wire.exchange.seen().follow(&buf.filled()[before..]);
            return Poll::Ready(result);
        }
        let deadline = wire.exchange.seen().deadline(wire.patience);
        match deadline {
            // To the parser the stream just ends: it closes without an answer.
            Some(deadline) if wire.overdue(cx, deadline) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimeoutStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let result = Pin::new(&mut wire.io).poll_write(cx, bytes);
        wire.unless_stuck(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let result = Pin::new(&mut wire.io).poll_write_vectored(cx, slices);
        wire.unless_stuck(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let result = Pin::new(&mut wire.io).poll_flush(cx);
        wire.unless_stuck(cx, result)
    }

    /// Says goodbye and, if the peer may still be sending, waits a little for it to notice.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let mut linger = match wire.linger {
            Some(linger) => linger,
            None => {
                let result = Pin::new(&mut wire.io).poll_shutdown(cx);
                ready!(wire.unless_stuck(cx, result))?;
                if wire.exchange.seen().framing.stage() == Stage::Rest {
                    return Poll::Ready(Ok(()));
                }
                Linger { until: Instant::now() + LINGER, bytes_left: LINGER_BYTES_MAX }
            }
        };
        let mut scratch = [0; 4096];
        while linger.bytes_left > 0 {
            wire.linger = Some(linger);
            let mut waste = ReadBuf::new(&mut scratch);
            match Pin::new(&mut wire.io).poll_read(cx, &mut waste) {
                Poll::Ready(Ok(())) if !waste.filled().is_empty() => {
                    linger.bytes_left = linger.bytes_left.saturating_sub(waste.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending if wire.overdue(cx, linger.until) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
