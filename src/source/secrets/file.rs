//! Follows the secrets of a source: reads the file of each every five seconds, because a rotation replaces
//! the file, and drops those of a former configuration that are over.
//!
//! The file is opened by its path each time, because a replaced file, or a symbolic link that was swapped,
//! has only its name in common with the one before.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::metrics::counter::Counter;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Labels, Secrets};
use crate::event::Timestamp;
use crate::provider::{Definition, secret_oddity};
use crate::reference::secret_in_file;
use crate::telemetry::Episode;

/// The time between two reads of a file.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How long a read can take before that is logged and counted as a failure.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// A file with a secret of a source, which is watched.
pub struct WatchedSecretFile {
    pub(super) secrets: Arc<Secrets>,
    /// The secret's number among those of its source.
    pub(super) number: usize,
    pub(super) path: PathBuf,
    pub(super) labels: Labels,
    pub(super) definition: Arc<Definition>,
    pub(super) failures: Counter,
    /// The time in which the file cannot be used, by the problem.
    pub(super) trouble: Episode<String>,
}

/// What follows the secrets of one source.
pub struct SecretWatch {
    files: Vec<WatchedSecretFile>,
    /// The secrets, if some of them are of a former configuration.
    retiring: Option<Arc<Secrets>>,
}

impl SecretWatch {
    pub(in crate::source) fn new(files: Vec<WatchedSecretFile>, secrets: &Arc<Secrets>) -> Option<Self> {
        let retiring = secrets.has_retired().then(|| Arc::clone(secrets));
        (!files.is_empty() || retiring.is_some()).then_some(Self { files, retiring })
    }

    /// Follows the secrets until `stop` is cancelled.
    ///
    /// # Panics
    /// When the task that watches a file panics.
    pub async fn run(self, stop: CancellationToken) {
        // One task for each file, so that a file whose read hangs does not delay the others.
        let mut following: JoinSet<()> =
            self.files.into_iter().map(|file| file.follow(stop.clone())).collect();
        if let Some(secrets) = self.retiring {
            following.spawn(forget_in_time(secrets));
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(ended) = following.join_next() => if let Err(broken) = ended {
                    resume_unwind(broken.into_panic());
                },
            }
        }
    }
}

/// Drops secrets of a former configuration once they are over, until none is left.
async fn forget_in_time(secrets: Arc<Secrets>) {
    while secrets.has_retired() {
        sleep(READ_EVERY).await;
        secrets.forget_retired(SystemTime::now().into());
    }
}

impl WatchedSecretFile {
    async fn follow(mut self, stop: CancellationToken) {
        let following = async {
            loop {
                self.read_once().await;
                sleep(READ_EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = following => {}
        }
    }

    async fn read_once(&mut self) {
        let path = self.path.clone();
        let mut reading = spawn_blocking(move || secret_in_file(&path));
        let read = match timeout(READ_WITHIN, &mut reading).await {
            Ok(read) => read,
            Err(_) => {
                let seconds = READ_WITHIN.as_secs();
                let hangs = format!("{} was not read within {seconds} s", self.path.display());
                self.note(Err(hangs), SystemTime::now().into());
                reading.await
            }
        };
        let read = read.unwrap_or_else(|broken| resume_unwind(broken.into_panic()));
        self.note(read, SystemTime::now().into());
    }

    /// Handles the result of a read: takes a new secret, and logs a problem when it begins, changes or ends.
    pub(super) fn note(&mut self, read: Result<SecretString, String>, now: Timestamp) {
        self.secrets.forget(self.number, now);
        match read.and_then(|text| self.take(&text, now)) {
            Ok(()) => {
                if let Some(end) = self.trouble.over(Instant::now()) {
                    let Labels { source, secret } = &self.labels;
                    let seconds = end.seconds();
                    tracing::info!(source, secret, seconds, "the file of this secret can be used again");
                }
            }
            Err(problem) => self.fail(problem, now),
        }
    }

    fn take(&self, text: &SecretString, now: Timestamp) -> Result<(), String> {
        let Some(current) = self.secrets.current(self.number) else { return Ok(()) };
        let text = text.expose_secret();
        let new = current
            .replaced_by(text, self.definition.secret_form())
            .map_err(|problem| format!("in {}: {problem}", self.path.display()))?;
        let fingerprint = new.fingerprint().to_owned();
        let Some(end) = self.secrets.replace(self.number, new, now) else { return Ok(()) };
        let (Labels { source, secret }, end) = (&self.labels, end.to_rfc3339());
        tracing::info!(
            source,
            secret,
            fingerprint,
            "the file of this secret was replaced: the new secret is valid, and the one before it until {end}"
        );
        if let Some(oddity) = secret_oddity(text) {
            tracing::warn!(
                source,
                secret,
                "the file of this secret holds {oddity}, and all of it counts as the secret"
            );
        }
        Ok(())
    }

    fn fail(&mut self, problem: String, now: Timestamp) {
        // A file whose secret is no longer valid need not exist.
        if self.secrets.current(self.number).is_some_and(|current| current.is_over(now)) {
            return;
        }
        self.failures.inc();
        if self.trouble.happens(problem.clone(), Instant::now()).is_some() {
            let Labels { source, secret } = &self.labels;
            tracing::warn!(
                source,
                secret,
                "the file of this secret cannot be used, and the secret that it held before stays valid: \
                 {problem}; put the provider's signing secret into the file, which is read again every {} \
                 s",
                READ_EVERY.as_secs()
            );
        }
    }
}
