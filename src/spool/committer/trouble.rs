//! What stands in the way of a group, and what is done about it: wait and refuse, or never write again.

use std::io;
use std::time::Duration;

use super::Committer;
use super::present::Displaced;
use crate::scarce::Scarce;
use crate::spool::AppendError;
use crate::spool::clock::Moment;
use crate::spool::failure::SpoolFailure;
use crate::spool::place::UNSEEN_MAX;
use crate::spool::shared::Gate;

/// How long appends are refused after the disk said that it is full, before it is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Why nothing gets to the disk.
pub(super) enum Trouble {
    /// There is no room, or nothing to write with: refuse, and go on when there is.
    Full(Gate),
    /// The disk cannot be trusted any more.
    Broken(SpoolFailure),
}

impl Trouble {
    pub(super) fn broken(reason: impl Into<String>) -> Self {
        Self::Broken(reason.into().into())
    }
}

impl Committer {
    /// Does what the trouble asks for, and says how the appends are refused.
    pub(super) fn meet(&mut self, trouble: Trouble, now: Moment) -> AppendError {
        match trouble {
            Trouble::Full(gate) => {
                self.retry = Some((now.steady.plus(RETRY_AFTER), gate));
                self.shared.set_gate(gate);
                AppendError::Full { reason: gate.reason() }
            }
            Trouble::Broken(failure) => {
                self.fail(failure);
                AppendError::Failed
            }
        }
    }

    /// What a look asks for that has not found everything as it was. While the system does not say what is
    /// there, nothing is taken; if it never does, that is a failure, unless it only lacks something.
    pub(super) fn bear(&mut self, displaced: Displaced, now: Moment) -> Trouble {
        let (error, failure) = match displaced {
            Displaced::Failed(failure) => return Trouble::Broken(failure),
            Displaced::Unseen { error, failure } => (error, failure),
        };
        let since = *self.unseen_since.get_or_insert_with(|| {
            tracing::warn!(%error, "the system does not say whether a file of the spool is still there");
            now.steady
        });
        match Scarce::of(&error) {
            Some(scarce) => Trouble::Full(scarce.into()),
            None if now.steady < since.plus(UNSEEN_MAX) => Trouble::Full(Gate::Unseen),
            None => Trouble::Broken(failure),
        }
    }
}

/// What an error asks for that came before anything was written.
pub(super) fn not_now_or_broken(doing: &str, error: &io::Error) -> Trouble {
    match Scarce::of(error) {
        Some(scarce) => Trouble::Full(scarce.into()),
        None => Trouble::broken(format!("{doing}: {error}")),
    }
}
