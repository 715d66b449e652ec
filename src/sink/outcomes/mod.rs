//! The bookkeeping that all sinks share: the outcome of each record that a sink was handed, until the
//! dispatcher has taken it.
//!
//! A sink opens a batch before any of its records can have an outcome, then settles the records one
//! by one (from any thread, without an allocation). The dispatcher takes the outcomes of a batch as
//! one list, through its [`Publication`].
//!
//! Invariant: while the dispatcher does not yet know that a record has to be published again, the
//! sink sends no later record of the same lane (same topic, same key). Once the dispatcher knows, it
//! keeps the order itself. A later record that had already left by then cannot be called back: it is
//! reported as [`Outcome::Retry`] too, in the same batch or a later one, so that the lane ends in the
//! right order at the price of a duplicate. Only lanes are held back, and never the record with the
//! lowest position of a lane, so a dispatcher that never pauses still gets every record through.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;

use crate::event::{Position, Record};
use crate::sink::{Cause, Outcome};

/// Names an open batch. A number is reused once its batch is removed, never before.
pub(crate) type BatchNumber = usize;

/// All batches of one sink that have unsettled records or that the dispatcher has not taken.
#[derive(Default)]
pub(crate) struct OutcomeTable {
    batches: Mutex<OpenBatches>,
}

#[derive(Default)]
struct OpenBatches {
    batches: Vec<Option<OpenBatch>>,
    free: Vec<BatchNumber>,
    /// Number of batches opened since the start.
    opened: u64,
    /// Per lane, the records to publish again of which the dispatcher does not know yet.
    unreported: HashMap<KeyLane, BTreeSet<Position>>,
    /// Per lane, the records to publish again of which the dispatcher was told while other batches
    /// were still open.
    reported: HashMap<KeyLane, Vec<Reported>>,
}

/// A topic and a key: the records of one lane are sent in the order of their positions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeyLane {
    topic: Arc<str>,
    key: ByteString,
}

struct Reported {
    position: Position,
    /// Value of `OpenBatches::opened` when the dispatcher was told: later records of the lane in batches up
    /// to this one have to be published again too.
    opened: u64,
}

struct OpenBatch {
    /// Number of this batch in the order in which batches were opened, counted from 1.
    opened: u64,
    places: Vec<LanePosition>,
    /// The outcome of each record, `None` until it is settled.
    outcomes: Vec<Option<Outcome>>,
    /// Number of records without an outcome, plus one until the batch is sealed.
    unsettled: usize,
    /// Number of records with an outcome other than [`Outcome::Retry`].
    for_good: usize,
    waker: Option<Waker>,
    abandoned: bool,
}

/// A record's position and lane. A record without a key has no lane and no order to keep.
struct LanePosition {
    position: Position,
    lane: Option<KeyLane>,
}

impl OutcomeTable {
    /// Opens a batch. Returns its number, for the sink, and the [`Publication`], for the dispatcher.
    pub(crate) fn open(self: &Arc<Self>, records: &[Arc<Record>]) -> (BatchNumber, Publication) {
        let place = |record: &Arc<Record>| LanePosition {
            position: record.position,
            lane: record.event.key.clone().map(|key| KeyLane { topic: Arc::clone(&record.topic), key }),
        };
        let places: Vec<_> = records.iter().map(place).collect();
        let mut open = self.batches();
        open.opened += 1;
        let batch = OpenBatch {
            opened: open.opened,
            outcomes: vec![None; places.len()],
            unsettled: places.len() + 1,
            for_good: 0,
            places,
            waker: None,
            abandoned: false,
        };
        let number = open.insert(batch);
        (number, Publication { in_flight: Arc::clone(self), number: Some(number) })
    }

    /// Whether this record must not be sent, because an earlier record of its lane has to be
    /// published again.
    pub(super) fn is_held(&self, number: BatchNumber, index: usize) -> bool {
        self.batches().is_held(number, index)
    }

    /// Records the outcome of one record. Called exactly once per record.
    pub(crate) fn settle(&self, number: BatchNumber, index: usize, outcome: Outcome) {
        let mut open = self.batches();
        let goes_again = matches!(outcome, Outcome::Retry(_));
        let batch = open.batch(number);
        batch.outcomes[index] = Some(outcome);
        batch.for_good += usize::from(!goes_again);
        if goes_again && !batch.abandoned {
            let LanePosition { position, lane } = &batch.places[index];
            if let (position, Some(lane)) = (*position, lane.clone()) {
                open.unreported.entry(lane).or_default().insert(position);
            }
        }
        self.count_down(&mut open, number);
    }

    /// Closes the batch: every record of it is settled, or will be. Called exactly once per batch.
    pub(crate) fn seal(&self, number: BatchNumber) {
        self.count_down(&mut self.batches(), number);
    }

    fn count_down(&self, open: &mut OpenBatches, number: BatchNumber) {
        let batch = open.batch(number);
        batch.unsettled -= 1;
        if batch.unsettled > 0 {
            return;
        }
        if let Some(waker) = batch.waker.take() {
            waker.wake();
        }
        if batch.abandoned {
            open.remove(number);
        }
    }

    fn batches(&self) -> MutexGuard<'_, OpenBatches> {
        self.batches.lock()
    }
}

impl OpenBatches {
    fn batch(&mut self, number: BatchNumber) -> &mut OpenBatch {
        self.batches[number].as_mut().expect("a batch stays until it is settled and taken")
    }

