//! By which rules sinks judge events: those of the configuration, and those of the earlier ones under which
//! events in the log were admitted.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::config::Config;
use crate::dispatch::rules::{RuleBook, Rules, SinkRules};
use crate::event::Position;
use crate::spool::Spool;
use crate::state::{BegunConfiguration, ConfigurationRow, State, StateError, WhenFull};

/// What a configuration lets through to its sinks.
pub(super) fn rules(config: &Config) -> Rules {
    let sinks = config.sinks.iter().map(|sink| {
        let (selection, topic) = (sink.selection.clone(), sink.topic.clone());
        (sink.name.clone(), SinkRules { selection, topic })
    });
    Rules { fingerprint: config.fingerprint, sinks: sinks.collect() }
}

/// What the state keeps of a configuration that begins while this is the head of the log.
pub(super) fn row(config: &Config, head: Position) -> ConfigurationRow {
    let sinks = config.sinks.iter().map(|sink| (sink.name.clone(), sink.selection.clone()));
    ConfigurationRow {
        fingerprint: config.fingerprint,
        began: SystemTime::now().into(),
        head,
        select: config.selection.clone(),
        sinks: sinks.collect(),
    }
}

/// The rules of a start, and its configuration, which the state has yet to note unless it was used last.
///
/// # Errors
/// When the state cannot be read.
pub(super) fn read(
    config: &Config,
    spool: &Spool,
    state: &State,
) -> Result<(Arc<RuleBook>, UnnotedConfiguration), StateError> {
    let known = state.configurations()?;
    let begins = row(config, spool.head());
    let lets_through = |row: &ConfigurationRow| (row.fingerprint, row.select.clone(), row.sinks.clone());
    let was_used_last = known.last().map(lets_through) == Some(lets_through(&begins));
    let earlier = known.into_iter().map(|row| (row.fingerprint, row.sinks));
    let book = Arc::new(RuleBook::new(rules(config), earlier));
    let unnoted = (!was_used_last).then_some(begins);
    Ok((book, UnnotedConfiguration(Arc::new(Mutex::new(unnoted)))))
}

/// A configuration that the state does not have yet, for want of space.
#[derive(Clone)]
pub(super) struct UnnotedConfiguration(Arc<Mutex<Option<ConfigurationRow>>>);

impl UnnotedConfiguration {
    /// Notes the configuration before a source takes anything. For want of space it is noted later.
    ///
    /// # Errors
    /// When the state cannot be used.
    pub(super) fn begin(&self, spool: &Spool, state: &State) -> Result<(), StateError> {
        let noted = self.note(spool, state);
        let Err(error @ StateError::NoRoom { .. }) = noted else { return noted };
        tracing::warn!(
            %error,
            "the configuration cannot be noted in the state: it is tried again, and a start with another one \
             before that would judge by its own rules what is admitted until then"
        );
        Ok(())
    }

    /// Notes the configuration in the state, if that has not been done.
    ///
    /// # Errors
    /// See [`StateError`].
    pub(super) fn note(&self, spool: &Spool, state: &State) -> Result<(), StateError> {
        let Some(row) = self.0.lock().clone() else { return Ok(()) };
        let begun = state.begin_configuration(&row, spool.first(), WhenFull::ForgetOldest)?;
        if let BegunConfiguration::Noted(Some(forgotten)) = begun {
            tracing::warn!(
                configuration = %forgotten,
                "the log has events of more configurations than the state keeps: those that were admitted \
                 under the oldest one are judged by the rules of now"
            );
        }
        *self.0.lock() = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Fingerprint, Timestamp};
    use crate::selection::Selection;
    use crate::testing::bench::{Bench, awaited};
    use crate::testing::failing::Fault;

    #[tokio::test]
    async fn a_start_without_space_goes_on_and_notes_its_configuration_once_there_is_some() {
        let (bench, faults) = Bench::failing();
        let row = ConfigurationRow {
            fingerprint: Fingerprint([1; 6]),
            began: Timestamp(7),
            head: Position(0),
            select: Selection::All,
            sinks: [("lake".to_owned(), Selection::none())].into(),
        };
        let unnoted = UnnotedConfiguration(Arc::new(Mutex::new(Some(row.clone()))));
        faults.set(Fault::All);
        unnoted.begin(&bench.spool, &bench.state).expect("a start does not fail for want of space");
        let kept = || bench.state.configurations().unwrap_or_default();
        assert_eq!(kept(), []);
        faults.set(Fault::None);
        awaited(|| unnoted.note(&bench.spool, &bench.state).is_ok()).await;
        assert_eq!(kept(), [row]);
    }
}
