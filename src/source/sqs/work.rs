//! What is done with the messages of one receive, until each is durable or left in the queue.
//!
//! The messages are decided about one after the other, and appended together, so that they share
//! the log's group commit. Until all of them are durable, a heartbeat at half their time-out keeps
//! them hidden. In a FIFO queue the messages of one group are appended one after the other, and one
//! that could not be keeps those behind it from overtaking: they all come back, in order.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytestring::ByteString;
use tokio::time::sleep;

use super::Source;
use super::asked::Answered;
use super::deletions::Deletions;
use super::message::{Message, Useless};
use super::queue::{Action, entry_word};
use super::together::together;
use crate::config::OnMalformed;
use crate::event::{Timestamp, Verdict};
use crate::source::Unavailable;

/// The decoded bodies of a batch that are in memory at once: beyond it the first ones are stored
/// before the next one is decoded, which may inflate to more than all of them.
const WAVE_BYTES_MAX: usize = 4 << 20;

/// The receive count from which a message is taken for one that cannot be settled: with the default
/// time-out some fifty minutes, and far below what a queue keeps.
const RECEIVED_TOO_OFTEN: u32 = 50;

/// The messages of one receive.
pub(super) struct Batch {
    source: Arc<Source>,
    messages: Vec<Message>,
    arrived: Timestamp,
}

/// A message that goes into the spool, or is of a type that is not selected.
struct Decided {
    /// Its place in the batch.
    at: usize,
    verdict: Verdict,
}

/// Those of a wave that are stored one after the other.
#[derive(Default)]
struct Lane {
    group: Option<String>,
    decided: Vec<Decided>,
}

/// What one go decides about.
#[derive(Default)]
struct Wave {
    lanes: Vec<Lane>,
    /// The places of those that held a topic's question, which was answered.
    answered: Vec<usize>,
}

impl Batch {
    pub(super) fn new(source: Arc<Source>, messages: Vec<Message>) -> Self {
        Self { source, messages, arrived: SystemTime::now().into() }
    }

    /// Does all of it, and has deleted what may be.
    pub(super) async fn run(self, deletions: &Deletions) {
        let receipts: Vec<ByteString> = self.messages.iter().map(|message| message.receipt.clone()).collect();
        // Which of them need not be kept hidden any more.
        let done: Vec<_> = self.messages.iter().map(|_| AtomicBool::new(false)).collect();
        tokio::select! {
            () = self.keep(&done, deletions) => {}
            never = keep_hidden(&self.source, &receipts, &done) => match never {},
        }
    }

    async fn keep(&self, done: &[AtomicBool], deletions: &Deletions) {
        let mut held: HashSet<String> = HashSet::new();
        let mut next = 0;
        while next < self.messages.len() {
            let Wave { lanes, answered } = self.decide(&mut next, &mut held, done).await;
            let kept = together(lanes.into_iter().map(|lane| self.store(lane, done)).collect()).await;
            let mut durable = answered;
            for (lane, failed) in kept {
                durable.extend(lane);
                held.extend(failed);
            }
            let receipts = durable.iter().map(|at| self.messages[*at].receipt.clone());
            deletions.delete(receipts.collect()).await;
            durable.into_iter().for_each(|at| done[at].store(true, Ordering::Relaxed));
        }
    }

    /// Decides about messages up to the bytes of a wave, and sorts them into lanes.
    async fn decide(&self, next: &mut usize, held: &mut HashSet<String>, done: &[AtomicBool]) -> Wave {
        let fifo = self.source.queue.is_fifo();
        let Wave { mut lanes, mut answered } = Wave::default();
        let mut bytes = 0;
        while *next < self.messages.len() && bytes < WAVE_BYTES_MAX {
            let at = *next;
            *next += 1;
            let message = &self.messages[at];
            self.source.tally.received_again(&message.id, message.receives);
            let group = message.group.clone().filter(|_| fifo);
            if group.as_ref().is_some_and(|group| held.contains(group)) {
                self.source.tally.left("held_back");
                done[at].store(true, Ordering::Relaxed);
                continue;
            }
            match self.answer(message).await {
                Some(Answered::Confirmed) => {
                    answered.push(at);
                    continue;
                }
                Some(Answered::Failed) => {
                    self.source.tally.left("confirmation");
                    done[at].store(true, Ordering::Relaxed);
                    continue;
                }
                Some(Answered::NotListed) | None => {}
            }
            let verdict = self.source.verdict(message, self.arrived).await;
            if let (Verdict::Quarantine(quarantined), OnMalformed::Redrive) =
                (&verdict, self.source.on_malformed)
            {
                self.source.tally.left(&quarantined.reason);
                done[at].store(true, Ordering::Relaxed);
                continue;
            }
            bytes += body_bytes(&verdict);
            let decided = Decided { at, verdict };
            match lanes.iter_mut().find(|lane| group.is_some() && lane.group == group) {
                Some(lane) => lane.decided.push(decided),
                None => lanes.push(Lane { group, decided: vec![decided] }),
            }
        }
        Wave { lanes, answered }
    }

