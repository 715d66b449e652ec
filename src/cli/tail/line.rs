//! A step as one line for people (pure).
//!
//! Every text that a sender or a service chose has its control characters escaped. On a terminal the longest
//! names are shortened in their middle, so that a line stays a line.

use std::fmt::Display;

use crate::event::{BODY_SCHEME, Timestamp};
use crate::explain::cause::grouped;
use crate::telemetry::Shown;
use crate::timeline::{
    DecidedBy, HeldStep, PublishedStep, RefusedStep, RejectedStep, Step, StepKind, TakenAs, TakenStep,
    UnansweredStep,
};

/// How many characters of an id are shown.
const ID_CHARS: usize = 12;
/// A name is never made shorter than this.
const NAME_CHARS_MIN: usize = 12;

/// What a line has besides the step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineOptions {
    /// Whether a published event's line names the sink, because there are several.
    pub(super) names_sinks: bool,
    /// Whether an accepted event that sinks select has a line of its own. Where it went has one anyway.
    pub(super) shows_accepted: bool,
    /// Most characters of a line, on a terminal.
    pub(super) width: Option<usize>,
}

/// The line of a step, without its end. An accepted event has one if no sink selects it or the options say
/// so; `selected_by` are the sinks that do.
pub(super) fn line(step: &Step, selected_by: Option<&[String]>, options: LineOptions) -> Option<String> {
    let line = Line::default().words(step.at.time_of_day()).words(" ");
    let line = match &step.kind {
        StepKind::Taken(taken) => self::taken(line, taken, selected_by, options)?,
        StepKind::Refused(refused) => self::refused(line, refused),
        StepKind::Unanswered(unanswered) => self::unanswered(line, unanswered),
        StepKind::Published(published) => self::published(line, published, options.names_sinks),
        StepKind::Held(held) => self::held(line, held),
        StepKind::Rejected(rejected) => self::rejected(line, rejected),
    };
    Some(line.within(options.width))
}

/// The day of a moment in UTC: `2026-11-29`.
pub(super) fn day(moment: Timestamp) -> String {
    moment.to_rfc3339().chars().take_while(|c| *c != 'T').collect()
}

/// The beginning of an id, which is enough to find it by.
pub(in crate::cli) fn short_id(id: &str) -> String {
    id.strip_prefix(BODY_SCHEME).unwrap_or(id).chars().take(ID_CHARS).collect()
}

fn taken(line: Line, step: &TakenStep, selected_by: Option<&[String]>, options: LineOptions) -> Option<Line> {
    Some(match step.verdict {
        TakenAs::Accepted if selected_by.is_some_and(<[String]>::is_empty) => {
            line.words("· ").name(&step.event_type).words(" no sink selects it  ").id(&step.id)
        }
        TakenAs::Accepted if options.shows_accepted => {
            let line = line.name(&step.event_type).words(" accepted for ").name(&selected_by?.join(", "));
            line.words("  ").name(&step.source).words(" ").id(&step.id)
        }
        TakenAs::Accepted => return None,
        TakenAs::Filtered => {
            let line = line.name(&step.event_type).words(" ✕ filtered: not on the list  ");
            line.name(&step.source).words(" ").id(&step.id)
        }
        TakenAs::Duplicate => {
            let line = line.name(&step.event_type).words(" = duplicate ").id(&step.id);
            match step.decided_by {
                DecidedBy::SeenElsewhere => line.words(" (another replica has it)"),
                DecidedBy::StoredAgain => line.words(" (stored again)"),
                _ => line,
            }
        }
        TakenAs::Quarantined => {
            let line = line.words("! quarantined: ").name(&step.reason).words(" ");
            line.name(&step.source).words(" ").id(&step.id)
        }
    })
}

