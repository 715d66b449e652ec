//! Why something is as it is, and what to do about it: the one table of sentences (pure).
//!
//! The command line, the API and the page show these words. A sentence names what is written in the
//! configuration with its line, and holds no part of a body.

mod changed;
mod refused;
mod sinks;
mod sns;
mod types;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::configuration::ExplainedConfiguration;
use super::document::{Explanation, HowMany, LookedThrough, SinkStanding};

pub(super) use self::changed::of_changed;
pub(super) use self::refused::of_refused;
pub(super) use self::types::{of_filtered, of_type};

/// Most sinks that one sentence names.
const SINKS_NAMED_MAX: usize = 6;
/// Most replays that one sentence names.
const REPLAYS_NAMED_MAX: usize = 3;

/// What something can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Situation {
    /// Every sink that takes the event has it or has passed it; of a type, that it goes to every sink.
    Delivered,
    /// A sink's selection does not take it.
    NotSelected,
    /// No sink's selection takes it.
    NoSink,
    /// The bridge's selection filters it.
    Filtered,
    /// The delivery cannot become an event.
    Quarantined,
    /// The request was refused.
    Refused,
    /// It is a copy of an event that came before, of which nothing else is known.
    Duplicate,
    /// Its sender was gone before it was durable.
    Unanswered,
    /// A sink rejected it.
    DeadLetter,
    /// A sink holds its topic.
    Held,
    /// It waits for a sink that is paused.
    Paused,
    /// It waits for a sink.
    Pending,
    /// It was gone from the log before a sink had read it.
    Missed,
    /// Its sink was removed.
    SinkGone,
    /// Its entry in the log is damaged.
    Damaged,
    /// It can be several events.
    Several,
    /// It is older than what the log goes back to, or never came.
    Forgotten,
    /// Nothing is known of it.
    Unknown,
    /// A type that is sent to WebSocket clients only.
    WebSocketOnly,
    /// A type that no configured provider sends.
    NobodySends,
}

/// Why something is as it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseAndFix {
    /// The situation.
    pub situation: Situation,
    /// Why, in a sentence.
    pub cause: String,
    /// What to do, if there is anything to do.
    pub fix: Option<String>,
}

impl CauseAndFix {
    fn new(situation: Situation, cause: impl Into<String>, fix: Option<String>) -> Self {
        Self { situation, cause: cause.into(), fix }
    }
}

/// Of one event whose verdict and whose standing at each sink are known.
pub(super) fn of_event(explanation: &Explanation, configuration: &ExplainedConfiguration) -> CauseAndFix {
    if let Some(verdict) = explanation.verdict.as_ref().filter(|verdict| verdict.word == "quarantined") {
        let reason = verdict.reason.as_deref().unwrap_or("unusable");
        let detail = verdict.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
        let shown = explanation.dead_letters.first();
        let shown = shown.map(|letter| format!("; `fanbridge dead show {}` shows it", letter.id));
        let fix = format!("tell the provider{}", shown.unwrap_or_default());
        let cause = format!("cannot become an event: {reason}{detail}");
        return CauseAndFix::new(Situation::Quarantined, cause, Some(fix));
    }
    let mut told = of_sinks(explanation, configuration);
    for replay in explanation.replays.iter().take(REPLAYS_NAMED_MAX) {
        told.cause.push_str(&sinks::of_replay(replay));
    }
    told
}

