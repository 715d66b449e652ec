//! The byte stream of one connection, which ends when the peer takes too long.
//!
//! [`TimeoutStream`] sits between the socket (or TLS) and the HTTP parser. It ends the stream when a head is
//! dribbled, when a connection idles, and when the peer stops reading its answers; it lets the
//! service compare the parser's view of the framing with [`Framing`]'s; and it closes so that an
//! answer sent before the whole request was read is not lost. Each connection has one timer, which is
//! armed only while the bridge waits for the peer: the parser's own head timer would also cut idle
//! connections. Bodies are timed by their reader, [`super::body`], which knows their rate.

use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::framing::{Framing, Stage, Transfer};

/// How long a close waits for the peer to read the answer. If the socket closes while the peer still
/// sends, the peer gets a reset, which discards what it has not read yet.
const CLOSING_WAIT: Duration = Duration::from_secs(1);
/// Most bytes that are read and discarded during that wait.
const CLOSING_BYTES_MAX: usize = 8 << 20;

/// How long a connection waits for its peer.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct Timeouts {
    /// For a head, from its first byte; for the first head, from the beginning of the connection.
    pub head: Duration,
    /// For the next request after one that an authentic peer was granted, and for reading an answer.
    /// After any other request the peer has only `head`: strangers should not hold connections that
    /// others wait for.
    pub idle: Duration,
}

/// What the byte stream and the service of one connection both have to know: its framing, and whether a
/// request is being answered.
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
    /// Whether the connection ends with its next answer.
    ends: bool,
}

impl Seen {
    /// Whether the body that is arriving is that of the request which was parsed last. Requests that are sent
    /// behind each other arrive before their turn, whole or in part.
    fn owes_body(&self) -> bool {
        matches!(self.framing.stage(), Stage::Body(_)) && self.framing.heads() == self.requests
    }
}

/// What a connection is doing, as far as its peer can make it wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum PeerState {
    /// The connection waits for a request, or for the rest of a head.
    Idle,
    /// A request is being answered, and its body has not arrived whole or is not followed.
    Sending,
    /// A whole request is being answered.
    Answering,
}

/// The parser and [`Framing`] differ about where a request begins or ends, or the request states the
/// length of its body in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Ambiguous;

impl ConnectionState {
    fn new() -> Self {
        let since = Instant::now();
        let framing = Framing::default();
        Self(Arc::new(Mutex::new(Seen {
            framing,
            since,
            requests: 0,
            answering: false,
            granted: false,
            ends: false,
        })))
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
            // `Framing` follows nothing beyond a chunked request, so it must have ended with this one.
            seen.framing.transfer() == Some(Transfer::Plain) && seen.framing.heads() == seen.requests
        } else {
            seen.framing.heads() >= seen.requests
        };
        if plain { Ok(()) } else { Err(Ambiguous) }
    }

    /// Whether the peer has sent the head of a request.
    pub(in crate::source) fn has_begun(&self) -> bool {
        self.seen().requests > 0
    }

    /// Notes that the connection ends with its next answer.
    pub(in crate::source) fn end_soon(&self) {
        self.seen().ends = true;
    }

    /// Whether a part of the last request's body has not arrived yet. The parser itself discards what
    /// has arrived and was not read.
    pub(in crate::source) fn owes_body(&self) -> bool {
        self.seen().owes_body()
    }

    /// Notes that the request is answered, and whether the answer grants what was asked; returns whether the
    /// connection ends with it.
    pub(in crate::source) fn end(&self, granted: bool) -> bool {
        let mut seen = self.seen();
        seen.answering = false;
        seen.granted = granted;
        seen.since = Instant::now();
        seen.ends
    }

    /// What the connection is doing now.
    pub(in crate::source) fn peer_state(&self) -> PeerState {
        let seen = self.seen();
        match seen.framing.stage() {
            _ if !seen.answering => PeerState::Idle,
            Stage::Unfollowed => PeerState::Sending,
            _ if seen.owes_body() => PeerState::Sending,
            _ => PeerState::Answering,
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

    /// The deadline of the peer's next byte; `None` if the connection does not wait for the peer.
    fn deadline(&self, timeouts: Timeouts) -> Option<Instant> {
        match self.framing.stage() {
            _ if self.answering => None,
            Stage::Rest if self.granted => Some(self.since + timeouts.idle),
            Stage::Rest | Stage::Head(_) => Some(self.since + timeouts.head),
            Stage::Body(_) | Stage::Unfollowed => None,
        }
    }
}

/// A stream that ends when the peer takes too long.
pub(in crate::source) struct TimeoutStream<IO> {
    io: IO,
    state: ConnectionState,
    timeouts: Timeouts,
    timer: Pin<Box<Sleep>>,
    write_stuck: Option<Instant>,
    closing: Option<Closing>,
}

#[derive(Clone, Copy)]
struct Closing {
    until: Instant,
    bytes_left: usize,
}

impl<IO> TimeoutStream<IO> {
    /// Wraps a connection that has just been made.
    pub(in crate::source) fn new(io: IO, timeouts: Timeouts) -> (Self, ConnectionState) {
        let state = ConnectionState::new();
        let timer = Box::pin(sleep_until(Instant::now() + timeouts.head));
        let stream = Self { io, state: state.clone(), timeouts, timer, write_stuck: None, closing: None };
        (stream, state)
    }

    /// Whether the deadline has passed; if not, the task is woken when it does.
    fn overdue(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        if Instant::now() >= deadline {
            return true;
        }
        // A timer that fires too early is cheaper than one that is reset for every request.
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            self.timer.as_mut().reset(deadline);
        }
        false
    }

    /// Passes a write's result on; fails once the peer has read nothing for the idle timeout.
    fn unless_stuck<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_stuck = None;
            return result;
        }
        let since = *self.write_stuck.get_or_insert_with(Instant::now);
        if self.overdue(cx, since + self.timeouts.idle) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for TimeoutStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.io).poll_read(cx, buf) {
            this.state.seen().follow(&buf.filled()[before..]);
            return Poll::Ready(result);
        }
        let deadline = this.state.seen().deadline(this.timeouts);
        match deadline {
            // The parser sees the end of the stream, and closes without an answer.
            Some(deadline) if this.overdue(cx, deadline) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimeoutStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.unless_stuck(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.unless_stuck(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(cx);
        this.unless_stuck(cx, result)
    }

    /// Closes the sending side. If a request has not arrived whole, waits up to [`CLOSING_WAIT`] for the peer
    /// to stop sending.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut closing = match this.closing {
            Some(closing) => closing,
            None => {
                let result = Pin::new(&mut this.io).poll_shutdown(cx);
                ready!(this.unless_stuck(cx, result))?;
                if this.state.seen().framing.stage() == Stage::Rest {
                    return Poll::Ready(Ok(()));
                }
                Closing { until: Instant::now() + CLOSING_WAIT, bytes_left: CLOSING_BYTES_MAX }
            }
        };
        let mut scratch = [0; 4096];
        while closing.bytes_left > 0 {
            this.closing = Some(closing);
            let mut waste = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.io).poll_read(cx, &mut waste) {
                Poll::Ready(Ok(())) if !waste.filled().is_empty() => {
                    closing.bytes_left = closing.bytes_left.saturating_sub(waste.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending if this.overdue(cx, closing.until) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
