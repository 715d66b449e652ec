//! Why an event is where it is at one sink, and what to do about it.

use super::super::configuration::{ExplainedConfiguration, SinkPlace};
use super::super::document::{ExplainedReplay, ExplainedSink, SinkStanding};
use super::{CauseAndFix, Situation, at_line, moment, quoted, span};

/// Of an event at one sink.
pub(super) fn of_sink(
    row: &ExplainedSink,
    (id, event_type): (&str, &str),
    configuration: &ExplainedConfiguration,
) -> CauseAndFix {
    let sink = &row.sink;
    let place = configuration.sink(sink).map(|sink| &sink.place);
    let kind = place.map_or("", SinkPlace::kind);
    let (situation, cause, fix) = match row.state {
        SinkStanding::Delivered => (Situation::Delivered, delivered(row), None),
        SinkStanding::DeliveredBefore => {
            let cause = format!(
                "{sink} has passed it, so it was delivered unless the sink was added later, or its `select` \
                 took the type later; where is no longer known"
            );
            (Situation::Delivered, cause, None)
        }
        SinkStanding::DeadLetter => {
            let letter = row.dead_letter.unwrap_or_default();
            let cause = format!("{sink} rejected it: {}; it is dead letter {letter}", reason(row));
            (Situation::DeadLetter, cause, Some(fix_of_letter(row, letter)))
        }
        SinkStanding::SinkGone => {
            let letter = row.dead_letter.unwrap_or_default();
            let cause = format!("sink_gone: {sink} was removed, and it is dead letter {letter}");
            (
                Situation::SinkGone,
                cause,
                Some(format!("configure it again and `fanbridge dead redrive {letter}`")),
            )
        }
        SinkStanding::Held => (Situation::Held, held(row), Some(fix_of_hold(row, kind))),
        SinkStanding::Paused => {
            let (since, reason) =
                (moment(row.since.as_deref().unwrap_or_default()), row.detail.as_deref().unwrap_or_default());
            let cause = format!("{sink} is paused since {since} ({reason}), and it waits");
            (Situation::Paused, cause, Some(format!("`fanbridge resume {sink}`")))
        }
        SinkStanding::Pending => (Situation::Pending, pending(row, kind), fix_of_pending(row, kind)),
        SinkStanding::Missed => {
            let cause =
                format!("{sink} missed it: its entry was gone from the log before the sink had read it");
            let fix = "if the spool was full: `on_full: block` for the sink, or more `spool.bytes_max`";
            (Situation::Missed, cause, Some(fix.into()))
        }
        SinkStanding::Unknown => {
            let cause = format!("what became of it at {sink} is not known");
            (Situation::Unknown, cause, None)
        }
        SinkStanding::CopyForAnother => {
            let cause = format!("{sink} does not get this copy, which is for another sink alone");
            (Situation::Unknown, cause, None)
        }
        SinkStanding::NotSelected => {
            let by = match row.rule_of {
                Some(earlier) => format!("by configuration {earlier} "),
                None if row.by_rule_of_now => "by the selection of now ".into(),
                None => String::new(),
            };
            let cause = format!("{by}{sink} does not select `{event_type}`{}", at_line(row.line.as_ref()));
            let fix = replay_of_taken_now(row, (id, event_type), configuration);
            let fix = fix.unwrap_or_else(|| format!("add it to `sinks.{sink}.select`"));
            (Situation::NotSelected, cause, Some(fix))
        }
    };
    CauseAndFix { situation, cause, fix }
}

/// How a sink gets an event that it did not select by the configuration under which the event was admitted,
/// if it selects the type by that of now.
pub(super) fn replay_of_taken_now(
    row: &ExplainedSink,
    (id, event_type): (&str, &str),
    configuration: &ExplainedConfiguration,
) -> Option<String> {
    let sink = row.rule_of.and(configuration.sink(&row.sink))?;
    let replay =
        format!("`fanbridge replay --sink {} --id {} --yes` sends it there now", row.sink, quoted(id));
    sink.selection.selection.takes(event_type).then_some(replay)
}

/// Of a replay that has sent an event again; it goes on a sentence.
pub(super) fn of_replay(replay: &ExplainedReplay) -> String {
    let ExplainedReplay { replay, replay_id, copy, .. } = replay;
    let copy = match (copy.state, copy.dead_letter) {
        (_, Some(letter)) => {
            let reason = copy.reason.as_deref().unwrap_or_default();
            format!("{} rejected the copy ({reason}), dead letter {letter}", copy.sink)
        }
        (SinkStanding::Delivered, _) => format!("delivered again to {}", placed(copy)),
        (SinkStanding::DeliveredBefore, _) => format!("{} has passed the copy", copy.sink),
        (SinkStanding::Unknown, _) => format!("it was cancelled, perhaps before {} had the copy", copy.sink),
        _ => format!("the copy waits for {}", copy.sink),
    };
    format!("; replayed by replay {replay} (replayid {replay_id}): {copy}")
}

