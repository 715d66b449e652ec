//! Replays and counts as text for people.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::admin::ReplayAnswer;
use crate::cli::Failure;
use crate::cli::output::{Format, plain};
use crate::replay::ReplayCount;
use crate::state::{ReplaySelection, ReplayState};

/// What would be sent, by type and by hour.
pub(super) fn of_count(count: &ReplayCount) -> String {
    let mut text = String::new();
    for (heading, counts) in [("type", &count.types), ("hour", &count.hours)] {
        let width = counts.keys().map(|name| plain(name).chars().count()).max().unwrap_or(0).max(4);
        if !counts.is_empty() {
            text.push_str(&format!("{:<width$}  EVENTS\n", heading.to_uppercase()));
        }
        for (name, events) in counts {
            text.push_str(&format!("{:<width$}  {events}\n", plain(name)));
        }
    }
    let mut line = |what: &str, number: u64| {
        // Writing into a text does not fail.
        let _ = writeln!(text, "{what}: {number}");
    };
    line("bytes of their bodies", count.bytes);
    if count.not_selected > 0 {
        line("not selected by the sink (--select-all sends them too)", count.not_selected);
    }
    if count.lost > 0 {
        line("entries of the log that are gone or damaged", count.lost);
    }
    text
}

/// One replay.
pub(super) fn of_replay(replay: &ReplayAnswer) -> String {
    let row = &replay.row;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {}", plain(&value));
    };
    let because = row.because.as_ref().map_or_else(String::new, |because| format!(": {because}"));
    line("replay", format!("{} to {}, {}{because}", row.id, row.sink, state(row.state)));
    line("replayid", row.replay_id.clone());
    line("events", events(&row.events));
    line("sent", format!("{} at {} a second at most", row.sent, row.rate));
    line(
        "log",
        format!(
            "{} of {} entries looked through",
            row.read.0.saturating_sub(row.begun_at.0),
            row.end.0.saturating_sub(row.begun_at.0)
        ),
    );
    if row.not_selected > 0 {
        line("left out", format!("{} that the sink does not select", row.not_selected));
    }
    if row.lost > 0 {
        line("lost", format!("{} entries were gone, damaged or too large", row.lost));
    }
    line("begun", row.created.to_rfc3339());
    line("changed", row.changed.to_rfc3339());
    if let Some(waits_for) = &replay.waits_for {
        line("waits", waits_for.clone());
    }
    text
}

/// A replay as a row of the list: of a table a summary, else all of it.
pub(super) fn row(replay: &ReplayAnswer, format: Format) -> Result<Value, Failure> {
    let row = &replay.row;
    match format {
        Format::Table => Ok(json!({
            "id": row.id,
            "sink": row.sink,
            "state": state(row.state),
            "sent": row.sent,
            "left": row.end.0.saturating_sub(row.read.0),
            "events": events(&row.events),
            "created": row.created.to_rfc3339().split('.').next().map(|second| second.trim_end_matches('Z')),
        })),
        Format::Json | Format::Ndjson => {
            serde_json::to_value(replay).map_err(|error| Failure::io("cannot write the list", &error))
        }
    }
}

fn state(state: ReplayState) -> &'static str {
    match state {
        ReplayState::Running => "running",
        ReplayState::Done => "done",
        ReplayState::Cancelled => "cancelled",
        ReplayState::Stopped => "stopped",
    }
}

/// Which events are meant, in words.
fn events(events: &ReplaySelection) -> String {
    let mut words = Vec::new();
    words.extend(events.since.map(|since| format!("since {}", since.to_rfc3339())));
    words.extend(events.until.map(|until| format!("until {}", until.to_rfc3339())));
    for (what, names) in [
        ("type", &events.types),
        ("family", &events.families),
        ("source", &events.sources),
        ("id", &events.ids),
    ] {
        if !names.is_empty() {
            words.push(format!("{what} {}", names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")));
        }
    }
    words.join("; ")
}
