//! What readers get, and when.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::raw_note::DECODED;
use super::*;

#[test]
fn a_reader_that_comes_back_goes_on_behind_its_cursor_and_is_told_of_a_restart() {
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    let all = StepFilter::default();
    let mut add = |id: &str| {
        writer.open().taken(Timestamp(0), &taken(id, "call.created", 1));
        collector.collect();
    };
    add("before");
    let now = timeline.page(None, &all, 10);
    assert!(now.steps.is_empty() && !now.restarted, "without a cursor a reader begins now: {now:?}");
    add("one");
    add("two");
    let page = timeline.page(Some(now.next), &all, 1);
    assert_eq!((ids(&page.steps), page.missed, page.restarted), (vec!["one"], 0, false));
    let text = page.next.to_string();
    let page = timeline.page(Some(text.parse().expect("a cursor")), &all, 10);
    assert_eq!(ids(&page.steps), ["two"]);
    let page = timeline.page(Some(page.next), &all, 10);
    assert!(page.steps.is_empty());

    let other = TimelineCursor { epoch: page.next.epoch ^ 1, number: 9_999 };
    let page = timeline.page(Some(other), &all, 10);
    assert_eq!((ids(&page.steps), page.restarted), (vec!["before", "one", "two"], true));
    let ahead = TimelineCursor { number: u64::MAX, ..page.next };
    assert_eq!(timeline.page(Some(ahead), &all, 10).next, page.next, "a cursor of no step is that of now");
    assert_eq!(timeline.page(Some(timeline.start()), &all, 0).steps.len(), 1, "a page has one step at least");
}

#[test]
fn a_reader_that_wants_the_newest_is_told_how_many_were_left_out() {
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    for number in 1..=500 {
        let id = format!("id-{number}");
        writer.open().taken(Timestamp(number), &taken(&id, "call.created", 1));
    }
    collector.collect();
    let page = timeline.newest(None, &StepFilter::default(), 2);
    assert_eq!((ids(&page.steps), page.skipped, page.missed), (vec!["id-499", "id-500"], 498, 0));
    let after = timeline.cursor(495);
    let page = timeline.newest(Some(after), &StepFilter::default(), 2);
    assert_eq!((ids(&page.steps), page.skipped), (vec!["id-499", "id-500"], 3));
    assert_eq!(timeline.newest(Some(page.next), &StepFilter::default(), 2).steps, []);
}

#[test]
fn a_filter_passes_over_notes_without_decoding_them() {
    let (timeline, writer, mut collector) = timeline_of(4 << 20);
    for number in 0..2000 {
        writer.open().taken(Timestamp(number), &taken("evt_0001", "call.created", 1));
    }
    let mut notes = writer.open();
    notes.taken(Timestamp(3000), &taken("evt_0002", "call.ended", 2));
    notes.taken(Timestamp(3001), &TakenStep { verdict: TakenAs::Filtered, ..taken("x", "call.ring", 3) });
    notes.published(Timestamp(3002), &published("evt_0002", "lake", 2));
    notes.published(Timestamp(3003), &published("evt_0003", "billing", 3));
    notes.held(Timestamp(3004), &held("lake", 4, 9));
    notes.refused(Timestamp(3005), &refused(1));
    drop(notes);
    collector.collect();
    let all = StepFilter::default;
    let wanted = [
        (StepFilter { event_type: Some("call.ended".into()), ..all() }, 1),
        (StepFilter { id: Some("evt_0002".parse().expect("an id")), ..all() }, 2),
        (StepFilter { verdict: Some(StepWord::Filtered), ..all() }, 1),
        (StepFilter { sink: Some("lake".into()), ..all() }, 2),
        (StepFilter { sink: Some("lake".into()), source: Some("stream-video".into()), ..all() }, 1),
        (StepFilter { failed: true, ..all() }, 2),
        (StepFilter { failed: true, source: Some("stream-video".into()), ..all() }, 1),
        (StepFilter { failed: true, verdict: Some(StepWord::Accepted), ..all() }, 0),
        (StepFilter { source: Some("another".into()), ..all() }, 0),
    ];
    for (filter, count) in wanted {
        DECODED.set(0);
        let first = timeline.page(Some(timeline.start()), &filter, 100).steps;
        assert_eq!((first.len(), DECODED.get()), (count, count), "{filter:?}");
        assert_eq!(timeline.newest(None, &filter, 100).steps, first, "{filter:?}");
    }
    DECODED.set(0);
    assert_eq!(timeline.newest(None, &all(), 3).skipped, 2003);
    assert_eq!(DECODED.get(), 3, "what is left out is not decoded");
}

