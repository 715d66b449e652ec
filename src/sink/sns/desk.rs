//! The decisions of the SNS sink: which records wait, leave and come back (pure, except that settling
//! a record wakes the dispatcher).
//!
//! A failure of one record is repeated here, while its lane waits. A failure of a request or of a
//! topic goes back to the dispatcher, which keeps the records, holds the topic and tries again.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lanes::{Departure, Lanes, Return, Waiting};
use super::outcome::Fate;
use super::pace::Pace;
use crate::event::{Outcome, Reason, Record};
use crate::sink::Effort;
use crate::sink::in_flight::{BatchNumber, InFlight, held, retry};

/// Failures of one record after which its topic is held; with the rests of [`Pace::rest`] this takes
/// about two seconds.
const FAILURES_MAX: u32 = 8;
/// Reason of a record whose entry failed, both while it is repeated here and when its topic is held.
const FAILED: &str = "entry_failed";
const THROTTLED: &str = "throttled";
/// Reason of a record that is repeated alone, because another record of its batch might be at fault.
const SUSPECT: &str = "refused_in_company";
/// How long a complaint of the service is shown.
const COMPLAINT_HOLDS: Duration = Duration::from_secs(30);

/// The records of one SNS sink, and the state that decides when they are sent.
pub(super) struct Desk {
    lanes: Lanes,
    pace: Pace,
    in_flight: Arc<InFlight>,
    complaint: Option<(Instant, String)>,
    /// Detail of the last answer that asked for fewer requests.
    throttled: String,
    /// Number of records repeated here since [`Desk::effort`] was last called, by reason.
    repeated: BTreeMap<&'static str, u64>,
}

impl Desk {
    /// A desk without records.
    pub fn new(lanes: Lanes, pace: Pace, in_flight: Arc<InFlight>) -> Self {
        Self { lanes, pace, in_flight, complaint: None, throttled: String::new(), repeated: BTreeMap::new() }
    }

    /// Takes the records of a batch that was opened in `in_flight`.
    pub fn hand_over(
        &mut self,
        batch: BatchNumber,
        records: Vec<Arc<Record>>,
        bytes: impl Fn(&Record) -> usize,
        now: Instant,
    ) {
        for (index, record) in records.into_iter().enumerate() {
            if self.in_flight.is_held(batch, index) {
                self.in_flight.settle(batch, index, held());
            } else {
                let bytes = bytes(&record);
                self.lanes.push(Waiting { record, batch, index, bytes, failures: 0, alone: false }, now);
            }
        }
        self.in_flight.seal(batch);
    }

    /// The next request that is allowed to leave now.
    pub fn next(&mut self, now: Instant) -> Option<Departure> {
        let departure = self.pace.allows(now).then(|| self.lanes.next(now)).flatten()?;
        self.pace.depart();
        Some(departure)
    }

    /// When [`Desk::next`] has to be called again if no record arrives and no request returns before.
    pub fn wake_at(&self) -> Option<Instant> {
        self.lanes.wake_at().and_then(|wanted| self.pace.allows_at(wanted))
    }

    /// Takes a finished request with the fate of each of its records.
    pub fn take_back(&mut self, mut departure: Departure, fates: Vec<Fate>, now: Instant) {
        assert_eq!(departure.records.len(), fates.len(), "each record has one fate");
        self.pace.come_back();
        let topic = Arc::clone(&departure.topic);
        let verdict = self.judge(&departure, &fates, now);
        let mut returns = Vec::with_capacity(fates.len());
        for (waiting, fate) in departure.records.iter_mut().zip(fates) {
            let (what, outcome) = self.meet(waiting, fate);
            if let Some(outcome) = outcome {
                self.in_flight.settle(waiting.batch, waiting.index, outcome);
            }
            returns.push(what);
        }
        for behind in self.lanes.take_back(departure, returns, now) {
            self.in_flight.settle(behind.batch, behind.index, held());
        }
        if let Some(reason) = verdict {
            for waiting in self.lanes.drain(&topic) {
                let outcome = Outcome::Retry(reason.clone());
                self.in_flight.settle(waiting.batch, waiting.index, outcome);
            }
        }
    }

    /// Adjusts the pace and the trust in the topic by the fates of one request. Returns a reason if
    /// all records that wait for the topic go back to the dispatcher.
    fn judge(&mut self, departure: &Departure, fates: &[Fate], now: Instant) -> Option<Reason> {
        let (mut published, mut throttled, mut lost) = (false, false, None);
        for fate in fates {
            match fate {
                Fate::Published => published = true,
                Fate::Refused(_) | Fate::Suspect => {}
                Fate::Failed(said) => self.complaint = Some((now, said.clone())),
                Fate::Throttled(said) => {
                    throttled = true;
                    self.throttled.clone_from(said);
                    self.complaint = Some((now, said.clone()));
                }
                Fate::Unclear(reason) | Fate::Trouble(reason) => {
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
            Some(Fate::Trouble(reason)) => {
                self.lanes.distrust(&departure.topic);
                Some(reason.clone())
            }
            // One such request can be an accident; after two in a row the dispatcher decides about
            // the third.
            Some(Fate::Unclear(reason)) => {
                self.pace.cut(departure.at, now);
                let again = self.lanes.distrust(&departure.topic);
                again.then(|| Reason { word: "unreachable", detail: reason.detail.clone() })
            }
            _ => None,
        }
    }

    /// What happens to the record in its lane, and its outcome if it has one now.
    fn meet(&mut self, waiting: &mut Waiting, fate: Fate) -> (Return, Option<Outcome>) {
        match fate {
            Fate::Published => (Return::Settled, Some(Outcome::Accepted)),
            Fate::Refused(reason) => (Return::Settled, Some(Outcome::Rejected(reason))),
            Fate::Suspect => {
                waiting.alone = true;
                (self.again(SUSPECT, Duration::ZERO), None)
            }
            Fate::Throttled(_) => (self.again(THROTTLED, Duration::ZERO), None),
            Fate::Failed(said) => {
                waiting.failures += 1;
                if waiting.failures >= FAILURES_MAX {
                    return (Return::GivenUp, Some(retry(FAILED, said)));
                }
                let rest = self.pace.rest(waiting.failures);
                (self.again(FAILED, rest), None)
            }
            Fate::Unclear(reason) | Fate::Trouble(reason) => (Return::GivenUp, Some(Outcome::Retry(reason))),
        }
    }

    /// Counts a repetition, and returns the record to its lane for it.
    fn again(&mut self, word: &'static str, rest: Duration) -> Return {
        *self.repeated.entry(word).or_default() += 1;
        Return::Again(rest)
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
        self.pace.is_throttled(now).then(|| Reason { word: THROTTLED, detail: detail() })
    }

    /// The last complaint of the service, for 30 s.
    pub fn complaint(&self, now: Instant) -> Option<String> {
        let (at, said) = self.complaint.as_ref()?;
        (now.duration_since(*at) < COMPLAINT_HOLDS).then(|| said.clone())
    }
}

#[cfg(test)]
mod tests;