/// Of one event, by its standing at each sink.
fn of_sinks(explanation: &Explanation, configuration: &ExplainedConfiguration) -> CauseAndFix {
    let event = explanation.event.as_ref();
    let event_type = event.and_then(|event| event.event_type.as_deref()).unwrap_or_default();
    let event = (event.map_or("", |event| &event.id), event_type);
    let sinks = &explanation.sinks;
    if !sinks.is_empty() && sinks.iter().all(|sink| sink.state == SinkStanding::NotSelected) {
        let now = if sinks.iter().any(|sink| sink.by_rule_of_now) { "by the selections of now " } else { "" };
        let cause = format!("accepted, and {now}no sink selects `{event_type}`");
        let mut replays =
            sinks.iter().filter_map(|row| sinks::replay_of_taken_now(row, event, configuration));
        let fix = replays.next().unwrap_or_else(|| "add it to a sink's `select`".into());
        return CauseAndFix::new(Situation::NoSink, cause, Some(fix));
    }
    let worst = sinks.iter().map(|sink| sink.state).min();
    let told: Vec<CauseAndFix> = sinks
        .iter()
        .filter(|sink| {
            worst == Some(SinkStanding::CopyForAnother) || sink.state != SinkStanding::CopyForAnother
        })
        .filter(|sink| worst.is_none_or(|worst| !worst.is_trouble() || sink.state == worst))
        .map(|sink| sinks::of_sink(sink, event, configuration))
        .collect();
    match told.first() {
        Some(first) => CauseAndFix {
            situation: first.situation,
            cause: joined(&told),
            fix: told.iter().find_map(|told| told.fix.clone()),
        },
        None => CauseAndFix::new(Situation::Unknown, "what became of it is not known", None),
    }
}

