//! The bookkeeping that all sinks share: the outcome of each record that a sink was handed, until the
//! dispatcher has taken it.
//!
//! A sink opens a batch before any of its records can have an outcome, then reports the outcome of each (from
//! any thread, without an allocation). The dispatcher takes the outcomes of a batch as
//! one list, through its [`Publication`].
//!
//! Invariant: from the moment a record has to be published again until it is handed over again, the
//! sink sends no later record of its lane (same topic, same key). A later record that had already left
//! by then is reported as what it is, accepted; the dispatcher, which knows the outcome of the earlier
//! one, publishes both again (`Unsettled::in_order`). Only lanes are held back, and never the record
//! with the lowest position of a lane, so no lane can block itself.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether any record failed and was not handed over again. It is written under the lock and read without
    /// it, so that a record that is handed over waits for no report while nothing has failed.
    any_failed: AtomicBool,
}

#[derive(Default)]
struct OpenBatches {
    batches: Vec<Option<OpenBatch>>,
    free: Vec<BatchNumber>,
    /// By topic, the records that have to be published again and were not handed over again yet.
    failed: HashMap<Arc<str>, FailedRecords>,
}

/// The failed records of a topic. A record without a key has no lane, and no order to keep.
#[derive(Default)]
struct FailedRecords {
    all: BTreeSet<Position>,
    by_key: HashMap<ByteString, BTreeSet<Position>>,
}

struct OpenBatch {
    records: Vec<Arc<Record>>,
    /// The outcome of each record, `None` until it is settled.
    outcomes: Vec<Option<Outcome>>,
    /// Number of records without an outcome, plus one until the batch is sealed.
    unsettled: usize,
    /// Number of records with an outcome other than [`Outcome::Retry`].
    for_good: usize,
    waker: Option<Waker>,
    abandoned: bool,
}

impl FailedRecords {
    fn add(&mut self, record: &Record) {
        self.all.insert(record.position);
        if let Some(key) = &record.event.key {
            self.by_key.entry(key.clone()).or_default().insert(record.position);
        }
    }

    fn remove(&mut self, record: &Record) {
        self.all.remove(&record.position);
        let Some(key) = &record.event.key else { return };
        if let Some(of_key) = self.by_key.get_mut(key) {
            of_key.remove(&record.position);
            if of_key.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    /// The first failed record of this record's lane.
    fn first_of_lane(&self, record: &Record) -> Option<Position> {
        self.by_key.get(record.event.key.as_ref()?)?.first().copied()
    }
}

impl OutcomeTable {
    /// Opens a batch. Returns its number, for the sink, and the [`Publication`], for the dispatcher.
    pub(crate) fn open(self: &Arc<Self>, records: &[Arc<Record>]) -> (BatchNumber, Publication) {
        let batch = OpenBatch {
            records: records.to_vec(),
            outcomes: vec![None; records.len()],
            unsettled: records.len() + 1,
            for_good: 0,
            waker: None,
            abandoned: false,
        };
        let mut open = self.batches();
        self.release(&mut open, records);
        let number = open.insert(batch);
        (number, Publication { table: Arc::clone(self), number: Some(number) })
    }

    /// Whether this record must not be sent, because an earlier record of its lane has to be
    /// published again.
    pub(crate) fn is_held(&self, record: &Record) -> bool {
        if !self.any_failed.load(Ordering::Acquire) {
            return false;
        }
        let open = self.batches();
        let first = open.failed.get(&record.topic).and_then(|failed| failed.first_of_lane(record));
        first.is_some_and(|first| first < record.position)
    }

    /// Whether an earlier record of the topic has to be published again, so that the dispatcher holds the
    /// topic now or will soon: what was sent of it before can still be on its way.
    pub(super) fn is_topic_held(&self, record: &Record) -> bool {
        let open = self.batches();
        let first = open.failed.get(&record.topic).and_then(|failed| failed.all.first());
        first.is_some_and(|first| *first < record.position)
    }

    /// Records the outcome of one record. Called exactly once per record.
    pub(crate) fn settle(&self, number: BatchNumber, index: usize, outcome: Outcome) {
        let mut open = self.batches();
        let goes_again = matches!(outcome, Outcome::Retry(_));
        let batch = open.batch(number);
        batch.outcomes[index] = Some(outcome);
        batch.for_good += usize::from(!goes_again);
        if goes_again && !batch.abandoned {
            let record = Arc::clone(&batch.records[index]);
            open.failed.entry(Arc::clone(&record.topic)).or_default().add(&record);
            self.any_failed.store(true, Ordering::Release);
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

    /// Holds nothing back behind these records any more.
    fn release(&self, open: &mut OpenBatches, records: &[Arc<Record>]) {
        if open.failed.is_empty() {
            return;
        }
        records.iter().for_each(|record| open.release(record));
        self.any_failed.store(!open.failed.is_empty(), Ordering::Release);
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

    /// Holds nothing back behind this record any more: it is handed over again, or its publication was
    /// dropped.
    fn release(&mut self, record: &Record) {
        if let Some(failed) = self.failed.get_mut(&record.topic) {
            failed.remove(record);
            if failed.all.is_empty() {
                self.failed.remove(&record.topic);
            }
        }
    }
}

/// The outcomes of one batch, for the dispatcher: resolves to one outcome per record, in the order of
/// the batch, when all are known. Dropping it stops no record: they might still be published.
pub struct Publication {
    table: Arc<OutcomeTable>,
    number: Option<BatchNumber>,
}

impl Publication {
    /// Number of records accepted or rejected so far.
    pub fn settled(&self) -> usize {
        self.number.map_or(0, |number| self.table.batches().batch(number).for_good)
    }

    /// The places in the batch of the records that were accepted so far.
    pub fn accepted(&self) -> Vec<usize> {
        let Some(number) = self.number else { return Vec::new() };
        let mut open = self.table.batches();
        let outcomes = open.batch(number).outcomes.iter().enumerate();
        let accepted = outcomes.filter(|(_, outcome)| outcome.as_ref().is_some_and(Outcome::is_accepted));
        accepted.map(|(index, _)| index).collect()
    }

    /// Stops waiting and returns the outcomes known by now, in the order of the batch.
    pub fn known(self) -> Vec<Option<Outcome>> {
        let Some(number) = self.number else { return Vec::new() };
        self.table.batches().batch(number).outcomes.clone()
    }
}

impl Future for Publication {
    type Output = Vec<Outcome>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<Outcome>> {
        let number = self.number.expect("a publication is not polled after it has resolved");
        let taken = {
            let mut open = self.table.batches();
            let batch = open.batch(number);
            if batch.unsettled > 0 {
                batch.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
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
        let mut open = self.table.batches();
        let batch = open.batch(number);
        batch.abandoned = true;
        let records = take(&mut batch.records);
        let is_settled = batch.unsettled == 0;
        self.table.release(&mut open, &records);
        if is_settled {
            open.remove(number);
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
