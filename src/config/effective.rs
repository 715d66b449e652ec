//! Makes the configuration that counts of what is written and the defaults, which the schema knows.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::origins::Origins;
use super::tests_file::TESTS;
use super::yaml::spans::is_secret_key;
use crate::admin::effective::{DEFAULT, EffectiveConfiguration, inside, is_leaf};
use crate::reference::Reference;

/// What stands in the place of a value that could be a secret and is no reference.
const HIDDEN: &str = "(hidden)";
/// Parts of the names of properties whose values nobody has to see.
const SECRET_WORDS: [&str; 6] = ["password", "secret", "token", "credential", "jaas", "pem"];

/// The configuration that counts, if these values are written where `origins` says.
pub(super) fn effective(mut values: Json, schema: &Json, origins: &Origins) -> EffectiveConfiguration {
    Defaults(schema).fill(&mut values, schema);
    // Nothing of the bridge depends on the tests.
    values.as_object_mut().and_then(|top| top.remove(TESTS));
    hide(&mut values, false);
    let mut places = BTreeMap::new();
    note_places(&values, "", origins, &mut places);
    EffectiveConfiguration::new(values, places)
}

/// The defaults of a schema.
struct Defaults<'s>(&'s Json);

impl<'s> Defaults<'s> {
    /// Adds what is missing in a value of this schema.
    fn fill(&self, value: &mut Json, schema: &'s Json) {
        match value {
            Json::Object(map) => {
                let Some(schema) = self.of_kind(schema, "object") else { return };
                for (key, property) in schema["properties"].as_object().into_iter().flatten() {
                    let default = self.default(property);
                    if let Some(default) = default.filter(|default| !default.is_null()) {
                        map.entry(key.clone()).or_insert_with(|| default.clone());
                    }
                }
                // What is not there by default has no value to show.
                map.retain(|_, value| !value.is_null());
                for (key, value) in map {
                    let property = schema["properties"].get(key);
                    property
                        .or(schema.get("additionalProperties"))
                        .iter()
                        .for_each(|inner| self.fill(value, inner));
                }
            }
            Json::Array(items) => {
                let Some(schema) = self.of_kind(schema, "array") else { return };
                items.iter_mut().for_each(|item| self.fill(item, &schema["items"]));
            }
            _ => {}
        }
    }

