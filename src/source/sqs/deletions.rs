//! Deletes messages that are durable, ten in a call where possible.
//!
//! All receive loops hand their durable messages to one deleter, and go on receiving. The deleter makes
//! batches of ten; fewer messages wait a moment for others. An entry that failed is tried again a few
//! times. After a call that failed as a whole, one call at a time is tried, with backoff, until one
//! succeeds. A message that is given up comes back after its visibility time-out and is then a duplicate,
//! so a failure here neither loses an event nor repeats one. When too many messages wait, the loops wait
//! as well.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Source;
use super::action::Action;
use super::queue::{BATCH_MAX, entry_word};
use crate::backoff::SOURCE_CALL;

/// How long a message waits for others to be deleted with: longer than the service takes to answer, and
/// much shorter than any visibility time-out.
const BATCH_WAIT: Duration = Duration::from_millis(50);
/// Most attempts to delete one message; with the backoff between them they take some ten seconds.
const ATTEMPTS_MAX: u32 = 8;

/// Hands messages to the deleter. The deleter ends when the last clone is dropped and every message is
/// deleted or given up.
#[derive(Clone)]
pub(super) struct Deletions(mpsc::Sender<Vec<ByteString>>);

impl Deletions {
    /// Starts a deleter; returns the handle that feeds it, and its task.
    pub(super) fn start(
        source: Arc<Source>,
        calls_max: usize,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(calls_max);
        let deleter = Deleter {
            source,
            incoming: receiver,
            waiting: VecDeque::new(),
            again: Vec::new(),
            calls: JoinSet::new(),
            calls_max,
            failures: 0,
            not_before: Instant::now(),
            stop,
        };
        (Self(sender), tokio::spawn(deleter.run()))
    }

    /// Hands over the receipt handles of messages that are durable.
    pub(super) async fn delete(&self, receipts: Vec<ByteString>) {
        if !receipts.is_empty() {
            // If the deleter is gone, the messages come back as duplicates.
            let _ = self.0.send(receipts).await;
        }
    }
}

/// A message to delete.
#[derive(Debug)]
struct Deletion {
    receipt: ByteString,
    attempts: u32,
    since: Instant,
}

/// What became of a delete call.
#[derive(Default)]
struct Outcome {
    /// The messages that are not deleted and are worth another attempt.
    failed: Vec<Deletion>,
    /// Whether the service answered the call.
    answered: bool,
}

struct Deleter {
    source: Arc<Source>,
    incoming: mpsc::Receiver<Vec<ByteString>>,
    waiting: VecDeque<Deletion>,
    /// Messages whose deletion failed, and when they are due again.
    again: Vec<(Instant, Deletion)>,
    calls: JoinSet<Outcome>,
    calls_max: usize,
    /// How many calls in a row failed as a whole.
    failures: u32,
    /// No call begins before this moment.
    not_before: Instant,
    stop: CancellationToken,
}

