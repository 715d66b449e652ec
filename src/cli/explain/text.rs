//! Explanations as text for people: at most 80 columns wide, apart from commands, which are to be copied
//! whole.

use super::super::output::terminal_json;
use super::super::wrapped::{add_wrapped, harmless};
use super::steps::last;
use crate::explain::cause::{moment, span};
use crate::explain::{
    ExplainedEvent, ExplainedSink, ExplainedVerdict, Explanation, HowMany, SinkStanding, TypeExplanation,
};
use crate::timeline::{RefusedStep, Step, StepKind};

/// Characters of an id in a list.
const ID_CHARS: usize = 12;

/// The explanation of an event.
pub(super) fn of_event(explanation: &Explanation) -> String {
    let mut text = Text::default();
    if let Some(event) = &explanation.event {
        text.event(event);
    }
    let refused = explanation.steps.iter().find_map(refused);
    if let Some(refused) = refused {
        text.whole(&format!("request {:016x}  to {}", refused.request, of_source(refused)));
    }
    if let Some(verdict) = &explanation.verdict {
        text.verdict(verdict, explanation.event.as_ref());
    }
    for (name, value) in refused.iter().flat_map(|refused| &refused.headers) {
        text.line("header", &format!("{name}: {value}"));
    }
    for sink in &explanation.sinks {
        text.line(&sink.sink, &at_sink(sink));
    }
    for letter in &explanation.dead_letters {
        let tried = format!(
            "{} after {} attempts, last {}",
            letter.reason,
            letter.attempts,
            moment(&letter.last.to_rfc3339())
        );
        text.line(
            "dead letter",
            &format!("{} of {}: {tried}", letter.id, letter.sink.as_deref().unwrap_or("the quarantine")),
        );
    }
    if refused.is_none() {
        for (time, words) in last(&explanation.steps) {
            text.line(&time, &words);
        }
    }
    for replay in &explanation.replays {
        let copy = format!("to {}: {}", replay.copy.sink, at_sink(&replay.copy));
        text.line(&format!("replay {}", replay.replay), &copy);
    }
    if explanation.found == HowMany::Several {
        for candidate in &explanation.candidates {
            let event_type = candidate.event_type.as_deref().unwrap_or("no event");
            let at = moment(candidate.at.as_deref().unwrap_or_default());
            text.whole(&format!("{}  {event_type}  {}  {at}", candidate.id, candidate.source));
        }
    }
    text.end(&explanation.cause, explanation.fix.as_deref());
    if let Some(command) = &explanation.command {
        text.command(command);
    }
    if let Some(data) = &explanation.data {
        text.body(data.get());
    } else if let Some(data) = &explanation.data_base64 {
        text.body(data);
    }
    text.0
}

fn refused(step: &Step) -> Option<&RefusedStep> {
    match &step.kind {
        StepKind::Refused(refused) => Some(refused),
        _ => None,
    }
}

fn of_source(refused: &RefusedStep) -> &str {
    if refused.source.is_empty() { "a path that no source has" } else { &refused.source }
}

/// The explanation of a type.
pub(super) fn of_type(explanation: &TypeExplanation) -> String {
    let mut text = Text::default();
    text.whole(&explanation.event_type);
    if explanation.asked != explanation.event_type {
        text.line("documents", &format!("call it {}", explanation.asked));
    }
    for known in &explanation.known {
        let key =
            if known.key.is_empty() { "no key".into() } else { format!("key {}", known.key.join(", ")) };
        text.line(&known.provider, &format!("{}, to {}, {key}", known.family, known.channels.join(" and ")));
    }
    for source in &explanation.sources {
        let new = if source.catalogued { "" } else { " (in no catalogue)" };
        text.line("source", &format!("{}, family {}{new}", source.source, source.family));
    }
    let place = |line: &Option<String>| line.as_ref().map_or_else(String::new, |line| format!("  {line}"));
    let takes = if explanation.takes { "accepted" } else { "filtered" };
    text.line("bridge", &format!("{takes}: {}{}", explanation.rule, place(&explanation.line)));
    for sink in &explanation.sinks {
        let to = match (sink.takes, explanation.takes) {
            (true, _) if sink.topics.is_empty() => "nobody sends it".into(),
            (true, _) => format!("→ {}", sink.topics.join(", ")),
            (false, true) => "not selected".into(),
            (false, false) => "gets nothing of it".into(),
        };
        text.line(&sink.sink, &format!("{}{}  {to}", sink.rule, place(&sink.line)));
    }
    if let Some(seen) = &explanation.seen {
        let counts: Vec<String> =
            seen.iter().map(|seen| format!("{} {}", seen.count, seen.verdict)).collect();
        let counts = if counts.is_empty() { "nothing yet".into() } else { counts.join(", ") };
        text.line("seen", &counts);
    }
    text.end(&explanation.cause, explanation.fix.as_deref());
    text.0
}

