//! The JSON Schema of the configuration file, generated from its types.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json};

use super::ConfigFile;

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
