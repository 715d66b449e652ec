//! Sinks that come, change and go while the bridge runs.
//!
//! 1. `prepare` makes what can fail; dropping what it has made leaves no trace.
//! 2. `add` registers the cursors of added sinks, durably and before anything else of the log can be removed,
//!    begins the new rules and starts these sinks; it is the last step that can fail, and then nothing has
//!    changed.
//! 3. `give_notice` says to removed sinks where they end, before anything comes under the new configuration.
//! 4. `replace_and_remove` gives the orders to the tasks of changed and removed sinks, which carry them out
//!    by themselves: nobody waits for a sink that is slow.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::dispatchers::Dispatchers;
use super::open::blocking;
use super::sink_life::{PreparedOutput, PreparedSink, SinkChange, SinkNeeds, SinkOrder, reader_kind};
use super::sinks::make_sink;
use super::{BridgeError, rules};
use crate::config::{Config, NamedChanges};
use crate::dispatch::certainty;
use crate::dispatch::low_watermark::{CursorHandle, ReaderPosition};
use crate::dispatch::quarantine::ScopeChange;
use crate::dispatch::resume::{Start, resume_added};
use crate::dispatch::rules::Rules;
use crate::event::Position;
use crate::selection::Selection;
use crate::sink::file::NewDirectories;
use crate::sink::{Output, SinkOptions};
use crate::state::PausedSince;

/// What a change of sinks needs, made and not in use yet. Dropping it leaves no trace.
#[derive(Default)]
pub(super) struct PreparedSinks {
    // These are dropped before the directories: their locks are in there.
    added: Vec<PreparedSink>,
    changed: Vec<PreparedSink>,
    directories: UnusedDirectories,
    removed: BTreeSet<String>,
    /// Up to where the removed sinks deliver, once they have notice.
    through: Option<Position>,
    /// The pauses that the state knows.
    paused: Vec<(String, PausedSince)>,
    /// What each configured sink takes.
    selections: Vec<(String, Selection)>,
    /// What the new configuration lets through, until it begins.
    rules: Option<Rules>,
}

/// What sinks have made that are not in use yet.
#[derive(Default)]
struct UnusedDirectories(Vec<NewDirectories>);

impl Drop for UnusedDirectories {
    fn drop(&mut self) {
        self.0.drain(..).for_each(NewDirectories::remove);
    }
}

impl Dispatchers {
    /// Makes the sinks that a new configuration adds and changes.
    ///
    /// # Errors
    /// When one cannot be made, or a sink still carries out the change before; then nothing has changed.
    pub(super) async fn prepare(
        &self,
        config: &Config,
        changes: &NamedChanges,
    ) -> Result<PreparedSinks, BridgeError> {
        self.refuse_if_still_changing(changes)?;
        let state = self.around.state.clone();
        let mut prepared = PreparedSinks {
            removed: changes.removed.clone(),
            paused: blocking(move || Ok(state.paused()?)).await?,
            rules: Some(rules::rules(config)),
            selections: config.sinks.iter().map(|sink| (sink.name.clone(), sink.selection.clone())).collect(),
            ..PreparedSinks::default()
        };
        let ending = changes.changed.iter().chain(&changes.removed);
        let ending = ending.filter_map(|name| self.sinks.get(name));
        let freed: Vec<PathBuf> = ending.filter_map(|sink| directory(&sink.options)).collect();
        for options in &config.sinks {
            let is_in = |names: &BTreeSet<String>| names.contains(&options.name);
            let (is_added, is_changed) = (is_in(&changes.added), is_in(&changes.changed));
            if is_added || is_changed {
                let output = self.prepare_output(options, &freed, &mut prepared.directories).await?;
                let sink = PreparedSink { options: options.clone(), output };
                if is_added { prepared.added.push(sink) } else { prepared.changed.push(sink) }
            }
        }
        Ok(prepared)
    }

