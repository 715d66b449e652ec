//! A selection of event types as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `all`, or a list of exact event types, which keeps out types that do not exist yet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum SelectFile {
    /// Every event.
    Every(Everything),
    /// Exactly these event types.
    Only(Vec<String>),
}

impl Default for SelectFile {
    fn default() -> Self {
        Self::Every(Everything::All)
    }
}

/// The word `all`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Everything {
    /// Every event, also of types that do not exist yet.
    All,
}
