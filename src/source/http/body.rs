//! Reads a request's body, within bounds of size, time and memory.
//!
//! A body that states too large a length is refused before a byte is read. All bodies in memory share
//! one [`BodyBudget`]: each holds a [`BodyPermit`] for its bytes until its delivery is answered. The
//! permit grows as the bytes arrive, because a length that is only stated must not keep others out. A
//! body that arrives in one piece, as nearly all do, is not copied.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::body_budget::{BodyBudget, BodyPermit};
use super::body_error::BodyError;

/// How long a body can take before its rate is judged.
const GRACE: Duration = Duration::from_secs(1);

/// The bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(in crate::source) struct BodyBounds {
    /// The largest body, in bytes as sent.
    pub bytes_max: usize,
    /// The longest time from the head to the last byte.
    pub timeout: Duration,
    /// The slowest rate, judged after the first second; 0 for no bound.
    pub bytes_per_second_min: usize,
}

/// Reads a body to its end. The permit that comes with it holds its bytes of the budget.
///
/// # Errors
/// As soon as a bound is passed; the rest of the body is then left unread.
pub(in crate::source) async fn read<'a, B: Body<Data = Bytes>>(
    body: B,
    bounds: &BodyBounds,
    budget: &'a BodyBudget,
) -> Result<(Bytes, BodyPermit<'a>), BodyError> {
    let mut body = pin!(body);
    let mut permit = budget.permit();
    // For a body without a stated length this is a lower bound, mostly 0.
    let stated = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if stated > bounds.bytes_max {
        return Err(BodyError::TooLarge);
    }

    let start = Instant::now();
    let mut pieces = Pieces::new(stated);
    while !body.is_end_stream() {
        let deadline = start + bounds.time_for(pieces.len());
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers are ignored.
        if let Ok(piece) = frame.into_data() {
            if piece.len() > bounds.bytes_max - pieces.len() {
                return Err(BodyError::TooLarge);
            }
            permit.grow_to(pieces.len() + piece.len())?;
            pieces.push(piece);
        }
    }
    Ok((pieces.join(), permit))
}

impl BodyBounds {
    /// How long after the head more than this many bytes must have arrived: each byte that arrived
    /// extends the time for the next ones, up to the whole timeout.
    fn time_for(&self, bytes: usize) -> Duration {
        match self.bytes_per_second_min {
            0 => self.timeout,
            rate => self.timeout.min(GRACE + Duration::from_secs_f64(bytes as f64 / rate as f64)),
        }
    }
}

/// Most bytes that are allocated for a body because of the length that it states.
const STATED_ROOM_MAX: usize = 256 << 10;

/// A body as it arrives: a single piece is kept as it is; from the second on, pieces are copied together.
enum Pieces {
    One { piece: Bytes, stated: usize },
    Many(BytesMut),
}

impl Pieces {
    fn new(stated: usize) -> Self {
        Self::One { piece: Bytes::new(), stated }
    }

    fn len(&self) -> usize {
        match self {
            Self::One { piece, .. } => piece.len(),
            Self::Many(buffer) => buffer.len(),
        }
    }

    fn push(&mut self, next: Bytes) {
        match self {
            Self::One { piece, .. } if piece.is_empty() => *piece = next,
            Self::One { piece, stated } => {
                // Bytes that are only stated get no more memory than this before they arrive.
                let room = (*stated).min(STATED_ROOM_MAX).max(piece.len() + next.len());
                let mut buffer = BytesMut::with_capacity(room);
                buffer.extend_from_slice(piece);
                buffer.extend_from_slice(&next);
                *self = Self::Many(buffer);
            }
            Self::Many(buffer) => buffer.extend_from_slice(&next),
        }
    }

    fn join(self) -> Bytes {
        match self {
            Self::One { piece, .. } => piece,
            Self::Many(buffer) => buffer.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::Full;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    const BOUNDS: BodyBounds =
        BodyBounds { bytes_max: 8, timeout: Duration::from_secs(10), bytes_per_second_min: 2 };

    /// A body of no stated length: its pieces, then its end or silence.
    struct Chunks {
        pieces: VecDeque<Bytes>,
        stalls: bool,
    }

    fn chunks(pieces: &[&'static str]) -> Chunks {
        Chunks { pieces: pieces.iter().copied().map(Bytes::from).collect(), stalls: false }
    }

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.pieces.pop_front() {
                None if self.stalls => Poll::Pending,
                piece => Poll::Ready(piece.map(|piece| Ok(Frame::data(piece)))),
            }
        }
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let bytes = Bytes::from(vec![7; 8]);
        let budget = BodyBudget::new(8, 8);
        let (read, _permit) = read(Full::new(bytes.clone()), &BOUNDS, &budget).await.expect("within bounds");
        assert_eq!(read.as_ptr(), bytes.as_ptr());
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_up_to_the_bound() {
        let budget = BodyBudget::new(100, 100);
        let (joined, _permit) =
            read(chunks(&["abc", "", "de", "fgh"]), &BOUNDS, &budget).await.expect("8 bytes");
        assert_eq!(joined, "abcdefgh");
        assert_eq!(read(chunks(&["abc", "defghi"]), &BOUNDS, &budget).await.err(), Some(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn bodies_share_the_budget_and_give_it_back() {
        let budget = BodyBudget::new(10, 10);
        let (_, permit) = read(Full::new(Bytes::from("12345678")), &BOUNDS, &budget).await.expect("fits");
        let stated = read(Full::new(Bytes::from("123")), &BOUNDS, &budget).await;
        assert_eq!(stated.err(), Some(BodyError::NoMemory));
        let unstated = read(chunks(&["1", "2", "3"]), &BOUNDS, &budget).await;
        assert_eq!(unstated.err(), Some(BodyError::NoMemory));
        drop(permit);
        let (_, mut permit) = read(chunks(&["1", "2", "3"]), &BOUNDS, &budget).await.expect("fits again");
        assert_eq!(permit.grow_to(10), Ok(()));
        assert_eq!(permit.grow_to(11), Err(BodyError::NoMemory));
        drop(permit);
        assert_eq!(budget.bytes_free(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_the_time_its_bytes_have_bought() {
        let budget = BodyBudget::new(100, 100);
        let start = Instant::now();
        let stalled = Chunks { stalls: true, ..chunks(&["abc", "d"]) };
        assert_eq!(read(stalled, &BOUNDS, &budget).await.err(), Some(BodyError::TooSlow));
        assert_eq!(start.elapsed().as_secs(), 3, "the first second and two for four bytes");
        assert_eq!(budget.bytes_free(), 100);
    }

    #[test]
    fn no_body_takes_longer_than_the_timeout() {
        assert_eq!(BOUNDS.time_for(1_000_000), BOUNDS.timeout);
        assert_eq!(BodyBounds { bytes_per_second_min: 0, ..BOUNDS }.time_for(0), BOUNDS.timeout);
    }
}
