//! With which event a new sink begins.

use fanbridge::event::Timestamp;
use fanbridge::sink::StartFrom;

use super::{SOURCE, expect, problems, read};

fn from(text: &str) -> String {
    format!("{SOURCE}sinks: {{ b: {{ file: {{}}, from: {text} }} }}\n")
}

#[test]
fn a_sink_begins_with_the_next_event_the_oldest_or_one_of_a_moment() {
    let begins = |text: &str| read(text).expect("valid").config.sinks[0].from;
    assert_eq!(begins(&format!("{SOURCE}sinks: {{ b: {{ file: {{}} }} }}\n")), StartFrom::Next);
    assert_eq!(begins(&from("next")), StartFrom::Next);
    assert_eq!(begins(&from("earliest")), StartFrom::Earliest);
    let moment = StartFrom::Moment(Timestamp(1_795_237_200_000_000_000));
    for text in ["2026-11-21T05:00:00Z", "\"2026-11-21T06:00:00+01:00\""] {
        assert_eq!(begins(&from(text)), moment, "{text}");
    }
}

#[test]
fn what_is_no_beginning_is_refused_with_what_to_write() {
    let label = "expected `next`, `earliest` or a moment in RFC 3339 such as 2026-11-21T06:40:00Z";
    for text in ["oldest", "2026-11-21", "2h", "\"\""] {
        expect(&from(&format!("‹{text}›")), "unusable beginning of a sink", label);
    }
}

#[test]
fn a_moment_that_is_to_come_or_is_forgotten_is_warned_of() {
    for (text, title) in [
        ("2199-01-01T00:00:00Z", "beginning of a sink in the future"),
        ("1999-01-01T00:00:00Z", "beginning of a sink that is forgotten"),
    ] {
        let report = problems(&from(text));
        assert!(!report.has_errors(), "{report}");
        assert_eq!(report.problems()[0].title, title, "{report}");
    }
}
