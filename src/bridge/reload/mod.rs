//! Reads the configuration again while the bridge runs, and takes it over as a whole or not at all.
//!
//! ```text
//! asked ─▶ read and check ─▶ compare ─▶ prepare ─▶ take over ─▶ one log line, answer
//!          (another thread; has errors, needs a restart, cannot be made: nothing has changed)
//! ```
//!
//! [`ReloadRequests`] hands over what was asked for with the file as it was read. [`Reloadable`] knows the
//! configuration that counts and compares; [`ReloadedParts`] prepare and take over. The loop of the bridge
//! calls them by [`Reloads::carry_out`], so that nothing else changes the parts meanwhile.

mod parts;
mod requests;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use rustix::process::{Resource, getrlimit};
use serde_json::Value as Json;

pub(super) use self::parts::ReloadedParts;
use self::requests::{ReadConfiguration, ReloadRequests};
use self::watch::follow;
use super::rules::UnnotedConfiguration;
use super::task::Task;
use super::{Bridge, BridgeError, descriptors};
use crate::admin::reload::{
    ReloadAnswer, ReloadOutcome, ReloadRefusal, ReloadResult, ReloadedValue, RestartValue, sentence, word,
};
use crate::admin::{AdminState, Reloader};
use crate::config::{ChangedValue, Changes, Config, ConfigurationFile, NeedsRestart, diff};
use crate::event::Fingerprint;
use crate::telemetry::{Metrics, ReloadMetrics};

/// Reads the configuration of a running bridge again.
pub(super) struct Reloads {
    /// Asks for it.
    pub(super) reloader: Reloader,
    /// What was asked for.
    pub(super) requests: ReloadRequests,
    pub(super) reloadable: Reloadable,
    /// Looks whether the file changes.
    pub(super) watcher: Task,
    /// Whether it looks.
    is_watched: Arc<AtomicBool>,
    metrics: ReloadMetrics,
}

/// The configuration of a running bridge.
pub(super) struct Reloadable {
    /// The configuration that counts.
    pub(super) config: Config,
    /// Shows it.
    pub(super) admin: AdminState,
    /// The one that the state has yet to note.
    pub(super) unnoted: UnnotedConfiguration,
}

impl Bridge {
    /// Asks the bridge to read its configuration again, once it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloads.reloader.clone()
    }

    /// Tells to which sinks an event of a type goes, by the configuration that counts when it is asked.
    pub fn selected_by(&self) -> impl Fn(&str) -> Vec<String> + Send + 'static {
        let admin = self.reloads.reloadable.admin.clone();
        move |event_type| admin.summary().selected_by(event_type)
    }
}

impl Reloads {
    /// Begins to look at the file, if there is one and it is to be watched.
    pub(super) fn start(reloadable: Reloadable, file: Option<ConfigurationFile>, metrics: &Metrics) -> Self {
        let (reloader, requests) = Reloader::new(SystemTime::now().into());
        let (file, config) = (file.map(Arc::new), &reloadable.config);
        let is_watched = Arc::new(AtomicBool::new(config.reload_on_change));
        let metrics = metrics.reload.clone();
        metrics.counts(&config.fingerprint.to_string());
        let watched = (file.clone(), reloader.clone(), Arc::clone(&is_watched));
        let watcher = Task::spawn("the watcher of the configuration file", |stop| {
            let (file, reloader, is_watched) = watched;
            follow(file, reloader, is_watched, stop)
        });
        let requests = ReloadRequests::new(requests, file);
        Self { reloader, requests, reloadable, watcher, is_watched, metrics }
    }

    /// Carries out what was asked for, and tells whoever asked what became of it.
    pub(super) async fn carry_out(&mut self, read: ReadConfiguration, parts: ReloadedParts<'_>) {
        let (begun, ReadConfiguration { asked, loaded }) = (Instant::now(), read);
        let before = self.reloadable.config.fingerprint;
        let outcome = match loaded {
            Ok(loaded) => self.reloadable.reload(loaded, asked.dry_run, parts).await,
            Err(refusal) => Err(refusal),
        };
        if !asked.dry_run {
            let config = &self.reloadable.config;
            if outcome.is_ok() {
                self.is_watched.store(config.reload_on_change, Ordering::Relaxed);
                self.metrics.counts(&config.fingerprint.to_string());
            }
            self.metrics.ended(word(&outcome), outcome.is_err());
            self.reloader.note(asked.by, &outcome, SystemTime::now().into());
            log(&outcome, before, begun);
        }
        asked.answer(outcome);
    }

