//! A secret's file is read again and again: whoever mounts it replaces it when the secret rotates.
//!
//! It is read by its path each time, because a replaced file and a swapped link have the name and
//! nothing else in common with the one before.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Labels, Secrets};
use crate::event::Timestamp;
use crate::provider::{Definition, secret_oddity};
use crate::reference::secret_in_file;

/// How long a file is left alone between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a look may take before that counts as a failure of its own, and is said.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// A file with a secret of a source.
pub struct WatchedSecretFile {
    pub(super) secrets: Arc<Secrets>,
    /// Which one of the secrets.
    pub(super) number: usize,
    pub(super) path: PathBuf,
    pub(super) labels: Labels,
    pub(super) definition: Arc<Definition>,
    pub(super) failures: Counter,
    /// What was wrong at the last look.
    pub(super) trouble: Option<String>,
}

/// Follows files until told to stop.
///
/// # Panics
/// When one that follows does.
pub async fn follow_all(files: Vec<WatchedSecretFile>, stop: CancellationToken) {
    // One that hangs keeps no other waiting.
    let mut following: JoinSet<()> = files.into_iter().map(|file| file.follow(stop.clone())).collect();
    tokio::select! {
        () = stop.cancelled() => {}
        Some(Err(broken)) = following.join_next() => resume_unwind(broken.into_panic()),
    }
}

impl WatchedSecretFile {
    async fn follow(mut self, stop: CancellationToken) {
        let following = async {
            loop {
                self.look().await;
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = following => {}
        }
    }

    async fn look(&mut self) {
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

    /// What a look found: a new secret is taken, and trouble is said when it begins, changes and ends.
    pub(super) fn note(&mut self, read: Result<SecretString, String>, now: Timestamp) {
        self.secrets.forget(self.number, now);
        match read.and_then(|text| self.take(&text, now)) {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    let Labels { source, secret } = &self.labels;
                    tracing::info!(source, secret, "the secret's file can be used again");
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
            "the secret's file was replaced: the new secret is valid, and the one before until {end}"
        );
        if let Some(oddity) = secret_oddity(text) {
            tracing::warn!(source, secret, "the file holds {oddity}, and all of it is taken for the secret");
        }
        Ok(())
    }

    fn fail(&mut self, problem: String, now: Timestamp) {
        // Nobody has to keep a file whose secret has ended.
        if self.secrets.current(self.number).is_some_and(|current| current.is_over(now)) {
            return;
        }
        self.failures.inc();
        if self.trouble.as_ref() != Some(&problem) {
            let Labels { source, secret } = &self.labels;
            tracing::warn!(
                source,
                secret,
                "the secret's file cannot be used, and the secret it held before stays valid: {problem}; put \
                 the provider's signing secret into it, it is read again every {} s",
                LOOK_EVERY.as_secs()
            );
            self.trouble = Some(problem);
        }
    }
}
