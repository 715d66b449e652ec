//! Deletes what is durable, in batches that are full.
//!
//! All loops hand over what they have made durable, and go on receiving. What they bring is put
//! together to calls of ten; less waits a moment for company. An entry that failed is tried again a
//! few times; after a call that failed as a whole the next one waits, by itself, until one succeeds.
//! What is given up comes back after its time-out and is then known as a duplicate, so nothing here
//! can lose or repeat an event. Bounded: when too much waits, the loops wait too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Source;
use super::queue::{Action, BATCH_MAX, entry_word};
use crate::source::backoff::backoff;

/// How long a message may wait for others to be deleted with: long beside the answers of the
/// service, short beside any visibility time-out.
const COMPANY: Duration = Duration::from_millis(50);
/// How often a message is tried in all: with the backoff in between, some ten seconds.
const ATTEMPTS_MAX: u32 = 8;

/// Takes messages to delete. Cheap to clone; the deleter ends when the last one is gone and all is
/// done.
#[derive(Clone)]
pub(super) struct Deletions(mpsc::Sender<Vec<ByteString>>);

impl Deletions {
    /// The way to a deleter, and the deleter.
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

    /// Hands over messages that are durable.
    pub(super) async fn delete(&self, receipts: Vec<ByteString>) {
        if !receipts.is_empty() {
            // Without a deleter they stay, and come back as duplicates.
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

/// What became of a call.
#[derive(Default)]
struct Outcome {
    /// What is left to delete.
    failed: Vec<Deletion>,
    /// Whether the service answered at all.
    answered: bool,
}

struct Deleter {
    source: Arc<Source>,
    incoming: mpsc::Receiver<Vec<ByteString>>,
    waiting: VecDeque<Deletion>,
    /// Those that failed, and when they are due again.
    again: Vec<(Instant, Deletion)>,
    calls: JoinSet<Outcome>,
    calls_max: usize,
    /// Calls in a row that failed as a whole.
    failures: u32,
    /// When the next call may begin.
    not_before: Instant,
    stop: CancellationToken,
}

impl Deleter {
    async fn run(mut self) {
        let mut open = true;
        while open || !self.waiting.is_empty() || !self.again.is_empty() || !self.calls.is_empty() {
            self.call_for_what_is_due(open);
            let roomy = self.waiting.len() + self.again.len() < self.calls_max * BATCH_MAX * 2;
            let due = self.next_due();
            tokio::select! {
                receipts = self.incoming.recv(), if open && roomy => match receipts {
                    Some(receipts) => self.take(receipts),
                    None => open = false,
                },
                Some(outcome) = self.calls.join_next(), if !self.calls.is_empty() => {
                    // A call that panicked deleted nothing that anybody counts on.
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

    /// Begins calls for full batches, and for others that have waited long enough for company.
    fn call_for_what_is_due(&mut self, open: bool) {
        let now = Instant::now();
        for (_, deletion) in self.again.extract_if(.., |(due, _)| *due <= now) {
            self.waiting.push_front(deletion);
        }
        let hurried = !open || self.stop.is_cancelled();
        while self.calls.len() < self.calls_at_once() && now >= self.not_before {
            let due = self.waiting.front().is_some_and(|oldest| hurried || now >= oldest.since + COMPANY);
            if self.waiting.len() < BATCH_MAX && !due {
                return;
            }
            let batch: Vec<_> = self.waiting.drain(..self.waiting.len().min(BATCH_MAX)).collect();
            self.calls.spawn(call(Arc::clone(&self.source), batch));
        }
    }

    /// When something is to be done without anybody's asking.
    fn next_due(&self) -> Option<Instant> {
        let again = self.again.iter().map(|(due, _)| *due);
        let lonely = self.waiting.front().map(|oldest| (oldest.since + COMPANY).max(self.not_before));
        again.chain(lonely.filter(|_| self.calls.len() < self.calls_at_once())).min()
    }

    /// A service in trouble is asked by one call at a time.
    fn calls_at_once(&self) -> usize {
        if self.failures > 0 { 1 } else { self.calls_max }
    }

    fn try_again(&mut self, outcome: Outcome) {
        let now = Instant::now();
        if outcome.answered {
            self.failures = 0;
        } else if self.failures == 0 || self.calls.is_empty() {
            // Those that were under way with the first one fail with it, and count once.
            self.failures += 1;
            self.not_before = now + backoff(self.failures);
        }
        if self.stop.is_cancelled() {
            return;
        }
        let mut failed = outcome.failed;
        failed.retain(|deletion| {
            let again = deletion.attempts < ATTEMPTS_MAX;
            if !again {
                self.source.tally.left("not_deleted");
            }
            again
        });
        // One wait for all of them, so that they come back as a batch.
        let wait = backoff(failed.iter().map(|deletion| deletion.attempts).max().unwrap_or(1));
        let due = if outcome.answered { now + wait } else { self.not_before };
        self.again.extend(failed.into_iter().map(|deletion| (due, deletion)));
    }

    /// At a stop nobody waits for a service that is in trouble; what has not been tried is, once.
    fn give_up(&mut self) {
        self.again.clear();
        self.failures = 0;
        self.not_before = Instant::now();
    }
}

/// Deletes a batch.
async fn call(source: Arc<Source>, mut batch: Vec<Deletion>) -> Outcome {
    let Source { queue, tally, condition, .. } = &*source;
    let receipts: Vec<&str> = batch.iter().map(|deletion| &*deletion.receipt).collect();
    tally.called(Action::Delete);
    let outcome = queue.delete(&receipts).await;
    batch.iter_mut().for_each(|deletion| deletion.attempts += 1);
    match outcome {
        Ok(fates) => {
            condition.fine(Action::Delete);
            let mut failed = Vec::new();
            for (deletion, fate) in batch.into_iter().zip(fates) {
                let Some(code) = fate else {
                    tally.deleted.inc();
                    continue;
                };
                let (reason, stale) = entry_word(&code);
                tally.not_deleted(reason, 1);
                if !stale {
                    failed.push(deletion);
                }
            }
            Outcome { failed, answered: true }
        }
        Err(trouble) => {
            tally.failed(trouble.reason);
            tally.not_deleted(trouble.reason, batch.len());
            condition.trouble(Action::Delete, &trouble);
            Outcome { failed: batch, answered: false }
        }
    }
}
