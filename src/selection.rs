//! Which event types pass: everything, or exactly the names on a list (pure).
//!
//! An explicit list keeps types out that did not exist when it was written. Names are compared
//! byte for byte: no case folding, no patterns, because a pattern is how new types slip in.

use std::collections::BTreeSet;

/// A choice of event types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Every event, also of types that do not exist yet.
    #[default]
    All,
    /// Exactly these types, by the names the provider puts on the wire.
    Only(BTreeSet<String>),
}

impl Selection {
    /// Whether an event of this type passes.
    pub fn takes(&self, event_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(types) => types.contains(event_type),
        }
    }
}
