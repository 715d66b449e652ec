//! What a replay would send: counts by type and by hour, without sending anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scope::{ReplayScope, ReplayedLog};
use super::{NewReplay, ReplayError, Replays};
use crate::event::{Entry, Event, Position};
use crate::selection::Selection;
use crate::spool::{LogSearch, SearchBudget};

/// Most types and hours that are counted by name.
const NAMES_MAX: usize = 1_000;
/// The name under which the others are counted.
const OTHERS: &str = "(others)";
/// Bytes of the log that are looked through at once, which bounds the memory that it takes.
const PAGE_BYTES: u64 = 16 << 20;
/// How long one request counts: longer than most logs take, and shorter than a client waits.
const COUNT_FOR: Duration = Duration::from_secs(10);

/// What a replay would send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayCount {
    /// Always true, so that nobody takes this for a replay.
    pub dry_run: bool,
    /// How many events it would send.
    pub events: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// How many more there are that the sink's selection does not take.
    pub not_selected: u64,
    /// How many entries are gone or damaged.
    pub lost: u64,
    /// The events by type.
    pub types: BTreeMap<String, u64>,
    /// The events by the hour in which they arrived, such as `2026-11-21T06Z`.
    pub hours: BTreeMap<String, u64>,
    /// The log was looked through up to this position: ask again with `after` for what is behind it …
    pub through: u64,
    /// … unless this is true.
    pub complete: bool,
}

impl ReplayCount {
    /// Adds what was counted behind it.
    pub fn add(&mut self, more: Self) {
        self.events += more.events;
        self.bytes += more.bytes;
        self.not_selected += more.not_selected;
        self.lost += more.lost;
        more.types.into_iter().for_each(|(name, count)| add_to(&mut self.types, name, count));
        more.hours.into_iter().for_each(|(name, count)| add_to(&mut self.hours, name, count));
        (self.through, self.complete) = (more.through, more.complete);
    }

    fn note(&mut self, event: &Event) {
        self.events += 1;
        self.bytes += event.body.len() as u64;
        add_to(&mut self.types, event.event_type.to_string(), 1);
        let arrived = event.arrived.to_rfc3339();
        let hour = arrived.get(..13).unwrap_or(&arrived);
        add_to(&mut self.hours, format!("{hour}Z"), 1);
    }
}

fn add_to(counts: &mut BTreeMap<String, u64>, name: String, count: u64) {
    let known = counts.len() < NAMES_MAX || counts.contains_key(&name);
    *counts.entry(if known { name } else { OTHERS.to_owned() }).or_default() += count;
}

impl Replays {
    /// Counts what a replay would send of what is behind a position, for ten seconds at most.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn count(&self, new: &NewReplay, after: Position) -> Result<ReplayCount, ReplayError> {
        let shared = &*self.0;
        shared.check(new)?;
        let sink = shared.sink(&new.sink)?;
        let scope = shared.scope(new)?;
        count(&shared.log(), new, &sink.selection, (&scope, after))
    }
}

/// The same of the log that a stopped bridge has left, to a sink with this selection and this cursor. The
/// sink has to be one of the bridge.
///
/// # Errors
/// See [`ReplayError`].
pub fn count_of_stopped(
    search: LogSearch,
    event_sources: &[String],
    (selection, cursor): (&Selection, Position),
    new: &NewReplay,
    after: Position,
) -> Result<ReplayCount, ReplayError> {
    new.check()?;
    let log = ReplayedLog { search, event_sources: Arc::new(event_sources.to_vec()) };
    let scope = log.scope(new, cursor)?;
    count(&log, new, selection, (&scope, after))
}

/// Counts what is in a part of the log, behind a position.
fn count(
    log: &ReplayedLog,
    new: &NewReplay,
    selection: &Selection,
    (scope, after): (&ReplayScope, Position),
) -> Result<ReplayCount, ReplayError> {
    let begun = Instant::now();
    let wanted = log.wanted(&scope.events, &scope.ids_of);
    let mut count = ReplayCount { dry_run: true, ..ReplayCount::default() };
    let mut read = scope.after.max(after);
    while !count.complete && begun.elapsed() < COUNT_FOR {
        let budget = SearchBudget::new(usize::MAX, PAGE_BYTES);
        let page = log.search.oldest_first(&wanted, read, scope.through, &budget)?;
        for found in &page.found {
            match &found.entry {
                Entry::Event(event) if new.select_all || selection.takes(&event.event_type) => {
                    count.note(event);
                }
                Entry::Event(_) => count.not_selected += 1,
                Entry::Quarantined(_) => {}
            }
        }
        count.lost += page.lost + page.gone;
        (read, count.complete) = (page.through, page.complete);
    }
    count.through = read.0;
    Ok(count)
}
