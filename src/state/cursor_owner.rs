//! Whose a stored cursor is (pure).
//!
//! The state file keeps each cursor under a name. A sink's name has no parentheses, so the bridge's own
//! readers have names with some.

use std::fmt;

const QUARANTINE: &str = "(quarantine)";
const REMOVED_SINK: &str = "(gone) ";
const ACCEPTANCE: &str = "(accepts ";

/// The reader that a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorOwner<'n> {
    /// A sink, by the name it is or was configured under.
    Sink(&'n str),
    /// The reader that copies quarantined deliveries to the dead letters.
    Quarantine,
    /// A removed sink: the position up to which events for it alone became dead letters.
    RemovedSink(&'n str),
    /// A sink that answers wait for: the position behind which it was given every event that this selection
    /// takes. The selection is a fingerprint, or `-` while no answer waits for the sink.
    Acceptance {
        /// The selection's fingerprint.
        selection: &'n str,
        /// The sink's name.
        sink: &'n str,
    },
    /// A reader that this release does not know.
    Unknown,
}

impl<'n> CursorOwner<'n> {
    /// The owner of the cursor with this name in the state file.
    pub fn of(name: &'n str) -> Self {
        let acceptance = name.strip_prefix(ACCEPTANCE).and_then(|rest| rest.split_once(") "));
        if let Some((selection, sink)) = acceptance {
            return Self::Acceptance { selection, sink };
        }
        match name.strip_prefix(REMOVED_SINK) {
            Some(sink) => Self::RemovedSink(sink),
            None if name == QUARANTINE => Self::Quarantine,
            None if name.starts_with('(') => Self::Unknown,
            None => Self::Sink(name),
        }
    }
}

/// The name in the state file.
impl fmt::Display for CursorOwner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sink(name) => f.write_str(name),
            Self::Quarantine => f.write_str(QUARANTINE),
            Self::RemovedSink(sink) => write!(f, "{REMOVED_SINK}{sink}"),
            Self::Acceptance { selection, sink } => write!(f, "{ACCEPTANCE}{selection}) {sink}"),
            Self::Unknown => f.write_str("(unknown)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_state_file_names_its_owner_and_the_owner_its_name() {
        for (name, owner) in [
            ("lake", CursorOwner::Sink("lake")),
            ("(quarantine)", CursorOwner::Quarantine),
            ("(gone) lake", CursorOwner::RemovedSink("lake")),
            ("(accepts 0a1b2c3d) lake", CursorOwner::Acceptance { selection: "0a1b2c3d", sink: "lake" }),
        ] {
            assert_eq!(CursorOwner::of(name), owner);
            assert_eq!(owner.to_string(), name, "what an earlier release has stored is found");
        }
        assert_eq!(CursorOwner::of("(checkpoint) lake"), CursorOwner::Unknown);
    }
}