/// What became of an event at a sink.
fn at_sink(sink: &ExplainedSink) -> String {
    let mut parts = vec![state(sink)];
    parts.extend(sink.topic.as_ref().map(|topic| format!("→ {topic}")));
    parts.extend(
        sink.partition
            .zip(sink.offset)
            .map(|(partition, offset)| format!("partition {partition} offset {offset}")),
    );
    parts.extend(sink.message.as_ref().map(|message| format!("message {message}")));
    parts.extend(sink.file.as_ref().zip(sink.offset).map(|(file, offset)| format!("{file} byte {offset}")));
    parts.extend(sink.after_ms.map(|after| format!("+{after} ms")));
    parts.extend(sink.reason.clone());
    if let Some(attempts) = sink.attempts.filter(|attempts| *attempts > 1 || sink.reason.is_some()) {
        parts.push(format!("attempt {attempts}"));
    }
    parts.extend(sink.next_in_ms.map(|next| format!("next in {}", span(next / 1000))));
    parts.extend(sink.rule.as_ref().filter(|_| sink.state == SinkStanding::NotSelected).cloned());
    parts.extend(sink.line.as_ref().filter(|_| sink.state == SinkStanding::NotSelected).cloned());
    parts.join("  ")
}

fn state(sink: &ExplainedSink) -> String {
    match sink.state {
        SinkStanding::Missed => "missed".into(),
        SinkStanding::SinkGone => "was removed".into(),
        SinkStanding::DeadLetter => "rejected it".into(),
        SinkStanding::Held => "holds the topic".into(),
        SinkStanding::Paused => {
            format!("is paused since {}", moment(sink.since.as_deref().unwrap_or_default()))
        }
        SinkStanding::Pending => {
            let waiting =
                sink.waiting_s.map_or_else(String::new, |seconds| format!(" for {}", span(seconds)));
            format!("pending{waiting}")
        }
        SinkStanding::Unknown => "not known".into(),
        SinkStanding::Delivered => "delivered".into(),
        SinkStanding::DeliveredBefore => "has passed it".into(),
        SinkStanding::NotSelected => "not selected".into(),
        SinkStanding::CopyForAnother => "not for it".into(),
    }
}

/// Lines of text, in which nothing steers a terminal.
#[derive(Default)]
struct Text(String);

impl Text {
    fn event(&mut self, event: &ExplainedEvent) {
        let what = event.event_type.as_deref().unwrap_or("no event");
        let from = event.intake.as_ref().unwrap_or(&event.source);
        self.whole(&format!("{what}  from {from}"));
        self.whole(&format!("  id  {}", event.id));
        let position = event.position.map(|position| format!("position {position}"));
        let bytes = event.bytes.map(|bytes| format!("{bytes} bytes"));
        let key = event.key.as_ref().map(|key| format!("key {key}"));
        let only = event.only_sink.as_ref().map(|sink| format!("a copy for {sink} alone"));
        let parts: Vec<String> = [position, bytes, key, only].into_iter().flatten().collect();
        self.line("entry", &parts.join("  "));
        if let Some(configuration) = event.configuration {
            self.line("under", &format!("configuration {configuration}"));
        }
    }

    fn verdict(&mut self, verdict: &ExplainedVerdict, event: Option<&ExplainedEvent>) {
        let at = verdict.at.as_deref().or(event.and_then(|event| event.arrived.as_deref())).unwrap_or("");
        let rule = verdict.rule.as_ref().map_or_else(String::new, |rule| format!("  {rule}"));
        let line = verdict.line.as_ref().map_or_else(String::new, |line| format!("  {line}"));
        let reason = verdict.reason.as_ref().map_or_else(String::new, |reason| format!("  {reason}"));
        let answer = verdict.detail.as_ref().filter(|_| verdict.word == "refused");
        let answer = answer.map_or_else(String::new, |answer| format!("  {answer}"));
        self.line(&verdict.word, format!("{}{rule}{line}{reason}{answer}", moment(at)).trim_start());
    }

    fn end(&mut self, cause: &str, fix: Option<&str>) {
        self.line("why:", cause);
        self.line("fix:", fix.unwrap_or("nothing to do"));
    }

    /// A command, on one line however long it is.
    fn command(&mut self, command: &str) {
        self.0.push_str("see:  ");
        self.0.push_str(&harmless(command));
        self.0.push('\n');
    }

    /// A body on one line: JSON, in which what would steer the terminal is escaped, or base64.
    fn body(&mut self, body: &str) {
        self.0.push_str("body: ");
        self.0.push_str(&terminal_json(body.to_owned()));
        self.0.push('\n');
    }

    /// A line that is not indented, broken between words if it is too wide.
    fn whole(&mut self, words: &str) {
        add_wrapped(&mut self.0, "", words, 4);
    }

    /// A line with a name in front.
    fn line(&mut self, name: &str, words: &str) {
        let indent = ID_CHARS + 2;
        let name = format!("  {name}");
        add_wrapped(&mut self.0, &format!("{name:<indent$}"), words, indent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_steers_the_terminal_and_a_command_stays_whole() {
        let mut text = Text::default();
        text.line("lake", "a\u{1b}[2Jb");
        let command = format!("kcat -b {} -C -t t -f '%k\\n'\u{7}", "k:9092,".repeat(60));
        text.command(&command);
        assert!(!text.0.contains(['\u{1b}', '\u{7}']), "{}", text.0);
        let whole = command.trim_end_matches('\u{7}');
        assert!(text.0.lines().any(|line| line.contains(whole)), "{}", text.0);
    }
}
