//! What is shipped beside the binary: the schema is current, the example is right and complete.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use fanbridge::config::{Outside, load, schema};
use fanbridge::event::Timestamp;
use serde_json::Value;

const EXAMPLE: &str = include_str!("../../deploy/fanbridge.example.yaml");
const SCHEMA: &str = include_str!("../../deploy/fanbridge.schema.json");

#[test]
fn the_shipped_schema_is_the_one_of_this_version() {
    let shipped: Value = serde_json::from_str(SCHEMA).expect("JSON");
    assert!(shipped == schema(), "run `fanbridge check --schema > deploy/fanbridge.schema.json`");
}

#[test]
fn the_example_is_accepted_without_a_warning() {
    let env = |name: &str| {
        Some(match name {
            "KAFKA_BROKERS" => "a.example:9092".to_owned(),
            "REDIS_URL" => "rediss://:secret@cache.example:6379".to_owned(),
            "FASTPIX_SECRET" => "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned(),
            name => format!("a-value-for-{name}-of-a-decent-length"),
        })
    };
    let read = |_: &Path| Ok(b"PEM".to_vec());
    let now = Timestamp::from(SystemTime::now());
    let loaded = load("fanbridge.example.yaml", EXAMPLE, &Outside { env: &env, read: &read, now });
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.sources.len(), 5);
}

#[test]
fn the_example_names_every_key_and_shows_its_default() {
    let schema = schema();
    let blocks = [
        "HttpFile",
        "TlsFile",
        "AdminFile",
        "LimitsFile",
        "SpoolFile",
        "DuplicatesFile",
        "SourceFile",
        "DatedSecretFile",
        "SnsSourceFile",
        "RawDeliveryFile",
        "CertificateDoubleFile",
        "AwsFile",
        "SqsFile",
        "SinkFile",
        "KafkaFile",
        "KafkaTlsFile",
        "SaslFile",
        "OutputFile",
        "SnsSinkFile",
    ];
    let definitions = blocks.iter().map(|name| &schema["$defs"][name]).chain([&schema]);
    let mut missing = BTreeSet::new();
    for (key, property) in
        definitions.flat_map(|definition| definition["properties"].as_object().expect("keys"))
    {
        let default = match &property["default"] {
            Value::String(text) if !["127.0.0.1:8080", "all"].contains(&text.as_str()) => {
                format!("{key}: {text}")
            }
            Value::Number(number) => format!("{key}: {number}"),
            _ => key.clone(),
        };
        if !EXAMPLE.replace('"', "").contains(&default) {
            missing.insert(default);
        }
    }
    assert!(missing.is_empty(), "not in the example: {missing:?}");
}
