//! Explains one event: what was decided about it, and what became of it at each sink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use super::admitted::AdmittedUnder;
use super::asked::AskedEvent;
use super::cause::{self, CauseAndFix};
use super::configuration::ConfiguredSink;
use super::document::{
    ExplainedEvent, ExplainedSink, ExplainedVerdict, Explanation, HowMany, KnownFrom, LookedThrough,
};
use super::facts::{best, candidate, of_delivery, of_event, of_letter, quarantined};
use super::gather::OneEvent;
use super::remembered::{Remembered, held};
use super::sinks::{EventFacts, SinkFacts, WaitingCopy, at_former_sink, at_sink};
use super::{ExplainError, ExplainScope, Explainer};
use crate::event::{Entry, Event, Fingerprint, IdMatch, Position, REPLAY_EXTENSION, Timestamp};
use crate::health::SinkStatus;
use crate::state::DeadLetterInfo;

/// Most events that are named if several can be meant.
const CANDIDATES_MAX: usize = 20;
/// Most steps of an explanation.
pub(super) const STEPS_MAX: usize = 100;
/// How often and after which pause the cursors are read again while a commit is underway: a dispatcher
/// commits every 50 ms.
const CURSOR_LOOKS: u32 = 10;
const CURSOR_PAUSE: Duration = Duration::from_millis(50);

impl Explainer {
    /// Explains what became of an event. Blocks while the log is searched.
    ///
    /// # Errors
    /// When log or state cannot be read, or no source has the name that was given.
    pub fn event(&self, asked: &AskedEvent, scope: &ExplainScope) -> Result<Explanation, ExplainError> {
        let name = scope.source.as_deref();
        if let Some(name) = name.filter(|name| self.configuration.source(name).is_none()) {
            return Err(ExplainError::UnknownSource(name.to_owned()));
        }
        let mut explanation = match asked {
            AskedEvent::Request(number) => self.request(asked, *number),
            AskedEvent::Id(_) | AskedEvent::Position(_) => self.of_entries(asked, scope)?,
        };
        if self.is_stopped {
            cause::of_stopped(&mut explanation, matches!(asked, AskedEvent::Request(_)));
        }
        Ok(explanation)
    }

    /// Explains what became of an event, by what log and state have of it.
    fn of_entries(&self, asked: &AskedEvent, scope: &ExplainScope) -> Result<Explanation, ExplainError> {
        let mut looked = LookedThrough {
            log_through: Timestamp::from(SystemTime::now()).to_rfc3339(),
            log_first: self.search.first().0,
            complete: true,
            since: scope.since.map(Timestamp::to_rfc3339),
            ..LookedThrough::default()
        };
        let mut events = match asked {
            AskedEvent::Id(id) => self.by_id(id, scope, &mut looked)?,
            AskedEvent::Position(position) => self.at_position(*position, scope, &mut looked)?,
            AskedEvent::Request(_) => unreachable!("a request was explained above"),
        };
        if let AskedEvent::Id(id) = asked
            && events.keys().any(|(event_id, _)| id.is_whole(event_id))
        {
            events.retain(|(event_id, _), _| id.is_whole(event_id));
        }
        if events.len() > 1 {
            let told = cause::of_several(events.len());
            let mut explanation = without_event(asked, HowMany::Several, looked, told);
            explanation.candidates = events.iter().map(candidate).take(CANDIDATES_MAX).collect();
            return Ok(explanation);
        }
        match events.pop_first() {
            Some((name, event)) => self.of_one(asked, scope, name, event, looked),
            None => self.of_taken(asked, scope, looked),
        }
    }

