//! The decisions of the SNS sink: which records wait, leave and come back (pure, except that settling
//! a record wakes the dispatcher).
//!
//! A failure of one record is repeated here, while its lane waits. A failure of a request or of a
//! topic goes back to the dispatcher, which keeps the records, holds the topic and tries again.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lanes::{AfterResponse, OutgoingBatch, SnsLanes, Waiting};
use super::outcome::EntryFate;
use super::pace::Pace;
use crate::event::Record;
use crate::sink::outcomes::{BatchNumber, OutcomeTable, held};
use crate::sink::{Cause, Effort, Outcome, Reason};

/// Failures of one record after which its topic is held; with the rests of [`Pace::rest`] this takes
/// about two seconds.
const FAILURES_MAX: u32 = 8;
/// How long a complaint of the service is shown.
const COMPLAINT_HOLDS: Duration = Duration::from_secs(30);

/// The records of one SNS sink, and the state that decides when they are sent.
pub(super) struct Scheduler {
    lanes: SnsLanes,
    pace: Pace,
    outcomes: Arc<OutcomeTable>,
    complaint: Option<(Instant, String)>,
    /// Detail of the last answer that asked for fewer requests.
    throttled: String,
    /// Number of records repeated here since [`Scheduler::effort`] was last called, by reason.
    repeated: BTreeMap<&'static str, u64>,
}

impl Scheduler {
    /// A scheduler without records.
    pub fn new(lanes: SnsLanes, pace: Pace, outcomes: Arc<OutcomeTable>) -> Self {
        Self { lanes, pace, outcomes, complaint: None, throttled: String::new(), repeated: BTreeMap::new() }
    }

    /// Takes the records of a batch that was opened in `outcomes`.
    pub fn hand_over(
        &mut self,
        batch: BatchNumber,
        records: Vec<Arc<Record>>,
        bytes: impl Fn(&Record) -> usize,
        now: Instant,
    ) {
        for (index, record) in records.into_iter().enumerate() {
            if self.outcomes.is_held(&record) {
                self.outcomes.settle(batch, index, held());
            } else {
                let bytes = bytes(&record);
                self.lanes.push(Waiting { record, batch, index, bytes, failures: 0, alone: false }, now);
            }
        }
        self.outcomes.seal(batch);
    }

    /// The next request that is allowed to leave now.
    pub fn next(&mut self, now: Instant) -> Option<OutgoingBatch> {
        let departure = self.pace.allows(now).then(|| self.lanes.next(now)).flatten()?;
        self.pace.depart();
        Some(departure)
    }

    /// When [`Scheduler::next`] has to be called again if no record arrives and no request returns before.
    pub fn wake_at(&self) -> Option<Instant> {
        self.lanes.wake_at().and_then(|wanted| self.pace.allows_at(wanted))
    }

    /// Takes a finished request with the fate of each of its records.
    pub fn on_response(&mut self, mut departure: OutgoingBatch, fates: Vec<EntryFate>, now: Instant) {
        assert_eq!(departure.records.len(), fates.len(), "each record has one fate");
        self.pace.come_back();
        let topic = Arc::clone(&departure.topic);
        let verdict = self.judge(&departure, &fates, now);
        let mut returns = Vec::with_capacity(fates.len());
        for (waiting, fate) in departure.records.iter_mut().zip(fates) {
            let (what, outcome) = self.apply(waiting, fate);
            if let Some(outcome) = outcome {
                self.outcomes.settle(waiting.batch, waiting.index, outcome);
            }
            returns.push(what);
        }
        for behind in self.lanes.take_back(departure, returns, now) {
            self.outcomes.settle(behind.batch, behind.index, held());
        }
        if let Some(reason) = verdict {
            for waiting in self.lanes.drain(&topic) {
                let outcome = Outcome::Retry(reason.clone());
                self.outcomes.settle(waiting.batch, waiting.index, outcome);
            }
        }
    }

