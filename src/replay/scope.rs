//! Which part of the log a replay looks through, and for what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{NewReplay, ReplayError, ReplaySink, Shared};
use crate::dedup::DuplicateKey;
use crate::event::{BODY_SCHEME, Entry, Event, Position};
use crate::spool::{LogSearch, SearchBudget, SearchFor};
use crate::state::ReplaySelection;
use crate::telemetry::Shown;

/// Most bytes of the log that are read to find ids: the footers of more than 150 GiB of events.
const KEY_BYTES_MAX: u64 = 4 << 30;
/// How long a sink can take to commit what it was just given: a dispatcher does so every 50 ms.
const COMMITTED_WITHIN: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The part of the log in which the events of a replay are.
pub(super) struct ReplayScope {
    /// What is behind this position …
    pub(super) after: Position,
    /// … and up to this one, which the sink has passed: what is behind it comes without a replay.
    pub(super) through: Position,
    /// Which events, by their whole ids.
    pub(super) events: ReplaySelection,
    /// CloudEvents `source` of the events with these ids.
    pub(super) ids_of: BTreeSet<String>,
}

/// The log in which a replay looks for its events.
pub(super) struct ReplayedLog {
    pub(super) search: LogSearch,
    /// CloudEvents `source` of the events of each configured source.
    pub(super) event_sources: Arc<Vec<String>>,
}

impl Shared {
    pub(super) fn log(&self) -> ReplayedLog {
        ReplayedLog { search: self.spool.search(), event_sources: self.event_sources.load_full() }
    }

    /// Finds the part of the log in which these events are, as it is now.
    pub(super) fn scope(&self, new: &NewReplay) -> Result<ReplayScope, ReplayError> {
        let passed = self.sink(&new.sink)?.passed(self.spool.head());
        self.log().scope(new, passed)
    }
}

impl ReplayedLog {
    /// Finds the part in which these events are, up to the position that the sink has passed.
    pub(super) fn scope(&self, new: &NewReplay, passed: Position) -> Result<ReplayScope, ReplayError> {
        let (events, search) = (&new.events, &self.search);
        let mut scope = ReplayScope {
            through: passed,
            after: Position(search.first().0.saturating_sub(1)),
            events: events.clone(),
            ids_of: BTreeSet::new(),
        };
        if let Some(since) = events.since {
            scope.after = scope.after.max(search.position_at(since)?);
        }
        scope.after = scope.after.min(scope.through);
        if events.ids.is_empty() {
            return Ok(scope);
        }
        let budget = SearchBudget::new(usize::MAX, KEY_BYTES_MAX);
        let keys: Vec<DuplicateKey> =
            self.keys(events, &scope.ids_of).into_iter().map(DuplicateKey).collect();
        let found = search.by_key(&keys, None, &budget)?.found;
        scope.ids_of =
            found.iter().filter_map(|found| Some(event(&found.entry)?.source.to_string())).collect();
        let found: Vec<(String, Position)> = found
            .iter()
            .filter_map(|found| Some((event(&found.entry)?.id.to_string(), found.position)))
            .collect();
        let is_of = |id: &str, asked: &str| id == asked || id.strip_prefix(BODY_SCHEME) == Some(asked);
        let missing = events.ids.iter().find(|asked| !found.iter().any(|(id, _)| is_of(id, asked)));
        if let Some(missing) = missing {
            return Err(ReplayError::UnknownId(format!(
                "the log has no event with the id `{}`: an id has to be whole; it may have been removed",
                Shown(missing)
            )));
        }
        if let Some((id, _)) = found.iter().find(|(_, position)| *position > scope.through) {
            return Err(ReplayError::UnknownId(format!(
                "{} has not passed the event with the id `{}` yet: it comes there without a replay",
                new.sink,
                Shown(id)
            )));
        }
        let positions = || found.iter().map(|(_, position)| *position);
        let first = positions().min().map_or(scope.after, |first| Position(first.0.saturating_sub(1)));
        scope.through = positions().max().unwrap_or(scope.through);
        scope.after = scope.after.max(first).min(scope.through);
        scope.events.ids = found.into_iter().map(|(id, _)| id).collect();
        Ok(scope)
    }

    /// What to search the log for; `ids_of` as in [`ReplayScope`].
    pub(super) fn wanted(&self, events: &ReplaySelection, ids_of: &BTreeSet<String>) -> SearchFor {
        SearchFor {
            keys: self.keys(events, ids_of).into_iter().map(DuplicateKey).collect(),
            id: None,
            types: events.types.clone(),
            families: events.families.clone(),
            sources: events.sources.clone(),
            arrived: (events.since, events.until),
            first_copies_only: true,
        }
    }

    /// The duplicate keys that events with the wanted ids can have: those of these sources, or of any that is
    /// configured if it is not known yet of which they are.
    fn keys(&self, events: &ReplaySelection, ids_of: &BTreeSet<String>) -> BTreeSet<[u8; 16]> {
        let names = events.ids.iter().flat_map(|id| [id.clone(), format!("{BODY_SCHEME}{id}")]);
        let sources: Vec<&String> = match ids_of.is_empty() {
            true => self.event_sources.iter().collect(),
            false => ids_of.iter().collect(),
        };
        names.flat_map(|id| sources.iter().map(move |source| DuplicateKey::of(source, &id).0)).collect()
    }
}

impl ReplaySink {
    /// The position up to which the sink has passed the log, at most this one. What it has just been given
    /// counts, so a sink that is not there yet has a moment to commit.
    fn passed(&self, head: Position) -> Position {
        let begun = Instant::now();
        while self.cursor.cursor() < head && begun.elapsed() < COMMITTED_WITHIN {
            sleep(LOOK_EVERY);
        }
        self.cursor.cursor().min(head)
    }
}

/// The event of an entry; a quarantined delivery is none.
fn event(entry: &Entry) -> Option<&Event> {
    match entry {
        Entry::Event(event) => Some(event),
        Entry::Quarantined(_) => None,
    }
}