    /// Looks at the file no more. Requests that come later are answered that the bridge stops.
    pub(super) async fn end(self) -> Result<(), BridgeError> {
        drop(self.requests);
        self.watcher.end().await
    }
}

impl Reloadable {
    /// Compares the configuration with the one that counts, and takes it over unless that is a dry run, which
    /// only prepares it.
    async fn reload(
        &mut self,
        (mut config, warnings): (Config, Vec<Json>),
        dry_run: bool,
        parts: ReloadedParts<'_>,
    ) -> ReloadOutcome {
        let changes = self.compare(&config)?;
        let is_same = config.fingerprint == self.config.fingerprint && changes.is_empty();
        let result = match (is_same, dry_run) {
            (true, _) => ReloadResult::Unchanged,
            (false, true) => ReloadResult::WouldApply,
            (false, false) => ReloadResult::Applied,
        };
        let [fingerprint, before] = [&config, &self.config].map(|config| config.fingerprint.to_string());
        if result != ReloadResult::Unchanged {
            // The limit of open files is the same as before, and so is what counts because of it.
            config.limits = self.config.limits;
            config.effective.replace_as(&self.config.effective);
            let prepared = parts.prepare(&config, &changes).await?;
            if result == ReloadResult::Applied {
                parts.take_over(&config, prepared, &self.unnoted).await?;
                self.config = config;
            }
        }
        let changes = changes.values.into_iter().map(ReloadedValue::from).collect();
        Ok(ReloadAnswer { result, fingerprint, before, changes, warnings })
    }

    /// What the configuration changes, unless that needs a restart.
    fn compare(&self, config: &Config) -> Result<Changes, ReloadRefusal> {
        let changes = diff(&self.config, config);
        let restart: Vec<RestartValue> =
            changes.restart.iter().cloned().chain(self.files(config)).map(RestartValue::from).collect();
        if restart.is_empty() { Ok(changes) } else { Err(ReloadRefusal::Restart(restart)) }
    }

    /// What needs more open files than the connections leave it.
    fn files(&self, config: &Config) -> Option<NeedsRestart> {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = self.config.limits.connections_max;
        let is_enough = descriptors::connections(files, config).is_some_and(|left| left >= most);
        (!is_enough).then(|| NeedsRestart {
            path: "sinks".to_owned(),
            line: config.origins.line("sinks"),
            what: format!(
                "with these sources and sinks, the {files} files that the process can open are too few for \
                 {most} connections: raise the limit (LimitNOFILE, ulimit -n)"
            ),
        })
    }
}

/// One line for each reload.
fn log(outcome: &ReloadOutcome, before: Fingerprint, begun: Instant) {
    let milliseconds = begun.elapsed().as_millis() as u64;
    match outcome {
        Ok(answer) if answer.result == ReloadResult::Applied => tracing::info!(
            configuration = answer.fingerprint,
            %before,
            values = answer.changes.len(),
            warnings = answer.warnings.len(),
            milliseconds,
            "the configuration was read again and counts from now on"
        ),
        Ok(answer) => tracing::info!(
            configuration = answer.fingerprint,
            "the configuration was read again and is the same as before"
        ),
        Err(_) => tracing::warn!(
            configuration = %before,
            "the configuration was read again and is not taken over, so nothing changes: {}",
            sentence(outcome)
        ),
    }
}

impl From<ChangedValue> for ReloadedValue {
    fn from(ChangedValue { path, line, change }: ChangedValue) -> Self {
        Self { path, change: change.word().to_owned(), line }
    }
}

impl From<NeedsRestart> for RestartValue {
    fn from(NeedsRestart { path, line, what }: NeedsRestart) -> Self {
        Self { path, line, what }
    }
}
