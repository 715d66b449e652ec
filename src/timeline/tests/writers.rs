//! What noting costs, and what becomes of what comes too fast.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use allocation_counter::measure;
use tokio_util::sync::CancellationToken;

use super::*;

#[test]
fn eight_threads_that_note_at_once_lose_nothing_that_fits_and_count_what_does_not() {
    const THREADS: u64 = 8;
    const EACH: u64 = 10_000;
    let (timeline, writer, mut collector) = timeline_of(256 << 20);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let noting: Vec<_> = (0..THREADS)
            .map(|thread| {
                let writer = writer.clone();
                scope.spawn(move || {
                    for number in 0..EACH {
                        let id = format!("{thread}-{number}");
                        writer.open().taken(Timestamp(number as i64), &taken(&id, "call.created", 1));
                    }
                })
            })
            .collect();
        let collecting = scope.spawn(|| {
            while !over.load(Relaxed) {
                collector.collect();
            }
            collector.collect();
        });
        noting.into_iter().for_each(|thread| thread.join().expect("noted"));
        over.store(true, Relaxed);
        collecting.join().expect("collected");
    });
    let (steps, missed) = read_on(&timeline, timeline.start());
    assert_eq!(missed, timeline.usage().dropped);
    assert_eq!(steps.len() as u64 + missed, THREADS * EACH);
    assert!(!steps.is_empty(), "all of them were dropped");
    let different: BTreeSet<&str> = ids(&steps).into_iter().collect();
    assert_eq!(different.len(), steps.len(), "no step is there twice");
}

#[test]
fn what_finds_no_room_is_dropped_and_readers_are_told() {
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    for number in 0..2000 {
        writer.open().taken(Timestamp(number), &taken("id", "call.created", 1));
    }
    collector.collect();
    let (steps, missed) = read_on(&timeline, timeline.start());
    assert!(missed > 0 && steps.len() > 100, "{} kept, {missed} missed", steps.len());
    assert_eq!((steps.len() as u64 + missed, timeline.usage().dropped), (2000, missed));
    // There is room again.
    let after = timeline.page(None, &StepFilter::default(), 1).next;
    writer.open().taken(Timestamp(0), &taken("later", "call.created", 1));
    collector.collect();
    assert_eq!(ids(&timeline.page(Some(after), &StepFilter::default(), 10).steps), ["later"]);
}

#[test]
fn noting_a_step_allocates_nothing() {
    let (_timeline, writer, _collector) = timeline_of(1 << 20);
    // The first step of a thread finds its buffer.
    writer.open().taken(Timestamp(0), &taken("id", "call.created", 1));
    let allocated = measure(|| {
        let mut notes = writer.open();
        for _ in 0..10_000 {
            notes.taken(Timestamp(0), &taken("id", "call.created", 1));
            notes.published(Timestamp(0), &published("id", "lake", 1));
        }
    });
    assert_eq!(allocated.count_total, 0);
}

#[tokio::test]
async fn a_writer_that_is_off_notes_nothing_and_allocates_nothing() {
    let (timeline, writer, collector) = timeline_of(0);
    for writer in [writer, TimelineWriter::default()] {
        assert!(!writer.is_on());
        let step = taken("id", "call.created", 1);
        let allocated = measure(|| writer.open().taken(Timestamp(0), &step));
        assert_eq!(allocated.count_total, 0);
    }
    let stop = CancellationToken::new();
    let mut waiting = std::pin::pin!(collector.run(stop.clone()));
    let ended = tokio::time::timeout(std::time::Duration::from_millis(20), waiting.as_mut()).await;
    assert!(ended.is_err(), "the task of a timeline that is off ends with the bridge");
    stop.cancel();
    waiting.await;
    for timeline in [timeline, Timeline::default()] {
        let usage = timeline.usage();
        assert_eq!((usage.is_on, usage.bytes, usage.steps, usage.dropped), (false, 0, 0, 0));
        assert_eq!(timeline.newest(None, &StepFilter::default(), 10).steps, []);
    }
}
