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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Serialize;
    use serde_json::to_value;

    use super::super::{DuplicatesFile, LimitsFile, OutputFile, SnsSinkFile, SpoolFile, SqsFile};
    use super::Json;
    use crate::config::yaml::scalars::{Period, Size};
    use crate::sink::{file, sns};
    use crate::source::{http::options as limits, sqs};
    use crate::spool::options as spool;

    fn is_default(block: impl Serialize, key: &str, default: impl Serialize) {
        let block = to_value(block).unwrap();
        assert_eq!(block.get(key), Some(&to_value(default).unwrap()), "`{key}` of {block}");
    }

    #[test]
    fn each_knob_names_a_key_of_its_block_that_has_its_default() {
        for knob in [
            limits::BODY_BYTES_MAX,
            limits::INFLATED_BYTES_MAX,
            limits::BODY_BYTES_PER_SECOND_MIN,
            limits::IN_FLIGHT_BYTES_MAX,
        ] {
            is_default(LimitsFile::default(), knob.key, Size(knob.default));
        }
        for knob in [limits::HEADER_TIMEOUT, limits::BODY_TIMEOUT, limits::IDLE_TIMEOUT, limits::ACK_TIMEOUT]
        {
            is_default(LimitsFile::default(), knob.key, Period(knob.default));
        }
        for knob in [limits::INFLATE_RATIO_MAX, limits::CONNECTIONS_MAX, limits::CONNECTIONS_PER_ADDRESS_MAX]
        {
            is_default(LimitsFile::default(), knob.key, knob.default);
        }
        for knob in [spool::BYTES_MAX, spool::FREE_BYTES_MIN, spool::SEGMENT_BYTES] {
            is_default(SpoolFile::default(), knob.key, Size(knob.default));
        }
        is_default(SpoolFile::default(), spool::RETAIN.key, Period(spool::RETAIN.default));
        is_default(DuplicatesFile::default(), spool::WINDOW.key, Period(spool::WINDOW.default));
        let events = spool::WINDOW_EVENTS_MAX;
        is_default(DuplicatesFile::default(), events.key, events.default);
        let visibility = sqs::options::VISIBILITY_TIMEOUT;
        is_default(SqsFile::default(), visibility.key, Period(visibility.default));
        let receivers = sqs::options::RECEIVERS_MAX;
        is_default(SqsFile::default(), receivers.key, receivers.default);
        let (requests, message) = (sns::options::REQUESTS_MAX, sns::options::MESSAGE_BYTES_MAX);
        is_default(SnsSinkFile::default(), requests.key, requests.default);
        is_default(SnsSinkFile::default(), message.key, Size(message.default));
        let rotate = file::options::ROTATE_BYTES;
        is_default(OutputFile::default(), rotate.key, Size(rotate.default));
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