    /// A sink takes one change after the other, and one that was removed can be added once it has ended.
    fn refuse_if_still_changing(&self, changes: &NamedChanges) -> Result<(), BridgeError> {
        let is_there = |name: &&String| self.sinks.get(*name).is_some_and(|sink| !sink.has_ended());
        let is_busy = |name: &&String| self.sinks.get(*name).is_some_and(|sink| !sink.takes_orders());
        let ending = changes.added.iter().find(is_there);
        let busy = changes.changed.iter().chain(&changes.removed).find(is_busy);
        match ending.or(busy) {
            Some(name) => Err(BridgeError::SinkStillChanging { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Makes a sink, unless its directory is that of a sink which ends.
    async fn prepare_output(
        &self,
        options: &SinkOptions,
        freed: &[PathBuf],
        made: &mut UnusedDirectories,
    ) -> Result<PreparedOutput, BridgeError> {
        let Output::File(file) = &options.output else {
            return Ok(PreparedOutput::Made(make_sink(options, &self.around.aws).await?));
        };
        if directory(options).is_some_and(|dir| freed.contains(&dir)) {
            return Ok(PreparedOutput::Later);
        }
        let dir = file.dir.clone();
        let missing = blocking(move || Ok(NewDirectories::missing_of(&dir))).await?;
        let sink = make_sink(options, &self.around.aws).await;
        // Not before: to remove directories of a disk that does not answer would wait for that disk.
        made.0.push(missing);
        Ok(PreparedOutput::Made(sink?))
    }

    /// Starts the added sinks: they get every event from now on, or from where `from` says.
    ///
    /// # Errors
    /// When their cursors cannot be stored; then nothing has changed.
    pub(super) async fn add(&mut self, prepared: &mut PreparedSinks) -> Result<(), BridgeError> {
        let shares = self.register(&prepared.added).await?;
        prepared.directories.0.clear();
        prepared.rules.take().into_iter().for_each(|rules| self.around.rules.begin(rules));
        for (sink, (share, start)) in prepared.added.drain(..).zip(shares) {
            let (name, cursor) = (sink.options.name.clone(), start.cursor.0);
            let buried = self.around.quarantine.tell(ScopeChange::Added(name.clone())).await;
            let buried = buried.ok_or(BridgeError::BrokeDown("the quarantine"))?.max(start.buried);
            tracing::info!(sink = name, cursor, "the sink was added: it begins behind `cursor`");
            let SinkNeeds { awaited, pausing, health, metrics, .. } = &self.around;
            // The dispatcher asks for its switch when it begins.
            let is_awaited = awaited.get(&name).is_some();
            drop(pausing.add((name.as_str(), is_awaited), &prepared.paused, health, metrics));
            self.begin(sink, share, buried);
        }
        let replays = &self.around.replays;
        prepared.selections.drain(..).for_each(|(sink, selection)| replays.select(&sink, selection));
        Ok(())
    }

    /// Where each sink that is to be added begins. The log keeps what is behind it.
    async fn register(&self, added: &[PreparedSink]) -> Result<Vec<(CursorHandle, Start)>, BridgeError> {
        if added.is_empty() {
            return Ok(Vec::new());
        }
        // From here on nothing is removed for its age.
        let begin = |sink: &PreparedSink| {
            let position = ReaderPosition { cursor: Position(0), kind: reader_kind(&sink.options) };
            self.around.cursors.add(position)
        };
        let shares: Vec<CursorHandle> = added.iter().map(begin).collect();
        let begins: Vec<_> =
            added.iter().map(|sink| (sink.options.name.clone(), sink.options.from)).collect();
        let (spool, state) = (self.around.spool.clone(), self.around.state.clone());
        let awaited = self.around.awaited.clone();
        let begun = blocking(move || {
            let begins: Vec<_> = begins.iter().map(|(name, from)| (name.as_str(), *from)).collect();
            let starts = resume_added(&begins, &spool, &state)?;
            let cursors = begins.iter().zip(&starts).map(|((name, _), start)| (*name, start.cursor));
            certainty::begin(&cursors.collect::<Vec<_>>(), &awaited, &spool, &state)?;
            Ok(starts)
        });
        match begun.await {
            Ok(starts) => {
                shares.iter().zip(&starts).for_each(|(share, start)| share.commit(start.cursor));
                Ok(shares.into_iter().zip(starts).collect())
            }
            Err(error) => {
                shares.into_iter().for_each(CursorHandle::leave);
                Err(error)
            }
        }
    }

    /// Gives notice to removed sinks: they deliver what the log holds by now. To be called before an event
    /// can come under the new configuration: a sink that passed over one would not get it once it is
    /// configured again, though it gets all that come later.
    pub(super) fn give_notice(&self, prepared: &mut PreparedSinks) -> Position {
        let through = *prepared.through.get_or_insert_with(|| self.around.spool.head());
        let removed = prepared.removed.iter().filter_map(|name| self.sinks.get(name));
        removed.for_each(|sink| sink.leave.remove(through));
        through
    }

    /// Orders removed sinks to end once they have delivered what they are to, and changed ones to go on at
    /// their cursors as they are configured now. Those that take longer than the deadline are cut short.
    pub(super) fn replace_and_remove(&mut self, mut prepared: PreparedSinks, deadline: Instant) {
        let through = self.give_notice(&mut prepared);
        for name in std::mem::take(&mut prepared.removed) {
            let Some(sink) = self.sinks.get_mut(&name) else { continue };
            sink.is_removed = true;
            self.around.replays.remove_sink(&name);
            let replays = self.around.replays.clone();
            let replays = spawn_blocking(move || replays.stop_those_to(&name));
            order(&sink.orders, SinkChange::Remove { through, replays }, deadline);
        }
        for next in prepared.changed.drain(..) {
            let Some(sink) = self.sinks.get_mut(&next.options.name) else { continue };
            sink.options = next.options.clone();
            order(&sink.orders, SinkChange::Replace(Box::new(next)), deadline);
        }
    }
}

/// `prepare` has looked whether there is room for it. A task that is gone has made the bridge stop.
fn order(orders: &mpsc::Sender<SinkOrder>, change: SinkChange, deadline: Instant) {
    let _ = orders.try_send(SinkOrder { change, deadline });
}

/// The directory of a file sink, by the path that is the same for all names of it.
fn directory(options: &SinkOptions) -> Option<PathBuf> {
    let Output::File(file) = &options.output else { return None };
    Some(std::fs::canonicalize(&file.dir).unwrap_or_else(|_| file.dir.clone()))
}

#[cfg(test)]
mod tests;