    fn default(&self, schema: &'s Json) -> Option<&'s Json> {
        schema.get("default").or_else(|| self.resolved(schema).get("default"))
    }

    /// The part of a schema that is for values of this kind.
    fn of_kind(&self, schema: &'s Json, kind: &str) -> Option<&'s Json> {
        let schema = self.resolved(schema);
        if schema["type"] == kind {
            return Some(schema);
        }
        let branches = schema.get("anyOf").or(schema.get("oneOf"))?.as_array()?;
        branches.iter().find_map(|branch| self.of_kind(branch, kind))
    }

    /// The schema to which a reference leads.
    fn resolved(&self, schema: &'s Json) -> &'s Json {
        let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
        name.map_or(schema, |name| &self.0["$defs"][name])
    }
}

/// Hides what could be a secret and is no reference. The checks refuse that, so this is for a property that
/// they do not know for a secret.
fn hide(value: &mut Json, is_secret: bool) {
    match value {
        Json::Object(map) => map.iter_mut().for_each(|(key, value)| match key.as_str() {
            "properties" => hide_properties(value),
            "secrets" => value.as_array_mut().into_iter().flatten().for_each(|secret| match secret {
                Json::Object(_) => hide(secret, false),
                secret => hide(secret, true),
            }),
            key if key == "redis" || is_secret_key(key) => hide(value, true),
            _ => hide(value, false),
        }),
        Json::Array(items) => items.iter_mut().for_each(|item| hide(item, is_secret)),
        Json::String(text) if is_secret && text.parse::<Reference>().is_err() => *text = HIDDEN.into(),
        _ => {}
    }
}

fn hide_properties(properties: &mut Json) {
    for (name, value) in properties.as_object_mut().into_iter().flatten() {
        let name = name.to_lowercase();
        hide(value, SECRET_WORDS.iter().any(|word| name.contains(word)));
    }
}

fn note_places(value: &Json, path: &str, origins: &Origins, places: &mut BTreeMap<String, String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = inside(path, key);
        if is_leaf(value) {
            let origin = origins.line(&path).unwrap_or_else(|| DEFAULT.into());
            places.insert(path, origin);
        } else {
            note_places(value, &path, origins, places);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::json;

    use super::*;
    use crate::config::{Config, Environment, load};
    use crate::event::Timestamp;

    fn config(text: &str) -> Config {
        let secret = |_: &str| Some("a-secret-of-a-stream-app".to_owned());
        let outside =
            Environment { env: &secret, read: &|_| Err(io::ErrorKind::NotFound.into()), now: Timestamp(0) };
        load("fanbridge.yaml", text, &outside).expect("usable").config
    }

    const TEXT: &str = "\
http:
  listen: 127.0.0.1:8080
sources:
  video: { provider: stream, secrets: [env:S, { secret: env:T, not_after: 2099-01-01T00:00:00Z }] }
sinks:
  lake:
    kafka:
      brokers: localhost:9092
      properties: { compression.type: zstd, ssl.key.password: env:K }
    linger: 10ms
";

    #[test]
    fn each_value_counts_as_it_is_written_or_by_default_and_says_which() {
        let effective = config(TEXT).effective;
        let values = &effective.values;
        assert_eq!(values["http"]["listen"], "127.0.0.1:8080");
        assert_eq!(values["spool"]["duplicates"]["window"], "24h");
        assert_eq!(values["sources"]["video"]["app"], "default");
        assert_eq!(values["sinks"]["lake"]["linger"], "10ms");
        assert_eq!(values["sinks"]["lake"]["kafka"]["structured"], false);
        assert_eq!(values["select"], "all");
        let origin = |path: &str| effective.origins[path].as_str();
        assert_eq!(origin("http.listen"), "fanbridge.yaml:2:3");
        assert_eq!(origin("sinks.lake.linger"), "fanbridge.yaml:10:5");
        assert_eq!(origin("sources.video.secrets"), "fanbridge.yaml:4:30");
        for path in ["spool.duplicates.window", "select", "sinks.lake.topic", "limits.connections_max"] {
            assert_eq!(origin(path), DEFAULT, "{path}");
        }
        let written = effective.written();
        assert_eq!(written["sinks"]["lake"]["linger"], "10ms");
        assert_eq!((written.get("spool"), written["sinks"]["lake"].get("topic")), (None, None));
    }

    #[test]
    fn secrets_are_references_and_what_else_could_be_one_is_hidden() {
        let effective = config(TEXT).effective;
        let secrets = &effective.values["sources"]["video"]["secrets"];
        assert_eq!(*secrets, json!(["env:S", { "secret": "env:T", "not_after": "2099-01-01T00:00:00Z" }]));
        let properties = &effective.values["sinks"]["lake"]["kafka"]["properties"];
        assert_eq!(*properties, json!({ "compression.type": "zstd", "ssl.key.password": "env:K" }));
        let mut pasted = json!({
            "secrets": ["pasted", { "secret": "pasted" }], "token": "pasted", "metrics_token": "pasted",
            "a": [{ "password": "pasted" }],
            "properties": { "some.Password": "pasted", "a.pem": "pasted" },
        });
        hide(&mut pasted, false);
        assert!(!pasted.to_string().contains("pasted"), "{pasted}");
    }

    #[test]
    fn without_a_sink_the_one_that_counts_is_there() {
        let text = "sources:\n  video: { provider: stream, secrets: [env:S] }\n";
        let effective = config(text).effective;
        assert_eq!(effective.values["sinks"]["local"]["file"]["dir"], "fanbridge-data/topics");
        assert_eq!(effective.origins["sinks.local.file.dir"], DEFAULT);
    }

    #[test]
    fn every_default_of_the_options_is_one_of_the_schema() {
        let effective = config(TEXT).effective;
        let config = config(TEXT);
        let period = |text: &Json| text.as_str().and_then(|text| text.parse::<crate::scalars::Period>().ok());
        let retain = period(&effective.values["spool"]["retain"]).expect("a period");
        assert_eq!(retain.0, config.spool.retain);
        assert_eq!(effective.values["shutdown_grace_seconds"], config.shutdown_grace.as_secs());
        assert_eq!(effective.values["limits"]["connections_max"], config.limits.connections_max);
        assert_eq!(effective.values["timeline"]["steps_max"], config.timeline.steps_max);
    }
}