impl Deleter {
    async fn run(mut self) {
        let mut open = true;
        while open || !self.waiting.is_empty() || !self.again.is_empty() || !self.calls.is_empty() {
            self.call_for_what_is_due(open);
            let has_room = self.waiting.len() + self.again.len() < self.calls_max * BATCH_MAX * 2;
            let due = self.next_due();
            tokio::select! {
                receipts = self.incoming.recv(), if open && has_room => match receipts {
                    Some(receipts) => self.take(receipts),
                    None => open = false,
                },
                Some(outcome) = self.calls.join_next(), if !self.calls.is_empty() => {
                    // The messages of a call that panicked come back as duplicates.
                    self.try_again(outcome.unwrap_or_default());
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = self.stop.cancelled(), if !self.again.is_empty() || self.failures > 0 => self.give_up(),
            }
        }
    }

    fn take(&mut self, receipts: Vec<ByteString>) {
        let since = Instant::now();
        self.waiting.extend(receipts.into_iter().map(|receipt| Deletion { receipt, attempts: 0, since }));
    }

    /// Begins calls for full batches, and for smaller ones whose oldest message has waited long enough.
    fn call_for_what_is_due(&mut self, open: bool) {
        let now = Instant::now();
        for (_, deletion) in self.again.extract_if(.., |(due, _)| *due <= now) {
            self.waiting.push_front(deletion);
        }
        let hurried = !open || self.stop.is_cancelled();
        while self.calls.len() < self.calls_at_once() && now >= self.not_before {
            let due = self.waiting.front().is_some_and(|oldest| hurried || now >= oldest.since + BATCH_WAIT);
            if self.waiting.len() < BATCH_MAX && !due {
                return;
            }
            let batch: Vec<_> = self.waiting.drain(..self.waiting.len().min(BATCH_MAX)).collect();
            self.calls.spawn(call(Arc::clone(&self.source), batch));
        }
    }

    /// When the next call becomes due, if no message arrives and no call ends before.
    fn next_due(&self) -> Option<Instant> {
        let again = self.again.iter().map(|(due, _)| *due);
        let partial = self.waiting.front().map(|oldest| (oldest.since + BATCH_WAIT).max(self.not_before));
        again.chain(partial.filter(|_| self.calls.len() < self.calls_at_once())).min()
    }

    /// How many calls run at a time: one after a call failed as a whole.
    fn calls_at_once(&self) -> usize {
        if self.failures > 0 { 1 } else { self.calls_max }
    }

    fn try_again(&mut self, outcome: Outcome) {
        let now = Instant::now();
        if outcome.answered {
            self.failures = 0;
        } else if self.failures == 0 || self.calls.is_empty() {
            // Calls that were under way with the first failed one count as the same failure.
            self.failures += 1;
            self.not_before = now + SOURCE_CALL.random_wait(self.failures);
        }
        if self.stop.is_cancelled() {
            return;
        }
        let mut failed = outcome.failed;
        failed.retain(|deletion| {
            let again = deletion.attempts < ATTEMPTS_MAX;
            if !again {
                self.source.metrics.left("not_deleted");
            }
            again
        });
        // All failed entries of a call wait for the same time, so that they become one batch again.
        let attempts = failed.iter().map(|deletion| deletion.attempts).max().unwrap_or(1);
        let wait = SOURCE_CALL.random_wait(attempts);
        let due = if outcome.answered { now + wait } else { self.not_before };
        self.again.extend(failed.into_iter().map(|deletion| (due, deletion)));
    }

    /// At a stop gives up messages whose deletion failed; those that were not tried yet are tried once.
    fn give_up(&mut self) {
        self.again.clear();
        self.failures = 0;
        self.not_before = Instant::now();
    }
}

/// Deletes a batch.
async fn call(source: Arc<Source>, mut batch: Vec<Deletion>) -> Outcome {
    let Source { queue, metrics, health, .. } = &*source;
    let receipts: Vec<&str> = batch.iter().map(|deletion| &*deletion.receipt).collect();
    metrics.called(Action::Delete);
    let outcome = queue.delete(&receipts).await;
    batch.iter_mut().for_each(|deletion| deletion.attempts += 1);
    match outcome {
        Ok(results) => {
            health.succeeded(Action::Delete);
            let mut failed = Vec::new();
            for (deletion, result) in batch.into_iter().zip(results) {
                let Some(code) = result else {
                    metrics.deleted.inc();
                    continue;
                };
                let (reason, stale) = entry_word(&code);
                metrics.not_deleted(reason, 1);
                if !stale {
                    failed.push(deletion);
                }
            }
            Outcome { failed, answered: true }
        }
        Err(error) => {
            metrics.failed(error.reason);
            metrics.not_deleted(error.reason, batch.len());
            health.failed(Action::Delete, &error);
            Outcome { failed: batch, answered: false }
        }
    }
}