#[test]
fn what_is_known_of_one_event_is_found_by_its_id_and_its_position() {
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    let mut notes = writer.open();
    // The clock was set back meanwhile: the moments say in which order the steps are shown.
    notes.published(Timestamp(50), &published("sha256-9f2c81aa", "lake", 7));
    notes.taken(Timestamp(40), &taken("sha256-9f2c81aa", "call.created", 7));
    notes.held(Timestamp(45), &held("lake", 5, 9));
    notes.held(Timestamp(46), &held("lake", 8, 9));
    notes.taken(Timestamp(47), &taken("sha256-other", "call.created", 8));
    drop(notes);
    collector.collect();
    let about = timeline.about(&"9f2c".parse().expect("a beginning"), &[Position(7)]);
    assert_eq!(about.iter().map(|step| step.at.0).collect::<Vec<_>>(), [40, 45, 50]);
    assert_eq!(timeline.about(&"none".parse().expect("a beginning"), &[]), []);
}

#[test]
fn steps_of_several_threads_are_numbered_by_their_moments() {
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    // The second finds the buffer of the first in use and takes another one.
    let (mut one, mut other) = (writer.open(), writer.open());
    one.taken(Timestamp(1), &taken("a", "call.created", 1));
    other.published(Timestamp(2), &published("a", "lake", 1));
    one.taken(Timestamp(3), &taken("b", "call.created", 2));
    other.published(Timestamp(4), &published("b", "lake", 2));
    one.refused(Timestamp(5), &refused(1));
    drop((one, other));
    collector.collect();
    let (steps, _) = read_on(&timeline, timeline.start());
    let seen: Vec<_> = steps.iter().map(|step| (step.number, step.at.0)).collect();
    assert_eq!(seen, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_is_woken_by_the_next_step_and_the_last_ones_come_at_the_stop() {
    let (timeline, writer, collector) = timeline_of(1 << 20);
    let stop = CancellationToken::new();
    let collecting = tokio::spawn(collector.run(stop.clone()));
    let waited = tokio::time::timeout(Duration::from_secs(5), timeline.changed(timeline.start())).await;
    assert!(waited.is_err(), "there is no step yet");
    writer.open().taken(Timestamp(0), &taken("one", "call.created", 1));
    let woken = tokio::time::timeout(Duration::from_millis(60), timeline.changed(timeline.start())).await;
    assert!(woken.is_ok(), "a step is there within a round");
    writer.open().taken(Timestamp(0), &taken("two", "call.created", 1));
    stop.cancel();
    collecting.await.expect("ended");
    assert_eq!(ids(&timeline.newest(None, &StepFilter::default(), 10).steps), ["one", "two"]);
    let waited = tokio::time::timeout(Duration::from_secs(5), timeline.changed(timeline.cursor(2))).await;
    assert!(waited.is_err(), "nothing comes any more");
    let other = TimelineCursor { epoch: timeline.start().epoch ^ 1, number: 9_999 };
    timeline.changed(other).await;
}

#[test]
fn a_text_that_is_no_cursor_is_refused() {
    let cursor = TimelineCursor { epoch: 0x1a2b_3c4d, number: 812 };
    assert_eq!(cursor.to_string(), "1a2b3c4d.812");
    assert_eq!("1a2b3c4d.812".parse(), Ok(cursor));
    for text in ["", ".", "1a2b3c4d", "1a2b3c4d.", "1a2b3c4d.+8", "1A2B3C4D.8", "1a2b3c4d.08", "4d.8", "x.1"]
    {
        assert_eq!(text.parse::<TimelineCursor>(), Err(TimelineCursorError), "{text:?}");
    }
}