    /// Answers what a topic asks; `None` if it asks nothing, or has asked too often.
    async fn answer(&self, message: &Message) -> Option<Answered> {
        let question = message.question().filter(|_| message.receives < RECEIVED_TOO_OFTEN)?;
        Some(self.source.asked.answer(&question).await)
    }

    /// Stores a lane in order up to the first that cannot be. Says which are durable, and which group
    /// must wait.
    async fn store(&self, lane: Lane, done: &[AtomicBool]) -> (Vec<usize>, Option<String>) {
        let Source { intake, intake_source, tally, stored, .. } = &*self.source;
        let mut durable = Vec::with_capacity(lane.decided.len());
        let mut failed = false;
        for Decided { at, verdict } in lane.decided {
            if failed {
                tally.left("held_back");
            } else {
                match intake.keep(intake_source, verdict, self.arrived).await {
                    Ok(_) => {
                        let message = &self.messages[at];
                        tally.durable(message.sent);
                        if message.receives >= RECEIVED_TOO_OFTEN / 2 {
                            stored.add(&message.id);
                        }
                        durable.push(at);
                    }
                    Err(unavailable) => {
                        failed = true;
                        tally.left(word(unavailable));
                    }
                }
            }
            if failed {
                // It comes back after its time-out, which is as good a backoff as any.
                done[at].store(true, Ordering::Relaxed);
            }
        }
        (durable, lane.group.filter(|_| failed))
    }
}

impl Source {
    /// What becomes of a message. One that brings us down is kept for whoever mends that. One that was
    /// received too often is not even looked at, because a look may be what keeps it from being settled;
    /// unless it has been stored, and it is only the deletes that fail.
    async fn verdict(&self, message: &Message, arrived: Timestamp) -> Verdict {
        let Self { intake, intake_source, limits, .. } = self;
        let definition = &intake_source.definition;
        let view = &intake_source.view;
        if message.receives >= RECEIVED_TOO_OFTEN && !self.stored.has(&message.id) {
            let detail = format!("received {} times; it may have been stored before", message.receives);
            return view.quarantine(message.as_it_is(arrived), "received_often", detail);
        }
        let verified = intake.work(message.heaviness(), || {
            let deciding = || match message.verify(definition, limits, arrived) {
                (verified, None) => intake.admit(intake_source, verified),
                (verified, Some(Useless { word, detail })) => {
                    view.quarantine(verified, word, detail.into_owned())
                }
            };
            catch_unwind(AssertUnwindSafe(deciding))
        });
        verified.await.unwrap_or_else(|_| {
            view.quarantine(message.as_it_is(arrived), "panic", "a fault of fanbridge's own".into())
        })
    }
}

/// Keeps messages hidden until they are done: at half their time-out, and sooner again if that
/// failed.
async fn keep_hidden(
    source: &Source,
    receipts: &[ByteString],
    done: &[AtomicBool],
) -> std::convert::Infallible {
    let half = source.visibility / 2;
    // Long enough for another attempt or two before the time-out.
    let again = (half / 4).max(Duration::from_millis(250));
    let mut gone = vec![false; receipts.len()];
    let mut wait = half;
    loop {
        sleep(wait).await;
        let open = |at: &usize| !gone[*at] && !done[*at].load(Ordering::Relaxed);
        let places: Vec<usize> = (0..receipts.len()).filter(open).collect();
        wait = half;
        if places.is_empty() {
            continue;
        }
        let batch: Vec<&str> = places.iter().map(|at| &*receipts[*at]).collect();
        source.tally.called(Action::Extend);
        match source.queue.extend(&batch).await {
            Ok(fates) => {
                source.condition.fine(Action::Extend);
                for (at, fate) in places.into_iter().zip(fates) {
                    let Some(code) = fate else {
                        source.tally.extended.inc();
                        continue;
                    };
                    let (reason, stale) = entry_word(&code);
                    source.tally.not_extended(reason, 1);
                    gone[at] = stale;
                    if !stale {
                        wait = again;
                    }
                }
            }
            Err(trouble) => {
                source.tally.failed(trouble.reason);
                source.tally.not_extended(trouble.reason, batch.len());
                source.condition.trouble(Action::Extend, &trouble);
                wait = again;
            }
        }
    }
}

fn body_bytes(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Accept(event) => event.body.len(),
        Verdict::Quarantine(quarantined) => quarantined.body.len(),
        Verdict::Filter(_) => 0,
    }
}

fn word(unavailable: Unavailable) -> &'static str {
    match unavailable {
        Unavailable::Later(reason) => reason,
        Unavailable::TooLarge => "too_large",
    }
}
