//! Selections of event types and of attributes as written.

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

/// `all`, or a list of names of CloudEvents attributes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum AttributesFile {
    /// Every attribute.
    Every(EveryAttribute),
    /// The required attributes and these.
    Only(Vec<String>),
}

impl Default for AttributesFile {
    fn default() -> Self {
        Self::Every(EveryAttribute::All)
    }
}

/// The word `all`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum EveryAttribute {
    /// Every attribute that an event has.
    All,
}

/// The word `all`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Everything {
    /// Every event, also of types that do not exist yet.
    All,
}
