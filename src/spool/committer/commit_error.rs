//! Why a group cannot be committed, and what follows: appends are refused for a while, or the spool fails and
//! never writes again.

use std::io;
use std::time::Duration;

use super::Committer;
use super::file_check::Displaced;
use crate::clock::Moment;
use crate::disk::named_file::UNSEEN_MAX;
use crate::scarce::Scarce;
use crate::spool::AppendError;
use crate::spool::failure::SpoolFailure;
use crate::spool::shared_log::AppendGate;

/// How long appends are refused after a write found the disk full, before a write is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Why a group cannot be committed.
pub(super) enum CommitError {
    /// There is no capacity, file descriptor or memory: refuse appends until there is.
    Full(AppendGate),
    /// The disk cannot be trusted any more.
    Broken(SpoolFailure),
}

impl CommitError {
    pub(super) fn broken(reason: impl Into<String>) -> Self {
        Self::Broken(reason.into().into())
    }
}

impl Committer {
    /// Shuts the gate or fails the spool, and returns the error with which the group's appends are refused.
    pub(super) fn handle(&mut self, error: CommitError, now: Moment) -> AppendError {
        match error {
            CommitError::Full(gate) => {
                self.retry = Some((now.steady.plus(RETRY_AFTER), gate));
                self.shared.set_gate(gate);
                AppendError::Full { reason: gate.reason() }
            }
            CommitError::Broken(failure) => {
                self.fail(failure);
                AppendError::Failed
            }
        }
    }

    /// The commit error for a file that was found changed. While the system does not say whether a file is
    /// there, appends are refused; after [`UNSEEN_MAX`] the spool fails. Want of descriptors or memory is
    /// waited for without limit.
    pub(super) fn on_displaced(&mut self, displaced: Displaced, now: Moment) -> CommitError {
        let (error, failure) = match displaced {
            Displaced::Failed(failure) => return CommitError::Broken(failure),
            Displaced::Unseen { error, failure } => (error, failure),
        };
        let since = *self.unseen_since.get_or_insert_with(|| {
            tracing::warn!(
                %error,
                %failure,
                "the system does not say whether a file of the spool still exists: no event is acknowledged \
                 until it does, and the spool fails if that lasts"
            );
            now.steady
        });
        match Scarce::of(&error) {
            Some(scarce) => CommitError::Full(scarce.into()),
            None if now.steady < since.plus(UNSEEN_MAX) => CommitError::Full(AppendGate::Unseen),
            None => CommitError::Broken(failure.after(&error)),
        }
    }
}

/// The commit error for an I/O error that came before anything was written.
pub(super) fn full_or_broken(doing: &str, error: &io::Error) -> CommitError {
    match Scarce::of(error) {
        Some(scarce) => CommitError::Full(scarce.into()),
        None => CommitError::broken(format!("{doing}: {error}")),
    }
}
