//! What became of an event at each sink (pure).

use std::path::Path;

use super::admitted::AdmittedUnder;
use super::cause::quoted;
use super::configuration::{ConfiguredSink, SinkPlace};
use super::document::{ExplainedSink, KnownFrom, SinkStanding};
use crate::event::{Placement, Position, Timestamp};
use crate::health::PausedStatus;
use crate::state::DeadLetterInfo;

/// Reason of a dead letter whose sink was removed.
const SINK_GONE: &str = "sink_gone";

/// What is known of the event.
#[derive(Debug, Default)]
pub(super) struct EventFacts<'f> {
    pub(super) event_type: Option<&'f str>,
    /// Provider, family and the source's name, by which it finds its topic.
    pub(super) route: Option<(&'f str, &'f str, &'f str)>,
    pub(super) key: Option<&'f str>,
    /// The one sink that it is for.
    pub(super) only_sink: Option<&'f str>,
    /// Its position, or one behind it.
    pub(super) position: Option<Position>,
    /// Whether its entry is in the log.
    pub(super) is_in_log: bool,
    /// The oldest position that the log still has.
    pub(super) first: Position,
    pub(super) arrived: Option<Timestamp>,
    pub(super) now: Timestamp,
    /// Whether it arrived before this start, perhaps under another configuration.
    pub(super) is_older: bool,
    /// The configuration under which it was admitted.
    pub(super) admitted: AdmittedUnder,
}

/// What is known of the event at one sink, and of the sink.
#[derive(Debug)]
pub(super) struct SinkFacts<'f> {
    pub(super) sink: &'f ConfiguredSink,
    /// Its dead letter of the event, if there is one; not that of a replayed copy, which its replay tells.
    pub(super) letter: Option<&'f DeadLetterInfo>,
    /// That it has published the event, if that is remembered.
    pub(super) published: Option<PublishedFact>,
    /// Its durable cursor, if it has one.
    pub(super) cursor: Option<Position>,
    /// Whether a copy of the event waits for it.
    pub(super) copy: WaitingCopy,
    /// The topics that it holds.
    pub(super) held: Vec<HeldFact>,
    /// Reason and detail of what keeps it from publishing.
    pub(super) trouble: Option<(String, String)>,
    /// Since when it is paused, and why.
    pub(super) paused: Option<PausedStatus>,
}

/// What an event can wait for at a sink.
struct Waiting {
    copy: WaitingCopy,
    held: Vec<HeldFact>,
    trouble: Option<(String, String)>,
    paused: Option<PausedStatus>,
}

/// A copy of the event for one sink, behind the sink's cursor: a redriven one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitingCopy {
    None,
    At(Position),
    /// There is too much to look through.
    Unknown,
}

/// That a sink has the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublishedFact {
    pub(super) topic: String,
    pub(super) placement: Placement,
    pub(super) at: Timestamp,
    pub(super) after_ms: u64,
    pub(super) attempts: u32,
    /// The position of what was published.
    pub(super) position: Position,
    /// The same if it is a redriven copy of the event, and why the sink had rejected the event before.
    pub(super) redriven: Option<Position>,
    pub(super) rejected: Option<String>,
}

/// A topic to which a sink publishes nothing new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeldFact {
    pub(super) topic: String,
    pub(super) reason: String,
    pub(super) detail: String,
    /// How often its first record was tried, since when, and in how many milliseconds it is tried next, as
    /// far as that is known.
    pub(super) attempts: Option<u32>,
    pub(super) since: Option<Timestamp>,
    pub(super) next_in_ms: Option<u64>,
}

/// What became of the event at a configured sink.
pub(super) fn at_sink(event: &EventFacts<'_>, facts: SinkFacts<'_>) -> ExplainedSink {
    let SinkFacts { sink, letter, published, cursor, copy, held, trouble, paused } = facts;
    let waiting = Waiting { copy, held, trouble, paused };
    let topic = event.route.map(|(provider, family, source)| sink.topic.render(provider, family, source));
    let row = ExplainedSink {
        sink: sink.name.clone(),
        key: event.key.map(str::to_owned),
        cursor: cursor.map(|cursor| cursor.0),
        topic,
        ..ExplainedSink::default()
    };
    if let Some(letter) = letter {
        return rejected(row, letter);
    }
    if let Some(published) = published {
        return delivered(row, &published, &sink.place);
    }
    if let Some(only) = event.only_sink {
        if only != sink.name {
            let rule = Some(format!("a copy for `{only}` alone"));
            return ExplainedSink {
                state: SinkStanding::CopyForAnother,
                rule,
                known_from: KnownFrom::Log,
                ..row
            };
        }
        return by_cursor(event, row, waiting);
    }
    let Some(event_type) = event.event_type else { return by_cursor(event, row, waiting) };
    let rule = event.admitted.rule_at(sink, event_type);
    let row = ExplainedSink {
        rule: Some(rule.rule),
        line: rule.line,
        rule_of: event.admitted.judged_by(&sink.name),
        by_rule_of_now: event.admitted.is_judged_anew(&sink.name, event.is_older),
        ..row
    };
    match rule.takes {
        true => by_cursor(event, row, waiting),
        false => ExplainedSink {
            state: SinkStanding::NotSelected,
            known_from: KnownFrom::Configuration,
            topic: None,
            key: None,
            ..row
        },
    }
}

