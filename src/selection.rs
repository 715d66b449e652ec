//! The selection of event types: all types, or exactly the names on a list (pure).
//!
//! A list also keeps out types that are created later. Names are compared byte for byte. There are no
//! patterns, because a pattern would let new types in.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A selection of event types.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Every event, also of types that do not exist yet.
    #[default]
    All,
    /// Exactly these types, by the provider's names. In order, because a fingerprint is made of them that
    /// replicas and later starts compare.
    Only(BTreeSet<String>),
}

impl Selection {
    /// No event.
    pub fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Whether an event of this type passes.
    pub fn takes(&self, event_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(types) => types.contains(event_type),
        }
    }
}
