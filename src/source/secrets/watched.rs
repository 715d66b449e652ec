//! Follows the secrets of a source: reads the file of each every five seconds, because a rotation replaces
//! the file, and asks AWS for each that it keeps, by default every minute; and drops those of a former
//! configuration that are over.
//!
//! A file is opened by its path each time, because a replaced file, or a symbolic link that was swapped,
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
use crate::aws::{Aws, secrets};
use crate::event::Timestamp;
use crate::provider::{Definition, secret_oddity};
use crate::reference::{AwsSecret, secret_in_file};
use crate::telemetry::Episode;

/// The time between two reads of a file.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How long the read of a file can take before that is logged and counted as a failure.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// The same of what is asked of AWS, which is given up before then.
const ANSWERED_WITHIN: Duration = Duration::from_secs(45);

/// Where a secret is kept that can change.
pub(super) enum Place {
    File(PathBuf),
    Aws(AwsSecret, Aws),
}

/// A secret of a source that can change, which is watched.
pub struct WatchedSecret {
    pub(super) secrets: Arc<Secrets>,
    /// The secret's number among those of its source.
    pub(super) number: usize,
    pub(super) place: Place,
    pub(super) labels: Labels,
    pub(super) definition: Arc<Definition>,
    pub(super) failures: Counter,
    /// The time in which what is kept there cannot be used, by the problem.
    pub(super) trouble: Episode<String>,
}

/// What follows the secrets of one source.
pub struct SecretWatch {
    watched: Vec<WatchedSecret>,
    /// The secrets, if some of them are of a former configuration.
    retiring: Option<Arc<Secrets>>,
}

impl SecretWatch {
    pub(in crate::source) fn new(watched: Vec<WatchedSecret>, secrets: &Arc<Secrets>) -> Option<Self> {
        let retiring = secrets.has_retired().then(|| Arc::clone(secrets));
        (!watched.is_empty() || retiring.is_some()).then_some(Self { watched, retiring })
    }

    /// Follows the secrets until `stop` is cancelled.
    ///
    /// # Panics
    /// When the task that watches a secret panics.
    pub async fn run(self, stop: CancellationToken) {
        // One task for each, so that one whose read hangs does not delay the others.
        let mut following: JoinSet<()> =
            self.watched.into_iter().map(|secret| secret.follow(stop.clone())).collect();
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

impl Place {
    /// The time between two reads.
    fn every(&self) -> Duration {
        match self {
            Self::File(_) => READ_EVERY,
            Self::Aws(_, aws) => aws.read_secrets_every(),
        }
    }

    /// How long a read can take.
    fn within(&self) -> Duration {
        match self {
            Self::File(_) => READ_WITHIN,
            Self::Aws(..) => ANSWERED_WITHIN,
        }
    }

    /// What holds the secret, for the log.
    fn noun(&self) -> &'static str {
        match self {
            Self::File(_) => "the file of this secret",
            Self::Aws(..) => "the AWS entry of this secret",
        }
    }

    /// Which one that is.
    fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Aws(secret, _) => secret.to_string(),
        }
    }
}

impl WatchedSecret {
    async fn follow(mut self, stop: CancellationToken) {
        let following = async {
            loop {
                self.read_once().await;
                sleep(self.place.every()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = following => {}
        }
    }

    async fn read_once(&mut self) {
        let mut reading = match &self.place {
            Place::File(path) => {
                let path = path.clone();
                spawn_blocking(move || secret_in_file(&path))
            }
            Place::Aws(secret, aws) => {
                let (secret, aws) = (secret.clone(), aws.clone());
                tokio::spawn(async move {
                    let read = Box::pin(secrets::read(&aws, &secret)).await;
                    read.map_err(|unread| format!("{secret} cannot be read: {unread}"))
                })
            }
        };
        let within = self.place.within();
        let read = match timeout(within, &mut reading).await {
            Ok(read) => read,
            Err(_) => {
                let seconds = within.as_secs();
                let hangs = format!("{} was not read within {seconds} s", self.place.shown());
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
                    let noun = self.place.noun();
                    tracing::info!(source, secret, seconds, "{noun} can be used again");
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
            .map_err(|problem| format!("in {}: {problem}", self.place.shown()))?;
        let fingerprint = new.fingerprint().to_owned();
        let Some(end) = self.secrets.replace(self.number, new, now) else { return Ok(()) };
        let (Labels { source, secret }, end) = (&self.labels, end.to_rfc3339());
        tracing::info!(
            source,
            secret,
            fingerprint,
            "{} was replaced: the new secret is valid, and the one before it until {end}",
            self.place.noun()
        );
        if let Some(oddity) = secret_oddity(text) {
            tracing::warn!(
                source,
                secret,
                "{} holds {oddity}, and all of it counts as the secret",
                self.place.noun()
            );
        }
        Ok(())
    }

    fn fail(&mut self, problem: String, now: Timestamp) {
        // What holds a secret that is no longer valid need not exist.
        if self.secrets.current(self.number).is_some_and(|current| current.is_over(now)) {
            return;
        }
        self.failures.inc();
        if self.trouble.happens(problem.clone(), Instant::now()).is_some() {
            let Labels { source, secret } = &self.labels;
            tracing::warn!(
                source,
                secret,
                "{} cannot be used, and the secret that it held before stays valid: {problem}; put the \
                 provider's signing secret there, which is read again every {} s",
                self.place.noun(),
                self.place.every().as_secs()
            );
        }
    }
}
