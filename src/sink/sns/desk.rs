//! Where records wait, leave and come back: every decision of the sink (pure but for the ledger of
//! outcomes, which wakes the dispatcher).
//!
//! What concerns one record is repeated here, in its place. What concerns a request or a topic
//! goes back to the dispatcher, which keeps the records, holds their topic and tries again.

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

/// How often a record is repeated in its place before its topic is held: with the rests of
/// [`Pace::rest`] about two seconds.
const FAILURES_MAX: u32 = 8;
/// Its word, in its place as well as with its topic.
const FAILED: &str = "entry_failed";
const THROTTLED: &str = "throttled";
/// The word of a record that is repeated because it may be another one's fault.
const SUSPECT: &str = "refused_in_company";
/// How long a complaint counts.
const COMPLAINT_HOLDS: Duration = Duration::from_secs(30);

/// The desk of one sink.
pub(super) struct Desk {
    lanes: Lanes,
    pace: Pace,
    in_flight: Arc<InFlight>,
    complaint: Option<(Instant, String)>,
    /// What the service said when it last asked for fewer requests.
    throttled: String,
    /// Records that were repeated in their place since that was last asked, by word.
    repeated: BTreeMap<&'static str, u64>,
}

impl Desk {
    /// An empty desk.
    pub fn new(lanes: Lanes, pace: Pace, in_flight: Arc<InFlight>) -> Self {
        Self { lanes, pace, in_flight, complaint: None, throttled: String::new(), repeated: BTreeMap::new() }
    }

    /// Takes a batch that was opened in the ledger.
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

    /// The next request that may leave now.
    pub fn next(&mut self, now: Instant) -> Option<Departure> {
        let departure = self.pace.allows(now).then(|| self.lanes.next(now)).flatten()?;
        self.pace.depart();
        Some(departure)
    }

    /// When [`Desk::next`] should be asked again, if nothing comes back or in before.
    pub fn wake_at(&self) -> Option<Instant> {
        self.lanes.wake_at().and_then(|wanted| self.pace.allows_at(wanted))
    }

    /// Takes a request back, with the fate of each of its records.
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

    /// What the fates say about the service and the topic. A reason, if all that waits for the
    /// topic goes back to the dispatcher.
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
            // One such request may be an accident; after two in a row no third is tried here.
            Some(Fate::Unclear(reason)) => {
                self.pace.cut(departure.at, now);
                let again = self.lanes.distrust(&departure.topic);
                again.then(|| Reason { word: "unreachable", detail: reason.detail.clone() })
            }
            _ => None,
        }
    }

    /// What becomes of a record, and its outcome, if it has one now.
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

    /// Counts a record that is repeated in its place.
    fn again(&mut self, word: &'static str, rest: Duration) -> Return {
        *self.repeated.entry(word).or_default() += 1;
        Return::Again(rest)
    }

    /// What it has done since this was last asked.
    pub fn effort(&mut self) -> Effort {
        Effort {
            repeated: take(&mut self.repeated).into_iter().collect(),
            requests_allowed: Some(self.pace.allowed()),
        }
    }

    /// That the service keeps asking for fewer requests, if it does.
    pub fn obstacle(&self, now: Instant) -> Option<Reason> {
        let detail = || {
            format!(
                "SNS takes less than there is to publish: raise its quota for this account and region ({})",
                self.throttled
            )
        };
        self.pace.is_throttled(now).then(|| Reason { word: THROTTLED, detail: detail() })
    }

    /// What the service last complained about, unless that is long ago.
    pub fn complaint(&self, now: Instant) -> Option<String> {
        let (at, said) = self.complaint.as_ref()?;
        (now.duration_since(*at) < COMPLAINT_HOLDS).then(|| said.clone())
    }
}

#[cfg(test)]
mod tests;
