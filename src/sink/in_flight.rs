//! What a sink has been handed and not yet reported: the bookkeeping every sink shares.
//!
//! A batch is opened before its first record can have a fate, settled record by record (from any
//! thread, without an allocation), and taken by the dispatcher as one list of outcomes.
//!
//! Invariant: while the dispatcher does not know yet that a record has to be published again,
//! nothing behind it in its lane (same topic, same key) is sent. Once it knows, the order of what
//! it sends is its own. What had already left by then cannot be called back: such a successor is
//! reported as [`Outcome::Retry`] too, in the same batch or a later one, so that the lane ends in the
//! right order at the price of a duplicate. Only lanes are held, and the lowest position of a lane never is, so a
//! dispatcher that never pauses still gets everything through.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;

use crate::event::{Outcome, Position, Reason, Record};

/// Names an open batch. Numbers are used again, but never while the batch has unsettled records.
pub(crate) type BatchNumber = usize;

/// All batches of one sink that are not settled or not taken.
#[derive(Default)]
pub(crate) struct InFlight {
    board: Mutex<Board>,
}

#[derive(Default)]
struct Board {
    batches: Vec<Option<Batch>>,
    free: Vec<BatchNumber>,
    /// How many batches have ever been opened.
    opened: u64,
    /// Records to publish again that the dispatcher does not know of yet.
    untold: HashMap<Lane, BTreeSet<Position>>,
    /// Records that it was told of while it waited for batches that were handed over before.
    told: HashMap<Lane, Vec<Told>>,
}

/// What keeps its order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lane {
    topic: Arc<str>,
    key: ByteString,
}

struct Told {
    position: Position,
    /// How many batches had been opened by then: these must not pass the record.
    opened: u64,
}

struct Batch {
    /// Its place in the order of all batches, counted from 1.
    opened: u64,
    places: Vec<Place>,
    /// Each record's, once it is known.
    outcomes: Vec<Option<Outcome>>,
    /// Records without a fate, and one more until the batch is sealed.
    unsettled: usize,
    /// Records that do not go again.
    for_good: usize,
    waker: Option<Waker>,
    abandoned: bool,
}

/// A record's place in the order. One without a key has no lane, and no order to keep.
struct Place {
    position: Position,
    lane: Option<Lane>,
}

impl InFlight {
    /// Opens a batch and returns the dispatcher's claim to its outcomes.
    pub(crate) fn open(self: &Arc<Self>, records: &[Arc<Record>]) -> (BatchNumber, Publication) {
        let place = |record: &Arc<Record>| Place {
            position: record.position,
            lane: record.event.key.clone().map(|key| Lane { topic: Arc::clone(&record.topic), key }),
        };
        let places: Vec<_> = records.iter().map(place).collect();
        let mut board = self.board();
        board.opened += 1;
        let batch = Batch {
            opened: board.opened,
            outcomes: vec![None; places.len()],
            unsettled: places.len() + 1,
            for_good: 0,
            places,
            waker: None,
            abandoned: false,
        };
        let number = board.insert(batch);
        (number, Publication { in_flight: Arc::clone(self), number: Some(number) })
    }

    /// Whether this record must not be sent, because one before it in its lane goes again.
    pub(super) fn is_held(&self, number: BatchNumber, index: usize) -> bool {
        self.board().is_held(number, index)
    }

    /// Notes the fate of one record. Exactly once per record.
    pub(crate) fn settle(&self, number: BatchNumber, index: usize, outcome: Outcome) {
        let mut board = self.board();
        let goes_again = matches!(outcome, Outcome::Retry(_));
        let batch = board.batch(number);
        batch.outcomes[index] = Some(outcome);
        batch.for_good += usize::from(!goes_again);
        if goes_again && !batch.abandoned {
            let Place { position, lane } = &batch.places[index];
            if let (position, Some(lane)) = (*position, lane.clone()) {
                board.untold.entry(lane).or_default().insert(position);
            }
        }
        self.count_down(&mut board, number);
    }

    /// Says that every record of the batch is settled or on its way to be. Exactly once per batch.
    pub(crate) fn seal(&self, number: BatchNumber) {
        self.count_down(&mut self.board(), number);
    }

    fn count_down(&self, board: &mut Board, number: BatchNumber) {
        let batch = board.batch(number);
        batch.unsettled -= 1;
        if batch.unsettled > 0 {
            return;
        }
        if let Some(waker) = batch.waker.take() {
            waker.wake();
        }
        if batch.abandoned {
            board.remove(number);
        }
    }

