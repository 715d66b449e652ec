//! The configuration that counts: every value, also the defaults, and where it is written. No secret.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// In place of an origin: the value is written nowhere.
pub const DEFAULT: &str = "default";

/// Every value that counts, and where it is written.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct EffectiveConfiguration {
    /// The values in the form of the configuration file. Of a secret there is the reference.
    pub values: Json,
    /// Where each value is written, by its path, such as `sinks.lake.topic`: file, line and column, or
    /// [`DEFAULT`]. A list has one origin as a whole.
    pub origins: BTreeMap<String, String>,
    /// What is asked for in the places of values that were replaced, by their paths.
    #[serde(skip)]
    asked: BTreeMap<Vec<String>, Option<Json>>,
}

impl EffectiveConfiguration {
    /// These values, each written where `origins` says.
    pub fn new(values: Json, origins: BTreeMap<String, String>) -> Self {
        Self { values, origins, asked: BTreeMap::new() }
    }

    /// Notes a value that counts in the place of the one at this path, and why.
    pub fn replace(&mut self, path: &[&str], value: impl Into<Json>, because: &str) {
        let former = put(&mut self.values, path, Some(value.into()));
        let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        self.origins.insert(path.join("."), because.to_owned());
        self.asked.entry(path).or_insert(former);
    }

    /// The values as they are asked for: without those that count in their place.
    pub fn asked(&self) -> Json {
        let mut values = self.values.clone();
        for (path, value) in &self.asked {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            put(&mut values, &path, value.clone());
        }
        values
    }

    /// Replaces the same values as `other` has replaced, and for the same reasons.
    pub fn replace_as(&mut self, other: &Self) {
        for path in other.asked.keys() {
            let origin = other.origins.get(&path.join(".")).map_or("", String::as_str);
            let value = path.iter().fold(&other.values, |block, key| &block[key]).clone();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.replace(&path, value, origin);
        }
    }

    /// The values that are written, without the defaults.
    pub fn written(&self) -> Json {
        let mut values = self.values.clone();
        self.remove_defaults(&mut values, "");
        values
    }

    fn remove_defaults(&self, value: &mut Json, path: &str) {
        let Json::Object(map) = value else { return };
        map.retain(|key, value| {
            let path = inside(path, key);
            if is_leaf(value) {
                return self.origins.get(&path).is_none_or(|origin| origin != DEFAULT);
            }
            self.remove_defaults(value, &path);
            // A block of defaults alone is none.
            value.as_object().is_none_or(|block| !block.is_empty())
        });
    }
}

/// Puts a value at this path, or takes the one away that is there; returns what was there.
fn put(values: &mut Json, path: &[&str], value: Option<Json>) -> Option<Json> {
    let (last, blocks) = path.split_last()?;
    let mut block = values;
    for key in blocks {
        if !block.is_object() {
            *block = Json::Object(Map::new());
        }
        block = &mut block[*key];
    }
    if !block.is_object() {
        *block = Json::Object(Map::new());
    }
    let block = block.as_object_mut()?;
    match value {
        Some(value) => block.insert((*last).to_owned(), value),
        None => block.remove(*last),
    }
}

/// Whether a value has an origin of its own: it is no block, or an empty one.
pub fn is_leaf(value: &Json) -> bool {
    value.as_object().is_none_or(Map::is_empty)
}

/// The path of a key in a block: `sinks.lake`.
pub fn inside(block: &str, key: &str) -> String {
    if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_told_from_defaults_and_from_what_counts_instead() {
        let origins = [("http.listen", "f:1:3"), ("spool.dir", DEFAULT), ("select", DEFAULT)];
        let origins = origins.map(|(path, origin)| (path.to_owned(), origin.to_owned()));
        let values = json!({ "http": { "listen": "a" }, "spool": { "dir": "d" }, "select": "all" });
        let mut effective = EffectiveConfiguration::new(values.clone(), origins.clone().into());
        assert_eq!(effective.written(), json!({ "http": { "listen": "a" } }));
        effective.replace(&["http", "listen"], "b", "--listen");
        effective.replace(&["limits", "connections_max"], 7, "the limit of open files");
        assert_eq!(
            effective.written(),
            json!({ "http": { "listen": "b" }, "limits": { "connections_max": 7 } })
        );
        assert_eq!(effective.origins["http.listen"], "--listen");

        let mut asked = values.clone();
        asked["limits"] = json!({});
        assert_eq!(effective.asked(), asked, "a value that was nowhere is not asked for");
        let mut again = EffectiveConfiguration::new(values, origins.into());
        again.replace_as(&effective);
        assert_eq!((&again.values, &again.origins), (&effective.values, &effective.origins));
    }
}
