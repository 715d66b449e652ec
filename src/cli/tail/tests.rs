//! Lines of every kind of step.

use proptest::prelude::*;

use super::*;
use crate::event::{Placement, Position};
use crate::telemetry::steers_terminal;

const ID: &str = "sha256-9f2c81aa03be8d51";
const WIDTH: usize = 80;

fn step(kind: StepKind) -> Step {
    Step { number: 1, at: Timestamp(1_795_961_379_500_000_000), kind }
}

fn taken(verdict: TakenAs, event_type: &str, source: &str, id: &str) -> StepKind {
    StepKind::Taken(TakenStep {
        source: source.into(),
        verdict,
        decided_by: DecidedBy::SeenHere,
        reason: if verdict == TakenAs::Quarantined { "duplicate_key".into() } else { String::new() },
        id: id.into(),
        event_source: "/stream/default".into(),
        event_type: event_type.into(),
        family: "video.call-lifecycle".into(),
        key: None,
        bytes: 1812,
        position: Some(Position(1)),
        secret: None,
        configuration: None,
        taken_us: 900,
    })
}

fn refused(source: &str) -> StepKind {
    StepKind::Refused(RefusedStep {
        source: source.into(),
        request: 1,
        status: 401,
        reason: "wrong_signature".into(),
        bytes: Some(1812),
        sha256: Some([0x9f; 32]),
        headers: Vec::new(),
        unsaid: 0,
    })
}

fn unanswered(event_type: &str) -> StepKind {
    let (source, event_type) = ("stream-video".into(), event_type.into());
    StepKind::Unanswered(UnansweredStep { source, id: ID.into(), event_type, waited_ms: 5000 })
}

fn published(sink: &str, topic: &str, event_type: &str, placement: Placement) -> StepKind {
    StepKind::Published(PublishedStep {
        source: "stream-video".into(),
        sink: sink.into(),
        topic: topic.into(),
        id: ID.into(),
        event_type: event_type.into(),
        position: Position(1),
        placement,
        attempts: 1,
        after_ms: 3,
        replay: false,
    })
}

fn held(sink: &str, topic: &str) -> StepKind {
    StepKind::Held(HeldStep {
        sink: sink.into(),
        topic: topic.into(),
        reason: "topic_forbidden".into(),
        detail: "no".into(),
        records: 17,
        first: Position(1),
        last: Position(17),
        attempt: 2,
    })
}

fn rejected(sink: &str, event_type: &str) -> StepKind {
    StepKind::Rejected(RejectedStep {
        source: "stream-video".into(),
        sink: sink.into(),
        topic: "stream.video.call".into(),
        id: ID.into(),
        event_type: event_type.into(),
        position: Position(1),
        reason: "too_large".into(),
        detail: "no".into(),
        attempts: 1,
    })
}

fn shown(kind: StepKind, selected_by: &[&str], options: LineOptions) -> Option<String> {
    let selected_by: Vec<String> = selected_by.iter().map(|name| (*name).to_owned()).collect();
    line(&step(kind), Some(&selected_by), options)
}

#[test]
fn each_kind_of_step_has_its_line() {
    let taken = |verdict, event_type| taken(verdict, event_type, "stream-video", ID);
    let here = published("local", "stream.video.call-lifecycle", "call.created", Placement::offset(1, 42));
    for (kind, expected) in [
        (here, "call.created → stream.video.call-lifecycle p1@42 +3 ms"),
        (
            taken(TakenAs::Filtered, "call.ring"),
            "call.ring ✕ filtered: not on the list  stream-video 9f2c81aa03be",
        ),
        (taken(TakenAs::Duplicate, "call.created"), "call.created = duplicate 9f2c81aa03be"),
        (taken(TakenAs::Quarantined, ""), "! quarantined: duplicate_key stream-video 9f2c81aa03be"),
        (refused("stream-video"), "401 stream-video wrong_signature 1,812 bytes 9f9f9f9f9f9f"),
        (refused(""), "401 wrong_signature 1,812 bytes 9f9f9f9f9f9f"),
        (held("lake", "stream.video.session"), "! lake holds stream.video.session: topic_forbidden, 17 wait"),
        (rejected("lake", "call.created"), "✕ lake rejected call.created: too_large → dead letter"),
        (unanswered("call.created"), "? call.created unanswered after 5,000 ms"),
        (taken(TakenAs::Accepted, "call.created"), "· call.created no sink selects it  9f2c81aa03be"),
    ] {
        let shown = shown(kind, &[], LineOptions::default()).expect("a line");
        assert_eq!(shown, format!("14:09:39 {expected}"));
    }
}

#[test]
fn an_accepted_event_is_shown_where_it_went_unless_it_is_asked_for() {
    let accepted = || taken(TakenAs::Accepted, "call.created", "stream-video", ID);
    assert_eq!(shown(accepted(), &["lake"], LineOptions::default()), None);
    assert_eq!(line(&step(accepted()), None, LineOptions::default()), None, "nobody said who selects it");
    let options = LineOptions { shows_accepted: true, ..LineOptions::default() };
    let expected = "14:09:39 call.created accepted for lake, billing  stream-video 9f2c81aa03be";
    assert_eq!(shown(accepted(), &["lake", "billing"], options).as_deref(), Some(expected));
}

#[test]
fn of_several_sinks_the_line_names_the_one() {
    let options = LineOptions { names_sinks: true, ..LineOptions::default() };
    let kind = published("lake", "stream.video.call", "call.created", Placement::Unstated);
    let expected = "14:09:39 call.created → lake stream.video.call +3 ms";
    assert_eq!(shown(kind, &[], options).as_deref(), Some(expected));
}

#[test]
fn a_long_topic_is_shortened_in_its_middle() {
    let topic = "arn:aws:sns:eu-central-1:000000000000:stream-video-call-lifecycle.fifo";
    let kind = published("lake", topic, "call.created", Placement::offset(11, 99_120));
    let line =
        shown(kind, &[], LineOptions { width: Some(WIDTH), ..LineOptions::default() }).expect("a line");
    assert_eq!(chars(&line), WIDTH, "{line}");
    assert!(line.starts_with("14:09:39 call.created → arn:aws:") && line.contains('…'), "{line}");
    assert!(line.ends_with("lifecycle.fifo p11@99120 +3 ms"), "{line}");
}

proptest! {
    #[test]
    fn lines_fit_the_terminal_and_steer_it_nowhere(
        texts in prop::array::uniform4(any::<String>()),
        long in "[a-z.]{0,250}",
        names_sinks: bool,
        width in 1_usize..120,
    ) {
        let [source, event_type, sink, id] = &texts;
        let place = Placement::Line { file: 1, offset: u64::MAX };
        let verdicts = [TakenAs::Accepted, TakenAs::Filtered, TakenAs::Duplicate, TakenAs::Quarantined];
        let kinds = verdicts.map(|verdict| taken(verdict, event_type, source, id)).into_iter().chain([
            taken(TakenAs::Filtered, &long, &long, &long),
            refused(source),
            unanswered(event_type),
            published(sink, &long, event_type, place),
            held(sink, &long),
            rejected(sink, event_type),
        ]);
        for kind in kinds {
            let options = LineOptions { names_sinks, shows_accepted: true, width: Some(width) };
            let shown = shown(kind, &[sink, &long], options).expect("a line");
            prop_assert!(chars(&shown) <= width, "{}", shown);
            prop_assert!(!shown.contains(|c: char| c != '\\' && steers_terminal(c)), "{:?}", shown);
        }
    }
}