    /// Adjusts the pace and the trust in the topic by the fates of one request. Returns a reason if
    /// all records that wait for the topic go back to the dispatcher.
    fn judge(&mut self, departure: &OutgoingBatch, fates: &[EntryFate], now: Instant) -> Option<Reason> {
        let (mut published, mut throttled, mut lost) = (false, false, None);
        for fate in fates {
            match fate {
                EntryFate::Published(_) => published = true,
                EntryFate::Refused(_) | EntryFate::Suspect => {}
                EntryFate::Failed(said) => self.complaint = Some((now, said.clone())),
                EntryFate::Throttled(said) => {
                    throttled = true;
                    self.throttled.clone_from(said);
                    self.complaint = Some((now, said.clone()));
                }
                EntryFate::Unclear(reason) | EntryFate::Trouble(reason) => {
                    lost = Some(fate);
                    self.complaint = Some((now, reason.detail.clone()));
                }
            }
        }
        if throttled {
            self.pace.cut(departure.at, now);
            self.pace.pause(now);
        }
        match lost {
            None if published && !throttled => {
                self.pace.grow();
                self.lanes.trust(&departure.topic);
                None
            }
            Some(EntryFate::Trouble(reason)) => {
                self.lanes.distrust(&departure.topic);
                Some(reason.clone())
            }
            // One such request can be an accident; after two in a row the dispatcher decides about
            // the third.
            Some(EntryFate::Unclear(reason)) => {
                self.pace.cut(departure.at, now);
                let again = self.lanes.distrust(&departure.topic);
                again.then(|| Reason::new(Cause::UNREACHABLE, reason.detail.clone()))
            }
            _ => None,
        }
    }

    /// What happens to the record in its lane, and its outcome if it has one now.
    fn apply(&mut self, waiting: &mut Waiting, fate: EntryFate) -> (AfterResponse, Option<Outcome>) {
        match fate {
            EntryFate::Published(placement) => (AfterResponse::Settled, Some(Outcome::Accepted(placement))),
            EntryFate::Refused(reason) => (AfterResponse::Settled, Some(Outcome::Rejected(reason))),
            EntryFate::Suspect => {
                waiting.alone = true;
                (self.again(Cause::REFUSED_IN_COMPANY, Duration::ZERO), None)
            }
            EntryFate::Throttled(_) => (self.again(Cause::THROTTLED, Duration::ZERO), None),
            EntryFate::Failed(said) => {
                waiting.failures += 1;
                if waiting.failures >= FAILURES_MAX {
                    return (AfterResponse::GivenUp, Some(Outcome::retry(Cause::ENTRY_FAILED, said)));
                }
                let rest = self.pace.rest(waiting.failures);
                (self.again(Cause::ENTRY_FAILED, rest), None)
            }
            EntryFate::Unclear(reason) | EntryFate::Trouble(reason) => {
                (AfterResponse::GivenUp, Some(Outcome::Retry(reason)))
            }
        }
    }

    /// Counts a repetition, and returns the record to its lane for it.
    fn again(&mut self, cause: Cause, rest: Duration) -> AfterResponse {
        *self.repeated.entry(cause.word()).or_default() += 1;
        AfterResponse::Again(rest)
    }

    /// The repetitions since the last call, and the number of requests allowed now.
    pub fn effort(&mut self) -> Effort {
        Effort {
            repeated: take(&mut self.repeated).into_iter().collect(),
            requests_allowed: Some(self.pace.allowed()),
        }
    }

    /// The reason to report if the service keeps asking for fewer requests.
    pub fn obstacle(&self, now: Instant) -> Option<Reason> {
        let detail = || {
            format!(
                "SNS accepts fewer requests than there are records to publish: raise its quota for this \
                 account and region ({})",
                self.throttled
            )
        };
        self.pace.is_throttled(now).then(|| Reason::new(Cause::THROTTLED, detail()))
    }

    /// The last complaint of the service, for 30 s.
    pub fn complaint(&self, now: Instant) -> Option<String> {
        let (at, said) = self.complaint.as_ref()?;
        (now.duration_since(*at) < COMPLAINT_HOLDS).then(|| said.clone())
    }
}

#[cfg(test)]
mod tests;
