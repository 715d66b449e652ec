//! What is noted, what is kept of it, and what readers are told.

mod memory;
mod readers;
mod steps;
mod writers;

use super::*;
use crate::event::Placement;

/// A timeline of so many bytes.
fn timeline_of(bytes_max: usize) -> (Timeline, TimelineWriter, Collector) {
    let options = TimelineOptions { bytes_max, ..TimelineOptions::default() };
    Timeline::new(&options, TimelineMetrics::new())
}

/// An event that was taken in.
fn taken<'t>(id: &'t str, event_type: &'t str, position: u64) -> TakenStep<&'t str> {
    TakenStep {
        source: "stream-video",
        verdict: TakenAs::Accepted,
        decided_by: DecidedBy::All,
        reason: "",
        id,
        event_source: "/stream/default",
        event_type,
        family: "video.call",
        key: Some("default:abc"),
        bytes: 1812,
        position: Some(Position(position)),
        secret: Some("env:STREAM_SECRET"),
        configuration: None,
        taken_us: 900,
    }
}

fn published<'t>(id: &'t str, sink: &'t str, position: u64) -> PublishedStep<&'t str> {
    PublishedStep {
        source: "stream-video",
        sink,
        topic: "stream.video.call",
        id,
        event_type: "call.created",
        position: Position(position),
        placement: Placement::offset(1, 42),
        attempts: 1,
        after_ms: 3,
        replay: false,
    }
}

fn held(sink: &str, first: u64, last: u64) -> HeldStep<&str> {
    let (topic, reason, detail) = ("stream.video.call", "unknown_topic", "no such topic");
    let (first, last) = (Position(first), Position(last));
    HeldStep { sink, topic, reason, detail, records: 17, first, last, attempt: 1 }
}

fn refused(request: u64) -> RefusedStep<&'static str> {
    RefusedStep {
        source: "stream-video",
        request,
        status: 401,
        reason: "wrong_signature",
        bytes: Some(1812),
        sha256: Some([7; 32]),
        headers: vec![("content-type", "application/json"), ("x-signature", "hex, 64 digits")],
        unsaid: 0,
    }
}

/// Notes a step of any kind.
fn note(notes: &mut Notes<'_>, at: Timestamp, kind: &StepKind) {
    match kind {
        StepKind::Taken(step) => notes.taken(at, step),
        StepKind::Refused(step) => notes.refused(at, step),
        StepKind::Unanswered(step) => notes.unanswered(at, step),
        StepKind::Published(step) => notes.published(at, step),
        StepKind::Held(step) => notes.held(at, step),
        StepKind::Rejected(step) => notes.rejected(at, step),
    }
}

/// All that can be read behind a cursor, page by page, and how many steps the pages say are missing.
fn read_on(timeline: &Timeline, mut after: TimelineCursor) -> (Vec<Step>, u64) {
    let (mut steps, mut missed) = (Vec::new(), 0);
    loop {
        let page = timeline.page(Some(after), &StepFilter::default(), 777);
        missed += page.missed;
        if page.steps.is_empty() {
            return (steps, missed);
        }
        steps.extend(page.steps);
        after = page.next;
    }
}

/// The ids of events that were taken in or published.
fn ids(steps: &[Step]) -> Vec<&str> {
    let ids = steps.iter().filter_map(|step| match &step.kind {
        StepKind::Taken(step) => Some(step.id.as_str()),
        StepKind::Published(step) => Some(step.id.as_str()),
        _ => None,
    });
    ids.collect()
}