    /// Explains the one event that was found.
    fn of_one(
        &self,
        asked: &AskedEvent,
        scope: &ExplainScope,
        (id, source): (String, String),
        found: OneEvent,
        looked: LookedThrough,
    ) -> Result<Explanation, ExplainError> {
        let OneEvent { entries, letters, damaged_in } = found;
        let main = match asked {
            AskedEvent::Position(_) => entries.first(),
            _ => best(&entries),
        };
        let (event, verdict) = match (main.map(|found| (found, &found.entry)), letters.first()) {
            (Some((found, Entry::Event(event))), _) => (of_event(found, event), self.accepted(event)?),
            (Some((found, Entry::Quarantined(delivery))), _) => {
                (of_delivery(found, delivery), quarantined(delivery))
            }
            (None, Some(letter)) => of_letter(letter),
            (None, None) => {
                let told = damaged_in.map(|segment| cause::of_damage(segment.0, &self.sink_names()));
                let told = told.unwrap_or_else(|| cause::of_nothing(&looked));
                let mut explanation = without_event(asked, HowMany::One, looked, told);
                explanation.event = Some(ExplainedEvent { id, source, ..ExplainedEvent::default() });
                return Ok(explanation);
            }
        };
        let remembered = self.remembered(&event);
        let sinks = match main.map(|found| &found.entry) {
            Some(Entry::Quarantined(_)) => Vec::new(),
            None if letters.iter().all(|letter| letter.sink.is_none()) => Vec::new(),
            entry => self.sinks(&event, entry.map(Entry::arrived), (&letters, &remembered), scope)?,
        };
        let replays = match main {
            Some(found) => self.replays(found, (&letters, &remembered))?,
            None => Vec::new(),
        };
        let explanation = Explanation {
            replays,
            command: sinks.iter().find_map(|sink| sink.command.clone()),
            event: Some(event),
            verdict: Some(verdict),
            sinks,
            dead_letters: letters,
            ..without_event(asked, HowMany::One, looked, cause::of_several(1))
        };
        self.concluded(explanation, remembered)
    }

