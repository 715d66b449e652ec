//! The configuration file as written: one type per block, with the default of every key.
//!
//! These types only define the form; [`load()`](super::load()) checks whether the values make sense
//! together. The JSON Schema is generated from these types, and `schema_check` checks a text against that
//! schema, so that a key is defined in one place. Required values are `Option`s here, so that a file
//! that lacks one can still be read and all its problems be reported at once.

mod aws;
mod listeners;
mod schema;
mod select;
mod sink;
mod source;
mod spool;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::aws::*;
pub use self::listeners::*;
pub use self::schema::{known_keys, schema};
pub use self::select::*;
pub use self::sink::*;
pub use self::source::*;
pub use self::spool::*;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "fanbridge configuration")]
pub struct ConfigFile {
    /// The public listener, where providers deliver.
    pub http: HttpFile,
    /// The admin listener: health, metrics and the admin API.
    pub admin: AdminFile,
    /// Limits for senders.
    pub limits: LimitsFile,
    /// The log on disk between sources and sinks.
    pub spool: SpoolFile,
    /// How long a shutdown can take before it is cut short, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub shutdown_grace_seconds: Grace,
    /// How sources and sinks reach AWS.
    pub aws: AwsFile,
    /// Definitions of further providers, in the form of the built-in ones.
    pub providers: BTreeMap<String, ProviderFile>,
    /// The sources, by name; the name is part of the path, `/in/{name}`. At least one is required.
    pub sources: BTreeMap<String, SourceFile>,
    /// The event types that the bridge accepts.
    pub select: SelectFile,
    /// The sinks, by name. If there is none, a file sink named `local` is used.
    pub sinks: BTreeMap<String, SinkFile>,
}

/// A number of whole seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Grace(pub u64);

impl Default for Grace {
    fn default() -> Self {
        Self(30)
    }
}

/// A provider's definition as written, whose form is defined in [`crate::provider`].
pub type ProviderFile = crate::provider::DefinitionFile;
