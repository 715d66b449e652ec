//! What a dispatcher notes in the timeline: where each record is, what waits, and what was rejected.

use std::sync::Arc;

use crate::event::{Placement, Position, Record, Timestamp};
use crate::sink::Reason;
use crate::timeline::{HeldStep, Notes, PublishedStep, RejectedStep, TimelineWriter};

/// Most steps of held records that one publication notes: a topic template can name thousands of topics.
const HELD_STEPS_MAX: usize = 64;

/// Notes what becomes of the records of one sink.
pub(super) struct SinkSteps {
    sink: String,
    timeline: TimelineWriter,
}

/// The steps of one publication.
pub(super) struct PublicationSteps<'s> {
    sink: &'s str,
    at: Timestamp,
    /// `None` if nothing is noted.
    notes: Option<Notes<'s>>,
    held: Vec<HeldRecords>,
}

/// The records of one topic that have to be tried again for one cause.
struct HeldRecords {
    topic: Arc<str>,
    /// That of the first record.
    reason: Reason,
    records: u32,
    first: Position,
    last: Position,
    attempt: u32,
}

impl SinkSteps {
    pub(super) fn new(sink: &str, timeline: TimelineWriter) -> Self {
        Self { sink: sink.to_owned(), timeline }
    }

    /// Begins to note what became of a publication at this moment.
    pub(super) fn open(&self, at: Timestamp) -> PublicationSteps<'_> {
        let notes = self.timeline.is_on().then(|| self.timeline.open());
        PublicationSteps { sink: &self.sink, at, notes, held: Vec::new() }
    }
}

impl PublicationSteps<'_> {
    /// Notes where the sink has put a record that was handed to it so often.
    pub(super) fn published(&mut self, record: &Record, placement: Placement, attempts: u32) {
        let Some(notes) = &mut self.notes else { return };
        let event = &record.event;
        let after_ms = self.at.0.saturating_sub(event.arrived.0).max(0) / 1_000_000;
        let step = PublishedStep {
            source: &*event.source_name,
            sink: self.sink,
            topic: &*record.topic,
            id: &*event.id,
            event_type: &*event.event_type,
            position: record.position,
            placement,
            attempts,
            after_ms: u32::try_from(after_ms).unwrap_or(u32::MAX),
            replay: event.replay_id().is_some(),
        };
        notes.published(self.at, &step);
    }

    /// Notes that the sink has rejected a record that was handed to it so often.
    pub(super) fn rejected(&mut self, record: &Record, reason: &Reason, attempts: u32) {
        let Some(notes) = &mut self.notes else { return };
        let step = RejectedStep {
            source: &*record.event.source_name,
            sink: self.sink,
            topic: &*record.topic,
            id: &*record.event.id,
            event_type: &*record.event.event_type,
            position: record.position,
            reason: reason.word(),
            detail: &*reason.detail,
            attempts,
        };
        notes.rejected(self.at, &step);
    }

    /// Takes a record that has to be tried again and was handed to the sink so often. One step stands for all
    /// that wait for the same reason.
    pub(super) fn held(&mut self, record: &Record, reason: &Reason, attempt: u32) {
        if self.notes.is_none() {
            return;
        }
        let same = |held: &&mut HeldRecords| held.topic == record.topic && held.reason.cause == reason.cause;
        // The newest first: neighbours mostly share their topic.
        if let Some(held) = self.held.iter_mut().rev().find(same) {
            held.records += 1;
            held.first = held.first.min(record.position);
            held.last = held.last.max(record.position);
        } else if self.held.len() < HELD_STEPS_MAX {
            let (topic, reason, position) = (Arc::clone(&record.topic), reason.clone(), record.position);
            self.held.push(HeldRecords {
                topic,
                reason,
                records: 1,
                first: position,
                last: position,
                attempt,
            });
        }
    }

    /// Notes what waits, once every record of the publication is taken.
    pub(super) fn end(self) {
        let Self { sink, at, notes, held } = self;
        let Some(mut notes) = notes else { return };
        for HeldRecords { topic, reason, records, first, last, attempt } in held {
            let (reason, detail) = (reason.word(), &*reason.detail);
            notes.held(at, &HeldStep { sink, topic: &*topic, reason, detail, records, first, last, attempt });
        }
    }
}