fn delivered(row: &ExplainedSink) -> String {
    let before = row.redriven.map(|position| {
        let why = row.rejected.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!("a dead letter of {}{why}, redriven as entry {position}, ", row.sink)
    });
    format!("{}delivered to {}", before.unwrap_or_default(), placed(row))
}

/// The sink, and where it has put a record.
fn placed(row: &ExplainedSink) -> String {
    let topic = row.topic.as_deref().unwrap_or_default();
    let place = match (row.partition, row.offset, &row.message, &row.file) {
        (Some(partition), Some(offset), ..) => format!("partition {partition} offset {offset}"),
        (_, _, Some(message), _) => format!("message {message}"),
        (_, Some(offset), _, Some(file)) => format!("{file} byte {offset}"),
        _ => "at a place that the sink does not say".into(),
    };
    format!("{}: {topic} {place}", row.sink)
}

/// Reason and detail, as far as they are known.
fn reason(row: &ExplainedSink) -> String {
    let detail = row.detail.as_ref().filter(|detail| !detail.is_empty());
    let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{}{detail}", row.reason.as_deref().unwrap_or("for an unknown reason"))
}

fn held(row: &ExplainedSink) -> String {
    let attempt = row.attempts.map_or_else(String::new, |attempts| format!(", attempt {attempts}"));
    let next = row.next_in_ms.map_or_else(String::new, |next| format!(", next in {}", span(next / 1000)));
    let detail = row.detail.as_ref().filter(|detail| !detail.is_empty());
    let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    let (topic, reason) =
        (row.topic.as_deref().unwrap_or_default(), row.reason.as_deref().unwrap_or_default());
    format!("{} holds {topic}: {reason}{attempt}{next}{detail}", row.sink)
}

fn pending(row: &ExplainedSink, kind: &str) -> String {
    let why = match row.reason.as_deref() {
        None => "the sink has not got to it yet".to_owned(),
        Some(word) if kind == "kafka" && is_unanswered(word) => {
            format!("no broker answers ({})", reason(row))
        }
        Some(_) => reason(row),
    };
    let waiting = row.waiting_s.map_or_else(String::new, |seconds| format!(" for {}", span(seconds)));
    format!("{}: pending{waiting}: {why}", row.sink)
}

/// Whether a reason says that nobody was there to answer.
fn is_unanswered(reason: &str) -> bool {
    ["unreachable", "no_answer", "timed_out"].contains(&reason)
}

fn fix_of_letter(row: &ExplainedSink, letter: u64) -> String {
    let mend = match row.reason.as_deref().unwrap_or_default() {
        "too_large" => "raise `max.message.bytes` of the topic, or the sink's `message_bytes_max`",
        "invalid_record" | "invalid_topic" => "mend the rule of the topic that the detail names",
        "xml_illegal" | "invalid_parameter" => "it never goes through this sink: send it another way",
        _ => "mend what the detail says",
    };
    format!("{mend}, then `fanbridge dead redrive {letter}`")
}

fn fix_of_hold(row: &ExplainedSink, kind: &str) -> String {
    let (sink, topic) = (&row.sink, row.topic.as_deref().unwrap_or_default());
    match row.reason.as_deref().unwrap_or_default() {
        "unknown_topic" => format!("`fanbridge topics apply --sink {sink}` creates what is missing"),
        "topic_forbidden" => format!("grant Write on {topic} to the bridge's user"),
        word => fix_of_trouble(word, kind)
            .unwrap_or_else(|| "mend what the detail says: it is tried again by itself".into()),
    }
}

/// What to do about the sink's trouble, which can be that of another topic.
fn fix_of_pending(row: &ExplainedSink, kind: &str) -> Option<String> {
    match row.reason.as_deref()? {
        "topic_forbidden" => {
            Some("grant Write on the topic that the detail names to the bridge's user".into())
        }
        _ => Some(fix_of_hold(row, kind)),
    }
}

/// What to do about what keeps a sink from publishing.
fn fix_of_trouble(word: &str, kind: &str) -> Option<String> {
    let fix = match (word, kind) {
        (word, "kafka") if is_unanswered(word) => "check network, TLS, credentials of `brokers`",
        (word, _) if is_unanswered(word) => "check the network and the service's address",
        ("authentication" | "credentials", _) => "give the sink credentials that its service takes",
        ("not_enough_replicas", _) => "bring the topic's replicas in sync again",
        ("throttled", _) => "raise the service's quota, or wait",
        ("disk_full" | "file_size_limit" | "io", _) => "free space where the sink writes, or mend that disk",
        ("clock", _) => "mend the clock of this machine (NTP)",
        ("topic_key" | "topic_disabled", _) => "mend the topic's encryption key",
        ("no_descriptors" | "no_memory", _) => "raise the limits of this process",
        _ => return None,
    };
    Some(fix.into())
}
