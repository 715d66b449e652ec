//! What follows from the outcomes of a publication: records are settled, held to be tried again, or become
//! dead letters.

use std::mem::replace;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::steps::PublicationSteps;
use super::{Dispatcher, PublishingBatch};
use crate::event::{Record, Timestamp};
use crate::sink::{Outcome, Reason};
use crate::state::NewDeadLetter;

impl Dispatcher {
    /// Settles each record of the oldest publication, holds it to be tried again or makes it a dead letter.
    pub(super) fn resolve(&mut self, outcomes: Vec<Outcome>) {
        let Some(PublishingBatch { records, mut trace, .. }) = self.publications.pop_front() else { return };
        assert_eq!(records.len(), outcomes.len(), "a sink reports one outcome per record");
        self.resolved += 1;
        let wall = Timestamp::from(SystemTime::now());
        let now = self.started.elapsed();
        let steps = Arc::clone(&self.steps);
        let mut steps = steps.open(wall);
        for (record, reported) in records.iter().zip(outcomes) {
            let outcome = self.unsettled.in_order(record, reported);
            match (&mut trace, &outcome) {
                (Some(trace), Outcome::Retry(reason)) => trace.retried(reason),
                (Some(trace), Outcome::Rejected(reason)) => trace.rejected(reason),
                _ => {}
            }
            if let Outcome::Retry(reason) = &outcome {
                let attempt = self.unsettled.retry_later(record, reason, now, self.published);
                self.gauges.retry_later(reason);
                steps.held(record, reason, attempt);
            } else {
                self.settle(record, &outcome, wall, &mut steps);
            }
        }
        steps.end();
        if let Some(trace) = trace {
            trace.end(wall);
        }
        self.tell();
        self.note_trouble();
    }

    /// Settles a record that the sink accepted or rejected.
    pub(super) fn settle(
        &mut self,
        record: &Record,
        outcome: &Outcome,
        wall: Timestamp,
        steps: &mut PublicationSteps<'_>,
    ) {
        if matches!(outcome, Outcome::Retry(_)) {
            return;
        }
        let attempts = self.unsettled.settle(record.position);
        self.settled += 1;
        let settlements = self.settlements.as_mut();
        match outcome {
            Outcome::Accepted(placement) => {
                settlements.into_iter().for_each(|settlements| settlements.accepted(record));
                match record.event.replay_id() {
                    None => self.routes.delivered(record, wall),
                    Some(_) => drop(self.gauges.replayed.inc()),
                }
                steps.published(record, *placement, attempts);
            }
            Outcome::Rejected(reason) => {
                // Of a copy that says nothing about the event, which the sink has settled before.
                if record.event.replay_id().is_none() {
                    settlements.into_iter().for_each(|settlements| settlements.rejected(record));
                }
                self.add_dead_letter(record, reason, attempts, wall);
                steps.rejected(record, reason, attempts);
            }
            Outcome::Retry(_) => {}
        }
    }

    /// Whether the sink has settled records since the last call. A slow sink can take long to resolve
    /// a publication, so settled records of unresolved publications count too.
    pub(super) fn has_settled_more(&mut self) -> bool {
        let unresolved: usize = self.publications.iter().map(|out| out.publication.settled()).sum();
        let before = replace(&mut self.settled_in_all, self.settled + unresolved as u64);
        let more = self.settled_in_all > before;
        if more {
            self.quiet_since = Instant::now();
        }
        more
    }

    /// Makes a record that the sink rejected a dead letter, in the commit that passes it.
    fn add_dead_letter(&mut self, record: &Record, reason: &Reason, attempts: u32, now: Timestamp) {
        self.gauges.dead_letter(&record.event.id, reason);
        self.checkpoint.add_dead_letter(NewDeadLetter {
            sink: Some(self.name.clone()),
            reason: reason.word().to_owned(),
            detail: reason.detail.clone(),
            attempts,
            first: record.event.arrived,
            last: now,
            position: record.position,
            topic: Some(record.topic.to_string()),
            entry: record.event.detached().into(),
        });
    }
}
