//! Handles the messages of one receive, until each is durable or left in the queue.
//!
//! The messages are admitted one after the other and appended together, so that they share the log's
//! group commit. Questions of SNS topics are answered after that. Until every message is durable, a
//! heartbeat at half the visibility time-out keeps them hidden. In a FIFO queue the messages of one
//! group are appended one after the other. If one of them cannot be appended, the later ones of its
//! group are left in the queue as well, so that they come back in order.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytestring::ByteString;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::OnMalformed;
use super::Source;
use super::action::Action;
use super::deletions::Deletions;
use super::message::{Question, QueueMessage, Useless};
use super::queue::entry_word;
use super::topic_questions::QuestionOutcome;
use crate::ack::Unaccepted;
use crate::event::{Timestamp, Verdict, Verified};
use crate::source::traced::{DeliveryTrace, SentContext};
use crate::source::{Circumstances, DeliveryFate, Intake, Unavailable};

/// Bytes of decoded bodies from which a wave is complete: they are stored before the next message is
/// decoded, because one message can inflate to more than all others.
const WAVE_BYTES_MAX: usize = 4 << 20;

/// The receive count from which a message becomes a dead letter, because something keeps it from being
/// stored and deleted. With the default visibility time-out this takes some fifty minutes, far less than
/// a queue keeps messages.
const RECEIVED_TOO_OFTEN: u32 = 50;

/// The messages of one receive.
pub(super) struct ReceivedMessages {
    source: Arc<Source>,
    /// The intake at the moment of the receive.
    intake: Arc<Intake>,
    messages: Vec<QueueMessage>,
    arrived: Timestamp,
    /// Whether a sink that the source waits for has not accepted an event in time.
    late: AtomicBool,
    /// Whether an event is durable, and accepted by the sinks that the source waits for.
    taken: AtomicBool,
}

/// A message with its verdict.
struct Decided {
    /// The message's index in the batch.
    at: usize,
    verdict: Verdict,
    /// The message's trace, if it is sampled.
    trace: Option<Box<DeliveryTrace>>,
}

/// Messages of a wave that are stored one after the other: those of one group of a FIFO queue, or a
/// single message.
#[derive(Default)]
struct FifoGroup {
    group: Option<String>,
    decided: Vec<Decided>,
}

/// Messages that are stored at the same time; only those of one [`FifoGroup`] wait for each other.
type Wave = Vec<FifoGroup>;

/// A topic's question, and the index of its message in the batch.
type AskedAt = (usize, Question);

impl ReceivedMessages {
    pub(super) fn new(source: Arc<Source>, messages: Vec<QueueMessage>) -> Self {
        let (late, taken) = (AtomicBool::new(false), AtomicBool::new(false));
        let intake = source.intake.load_full();
        Self { source, intake, messages, arrived: SystemTime::now().into(), late, taken }
    }

    /// Stores the messages, and hands those that are durable, and accepted by the sinks that the source waits
    /// for, or filtered to the deleter, each as soon as it is. Returns whether sinks have accepted nothing of
    /// it in time: a topic that is away holds up its own messages, and not the queue.
    pub(super) async fn run(self, deletions: &Deletions) -> bool {
        let receipts: Vec<ByteString> = self.messages.iter().map(|message| message.receipt.clone()).collect();
        // Which messages no longer need to be kept hidden.
        let done: Vec<_> = self.messages.iter().map(|_| AtomicBool::new(false)).collect();
        tokio::select! {
            () = self.store_all(&done, deletions) => {}
            never = keep_hidden(&self.source, &receipts, &done) => match never {},
        }
        self.late.into_inner() && !self.taken.into_inner()
    }

    async fn store_all(&self, done: &[AtomicBool], deletions: &Deletions) {
        let (mut blocked, mut questions) = (HashSet::new(), Vec::new());
        let mut next = 0;
        while next < self.messages.len() {
            let wave = self.decide(&mut next, &blocked, &mut questions, done).await;
            blocked.extend(self.store_wave(wave, done, deletions).await);
        }
        if !questions.is_empty() {
            let (wave, answered) = self.answer(questions, done).await;
            self.finish(&answered, done, deletions).await;
            self.store_wave(wave, done, deletions).await;
        }
    }

