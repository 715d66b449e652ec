//! Acknowledgements that wait for sinks: which sinks, for which sources, and for how long.

use std::time::Duration;

use fanbridge::ack::AckOptions;

use super::{expect, problems, read};

const SINKS: &str = "sinks:\n  lake: { kafka: { brokers: env:BROKERS } }\n  \
                     side: { kafka: { brokers: env:BROKERS }, on_full: detach_sink }\n  \
                     disk: { file: { dir: t } }\n";

/// Two sources, three sinks, and this.
fn with(keys_of_a: &str, rest: &str) -> String {
    format!(
        "sources:\n  a: {{ provider: stream, secrets: [env:SECRET], {keys_of_a} }}\n  \
         b: {{ provider: fastpix, secrets: [env:FASTPIX] }}\n{SINKS}{rest}"
    )
}

/// What the two sources of a text without problems wait for.
#[track_caller]
fn acks(text: &str) -> [AckOptions; 2] {
    let loaded = read(text).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
    let acks: Vec<_> = loaded.config.sources.into_iter().map(|source| source.ack).collect();
    acks.try_into().expect("two sources")
}

#[test]
fn a_sources_block_replaces_the_one_at_the_top() {
    let ack = |after: &[&str], seconds| AckOptions {
        after: after.iter().map(|name| (*name).to_owned()).collect(),
        within: Duration::from_secs(seconds),
    };
    let [a, b] = acks(&with("", ""));
    assert_eq!((a, b), (ack(&[], 4), ack(&[], 4)), "by default nothing waits for a sink");
    let [a, b] = acks(&with("", "ack: { after: [lake], within: 2s }\n"));
    assert_eq!((a, b), (ack(&["lake"], 2), ack(&["lake"], 2)));
    let [a, b] = acks(&with("ack: { after: [] }", "ack: { after: [lake], within: 2s }\n"));
    assert_eq!((a.after.len(), b), (0, ack(&["lake"], 2)));
    let [a, b] = acks(&with("ack: { after: [lake] }", ""));
    assert_eq!((a, b), (ack(&["lake"], 4), ack(&[], 4)));
}

#[test]
fn a_block_that_names_no_sinks_has_to_say_so() {
    let report = problems(&with("ack: { within: 2s }", "ack: { after: [lake] }\n"));
    assert!(report.has_errors(), "it would switch off what the top level asks for: {report}");
    assert!(report.to_string().contains("after"), "{report}");
}

#[test]
fn a_sink_that_cannot_keep_the_promise_is_refused_and_a_file_sink_is_warned_of() {
    expect(
        &with("", "ack: { after: [‹laek›] }\n"),
        "unknown sink `laek`",
        "no sink has this name; did you mean `lake`?",
    );
    expect(&with("ack: { after: [lake, ‹gone›] }", ""), "unknown sink `gone`", "no sink has this name");
    expect(
        &with("", "ack: { after: [‹side›] }\n"),
        "sink that can miss events",
        "with `on_full: detach_sink` the sink can miss events, also acknowledged ones; expected a sink with \
         `on_full: block`",
    );
    expect(
        &with("", "ack: { after: [‹disk›] }\n"),
        "waiting for a file sink",
        "the sink writes to a disk of this machine: what dies with the machine dies there, too, unless its \
         directory is on another one",
    );
}

#[test]
fn a_time_that_others_end_before_is_refused_or_warned_of() {
    let title = "time too long";
    expect(
        &with("", "ack: { after: [lake], within: ‹5s› }\n"),
        title,
        "a delivery is answered 503 after `limits.ack_timeout`, 5s, whatever it waits for: expected at most \
         nine tenths of that, 4500ms, found 5s",
    );
    let nearly = with("", "ack: { after: [lake], within: 4900ms }\n");
    assert!(problems(&nearly).has_errors(), "the disk needs a moment, too");
    expect(
        &with(
            "ack: { after: [lake], within: ‹8s› }",
            "limits: { ack_timeout: 1m }\nshutdown_grace_seconds: 8\n",
        ),
        title,
        "a stop could not wait for the answers: expected less than `shutdown_grace_seconds`, 8s, found 8s",
    );
    expect(
        &with("ack: { after: [lake], within: ‹6s› }", "limits: { ack_timeout: 1m }\n"),
        "time longer than the provider waits",
        "`stream` waits 6s for an answer to source `a`: a later one is never read",
    );
    let queue = "c: { provider: stream, sqs: { visibility_timeout: 6s, \
                 queue_url: 'https://sqs.eu-west-1.amazonaws.com/123456789012/q' } }";
    expect(
        &format!("sources: {{ {queue} }}\n{SINKS}ack: {{ after: [lake], within: ‹4s› }}\n"),
        title,
        "expected at most half of the `visibility_timeout` of source `c`, 3s, found 4s",
    );
    for within in ["99ms", "61s"] {
        let report = problems(&with("", &format!("ack: {{ after: [lake], within: {within} }}\n")));
        assert!(report.has_errors(), "{within}: {report}");
    }
    let unused = with("", "ack: { after: [], within: 50s }\n");
    assert!(problems(&unused).problems().is_empty(), "nothing waits");
}

#[test]
fn a_source_whose_types_the_sinks_do_not_take_is_warned_of() {
    let sinks = |select: &str| {
        format!(
            "sources:\n  b: {{ provider: fastpix, secrets: [env:FASTPIX] }}\nsinks:\n  \
             lake: {{ kafka: {{ brokers: env:BROKERS }}, select: [{select}] }}\n"
        )
    };
    let stream = "  c: { provider: stream, secrets: [env:SECRET], ack: { after: [] } }\nsinks:";
    let none = sinks("call.created").replace("sinks:", stream);
    expect(
        &format!("{none}ack: {{ after: [‹lake›] }}\n"),
        "waiting for a sink that takes nothing",
        "the sink's `select` takes no known type of source `b`: none of its answers would wait",
    );
    let some = format!("{}select: [video.media.ready, video.media.failed]\n", sinks("video.media.ready"));
    expect(
        &format!("{some}ack: {{ ‹after›: [lake] }}\n"),
        "types that are acknowledged without a sink",
        "of source `b` no sink here takes `video.media.failed`: a 2xx for these says that they are on this \
         machine's disk, and no more",
    );
    let all =
        some.replace("select: [video.media.ready] }", "select: [video.media.ready, video.media.failed] }");
    assert!(problems(&format!("{all}ack: {{ after: [lake] }}\n")).problems().is_empty());
}
