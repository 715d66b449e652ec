//! Why an open spool has failed and takes no more appends.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::named_file::Mended;
use crate::event::Position;

/// Why the spool takes no more appends until the next start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolFailure {
    /// The disk failed, or a file was displaced and put back: the next start recovers what is durable.
    #[error("{0}")]
    Broken(Arc<str>),
    /// What the spool held is somewhere else. The next start would begin without it, so a person has to move
    /// it first.
    #[error("{0}")]
    Misplaced(Arc<str>),
    /// A closed segment was removed or changed. The next start would pass over the events that it held, so a
    /// person has to decide first.
    #[error("{0}")]
    SegmentMissing(MissingSegment),
}

impl SpoolFailure {
    /// The same failure with the system's error, where the failure has a text of its own.
    pub(super) fn after(self, error: &io::Error) -> Self {
        match self {
            Self::Broken(text) => Self::Broken(format!("{text} (the system said: {error})").into()),
            other => other,
        }
    }
}

impl From<Mended> for SpoolFailure {
    fn from(Mended { text, needs_person }: Mended) -> Self {
        if needs_person { Self::Misplaced(text.into()) } else { Self::Broken(text.into()) }
    }
}

impl From<String> for SpoolFailure {
    fn from(reason: String) -> Self {
        Self::Broken(reason.into())
    }
}

/// A closed segment that was removed or changed, with positions that are not released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingSegment {
    /// The segment's file.
    pub path: PathBuf,
    /// What became of the file, as the end of a sentence about it.
    pub fate: String,
    /// The first position in the segment that is not released.
    pub first: Position,
    /// The last position that the segment accounts for.
    pub last: Position,
}

impl fmt::Display for MissingSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, fate, first, last } = self;
        write!(f, "{} {fate}: it held positions {} to {}", path.display(), first.0, last.0)
    }
}