    /// Admits messages until a wave is complete, and sorts them into FIFO groups. Questions of topics are
    /// collected in `questions`.
    async fn decide(
        &self,
        next: &mut usize,
        blocked: &HashSet<String>,
        questions: &mut Vec<AskedAt>,
        done: &[AtomicBool],
    ) -> Wave {
        let fifo = self.source.queue.is_fifo();
        let (mut wave, mut bytes) = (Wave::new(), 0);
        while *next < self.messages.len() && bytes < WAVE_BYTES_MAX {
            let at = *next;
            *next += 1;
            let message = &self.messages[at];
            self.source.metrics.received_again(&message.id, message.receives);
            let group = message.group.clone().filter(|_| fifo);
            if group.as_ref().is_some_and(|group| blocked.contains(group)) {
                self.leave(at, "held_back", done);
            } else if let Some(question) =
                message.question().filter(|_| message.receives < RECEIVED_TOO_OFTEN)
            {
                questions.push((at, question));
            } else {
                let (verdict, trace) = self.source.verdict(&self.intake, message, self.arrived).await;
                bytes += self.sort(Decided { at, verdict, trace }, group, &mut wave, done);
            }
        }
        wave
    }

    /// Answers the questions of topics, all at once. This happens after the events are stored, so that no
    /// event waits for the service, which can take seconds. Returns the questions that become dead
    /// letters, and the indices of those that were confirmed.
    async fn answer(&self, questions: Vec<AskedAt>, done: &[AtomicBool]) -> (Wave, Vec<usize>) {
        let asked = &self.source.questions;
        let answers = join_all(questions.iter().map(|(_, question)| asked.answer(question))).await;
        let (mut wave, mut answered) = (Wave::new(), Vec::new());
        for ((at, _), answer) in questions.into_iter().zip(answers) {
            let message = &self.messages[at];
            let (verdict, trace) = match answer {
                QuestionOutcome::Confirmed => {
                    answered.push(at);
                    continue;
                }
                QuestionOutcome::Failed => {
                    self.leave(at, "confirmation", done);
                    continue;
                }
                QuestionOutcome::NotListed => self.source.verdict(&self.intake, message, self.arrived).await,
                QuestionOutcome::Refused(code) => {
                    let Useless { word, detail } = Useless::unanswerable(code);
                    let view = &self.source.intake_source.view;
                    (view.quarantine(message.as_it_is(self.arrived), word, detail.into_owned()), None)
                }
            };
            self.sort(Decided { at, verdict, trace }, None, &mut wave, done);
        }
        (wave, answered)
    }

    /// Adds a message to its group in the wave, or leaves it in the queue if the queue's own redrive policy
    /// is to move it. Returns the bytes that were added.
    fn sort(&self, decided: Decided, group: Option<String>, wave: &mut Wave, done: &[AtomicBool]) -> usize {
        if let (Verdict::Quarantine(quarantined), OnMalformed::Redrive) =
            (&decided.verdict, self.source.on_malformed)
        {
            self.leave(decided.at, &quarantined.reason, done);
            return 0;
        }
        let bytes = body_bytes(&decided.verdict);
        match wave.iter_mut().find(|fifo| group.is_some() && fifo.group == group) {
            Some(fifo) => fifo.decided.push(decided),
            None => wave.push(FifoGroup { group, decided: vec![decided] }),
        }
        bytes
    }

    /// Leaves a message in the queue. It comes back after its visibility time-out, which serves as backoff.
    fn leave(&self, at: usize, reason: &str, done: &[AtomicBool]) {
        self.source.metrics.left(reason);
        done[at].store(true, Ordering::Relaxed);
    }

    /// Hands messages to the deleter.
    async fn finish(&self, finished: &[usize], done: &[AtomicBool], deletions: &Deletions) {
        let receipts = finished.iter().map(|at| self.messages[*at].receipt.clone());
        deletions.delete(receipts.collect()).await;
        finished.iter().for_each(|at| done[*at].store(true, Ordering::Relaxed));
    }

    /// Stores a wave. Returns the FIFO groups of which a message could not be stored.
    async fn store_wave(&self, wave: Wave, done: &[AtomicBool], deletions: &Deletions) -> Vec<String> {
        // The groups begin their appends in their order, as [`Intake::keep`](crate::source::Intake) promises.
        // A task for each group would lose that order.
        let failed = join_all(wave.into_iter().map(|fifo| self.store(fifo, done, deletions))).await;
        failed.into_iter().flatten().collect()
    }

    /// Stores the messages of a group in order, and hands each to the deleter once it is durable. Leaves the
    /// rest of them in the queue once one cannot be stored, and returns the group then.
    async fn store(&self, fifo: FifoGroup, done: &[AtomicBool], deletions: &Deletions) -> Option<String> {
        let Source { intake_source, metrics, stored, .. } = &*self.source;
        let mut failed = false;
        for Decided { at, verdict, trace } in fifo.decided {
            if failed {
                self.leave(at, "held_back", done);
                continue;
            }
            let bytes = self.messages[at].bytes();
            let about = Circumstances { arrived: self.arrived, bytes, secret: None, trace };
            match self.intake.keep(intake_source, verdict, about).await {
                Ok(kept) => {
                    let message = &self.messages[at];
                    metrics.durable(message.sent);
                    if message.receives >= RECEIVED_TOO_OFTEN / 2 {
                        stored.add(&message.id);
                    }
                    if kept.fate != DeliveryFate::Filtered {
                        self.taken.store(true, Ordering::Relaxed);
                    }
                    self.finish(&[at], done, deletions).await;
                }
                Err(unavailable) => {
                    failed = true;
                    if matches!(unavailable, Unavailable::Unaccepted(Unaccepted::Late, _)) {
                        self.late.store(true, Ordering::Relaxed);
                    }
                    self.leave(at, word(unavailable), done);
                }
            }
        }
        fifo.group.filter(|_| failed)
    }
}