fn joined(told: &[CauseAndFix]) -> String {
    let named: Vec<&str> = told.iter().take(SINKS_NAMED_MAX).map(|told| told.cause.as_str()).collect();
    let more = told.len().saturating_sub(SINKS_NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more sinks") } else { String::new() };
    named.join("; ") + &more
}

/// Of an event whose entry in the log cannot be read.
pub(super) fn of_damage(segment: u64, sinks: &[String]) -> CauseAndFix {
    let sinks = if sinks.is_empty() { "each sink".to_owned() } else { sinks.join(", ") };
    let cause = format!(
        "its entry in segment {segment:020}.log is damaged; {sinks} skipped it, unless it was read before"
    );
    let fix = "have the provider send it again; look at the disk";
    CauseAndFix::new(Situation::Damaged, cause, Some(fix.into()))
}

/// Of something that can be several events.
pub(super) fn of_several(count: usize) -> CauseAndFix {
    let cause = format!("{count} events begin so, or have this id at several sources");
    let fix = "ask for one of them by its whole id, with `--source` if several sources have it";
    CauseAndFix::new(Situation::Several, cause, Some(fix.into()))
}

/// Of something that is nowhere.
pub(super) fn of_nothing(looked: &LookedThrough) -> CauseAndFix {
    let from = looked.log_from.as_deref().map_or_else(|| "its beginning".to_owned(), moment);
    let part = match looked.complete {
        true => "",
        false => ", of which only the newest part was looked through",
    };
    let part = match looked.lost {
        0 => part.to_owned(),
        lost => format!("{part}; {lost} of its entries cannot be read"),
    };
    if let Some(since) = &looked.since {
        let cause = format!("nothing with this id arrived since {}{part}", moment(since));
        let fix = "leave out `--since` to look further back";
        return CauseAndFix::new(Situation::Unknown, cause, Some(fix.into()));
    }
    if looked.log_first > 1 {
        let cause = format!("the log goes back to {from}{part}; it is older, or never came");
        let fix = "look in the topic; raise `spool.retain` to keep events for longer";
        return CauseAndFix::new(Situation::Forgotten, cause, Some(fix.into()));
    }
    let through = moment(&looked.log_through);
    let cause = format!("nothing with this id: searched the log from {from} to {through}{part}");
    let fix = "`fanbridge explain --body FILE --source S` finds the id of a body";
    CauseAndFix::new(Situation::Unknown, cause, Some(fix.into()))
}

/// Of a body whose id is nowhere, at a source. It changes what was said of the id alone.
pub(super) fn of_unseen_body(told: &mut Explanation, source: &str) {
    if told.situation == Situation::Unknown && told.looked.since.is_none() {
        told.cause = format!("{}; this body never came to {source}, or was refused", told.cause);
        told.fix = Some(format!(
            "`fanbridge tail --since-start --failed --source {source}` shows what was refused; `fanbridge \
             verify {source} --body FILE --headers FILE` says why it would be"
        ));
    }
}

/// Of what was asked while the bridge is stopped. It changes what was said of log and state alone.
pub(super) fn of_stopped(told: &mut Explanation, is_request: bool) {
    if is_request {
        told.cause = "the bridge is stopped, and only its memory had what it refused".into();
        told.fix = Some("the sender is refused again: ask while the bridge runs".into());
        return;
    }
    let more = match told.found {
        HowMany::None => "; what was filtered or refused only a running bridge knows",
        HowMany::One | HowMany::Several => "",
    };
    let proved = "the bridge is stopped; this is what its log and cursors prove";
    told.cause = format!("{proved}: {}{more}", told.cause);
    if told.situation == Situation::Pending {
        told.fix = Some("`fanbridge run` starts the bridge, which goes on with it".into());
    }
}

/// What is added of an event of which more deliveries came, which were duplicates.
pub(super) fn of_duplicates(count: u64, position: Option<u64>, published_once: bool) -> String {
    let entry = position.map_or_else(String::new, |position| format!(" at position {position}"));
    let once = if published_once { "; published once" } else { "" };
    match count {
        0 => String::new(),
        1 => format!("; it came once more, a copy of the event{entry}{once}"),
        count => format!("; it came {count} times more, each time a copy of the event{entry}{once}"),
    }
}

/// Of a duplicate of an event that the log has no entry of.
pub(super) fn of_lost_copy(elsewhere: bool) -> CauseAndFix {
    let cause = match elsewhere {
        true => "a copy of an event that another replica has",
        false => "a copy of an event that came before, whose entry the log does not have any more",
    };
    CauseAndFix::new(Situation::Duplicate, cause, None)
}

/// Of a delivery whose sender was gone before it was durable, and that the log does not have.
pub(super) fn of_unanswered(waited_ms: u32) -> CauseAndFix {
    let waited = span(u64::from(waited_ms) / 1000);
    let cause = format!(
        "not yet durable: the disk has not answered for {waited}, and the sender did not wait longer or was \
         answered 503; the provider sends it again"
    );
    let fix = "look at the disk of `spool.dir`; `limits.ack_timeout` says how long a sender waits";
    CauseAndFix::new(Situation::Unanswered, cause, Some(fix.into()))
}

/// Of a request that is not among the last steps.
pub(super) fn of_unknown_request(is_on: bool) -> CauseAndFix {
    let (cause, fix) = match is_on {
        true => (
            "no refused request has this number among the last steps: it is older than they go back, the \
             bridge has started again, or more than 50 a second were refused",
            "ask for it soon after it was refused; `timeline.bytes_max` says how far the steps go back",
        ),
        false => ("no steps are kept", "set `timeline.bytes_max` to 1 MiB or more, and restart"),
    };
    CauseAndFix::new(Situation::Forgotten, cause, Some(fix.into()))
}

fn at_line(line: Option<&String>) -> String {
    line.map_or_else(String::new, |line| format!(" ({line})"))
}

/// A moment in RFC 3339 as people read it, to the second: `2026-11-30 01:23:08Z`.
pub fn moment(text: &str) -> String {
    let second = text.split(['.', 'Z']).next().unwrap_or_default();
    if second.is_empty() { String::new() } else { format!("{}Z", second.replace('T', " ")) }
}

/// Seconds as people say them, in their two largest units: `31 s`, `4 m 10 s`, `2 h 5 m`, `3 d 4 h`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A number of things, with its digits in groups of three: `1 event`, `4,812 events`.
pub fn plural(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A word of a shell's command line, to be copied.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,@".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A number with its digits in groups of three: `4,812`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_say_them() {
        let spans = [0, 59, 250, 7500, 273_600].map(span);
        assert_eq!(spans, ["0 s", "59 s", "4 m 10 s", "2 h 5 m", "3 d 4 h"]);
    }

    #[test]
    fn a_moment_is_read_to_the_second() {
        let moments = ["2026-11-21T06:40:11.402Z", "2026-11-21T06:40:11Z", ""].map(moment);
        assert_eq!(moments, ["2026-11-21 06:40:11Z", "2026-11-21 06:40:11Z", ""]);
    }

    #[test]
    fn digits_are_in_groups_of_three() {
        for (count, text) in [(0, "0 events"), (1, "1 event"), (999, "999 events"), (1000, "1,000 events")] {
            assert_eq!(plural(count, "event"), text);
        }
        assert_eq!(plural(1_234_567, "event"), "1,234,567 events");
    }
}