    /// An explanation with its cause and its fix, and with the last steps of its event.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(super) fn concluded(
        &self,
        mut explanation: Explanation,
        remembered: Remembered,
    ) -> Result<Explanation, ExplainError> {
        let told = cause::of_event(&explanation, &self.configuration);
        (explanation.situation, explanation.cause, explanation.fix) = (told.situation, told.cause, told.fix);
        if let Some(event) = explanation.event.as_ref().filter(|event| event.only_sink.is_none()) {
            let event_type = event.event_type.as_deref().unwrap_or_default();
            let changed = self.admitted_under(event.configuration)?.changes(&self.configuration, event_type);
            explanation.cause += &changed.map_or_else(String::new, |it| cause::of_changed(&it));
        }
        explanation.duplicates = remembered.duplicates();
        let position = explanation.event.as_ref().and_then(|event| event.position);
        let once = remembered.was_published_once();
        explanation.cause += &cause::of_duplicates(explanation.duplicates, position, once);
        explanation.steps = remembered.into_newest(STEPS_MAX, &explanation.sinks);
        Ok(explanation)
    }

    fn sink_names(&self) -> Vec<String> {
        self.configuration.sinks.iter().map(|sink| sink.name.clone()).collect()
    }

    /// The configuration under which something was admitted.
    fn admitted_under(&self, fingerprint: Option<Fingerprint>) -> Result<AdmittedUnder, ExplainError> {
        let now = self.configuration.fingerprint;
        let kept =
            fingerprint.filter(|_| fingerprint != now).map(|earlier| self.state.configuration(earlier));
        Ok(AdmittedUnder::new(fingerprint, now, kept.transpose()?.flatten()))
    }

    /// The verdict on an event that is in the log, by the rule of its configuration or, if that is not known,
    /// by that of now.
    fn accepted(&self, event: &Event) -> Result<ExplainedVerdict, ExplainError> {
        let admitted = self.admitted_under(event.configuration)?;
        let rule = admitted.bridge_rule(&self.configuration.selection, &event.event_type);
        Ok(ExplainedVerdict {
            word: "accepted".into(),
            line: rule.line.filter(|_| rule.takes),
            rule: rule.takes.then_some(rule.rule),
            reason: None,
            detail: None,
            at: Some(event.arrived.to_rfc3339()),
            known_from: KnownFrom::Log,
        })
    }

    /// What became of an event at each sink, and at sinks that were removed. `arrived` is when it did, if
    /// its entry is in the log.
    pub(super) fn sinks(
        &self,
        event: &ExplainedEvent,
        arrived: Option<Timestamp>,
        (letters, remembered): (&[DeadLetterInfo], &Remembered),
        scope: &ExplainScope,
    ) -> Result<Vec<ExplainedSink>, ExplainError> {
        let route = event.provider.as_deref().zip(event.family.as_deref()).zip(event.intake.as_deref());
        let facts = EventFacts {
            event_type: event.event_type.as_deref(),
            route: route.map(|((provider, family), intake)| (provider, family, intake)),
            key: event.key.as_deref(),
            only_sink: event.only_sink.as_deref(),
            position: event.position.map(Position),
            is_in_log: arrived.is_some(),
            first: self.search.first(),
            arrived,
            now: SystemTime::now().into(),
            is_older: arrived.is_none_or(|arrived| arrived < self.started),
            admitted: self.admitted_under(event.configuration)?,
        };
        let replay_id = event.extensions.get(REPLAY_EXTENSION).filter(|_| event.only_sink.is_some());
        // Of what is not in the log no replay tells, either.
        let is_its = |letter: &DeadLetterInfo| arrived.is_none() || letter.replay_id.as_ref() == replay_id;
        let running = self.health.sinks();
        let cursors = self.cursors(facts.position, &running)?;
        let configured = self.configuration.sinks.iter().filter_map(|sink| cursors.get(&sink.name));
        let lowest = configured.min().copied().unwrap_or(Position(u64::MAX));
        let copies = self.waiting_copies((&event.id, &event.source), lowest, scope)?;
        let copy_for = |sink: &ConfiguredSink, cursor: Option<Position>| match &copies {
            None => WaitingCopy::Unknown,
            Some(copies) => {
                let waiting = copies.get(&sink.name).filter(|at| cursor.is_some_and(|cursor| **at > cursor));
                waiting.map_or(WaitingCopy::None, |at| WaitingCopy::At(*at))
            }
        };
        let row = |sink: &ConfiguredSink| {
            let status = running.iter().find(|status| status.name() == sink.name);
            let trouble = status.and_then(|status| status.trouble()).map(|trouble| split(&trouble));
            let cursor = cursors.get(&sink.name).copied();
            let facts_of_sink = SinkFacts {
                sink,
                letter: letters
                    .iter()
                    .find(|letter| letter.sink.as_ref() == Some(&sink.name) && is_its(letter)),
                published: remembered.published(&sink.name, facts.position, replay_id.is_some()),
                cursor,
                copy: copy_for(sink, cursor),
                held: status.map(|status| held(status.held(), facts.now)).unwrap_or_default(),
                trouble,
                paused: status.and_then(|status| status.paused()),
            };
            at_sink(&facts, facts_of_sink)
        };
        let mut rows: Vec<ExplainedSink> = self.configuration.sinks.iter().map(row).collect();
        let is_former = |letter: &&DeadLetterInfo| {
            letter.sink.as_ref().is_some_and(|sink| self.configuration.sink(sink).is_none())
        };
        rows.extend(letters.iter().filter(is_former).map(at_former_sink));
        Ok(rows)
    }

    /// What the last steps tell of the event. An id that is too short to be asked for is in none.
    pub(super) fn remembered(&self, event: &ExplainedEvent) -> Remembered {
        let id = event.id.parse::<IdMatch>();
        let positions: Vec<Position> = event.position.map(Position).into_iter().collect();
        let steps = id.map(|id| self.timeline.about(&id, &positions)).unwrap_or_default();
        Remembered::of(steps, (&event.id, &event.source), event.intake.as_deref())
    }

    /// The durable cursors. While a sink has settled the position and not committed its cursor yet, they are
    /// read again for half a second: a dead letter would be committed with it.
    fn cursors(
        &self,
        position: Option<Position>,
        running: &[Arc<SinkStatus>],
    ) -> Result<BTreeMap<String, Position>, ExplainError> {
        for look in 1.. {
            let cursors: BTreeMap<String, Position> = self.state.cursors()?.into_iter().collect();
            let is_underway = |status: &Arc<SinkStatus>| {
                let committed = cursors.get(status.name()).copied().unwrap_or_default();
                position.is_some_and(|position| committed < position && position <= status.cursor())
            };
            if look >= CURSOR_LOOKS || !running.iter().any(is_underway) {
                return Ok(cursors);
            }
            thread::sleep(CURSOR_PAUSE);
        }
        unreachable!("the last look returns")
    }
}

/// Reason and detail of a sink's trouble.
fn split(trouble: &str) -> (String, String) {
    let (reason, detail) = trouble.split_once(": ").unwrap_or((trouble, ""));
    (reason.to_owned(), detail.to_owned())
}

pub(super) fn without_event(
    asked: &AskedEvent,
    found: HowMany,
    looked: LookedThrough,
    told: CauseAndFix,
) -> Explanation {
    Explanation {
        asked: asked.to_string(),
        found,
        candidates: Vec::new(),
        event: None,
        verdict: None,
        duplicates: 0,
        sinks: Vec::new(),
        dead_letters: Vec::new(),
        steps: Vec::new(),
        replays: Vec::new(),
        situation: told.situation,
        cause: told.cause,
        fix: told.fix,
        command: None,
        looked,
        data: None,
        data_base64: None,
    }
}