impl Source {
    /// The verdict on a message. A message whose decoding panics is quarantined as it is. So is a message
    /// that was received too often, without being decoded, because decoding it can be what fails every
    /// time; unless this process has stored it before, so that only its deletion fails.
    async fn verdict(
        &self,
        intake: &Intake,
        message: &QueueMessage,
        arrived: Timestamp,
    ) -> (Verdict, Option<Box<DeliveryTrace>>) {
        let Self { intake_source, limits, .. } = self;
        let definition = &intake_source.definition;
        let view = &intake_source.view;
        let too_often = message.receives >= RECEIVED_TOO_OFTEN && !self.stored.has(&message.id);
        if too_often && intake_source.ack.is_some() {
            // A message whose source waits for sinks comes back for as long as they are away, and is deleted
            // for no other reason: the queue's own redrive policy ends what never can be accepted.
            self.health.unsettled(message.receives);
        } else if too_often {
            let detail = format!(
                "the message was received {} times; an earlier receive may have stored it already",
                message.receives
            );
            return (view.quarantine(message.as_it_is(arrived), "received_often", detail), None);
        }
        let verified = intake.work(message.heaviness(), || {
            let deciding = || {
                let (mut verified, useless) = message.verify(definition, limits, arrived);
                let sent = |verified: &Verified| SentContext::of_message(&verified.stated.extensions);
                let trace = intake.begin_trace(intake_source, sent, &mut verified);
                let verdict = match useless {
                    None => intake.admit(intake_source, verified),
                    Some(Useless { word, detail }) => view.quarantine(verified, word, detail.into_owned()),
                };
                (verdict, trace)
            };
            catch_unwind(AssertUnwindSafe(deciding))
        });
        verified.await.unwrap_or_else(|_| {
            let detail =
                "decoding this message panicked, which is a fault of fanbridge: the log has the panic";
            (view.quarantine(message.as_it_is(arrived), "panic", detail.into()), None)
        })
    }
}

/// Keeps messages hidden until they are done: a heartbeat at half their visibility time-out, and an
/// earlier one if the last failed.
async fn keep_hidden(
    source: &Source,
    receipts: &[ByteString],
    done: &[AtomicBool],
) -> std::convert::Infallible {
    let half = source.visibility / 2;
    // Short enough for further attempts before the visibility time-out.
    let again = (half / 4).max(Duration::from_millis(250));
    let mut gone = vec![false; receipts.len()];
    let mut wait = half;
    loop {
        sleep(wait).await;
        let open = |at: &usize| !gone[*at] && !done[*at].load(Ordering::Relaxed);
        let hidden: Vec<usize> = (0..receipts.len()).filter(open).collect();
        wait = half;
        if hidden.is_empty() {
            continue;
        }
        let batch: Vec<&str> = hidden.iter().map(|at| &*receipts[*at]).collect();
        source.metrics.called(Action::Extend);
        match source.queue.extend(&batch).await {
            Ok(results) => {
                source.health.succeeded(Action::Extend);
                for (at, result) in hidden.into_iter().zip(results) {
                    let Some(code) = result else {
                        source.metrics.extended.inc();
                        continue;
                    };
                    let (reason, stale) = entry_word(&code);
                    source.metrics.not_extended(reason, 1);
                    gone[at] = stale;
                    if !stale {
                        wait = again;
                    }
                }
            }
            Err(error) => {
                source.metrics.failed(error.reason);
                source.metrics.not_extended(error.reason, batch.len());
                source.health.failed(Action::Extend, &error);
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
        Unavailable::Unaccepted(unaccepted, _) => unaccepted.reason(),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn the_appends_of_a_wave_begin_in_their_order_and_their_results_are_in_it_too() {
        let begun = Mutex::new(Vec::new());
        let append = async |number: usize| {
            begun.lock().push(number);
            for _ in 0..10 - number {
                yield_now().await;
            }
            number
        };
        let wave: Vec<usize> = (0..10).collect();
        assert_eq!(join_all(wave.iter().copied().map(append)).await, wave);
        assert_eq!(*begun.lock(), wave);
    }
}
