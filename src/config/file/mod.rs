//! The configuration file as written.
//!
//! A block whose values are used as they are written is the options of its room, such as [`Limits`] of
//! `source::http`: name, unit, default and bounds of a key are in that one place. The other blocks have a
//! type here, because they become something else once what they name is read: secrets, providers, event
//! types. These types only define the form; [`load()`](super::load()) checks whether the values make sense
//! together. The JSON Schema is generated from them, and `schema_check` checks a text against it. A required
//! value can be absent here, so that a file that lacks one can still be read and all its problems be reported
//! at once.

mod select;
mod sink;
mod source;
mod traces;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub use self::select::*;
pub use self::sink::*;
pub use self::source::*;
pub use self::traces::*;
use super::tests_file::ConfigTest;
use crate::ack::AckOptions;
use crate::admin;
use crate::aws::AwsOptions;
use crate::reference::Reference;
use crate::scalars::Address;
use crate::source::http::{HttpOptions, Limits};
use crate::spool::SpoolOptions;
use crate::timeline::TimelineOptions;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "fanbridge configuration")]
pub struct ConfigFile {
    /// The public listener, where providers deliver.
    pub http: HttpOptions,
    /// The admin listener: health, metrics and the admin API.
    pub admin: AdminFile,
    /// Limits for senders.
    pub limits: Limits,
    /// The log on disk between sources and sinks.
    pub spool: SpoolOptions,
    /// The last steps of deliveries and events, in memory.
    pub timeline: TimelineOptions,
    /// Spans of sampled events for an OpenTelemetry collector. None are made without this block.
    pub traces: Option<TracesFile>,
    /// Which sinks acknowledgements wait for, of every source without a block of its own.
    pub ack: AckOptions,
    /// How long a shutdown can take before it is cut short, in seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub shutdown_grace_seconds: Grace,
    /// Read the configuration again by itself when its file changes; looked at every 5 s.
    pub reload_on_change: bool,
    /// How sources and sinks reach AWS.
    pub aws: AwsOptions,
    /// Definitions of further providers, in the form of the built-in ones.
    pub providers: BTreeMap<String, ProviderFile>,
    /// The sources, by name; the name is part of the path, `/in/{name}`. At least one is required.
    pub sources: BTreeMap<String, SourceFile>,
    /// The event types that the bridge accepts.
    pub select: SelectFile,
    /// The sinks, by name. If there is none, a file sink named `local` is used.
    pub sinks: BTreeMap<String, SinkFile>,
    /// What has to become of deliveries, for `fanbridge test`. The bridge does not look at it.
    pub tests: Vec<ConfigTest>,
}

impl ConfigFile {
    /// Largest body of any source after decompression: what is allowed uncompressed is allowed compressed.
    pub fn largest_body_bytes(&self) -> usize {
        let own = self.sources.values().filter_map(|source| usize::try_from(source.body_bytes_max?.0).ok());
        own.fold(self.limits.inflated_bytes_max, usize::max)
    }
}

/// The private listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminFile {
    /// IP address and port to listen on. An address other than loopback needs a token.
    #[serde(with = "Address")]
    pub listen: SocketAddr,
    /// The bearer token that requests must have; at least 16 bytes.
    pub token: Option<Reference>,
    /// The bearer token with which Prometheus reads `/metrics`, and nothing else; at least 16 bytes.
    pub metrics_token: Option<Reference>,
    /// Names by which the listener is asked, beside its addresses and `localhost`: of a proxy in front of it,
    /// or of a service. Each stands for itself alone.
    pub hosts: Vec<String>,
    /// Show bodies of events to whoever has the token: `fanbridge explain --payload`.
    pub show_payloads: bool,
    /// Take in bodies without a signature from whoever has the token: `fanbridge import`. By default only if
    /// the listener is on loopback.
    pub import: Option<bool>,
}

impl Default for AdminFile {
    fn default() -> Self {
        let listen = admin::options::LISTEN;
        Self {
            listen,
            token: None,
            metrics_token: None,
            hosts: Vec::new(),
            show_payloads: false,
            import: None,
        }
    }
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

/// The JSON Schema of the file.
pub fn schema() -> Json {
    schemars::schema_for!(ConfigFile).into()
}

/// The keys that the schema names at any level.
pub fn known_keys() -> &'static HashSet<String> {
    static KEYS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let mut keys = HashSet::new();
        collect_keys(&schema(), &mut keys);
        keys
    });
    &KEYS
}

fn collect_keys(schema: &Json, keys: &mut HashSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        keys.extend(properties.keys().cloned());
    }
    let inside = schema.as_object().into_iter().flat_map(Map::values);
    let inside = inside.chain(schema.as_array().into_iter().flatten());
    inside.for_each(|schema| collect_keys(schema, keys));
}

#[cfg(test)]
mod tests {
    use super::Json;
    use crate::scalars::Period;

    #[test]
    fn each_bound_of_a_period_is_a_period() {
        fn bounds(schema: &Json, found: &mut Vec<String>) {
            for (key, inner) in schema.as_object().into_iter().flatten() {
                if key.starts_with("format") && key != "format" {
                    assert_eq!(schema["format"], "period", "{schema}");
                    found.push(inner.as_str().expect("text").to_owned());
                }
                bounds(inner, found);
            }
        }
        let mut found = Vec::new();
        bounds(&super::schema(), &mut found);
        assert!(found.len() >= 12, "{found:?}");
        found.iter().for_each(|text| assert!(text.parse::<Period>().is_ok(), "{text}"));
    }

    #[test]
    fn the_keys_of_every_level_are_known_and_no_value_is() {
        let known = super::known_keys();
        for key in ["sources", "secrets", "username", "not_after", "bytes_max", "event"] {
            assert!(known.contains(key), "{key}");
        }
        assert!(!known.contains("anyOf") && !known.contains("minimum"));
        assert!(matches!(super::schema(), Json::Object(_)));
    }
}
