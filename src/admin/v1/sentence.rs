//! One sentence that says how things are (pure).
//!
//! It names the worst of what is wrong first, because an operator reads no further: that nothing is taken in,
//! then the sink that is furthest behind, then a source that cannot receive.

use crate::explain::cause::{plural, span};

/// What the sentence is made of.
#[derive(Debug, Default)]
pub(super) struct HowThingsAre<'a> {
    pub(super) is_stopping: bool,
    pub(super) is_started: bool,
    /// Why no delivery is taken.
    pub(super) unready_because: Option<&'a str>,
    /// The sinks, in the order of the configuration.
    pub(super) sinks: Vec<SinkInShort<'a>>,
    /// The sources that cannot receive, with what to do about it.
    pub(super) troubled_sources: Vec<(&'a str, &'a str)>,
    pub(super) dead_letters: u64,
    /// Seconds since the last event came, if that is known.
    pub(super) last_event_seconds: Option<u64>,
}

/// A sink in a few words.
#[derive(Debug, Default)]
pub(super) struct SinkInShort<'a> {
    pub(super) name: &'a str,
    pub(super) lag_events: u64,
    pub(super) oldest_pending_seconds: u64,
    /// What keeps it from publishing: `topic_forbidden on stream.video.session`.
    pub(super) held_back_by: Option<String>,
    /// Whether that is a person, who has paused it.
    pub(super) is_paused: bool,
}

/// The sentence, without a full stop.
pub(super) fn sentence(things: &HowThingsAre<'_>) -> String {
    if things.is_stopping {
        return "Shutting down: no delivery is taken any more".into();
    }
    if !things.is_started {
        return "Starting: the spool is being recovered, and no delivery is taken yet".into();
    }
    let behind = things.sinks.iter().max_by_key(|sink| (sink.oldest_pending_seconds, sink.lag_events));
    if let Some(reason) = things.unready_because {
        let behind = behind.filter(|sink| sink.lag_events > 0);
        let behind = behind.map(|sink| format!("; {} is {} behind", sink.name, events(sink.lag_events)));
        return format!("Refusing deliveries: {reason}{}", behind.unwrap_or_default());
    }
    let troubled = || things.sinks.iter().filter(|sink| sink.held_back_by.is_some());
    let worst = troubled().max_by_key(|sink| (sink.oldest_pending_seconds, sink.lag_events));
    if let Some(sink) = worst {
        let others = troubled().count() - 1;
        return format!("{}{}", of_troubled(sink), and_more(others, "sink"));
    }
    if let Some((source, advice)) = things.troubled_sources.first() {
        let others = things.troubled_sources.len() - 1;
        return format!("{source} cannot receive: {advice}{}", and_more(others, "source"));
    }
    let mut parts = vec!["Accepting".to_owned()];
    parts.push(match behind.filter(|sink| sink.lag_events > 0) {
        None => "nothing waits".into(),
        Some(sink) => {
            let since = span(sink.oldest_pending_seconds);
            let verb = if sink.lag_events == 1 { "waits" } else { "wait" };
            format!("{} {verb} for {}, the oldest for {since}", events(sink.lag_events), sink.name)
        }
    });
    if things.dead_letters > 0 {
        parts.push(plural(things.dead_letters, "dead letter"));
    }
    parts.extend(things.last_event_seconds.map(|seconds| format!("last event {} ago", span(seconds))));
    parts.join("; ")
}

fn of_troubled(sink: &SinkInShort<'_>) -> String {
    let why = sink.held_back_by.as_deref().unwrap_or_default();
    match (sink.lag_events, sink.oldest_pending_seconds) {
        (0, _) if sink.is_paused => format!("{} is {why}", sink.name),
        (0, _) => format!("{} cannot publish: {why}", sink.name),
        (lag, 0) => format!("{} is {} behind: {why}", sink.name, events(lag)),
        (_, seconds) => format!("{} is {} behind: {why}", sink.name, span(seconds)),
    }
}

fn and_more(others: usize, what: &str) -> String {
    match others {
        0 => String::new(),
        others => format!(" (and {})", plural(others as u64, &format!("more {what}"))),
    }
}

fn events(count: u64) -> String {
    plural(count, "event")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running<'a>(sinks: Vec<SinkInShort<'a>>) -> HowThingsAre<'a> {
        HowThingsAre { is_started: true, sinks, last_event_seconds: Some(2), ..HowThingsAre::default() }
    }

    fn sink<'a>(name: &'a str, lag: u64, seconds: u64, held_back_by: Option<&str>) -> SinkInShort<'a> {
        let held_back_by = held_back_by.map(str::to_owned);
        SinkInShort { name, lag_events: lag, oldest_pending_seconds: seconds, held_back_by, is_paused: false }
    }

    #[test]
    fn the_sentence_says_what_an_operator_has_to_know_first() {
        let calm = running(vec![sink("lake", 0, 0, None)]);
        assert_eq!(sentence(&calm), "Accepting; nothing waits; last event 2 s ago");
        let busy = running(vec![sink("lake", 1, 3, None), sink("billing", 4812, 61, None)]);
        let expected = "Accepting; 4,812 events wait for billing, the oldest for 1 m 1 s; last event 2 s ago";
        assert_eq!(sentence(&busy), expected);
        let letters = HowThingsAre { dead_letters: 1, last_event_seconds: None, ..running(vec![]) };
        assert_eq!(sentence(&letters), "Accepting; nothing waits; 1 dead letter");

        let why = Some("topic_forbidden on stream.video.session");
        let held = vec![sink("billing", 9000, 3, None), sink("lake", 12, 250, why)];
        let expected = "lake is 4 m 10 s behind: topic_forbidden on stream.video.session";
        assert_eq!(sentence(&running(held)), expected);
        let both = vec![sink("billing", 9, 400, Some("unreachable")), sink("lake", 12, 250, why)];
        let expected = "billing is 6 m 40 s behind: unreachable (and 1 more sink)";
        assert_eq!(sentence(&running(both)), expected);
        let resting = SinkInShort { is_paused: true, ..sink("lake", 0, 0, Some("paused: they move")) };
        assert_eq!(sentence(&running(vec![resting])), "lake is paused: they move");
        let idle = vec![sink("lake", 0, 0, Some("unreachable"))];
        assert_eq!(sentence(&running(idle)), "lake cannot publish: unreachable");

        let full = running(vec![sink("lake", 1200, 250, why)]);
        let full = HowThingsAre { unready_because: Some("the spool cannot store: spool_full"), ..full };
        let expected = "Refusing deliveries: the spool cannot store: spool_full; lake is 1,200 events behind";
        assert_eq!(sentence(&full), expected);
        let queue = HowThingsAre { troubled_sources: vec![("mails", "set credentials")], ..running(vec![]) };
        assert_eq!(sentence(&queue), "mails cannot receive: set credentials");
        assert_eq!(
            sentence(&HowThingsAre::default()),
            "Starting: the spool is being recovered, and no delivery is taken yet"
        );
        let stopping = HowThingsAre { is_stopping: true, ..running(vec![]) };
        assert_eq!(sentence(&stopping), "Shutting down: no delivery is taken any more");
    }
}
