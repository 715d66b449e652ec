//! What is done with the messages of one receive, until each is durable or left in the queue.
//!
//! The messages are decided about one after the other, and appended together, so that they share
//! the log's group commit. What topics ask is answered after that. Until all of them are durable, a heartbeat at half their time-out keeps
//! them hidden. In a FIFO queue the messages of one group are appended one after the other, and one
//! that could not be keeps those behind it from overtaking: they all come back, in order.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytestring::ByteString;
use tokio::time::sleep;

use super::OnMalformed;
use super::Source;
use super::deletions::Deletions;
use super::message::{Question, QueueMessage, Useless};
use super::queue::{Action, entry_word};
use super::together::together;
use super::topic_questions::QuestionOutcome;
use crate::event::{Timestamp, Verdict};
use crate::source::Unavailable;

/// The decoded bodies of a batch that are in memory at once: beyond it the first ones are stored
/// before the next one is decoded, which may inflate to more than all of them.
const WAVE_BYTES_MAX: usize = 4 << 20;

/// The receive count from which a message is taken for one that cannot be settled: with the default
/// time-out some fifty minutes, and far below what a queue keeps.
const RECEIVED_TOO_OFTEN: u32 = 50;

/// The messages of one receive.
pub(super) struct Received {
    source: Arc<Source>,
    messages: Vec<QueueMessage>,
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
struct FifoGroup {
    group: Option<String>,
    decided: Vec<Decided>,
}

/// What is to be stored together.
type Wave = Vec<FifoGroup>;

/// A topic's question, and its place in the batch.
type Aside = (usize, Question);

impl Received {
    pub(super) fn new(source: Arc<Source>, messages: Vec<QueueMessage>) -> Self {
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
        let (mut held, mut questions) = (HashSet::new(), Vec::new());
        let mut next = 0;
        while next < self.messages.len() {
            let wave = self.decide(&mut next, &held, &mut questions, done).await;
            held.extend(self.settle(wave, Vec::new(), done, deletions).await);
        }
        if !questions.is_empty() {
            let (wave, answered) = self.answer(questions, done).await;
            self.settle(wave, answered, done, deletions).await;
        }
    }

    /// Decides about messages up to the bytes of a wave, and sorts them into lanes. Questions are put
    /// aside.
    async fn decide(
        &self,
        next: &mut usize,
        held: &HashSet<String>,
        questions: &mut Vec<Aside>,
        done: &[AtomicBool],
    ) -> Wave {
        let fifo = self.source.queue.is_fifo();
        let (mut wave, mut bytes) = (Wave::new(), 0);
        while *next < self.messages.len() && bytes < WAVE_BYTES_MAX {
            let at = *next;
            *next += 1;
            let message = &self.messages[at];
            self.source.tally.received_again(&message.id, message.receives);
            let group = message.group.clone().filter(|_| fifo);
            if group.as_ref().is_some_and(|group| held.contains(group)) {
                self.leave(at, "held_back", done);
            } else if let Some(question) =
                message.question().filter(|_| message.receives < RECEIVED_TOO_OFTEN)
            {
                questions.push((at, question));
            } else {
                let verdict = self.source.verdict(message, self.arrived).await;
                bytes += self.sort(Decided { at, verdict }, group, &mut wave, done);
            }
        }
        wave
    }

    /// Answers what topics ask, all at once, and behind the events: none of these waits for the service,
    /// which may take seconds. Says what becomes a letter, and which questions are settled.
    async fn answer(&self, questions: Vec<Aside>, done: &[AtomicBool]) -> (Wave, Vec<usize>) {
        let asked = &self.source.asked;
        let answers = together(questions.iter().map(|(_, question)| asked.answer(question)).collect()).await;
        let (mut wave, mut answered) = (Wave::new(), Vec::new());
        for ((at, _), answer) in questions.into_iter().zip(answers) {
            let message = &self.messages[at];
            let verdict = match answer {
                QuestionOutcome::Confirmed => {
                    answered.push(at);
                    continue;
                }
                QuestionOutcome::Failed => {
                    self.leave(at, "confirmation", done);
                    continue;
                }
                QuestionOutcome::NotListed => self.source.verdict(message, self.arrived).await,
                QuestionOutcome::Refused(code) => {
                    let Useless { word, detail } = Useless::unanswerable(code);
                    let view = &self.source.intake_source.view;
                    view.quarantine(message.as_it_is(self.arrived), word, detail.into_owned())
                }
            };
            self.sort(Decided { at, verdict }, None, &mut wave, done);
        }
        (wave, answered)
    }

    /// Puts what was decided into its lane, unless it is for the queue's own redrive; the bytes that it
    /// holds.
    fn sort(&self, decided: Decided, group: Option<String>, wave: &mut Wave, done: &[AtomicBool]) -> usize {
        if let (Verdict::Quarantine(quarantined), OnMalformed::Redrive) =
            (&decided.verdict, self.source.on_malformed)
        {
            self.leave(decided.at, &quarantined.reason, done);
            return 0;
        }
        let bytes = body_bytes(&decided.verdict);
        match wave.iter_mut().find(|lane| group.is_some() && lane.group == group) {
            Some(lane) => lane.decided.push(decided),
            None => wave.push(FifoGroup { group, decided: vec![decided] }),
        }
        bytes
    }

    /// Leaves a message in the queue: it comes back after its time-out, which is as good a backoff as any.
    fn leave(&self, at: usize, reason: &str, done: &[AtomicBool]) {
        self.source.tally.left(reason);
        done[at].store(true, Ordering::Relaxed);
    }

    /// Stores a wave, and deletes what is durable then and what was settled before. Says which groups must
    /// wait.
    async fn settle(
        &self,
        wave: Wave,
        mut settled: Vec<usize>,
        done: &[AtomicBool],
        deletions: &Deletions,
    ) -> Vec<String> {
        let kept = together(wave.into_iter().map(|lane| self.store(lane, done)).collect()).await;
        let mut held = Vec::new();
        for (durable, failed) in kept {
            settled.extend(durable);
            held.extend(failed);
        }
        let receipts = settled.iter().map(|at| self.messages[*at].receipt.clone());
        deletions.delete(receipts.collect()).await;
        settled.into_iter().for_each(|at| done[at].store(true, Ordering::Relaxed));
        held
    }

    /// Stores a lane in order up to the first that cannot be. Says which are durable, and which group
    /// must wait.
    async fn store(&self, lane: FifoGroup, done: &[AtomicBool]) -> (Vec<usize>, Option<String>) {
        let Source { intake, intake_source, tally, stored, .. } = &*self.source;
        let mut durable = Vec::with_capacity(lane.decided.len());
        let mut failed = false;
        for Decided { at, verdict } in lane.decided {
            if failed {
                self.leave(at, "held_back", done);
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
                        self.leave(at, word(unavailable), done);
                    }
                }
            }
        }
        (durable, lane.group.filter(|_| failed))
    }
}

impl Source {
    /// What becomes of a message. One that brings us down is kept for whoever mends that. One that was
    /// received too often is not even looked at, because a look may be what keeps it from being settled;
    /// unless it has been stored, and it is only the deletes that fail.
    async fn verdict(&self, message: &QueueMessage, arrived: Timestamp) -> Verdict {
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
