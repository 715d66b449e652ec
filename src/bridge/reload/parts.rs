//! The parts of a running bridge that a reload changes, and the order in which it does.
//!
//! What can fail comes first: sinks and clients are made, secrets and certificates read, the state is told of
//! the configuration, and the cursors of added sinks are stored. Only then are the rules begun, the sources
//! swapped, and the sinks that are gone or changed told to end. A delivery that began before the swap is
//! judged and stamped by the configuration under which it began.

use std::error::Error;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::BridgeError;
use super::super::dispatchers::Dispatchers;
use super::super::open::blocking;
use super::super::rules::{self, UnnotedConfiguration};
use super::super::sink_changes::PreparedSinks;
use super::super::sources::{PreparedSources, Sources};
use crate::admin::reload::ReloadRefusal;
use crate::config::{Changes, Config};
use crate::state::{BegunConfiguration, WhenFull};

/// How long it can take to make what a configuration changes. Until then the bridge looks at none of its
/// parts.
const PREPARED_WITHIN: Duration = Duration::from_secs(20);

/// The parts that a reload changes.
pub(in crate::bridge) struct ReloadedParts<'b> {
    pub(in crate::bridge) sources: &'b mut Sources,
    pub(in crate::bridge) sinks: &'b mut Dispatchers,
}

/// Parts that can be taken over. Dropping them leaves no trace.
pub(super) struct PreparedParts {
    sources: PreparedSources,
    sinks: PreparedSinks,
}

impl ReloadedParts<'_> {
    /// Makes what the configuration changes, or gives up if a disk does not answer.
    pub(super) async fn prepare(
        &self,
        config: &Config,
        changes: &Changes,
    ) -> Result<PreparedParts, ReloadRefusal> {
        let made = timeout(PREPARED_WITHIN, self.make(config, changes)).await;
        made.unwrap_or_else(|_| {
            Err(ReloadRefusal::Failed(format!(
                "what the configuration changes could not be made within {} s: does the disk under a new \
                 file sink's directory answer?",
                PREPARED_WITHIN.as_secs()
            )))
        })
    }

    async fn make(&self, config: &Config, changes: &Changes) -> Result<PreparedParts, ReloadRefusal> {
        let sinks = self.sinks.prepare(config, &changes.sinks).await?;
        let unchanged = |name: &str| changes.sources.unchanged.contains(name);
        let sources = self.sources.prepare(config, &unchanged).await?;
        Ok(PreparedParts { sources, sinks })
    }

    /// Takes the prepared parts over, or leaves everything as it is.
    pub(super) async fn take_over(
        self,
        config: &Config,
        prepared: PreparedParts,
        unnoted: &UnnotedConfiguration,
    ) -> Result<(), ReloadRefusal> {
        let PreparedParts { sources, mut sinks } = prepared;
        self.note(config, unnoted).await?;
        self.sinks.add(&mut sinks).await?;
        self.sinks.give_notice(&mut sinks);
        self.sources.swap(sources);
        self.sinks.replace_and_remove(sinks, Instant::now() + config.shutdown_grace);
        Ok(())
    }

    /// Tells the state which rules count from now on, so that a restart judges what waits by them.
    async fn note(&self, config: &Config, unnoted: &UnnotedConfiguration) -> Result<(), ReloadRefusal> {
        let (spool, state) = (self.sinks.around.spool.clone(), self.sinks.around.state.clone());
        let (row, unnoted) = (rules::row(config, spool.head()), unnoted.clone());
        let noting = move || {
            unnoted.note(&spool, &state)?;
            Ok(state.begin_configuration(&row, spool.first(), WhenFull::Refuse)?)
        };
        match blocking(noting).await? {
            BegunConfiguration::Noted(_) => Ok(()),
            BegunConfiguration::Full => Err(ReloadRefusal::Failed(
                "the log has events of as many configurations as the state keeps, and each is judged by the \
                 one under which it came: try again once the sinks that are behind have got on"
                    .to_owned(),
            )),
        }
    }
}

impl From<BridgeError> for ReloadRefusal {
    /// Says what could not be made, and why.
    fn from(error: BridgeError) -> Self {
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            said.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self::Failed(said)
    }
}