    /// No code runs under this lock that could leave the board half changed.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn batch(&mut self, number: BatchNumber) -> &mut Batch {
        self.batches[number].as_mut().expect("a batch stays until it is settled and taken")
    }

    fn insert(&mut self, batch: Batch) -> BatchNumber {
        let number = self.free.pop().unwrap_or_else(|| {
            self.batches.push(None);
            self.batches.len() - 1
        });
        self.batches[number] = Some(batch);
        number
    }

    fn remove(&mut self, number: BatchNumber) -> Batch {
        self.free.push(number);
        self.batches[number].take().expect("a batch is removed once")
    }

    fn is_held(&self, number: BatchNumber, index: usize) -> bool {
        if self.untold.is_empty() && self.told.is_empty() {
            return false;
        }
        let batch = self.batches[number].as_ref().expect("a batch stays until it is settled and taken");
        let Place { position, lane: Some(lane) } = &batch.places[index] else { return false };
        let before = |first: &Position| first < position;
        let untold = self.untold.get(lane).and_then(BTreeSet::first).is_some_and(before);
        let late = |told: &Told| told.opened >= batch.opened && before(&told.position);
        untold || self.told.get(lane).is_some_and(|told| told.iter().any(late))
    }

    /// Turns an accepted record behind one of its lane that goes again, or that may yet, into one
    /// that goes again.
    fn keep_lanes_in_order(&mut self, number: BatchNumber) {
        let Self { batches, told, .. } = self;
        let batch = batches[number].as_mut().expect("a batch stays until it is settled and taken");
        if told.is_empty() && batch.for_good == batch.places.len() {
            return;
        }
        let mut again = HashSet::new();
        for (place, outcome) in batch.places.iter().zip(&mut batch.outcomes) {
            let Some(lane) = &place.lane else { continue };
            let late = |told: &Told| told.opened >= batch.opened && told.position < place.position;
            match outcome {
                None | Some(Outcome::Retry(_)) => {
                    again.insert(lane);
                }
                Some(Outcome::Accepted)
                    if again.contains(lane) || told.get(lane).is_some_and(|told| told.iter().any(late)) =>
                {
                    let overtook =
                        retry("overtook", "arrived before an earlier record of its key that goes again");
                    *outcome = Some(overtook);
                }
                Some(Outcome::Accepted | Outcome::Rejected(_)) => {}
            }
        }
    }

    /// Notes that the dispatcher knows the outcomes of this batch now.
    fn tell(&mut self, number: BatchNumber) {
        let batch = self.batches[number].as_ref().expect("a batch stays until it is settled and taken");
        let goes_again = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Retry(_)));
        if self.told.is_empty() && !batch.outcomes.iter().any(goes_again) {
            return;
        }
        let others = self.batches.iter().flatten().filter(|other| other.opened != batch.opened);
        let oldest = others.map(|other| other.opened).min();
        for (place, outcome) in batch.places.iter().zip(&batch.outcomes) {
            let (Some(Outcome::Retry(_)), Some(lane)) = (outcome, &place.lane) else { continue };
            if let Some(untold) = self.untold.get_mut(lane) {
                untold.remove(&place.position);
                if untold.is_empty() {
                    self.untold.remove(lane);
                }
            }
            if oldest.is_some() {
                let told = Told { position: place.position, opened: self.opened };
                self.told.entry(lane.clone()).or_default().push(told);
            }
        }
        self.told.retain(|_, told| {
            told.retain(|told| oldest.is_some_and(|oldest| told.opened >= oldest));
            !told.is_empty()
        });
    }
}

/// The dispatcher's claim to the fate of a batch: resolves to one outcome per record, in the batch's
/// order, when all are known. Dropping it lets the records go on.
pub struct Publication {
    in_flight: Arc<InFlight>,
    number: Option<BatchNumber>,
}

impl Publication {
    /// How many of its records are accepted or rejected by now. It may resolve to fewer: an accepted
    /// record that has overtaken one of its lane goes again.
    pub fn settled(&self) -> usize {
        self.number.map_or(0, |number| self.in_flight.board().batch(number).for_good)
    }

    /// Does not wait any longer: what is known by now, in the batch's order. A record behind one of its
    /// lane that has no outcome yet is not accepted, whatever the sink has of it.
    pub fn known(self) -> Vec<Option<Outcome>> {
        let Some(number) = self.number else { return Vec::new() };
        let mut board = self.in_flight.board();
        board.keep_lanes_in_order(number);
        board.batch(number).outcomes.clone()
    }
}

impl Future for Publication {
    type Output = Vec<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<Outcome>> {
        let number = self.number.expect("a claim is not polled after it was met");
        let taken = {
            let mut board = self.in_flight.board();
            let batch = board.batch(number);
            if batch.unsettled > 0 {
                batch.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            board.keep_lanes_in_order(number);
            board.tell(number);
            board.remove(number)
        };
        self.number = None;
        let settled = |outcome: Option<Outcome>| outcome.expect("none of it is unsettled");
        Poll::Ready(taken.outcomes.into_iter().map(settled).collect())
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut board = self.in_flight.board();
        board.tell(number);
        if board.batch(number).unsettled == 0 {
            board.remove(number);
        } else {
            board.batch(number).abandoned = true;
        }
    }
}

/// [`Outcome::Retry`] with this reason.
pub(super) fn retry(word: &'static str, detail: impl Into<String>) -> Outcome {
    Outcome::Retry(Reason { word, detail: detail.into() })
}

/// [`Outcome::Rejected`] with this reason.
pub(super) fn rejected(word: &'static str, detail: impl Into<String>) -> Outcome {
    Outcome::Rejected(Reason { word, detail: detail.into() })
}

/// The outcome of a record that is not sent because an earlier one of its lane goes again.
pub(super) fn held() -> Outcome {
    retry("held", "an earlier record of its key goes first")
}

#[cfg(test)]
pub(super) mod tests;