    fn insert(&mut self, batch: OpenBatch) -> BatchNumber {
        let number = self.free.pop().unwrap_or_else(|| {
            self.batches.push(None);
            self.batches.len() - 1
        });
        self.batches[number] = Some(batch);
        number
    }

    fn remove(&mut self, number: BatchNumber) -> OpenBatch {
        self.free.push(number);
        self.batches[number].take().expect("a batch is removed once")
    }

    fn is_held(&self, number: BatchNumber, index: usize) -> bool {
        if self.unreported.is_empty() && self.reported.is_empty() {
            return false;
        }
        let batch = self.batches[number].as_ref().expect("a batch stays until it is settled and taken");
        let LanePosition { position, lane: Some(lane) } = &batch.places[index] else { return false };
        let before = |first: &Position| first < position;
        let unreported = self.unreported.get(lane).and_then(BTreeSet::first).is_some_and(before);
        let late = |reported: &Reported| reported.opened >= batch.opened && before(&reported.position);
        unreported || self.reported.get(lane).is_some_and(|reported| reported.iter().any(late))
    }

    /// Changes the outcome of accepted records to [`Outcome::Retry`] where an earlier record of their
    /// lane has to be published again or has no outcome yet.
    fn keep_lanes_in_order(&mut self, number: BatchNumber) {
        let Self { batches, reported, .. } = self;
        let batch = batches[number].as_mut().expect("a batch stays until it is settled and taken");
        if reported.is_empty() && batch.for_good == batch.places.len() {
            return;
        }
        let mut again = HashSet::new();
        for (place, outcome) in batch.places.iter().zip(&mut batch.outcomes) {
            let Some(lane) = &place.lane else { continue };
            let late =
                |reported: &Reported| reported.opened >= batch.opened && reported.position < place.position;
            match outcome {
                None | Some(Outcome::Retry(_)) => {
                    again.insert(lane);
                }
                Some(Outcome::Accepted)
                    if again.contains(lane)
                        || reported.get(lane).is_some_and(|reported| reported.iter().any(late)) =>
                {
                    let overtook = Outcome::retry(
                        Cause::OVERTOOK,
                        "published before an earlier record of its key that is tried again",
                    );
                    *outcome = Some(overtook);
                }
                Some(Outcome::Accepted | Outcome::Rejected(_)) => {}
            }
        }
    }

    /// Notes that the dispatcher now knows the outcomes of this batch.
    fn report(&mut self, number: BatchNumber) {
        let batch = self.batches[number].as_ref().expect("a batch stays until it is settled and taken");
        let goes_again = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Retry(_)));
        if self.reported.is_empty() && !batch.outcomes.iter().any(goes_again) {
            return;
        }
        let others = self.batches.iter().flatten().filter(|other| other.opened != batch.opened);
        let oldest = others.map(|other| other.opened).min();
        for (place, outcome) in batch.places.iter().zip(&batch.outcomes) {
            let (Some(Outcome::Retry(_)), Some(lane)) = (outcome, &place.lane) else { continue };
            if let Some(unreported) = self.unreported.get_mut(lane) {
                unreported.remove(&place.position);
                if unreported.is_empty() {
                    self.unreported.remove(lane);
                }
            }
            if oldest.is_some() {
                let reported = Reported { position: place.position, opened: self.opened };
                self.reported.entry(lane.clone()).or_default().push(reported);
            }
        }
        self.reported.retain(|_, reported| {
            reported.retain(|reported| oldest.is_some_and(|oldest| reported.opened >= oldest));
            !reported.is_empty()
        });
    }
}

/// The outcomes of one batch, for the dispatcher: resolves to one outcome per record, in the order of
/// the batch, when all are known. Dropping it stops no record: they might still be published.
pub struct Publication {
    in_flight: Arc<OutcomeTable>,
    number: Option<BatchNumber>,
}

impl Publication {
    /// Number of records accepted or rejected so far. The final number can be lower: an accepted
    /// record that has overtaken an earlier one of its lane is published again.
    pub fn settled(&self) -> usize {
        self.number.map_or(0, |number| self.in_flight.batches().batch(number).for_good)
    }

    /// Stops waiting and returns the outcomes known by now, in the order of the batch. An accepted
    /// record after an unsettled one of its lane is returned as [`Outcome::Retry`].
    pub fn known(self) -> Vec<Option<Outcome>> {
        let Some(number) = self.number else { return Vec::new() };
        let mut open = self.in_flight.batches();
        open.keep_lanes_in_order(number);
        open.batch(number).outcomes.clone()
    }
}

impl Future for Publication {
    type Output = Vec<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<Outcome>> {
        let number = self.number.expect("a publication is not polled after it has resolved");
        let taken = {
            let mut open = self.in_flight.batches();
            let batch = open.batch(number);
            if batch.unsettled > 0 {
                batch.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            open.keep_lanes_in_order(number);
            open.report(number);
            open.remove(number)
        };
        self.number = None;
        let settled = |outcome: Option<Outcome>| outcome.expect("all records of the batch are settled");
        Poll::Ready(taken.outcomes.into_iter().map(settled).collect())
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut open = self.in_flight.batches();
        open.report(number);
        if open.batch(number).unsettled == 0 {
            open.remove(number);
        } else {
            open.batch(number).abandoned = true;
        }
    }
}

/// The outcome of a record that is not sent, because an earlier record of its lane is published again
/// first.
pub(super) fn held() -> Outcome {
    Outcome::retry(Cause::HELD, "an earlier record of its key has to be published first")
}

#[cfg(test)]
pub(super) mod tests;