/// A dead letter of a sink that is not configured any more.
pub(super) fn at_former_sink(letter: &DeadLetterInfo) -> ExplainedSink {
    let sink = letter.sink.clone().unwrap_or_default();
    let row = rejected(ExplainedSink { sink, ..ExplainedSink::default() }, letter);
    ExplainedSink { state: SinkStanding::SinkGone, ..row }
}

pub(super) fn delivered(row: ExplainedSink, published: &PublishedFact, place: &SinkPlace) -> ExplainedSink {
    let topic = published.topic.clone();
    let row = ExplainedSink {
        state: SinkStanding::Delivered,
        command: command(place, &topic, published.placement),
        topic: Some(topic),
        at: Some(published.at.to_rfc3339()),
        after_ms: Some(published.after_ms),
        attempts: Some(published.attempts),
        redriven: published.redriven.map(|position| position.0),
        rejected: published.rejected.clone(),
        known_from: KnownFrom::Timeline,
        ..row
    };
    let offset = |offset: i64| u64::try_from(offset).ok();
    match published.placement {
        Placement::Unstated => row,
        Placement::Offset { partition, offset: at } => {
            ExplainedSink { partition: Some(partition), offset: offset(at), ..row }
        }
        Placement::Message(_) => ExplainedSink { message: Some(published.placement.to_string()), ..row },
        Placement::Line { file, offset } => {
            ExplainedSink { file: Some(Placement::file_name(file)), offset: Some(offset), ..row }
        }
    }
}

pub(super) fn rejected(row: ExplainedSink, letter: &DeadLetterInfo) -> ExplainedSink {
    let state = match letter.reason == SINK_GONE {
        true => SinkStanding::SinkGone,
        false => SinkStanding::DeadLetter,
    };
    ExplainedSink {
        state,
        topic: letter.topic.clone().or(row.topic),
        at: Some(letter.last.to_rfc3339()),
        attempts: Some(letter.attempts),
        reason: Some(letter.reason.clone()),
        detail: Some(letter.detail.clone()),
        dead_letter: Some(letter.id),
        known_from: KnownFrom::DeadLetter,
        ..row
    }
}

/// What the sink's cursor tells: it has passed the event, or the event waits for the sink.
fn by_cursor(event: &EventFacts<'_>, row: ExplainedSink, waiting: Waiting) -> ExplainedSink {
    let Waiting { copy, held, trouble, paused } = waiting;
    let Some((position, cursor)) = event.position.zip(row.cursor.map(Position)) else { return row };
    let waits = match copy {
        WaitingCopy::At(_) => true,
        // Of an entry that is gone nobody can tell whether the sink had read it, or passed over the gap.
        WaitingCopy::None if position <= cursor => {
            let state = if event.is_in_log { SinkStanding::DeliveredBefore } else { SinkStanding::Unknown };
            return ExplainedSink { state, ..row };
        }
        WaitingCopy::Unknown if position <= cursor => return row,
        WaitingCopy::None | WaitingCopy::Unknown => event.is_in_log,
    };
    if !waits {
        let state = if position < event.first { SinkStanding::Missed } else { SinkStanding::Unknown };
        return ExplainedSink { state, ..row };
    }
    let waiting_s = event.arrived.map(|arrived| event.now.seconds_since(arrived) as u64);
    let row = ExplainedSink { waiting_s, since: event.arrived.map(Timestamp::to_rfc3339), ..row };
    if let Some(PausedStatus { since, reason }) = paused {
        let since = Some(since.to_rfc3339());
        return ExplainedSink { state: SinkStanding::Paused, since, detail: Some(reason), ..row };
    }
    if let Some(held) = held.into_iter().find(|held| Some(&held.topic) == row.topic.as_ref()) {
        return ExplainedSink {
            state: SinkStanding::Held,
            attempts: held.attempts,
            since: held.since.map(Timestamp::to_rfc3339).or(row.since),
            next_in_ms: held.next_in_ms,
            reason: Some(held.reason),
            detail: Some(held.detail),
            ..row
        };
    }
    let (reason, detail) = trouble.unzip();
    ExplainedSink { state: SinkStanding::Pending, reason, detail, ..row }
}

/// A command that shows the record where the sink has put it.
fn command(place: &SinkPlace, topic: &str, placement: Placement) -> Option<String> {
    match (place, placement) {
        (SinkPlace::Kafka { brokers, is_secured }, Placement::Offset { partition, offset }) => {
            // The file has the properties of TLS and SASL: no password is on a command line.
            let properties = if *is_secured { "-F kcat.conf " } else { "" };
            let brokers = quoted(brokers);
            let from = format!("-t {topic} -p {partition} -o {offset} -c 1");
            Some(format!("kcat {properties}-b {brokers} -C {from} -f '%k\\n%h\\n%s\\n'"))
        }
        (SinkPlace::Files(dir), Placement::Line { file, offset }) => {
            let path = dir.join(topic).join(Path::new(&Placement::file_name(file)));
            let path = quoted(&path.display().to_string());
            Some(format!("tail -c +{} {path} | head -n 1", offset + 1))
        }
        _ => None,
    }
}
