//! What stands in the way of a group, and what is done about it: wait and refuse, or never write again.

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

/// How long appends are refused after the disk said that it is full, before it is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Why nothing gets to the disk.
pub(super) enum CommitError {
    /// There is no room, or nothing to write with: refuse, and go on when there is.
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
    /// Does what the trouble asks for, and says how the appends are refused.
    pub(super) fn handle(&mut self, trouble: CommitError, now: Moment) -> AppendError {
        match trouble {
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

    /// What a look asks for that has not found everything as it was. While the system does not say what is
    /// there, nothing is taken; if it never does, that is a failure, unless it only lacks something.
    pub(super) fn bear(&mut self, displaced: Displaced, now: Moment) -> CommitError {
        let (error, failure) = match displaced {
            Displaced::Failed(failure) => return CommitError::Broken(failure),
            Displaced::Unseen { error, failure } => (error, failure),
        };
        let since = *self.unseen_since.get_or_insert_with(|| {
            tracing::warn!(%error, "the system does not say whether a file of the spool is still there");
            now.steady
        });
        match Scarce::of(&error) {
            Some(scarce) => CommitError::Full(scarce.into()),
            None if now.steady < since.plus(UNSEEN_MAX) => CommitError::Full(AppendGate::Unseen),
            None => CommitError::Broken(failure),
        }
    }
}

/// What an error asks for that came before anything was written.
pub(super) fn not_now_or_broken(doing: &str, error: &io::Error) -> CommitError {
    match Scarce::of(error) {
        Some(scarce) => CommitError::Full(scarce.into()),
        None => CommitError::broken(format!("{doing}: {error}")),
    }
}
