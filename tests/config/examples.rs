//! The configurations in `deploy/examples/`, and what Terraform's modules are held to: the policy of each,
//! and the families of the built-in providers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::verbs::{directory, fanbridge};

/// What the examples name.
const VARIABLES: [(&str, &str); 9] = [
    ("FANBRIDGE_ADMIN_TOKEN", "a-token-of-an-admin-listener"),
    ("FANBRIDGE_METRICS_TOKEN", "a-token-of-who-reads-the-metrics"),
    ("FASTPIX_SECRET", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ("GITHUB_SECRET", "a-secret-of-a-webhook-of-github"),
    ("KAFKA_BROKERS", "a.example:9094,b.example:9094"),
    ("KAFKA_PASSWORD", "a-password-at-the-brokers"),
    ("KAFKA_USER", "fanbridge"),
    ("REDIS_URL", "rediss://fanbridge:secret@cache.example:6379"),
    ("STREAM_SECRET", "0123456789abcdef0123456789abcdef"),
];

/// The examples.
const EXAMPLES: [&str; 4] = ["complete", "fastpix", "stream-sqs-to-kafka", "stream-webhook-to-sns"];

/// The kept policies: name, example, and the options with which `iam-policy` makes it.
const POLICIES: &[(&str, &str, &[&str])] = &[
    ("complete", "complete", &[]),
    ("complete+doctor", "complete", &["--with", "doctor"]),
    (
        "complete+keys",
        "complete",
        &[
            "--with",
            "doctor,topics-apply",
            "--queue-key",
            "arn:aws:kms:eu-west-1:123456789012:key/1111aaaa-22bb-33cc-44dd-5555eeee6666",
            "--topic-key",
            "arn:aws:kms:eu-west-1:123456789012:key/2222aaaa-22bb-33cc-44dd-5555eeee6666",
            "--secret-key",
            "arn:aws:kms:eu-west-1:123456789012:key/3333aaaa-22bb-33cc-44dd-5555eeee6666",
        ],
    ),
    ("fastpix", "fastpix", &[]),
    ("stream-sqs-to-kafka", "stream-sqs-to-kafka", &[]),
    (
        "stream-sqs-to-kafka+msk",
        "stream-sqs-to-kafka",
        &[
            "--with",
            "doctor,topics-apply",
            "--msk-cluster",
            "lake=arn:aws:kafka:eu-west-1:123456789012:cluster/events/5d1c2f0a-0b6e-4f6e-9c55-0c7a2b1c3d4e-7",
        ],
    ),
    ("stream-webhook-to-sns", "stream-webhook-to-sns", &[]),
];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn example(name: &str) -> String {
    here(&format!("deploy/examples/{name}.yaml")).to_string_lossy().into_owned()
}

/// The names of the files of a directory, without this ending.
fn named(dir: &str, ending: &str) -> BTreeSet<String> {
    let files = fs::read_dir(here(dir)).expect("the directory is there");
    let names = files.map(|file| file.expect("readable").file_name().to_string_lossy().into_owned());
    let named = |name: String| name.strip_suffix(ending).map(str::to_owned);
    names.map(|name| named(name.clone()).unwrap_or_else(|| panic!("{dir}/{name}"))).collect()
}

#[test]
fn every_example_can_be_used_without_a_warning_and_its_tests_pass() {
    let dir = directory();
    assert_eq!(named("deploy/examples", ".yaml"), EXAMPLES.map(str::to_owned).into());
    for name in EXAMPLES {
        let path = example(name);
        let checked = fanbridge(&dir, &["check", &path], &VARIABLES);
        assert!(checked.stdout.starts_with("OK ") && checked.code == Some(0), "{name}: {}", checked.stdout);
        let tested = fanbridge(&dir, &["test", "--config", &path], &VARIABLES);
        assert!(tested.stdout.contains("tests pass") && tested.code == Some(0), "{name}: {}", tested.stdout);
        // The head of the file names every variable that it needs.
        let text = fs::read_to_string(&path).expect("the example is there");
        let head: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        for (variable, _) in VARIABLES {
            let is_used = text.contains(&format!("env:{variable}"));
            assert_eq!(head.contains(variable), is_used, "{name}: {variable}");
        }
    }
}

#[test]
fn the_kept_policies_are_those_of_the_examples() {
    let dir = directory();
    const KEPT: &str = "terraform/modules/iam/tests/policies";
    assert_eq!(named(KEPT, ".json"), POLICIES.iter().map(|(name, ..)| (*name).to_owned()).collect());
    for (name, of, options) in POLICIES {
        let path = example(of);
        let words = [&["iam-policy", "--config", &path], *options].concat();
        // None of the secrets that the configuration names is there.
        let made = fanbridge(&dir, &words, &[]);
        assert_eq!(made.code, Some(0), "{name}: {}", made.stderr);
        let kept = fs::read_to_string(here(&format!("{KEPT}/{name}.json"))).expect("a policy is kept");
        let command = words.join(" ").replace(&path, &format!("deploy/examples/{of}.yaml"));
        assert!(made.stdout == kept, "run `fanbridge {command} > {KEPT}/{name}.json`");
        assert!(!kept.contains('*'), "{name}: a policy names what it is for");
    }
}

#[test]
fn the_kept_families_are_those_of_the_built_in_providers() {
    const KEPT: &str = "terraform/families.json";
    let words = ["types", "--families", "--format", "json"];
    let made = fanbridge(&directory(), &words, &[]);
    let kept = fs::read_to_string(here(KEPT)).expect("the families are kept");
    assert!(made.stdout == kept, "run `fanbridge {}` in an empty directory, into {KEPT}", words.join(" "));
}

#[test]
fn the_families_of_a_configuration_are_those_of_its_providers() {
    let dir = directory();
    let text = "providers:\n  billing:\n    signature: { scheme: none, insecure_no_verification: true }\n    event: { type: { pointers: [/kind] } }\n    \
        families: { in.voices: { types: { invoice.paid: {} } } }\n\
        sources:\n  bills: { provider: billing }\n  fast: { provider: fastpix, secrets: [env:NOT_SET] }\n";
    fs::write(dir.path().join("fanbridge.yaml"), text).expect("written");
    let table = fanbridge(&dir, &["types", "--families"], &[]);
    let lines: Vec<Vec<&str>> = table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[1],
        ["billing", "in.voices", "billing.in.voices", "billing-in-voices"],
        "{}",
        table.stderr
    );
    assert_eq!(lines[2][2..], ["billing.unclassified", "billing-unclassified"]);
    assert!(lines[3..].iter().all(|line| line[0] == "fastpix") && lines.len() > 8);

    let only = ["types", "--families", "--provider", "billing", "--family", "in", "--format", "ndjson"];
    let one = fanbridge(&dir, &only, &[]);
    assert_eq!(one.stdout.lines().count(), 1, "{}", one.stdout);
    for wrong in [&["--provider", "stream"][..], &["--seen"], &["--family", "out"]] {
        assert_eq!(
            fanbridge(&dir, &[&["types", "--families"], wrong].concat(), &[]).code,
            Some(2),
            "{wrong:?}"
        );
    }
    fs::write(dir.path().join("fanbridge.yaml"), "sinks: { local: nowhere }\n").expect("written");
    assert_eq!(fanbridge(&dir, &["types", "--families"], &[]).code, Some(78));
}