fn refused(line: Line, step: &RefusedStep) -> Line {
    let line = line.words(step.status).words(" ");
    let line = match step.source.is_empty() {
        true => line,
        false => line.name(&step.source).words(" "),
    };
    let mut line = line.name(&step.reason);
    if let Some(bytes) = step.bytes {
        line = line.words(" ").words(grouped(bytes)).words(" bytes");
    }
    if let Some(digest) = step.sha256 {
        line = line.words(" ").id(&hex::encode(digest));
    }
    match step.unsaid {
        0 => line,
        unsaid => line.words(" and ").words(grouped(unsaid.into())).words(" more"),
    }
}

fn unanswered(line: Line, step: &UnansweredStep) -> Line {
    let line = line.words("? ").name(&step.event_type).words(" unanswered after ");
    line.words(grouped(step.waited_ms.into())).words(" ms")
}

fn published(line: Line, step: &PublishedStep, names_sink: bool) -> Line {
    let mut line = line.name(&step.event_type).words(" → ");
    if names_sink {
        line = line.name(&step.sink).words(" ");
    }
    line = line.name(&step.topic);
    let placement = step.placement.to_string();
    if !placement.is_empty() {
        line = line.words(" ").name(&placement);
    }
    // How long ago a replayed event arrived says nothing about the sink.
    if !step.replay {
        line = line.words(" +").words(grouped(step.after_ms.into())).words(" ms");
    }
    if step.attempts > 1 {
        line = line.words(", attempt ").words(grouped(step.attempts.into()));
    }
    if step.replay { line.words(", replayed") } else { line }
}

fn held(line: Line, step: &HeldStep) -> Line {
    let line = line.words("! ").name(&step.sink).words(" holds ").name(&step.topic).words(": ");
    let wait = if step.records == 1 { " waits" } else { " wait" };
    line.name(&step.reason).words(", ").words(grouped(step.records.into())).words(wait)
}

fn rejected(line: Line, step: &RejectedStep) -> Line {
    let line = line.words("✕ ").name(&step.sink).words(" rejected ").name(&step.event_type).words(": ");
    line.name(&step.reason).words(" → dead letter")
}

/// A line before it is known how much of its names there is room for.
#[derive(Debug, Default)]
struct Line {
    parts: Vec<(String, Shortens)>,
}

/// Whether a part of a line can be made shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shortens {
    Yes,
    No,
}

impl Line {
    /// Adds words of this file, or numbers.
    fn words(mut self, words: impl Display) -> Self {
        self.parts.push((words.to_string(), Shortens::No));
        self
    }

    /// Adds a text from elsewhere.
    fn name(mut self, name: &str) -> Self {
        self.parts.push((Shown(name).to_string(), Shortens::Yes));
        self
    }

    /// Adds the beginning of an id, which is enough to find it by.
    fn id(mut self, id: &str) -> Self {
        self.parts.push((Shown(&short_id(id)).to_string(), Shortens::Yes));
        self
    }

    /// The line within this many characters. The longest names are shortened first.
    fn within(mut self, width: Option<usize>) -> String {
        let width = width.unwrap_or(usize::MAX);
        loop {
            let excess = self.parts.iter().map(|(text, _)| chars(text)).sum::<usize>().saturating_sub(width);
            let names = self
                .parts
                .iter_mut()
                .filter(|(text, shortens)| *shortens == Shortens::Yes && chars(text) > NAME_CHARS_MIN);
            match names.max_by_key(|(text, _)| chars(text)).filter(|_| excess > 0) {
                Some((name, _)) => *name = shortened(name, chars(name).saturating_sub(excess)),
                None => break,
            }
        }
        let line: String = self.parts.into_iter().map(|(text, _)| text).collect();
        if chars(&line) <= width {
            line
        } else {
            line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// A name in at most so many characters, but no fewer than the least.
pub(in crate::cli) fn short_name(name: &str, length: usize) -> String {
    if chars(name) <= length { name.to_owned() } else { shortened(name, length) }
}

/// A name with `…` in the place of its middle, in so many characters but no fewer than the least.
fn shortened(name: &str, length: usize) -> String {
    let kept = length.max(NAME_CHARS_MIN) - 1;
    let (beginning, end) = (kept.div_ceil(2), kept / 2);
    name.chars().take(beginning).chain(['…']).chain(name.chars().skip(chars(name) - end)).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
