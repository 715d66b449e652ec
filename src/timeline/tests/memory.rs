//! What the timeline keeps, and that it stays within its bounds.

use allocation_counter::measure;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What a timeline allocates beside what it counts: a few shared structures.
const UNCOUNTED_BYTES: usize = 16 << 10;

#[test]
fn the_oldest_steps_give_way_and_readers_are_told_how_many_they_missed() {
    const STEPS: u64 = 20_000;
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    let begin = timeline.page(None, &StepFilter::default(), 1).next;
    for number in 1..=STEPS {
        writer
            .open()
            .taken(Timestamp(number as i64), &taken(&format!("id-{number}"), "call.created", number));
        if number % 100 == 0 {
            collector.collect();
        }
    }
    let (steps, missed) = read_on(&timeline, begin);
    assert!(steps.len() > 1000 && missed > 1000, "{} read, {missed} missed", steps.len());
    assert_eq!(steps.len() as u64 + missed, STEPS);
    let numbers: Vec<u64> = steps.iter().map(|step| step.number).collect();
    assert_eq!(numbers, (missed + 1..=STEPS).collect::<Vec<_>>());
    assert_eq!(timeline.usage().oldest, Some(Timestamp(missed as i64 + 1)));
}

#[test]
fn steps_beyond_the_most_that_are_kept_give_way_though_there_is_memory() {
    let options = TimelineOptions { bytes_max: 64 << 20, steps_max: 1000 };
    let (timeline, writer, mut collector) = Timeline::new(&options, TimelineMetrics::new());
    for number in 1..=5000 {
        writer.open().taken(Timestamp(number), &taken("id", "call.created", 1));
        writer.open().refused(Timestamp(number), &refused(1));
        collector.collect();
        assert!(timeline.usage().steps <= 1000);
    }
    assert!(timeline.usage().steps > 800, "{:?}", timeline.usage());
}

#[test]
fn refusals_of_strangers_push_no_event_out() {
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    let events: Vec<String> = (1..=100).map(|number| format!("id-{number}")).collect();
    for (id, at) in events.iter().zip(1..) {
        writer.open().taken(Timestamp(at), &taken(id, "call.created", 1));
    }
    for request in 0..50_000 {
        writer.open().refused(Timestamp(1000), &refused(request));
        if request % 100 == 0 {
            collector.collect();
        }
    }
    collector.collect();
    let (steps, missed) = read_on(&timeline, timeline.start());
    assert_eq!(ids(&steps), events);
    let refusals = steps.len() - events.len();
    assert!(refusals > 100, "the newest {refusals} refusals are there as well");
    assert_eq!(refusals as u64 + missed, 50_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn memory_stays_below_its_bound_whatever_is_noted(
        bytes_max in (1_usize << 20)..(4 << 20),
        steps_max in 1000_usize..50_000,
        kinds in vec(super::steps::step(), 1..30),
        rounds in vec(0_usize..2000, 1..20),
    ) {
        let options = TimelineOptions { bytes_max, steps_max };
        let (timeline, writer, mut collector) = Timeline::new(&options, TimelineMetrics::new());
        let mut kinds = kinds.iter().cycle();
        for round in rounds {
            let mut notes = writer.open();
            for kind in kinds.by_ref().take(round) {
                note(&mut notes, Timestamp(0), kind);
            }
            drop(notes);
            collector.collect();
            let usage = timeline.usage();
            prop_assert!(usage.bytes <= bytes_max && usage.steps <= steps_max, "{usage:?}");
        }
    }
}

#[test]
fn all_the_memory_that_a_timeline_allocates_is_counted() {
    for bytes_max in [1 << 20, 3 << 20, 16 << 20] {
        let mut made = None;
        let allocated = measure(|| {
            let (timeline, writer, mut collector) = timeline_of(bytes_max);
            let id = "i".repeat(100);
            for number in 0..100_000 {
                writer.open().taken(Timestamp(number), &taken(&id, "call.created", 1));
                if number % 4 == 0 {
                    writer.open().refused(Timestamp(number), &refused(1));
                }
                if number % 50 == 0 {
                    collector.collect();
                }
            }
            made = Some((timeline, writer, collector));
        });
        let (timeline, ..) = made.as_ref().expect("made");
        let (kept, counted) = (allocated.bytes_current as usize, timeline.usage().bytes);
        assert!(kept <= counted + UNCOUNTED_BYTES, "{kept} bytes allocated, {counted} counted");
        assert!(counted <= bytes_max && counted > bytes_max * 9 / 10, "{counted} of {bytes_max} bytes");
    }
}
