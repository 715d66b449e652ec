//! What is shipped beside the binary: the schema is current, the example and the document are right and
//! complete.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use fanbridge::config::{Environment, load, load_tests, schema};
use fanbridge::event::Timestamp;
use serde_json::Value;

const EXAMPLE: &str = include_str!("../../deploy/fanbridge.example.yaml");
const SCHEMA: &str = include_str!("../../deploy/fanbridge.schema.json");
const DOCUMENT: &str = include_str!("../../docs/CONFIGURATION.md");
const PROVIDERS: &str = include_str!("../../docs/PROVIDERS.md");

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
    let loaded = load("fanbridge.example.yaml", EXAMPLE, &Environment { env: &env, read: &read, now });
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.sources.len(), 5);
    assert_eq!(loaded.config.tests.map(|tests| tests.tests.len()), Ok(1));
}

/// The blocks of the file whose keys a user writes, and the file itself.
fn blocks(schema: &Value) -> impl Iterator<Item = &serde_json::Map<String, Value>> {
    let blocks = [
        "HttpOptions",
        "TlsOptions",
        "AdminFile",
        "AckOptions",
        "Limits",
        "SpoolOptions",
        "DuplicatesOptions",
        "TimelineOptions",
        "TracesFile",
        "SourceFile",
        "DatedSecretFile",
        "SnsSourceFile",
        "RawDeliveryFile",
        "CertificateDoubleFile",
        "AwsOptions",
        "SqsOptions",
        "SinkFile",
        "KafkaFile",
        "KafkaTlsFile",
        "SaslFile",
        "FileSinkOptions",
        "SnsSinkOptions",
        "ConfigTest",
        "ExpectedOutcome",
        "ExpectedRecord",
    ];
    let definitions = blocks.into_iter().map(|name| &schema["$defs"][name]).chain([schema]);
    definitions.map(|definition| definition["properties"].as_object().expect("keys"))
}

#[test]
fn the_example_names_every_key_and_shows_its_default() {
    let schema = schema();
    let mut missing = BTreeSet::new();
    for (key, property) in blocks(&schema).flatten() {
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

#[test]
fn the_document_names_every_key_and_its_rows_have_the_defaults() {
    let schema = schema();
    let mut keys: Vec<_> = blocks(&schema).flatten().collect();
    for name in ["DefinitionFile", "SignatureFile", "EventFile", "FamilyFile", "TypeFile"] {
        keys.extend(schema["$defs"][name]["properties"].as_object().expect("keys"));
    }
    let forms =
        |key: &str| [format!("`{key}`"), format!("`{key}."), format!(".{key}`"), format!("{{ {key}:")];
    let unnamed = keys.iter().filter(|(key, _)| !forms(key).iter().any(|form| DOCUMENT.contains(form)));
    let unnamed: BTreeSet<_> = unnamed.map(|(key, _)| key).collect();
    assert!(unnamed.is_empty(), "not in docs/CONFIGURATION.md: {unnamed:?}");
    let mut compared = 0;
    for (key, property) in keys {
        let default = match &property["default"] {
            Value::String(text) => format!("`{text}`"),
            Value::Number(number) => format!("`{number}`"),
            Value::Bool(truth) => format!("`{truth}`"),
            _ => continue,
        };
        let mut rows = DOCUMENT.lines().filter(|line| line.starts_with(&format!("| `{key}` |"))).peekable();
        if rows.peek().is_some() {
            assert!(rows.any(|row| row.contains(&default)), "{default} in no row of `{key}`");
            compared += 1;
        }
    }
    assert!(compared >= 35, "only {compared} defaults are stated in rows of their own");
}

#[test]
fn the_configurations_that_the_documents_show_are_accepted() {
    let env = |name: &str| Some(format!("rediss://:{name}-of-a-decent-length@cache.example:6379"));
    let env = |name: &str| if name == "KAFKA_BROKERS" { Some("a.example:9092".into()) } else { env(name) };
    let read = |_: &Path| Ok(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_vec());
    let outside = Environment { env: &env, read: &read, now: Timestamp::from(SystemTime::now()) };
    let shown: Vec<&str> = [DOCUMENT, PROVIDERS]
        .iter()
        .flat_map(|document| document.split("```yaml\n").skip(1))
        .map(|rest| rest.split("```").next().expect("a split has a first part"))
        .collect();
    let (tests, shown): (Vec<&str>, Vec<&str>) = shown.iter().partition(|text| text.starts_with("tests:"));
    assert_eq!((shown.len(), tests.len()), (8, 1), "{shown:#?}");
    let mut with_tests = 0;
    for text in shown {
        // A part is shown without what every file needs.
        let source = "sources: { a: { provider: stream, secrets: [env:SECRET] } }\n";
        let text = if text.contains("sources:") { text.to_owned() } else { format!("{source}{text}") };
        let loaded = load("shown.yaml", &text, &outside);
        let config = loaded.unwrap_or_else(|report| panic!("{report}")).config;
        // The tests are those of the whole file.
        for tests in tests.iter().filter(|_| text.contains("  lake:") && text.contains("  stream-video:")) {
            load_tests("shown.tests.yaml", tests, &config).unwrap_or_else(|report| panic!("{report}"));
            with_tests += 1;
        }
    }
    assert_eq!(with_tests, 1);
}
