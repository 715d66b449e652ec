//! Why a spool that was open takes nothing any more.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::event::Position;

/// Why nothing is taken any more, until the next start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolFailure {
    /// The disk failed, or a file was displaced and put back: the next start finds what is durable.
    #[error("{0}")]
    Broken(Arc<str>),
    /// A closed segment is not what it was. The next start would pass what it held, so that a person has to
    /// decide first.
    #[error("{0}")]
    Taken(Taken),
}

impl From<String> for SpoolFailure {
    fn from(reason: String) -> Self {
        Self::Broken(reason.into())
    }
}

/// A closed segment that is not what it was, with events that some reader has not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its file.
    pub path: PathBuf,
    /// What became of it.
    pub fate: String,
    /// The first position in it that is not settled.
    pub first: Position,
    /// The last position that it accounts for.
    pub last: Position,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, fate, first, last } = self;
        write!(f, "{} {fate}: it held positions {} to {}", path.display(), first.0, last.0)
    }
}
