//! Each word by which the bridge says a cause or a refusal has a row, another test, or a reason to have none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::rows;

/// Situations and reasons that other tests make with more around them: the file, and the test.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("unanswered", "explain_more.rs", "a_delivery_that_the_disk_keeps_waiting_is_not_said_to_be_lost"),
    (
        "paused",
        "pause.rs",
        "a_paused_sink_gets_nothing_until_it_is_resumed_also_over_a_restart_and_then_each_event_once",
    ),
];

/// What has no word of its own: what an operator asks, and the test that makes it.
const MORE: &[(&str, &str, &str)] = &[
    ("an event that came twice", "explain_more.rs", "a_second_delivery_is_told_as_the_copy_that_it_is"),
    (
        "an event that was redriven",
        "explain_more.rs",
        "a_redriven_event_says_that_it_was_a_dead_letter_and_where_it_is_now",
    ),
    (
        "an event that was replayed",
        "replay.rs",
        "one_event_goes_again_by_its_id_and_is_explained_and_a_restart_forgets_none_of_it",
    ),
    (
        "each fault of a signature, by each form",
        "verify.rs",
        "verify_names_the_cause_and_the_fix_for_every_form_of_signature",
    ),
    ("a clock that is wrong", "verify.rs", "a_clock_that_is_wrong_is_told_where_no_moment_is_given"),
    (
        "topics that are missing or have one copy",
        "doctor/kafka.rs",
        "a_topic_that_is_missing_or_has_one_copy_is_told_and_none_is_created",
    ),
    (
        "a broker that is stopped",
        "doctor/kafka.rs",
        "a_broker_that_is_stopped_is_a_failure_and_what_depends_on_it_is_not_known",
    ),
    (
        "a permission that is missing",
        "doctor/kafka.rs",
        "a_wrong_password_and_a_missing_permission_are_told_apart",
    ),
    (
        "a disk that is slow",
        "doctor/machine.rs",
        "a_disk_that_is_slow_is_a_warning_and_one_beyond_the_answers_time_a_failure",
    ),
    (
        "a queue that anybody may send to",
        "doctor/aws.rs",
        "a_queue_that_anybody_may_send_to_is_a_failure_and_one_that_stream_may_not_send_to_a_warning",
    ),
];

const SNS: &str = "a message of SNS needs its certificates: tests/sns makes it, and the unit tests of causes \
                   have its words";
const LOAD: &str = "a matter of many senders at once: tests/front makes it";
const FAULT: &str = "a fault of the machine: tests/faults makes it";

/// Words without a row, and why.
const WITHOUT: &[(&str, &str)] = &[
    ("ambiguous_id", "as ambiguous_signature, of another header"),
    ("ambiguous_parts", "as ambiguous_signature, within one header"),
    ("ambiguous_timestamp", "as ambiguous_signature, of another header"),
    ("broken_body", "whoever breaks its connection gets no answer with a number"),
    ("confirmation", SNS),
    ("failed", "the state of a spool that has failed: its refusals are spool_failed"),
    ("files_unseen", FAULT),
    ("in_flight_bytes", LOAD),
    ("malformed_id", "as malformed_signature, of another header"),
    ("message_type", SNS),
    ("no_descriptors", FAULT),
    ("no_inodes", FAULT),
    ("no_memory", FAULT),
    ("no_scheme", "as malformed_signature, of the fields of one header"),
    ("not_an_envelope", SNS),
    ("open", "the state in which deliveries are taken"),
    ("other_topic", SNS),
    ("panic", "a fault of the bridge itself, of which none is known"),
    ("password", SNS),
    ("shutting_down", "the bridge ends before anybody could ask"),
    ("signature", SNS),
    ("spool", "a configuration by which a body could be larger than the spool is refused"),
    ("spool_failed", FAULT),
    ("strangers_in_flight_bytes", LOAD),
    ("strangers_turn", LOAD),
    ("subscription_of_other_topic", SNS),
    ("too_large", "the word of a decoder: such a refusal is counted as inflated_bytes"),
    ("too_many_signatures", "as malformed_signature, of more than sixteen"),
];

/// Beginnings of words that are SNS's alone, and what else in their files looks like a word.
const OF_SNS: &[&str] = &["certificate_", "envelope_", "signature_", "header_contradicts", "timestamp_form"];

/// What can look like a word of a refusal and is none.
const NO_REASON: &[&str] =
    &["accepted", "aws_sqs", "duplicate", "filtered", "probe", "quarantined", "webhook"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The words of the situations, from the description of the API.
fn situations() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("deploy/openapi.json")).unwrap();
    let described: Value = serde_json::from_str(&text).unwrap();
    let words = described["components"]["schemas"]["Situation"]["oneOf"].as_array().expect("a list of words");
    words.iter().map(|word| word["const"].as_str().expect("a word").to_owned()).collect()
}

/// The files in which refusals are made.
fn files_of_refusals() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [
        "src/ack/mod.rs",
        "src/provider/as_if_signed.rs",
        "src/provider/body.rs",
        "src/provider/mod.rs",
        "src/provider/scheme.rs",
        "src/provider/signature/mod.rs",
        "src/scarce.rs",
        "src/spool/shared_log.rs",
    ]
    .map(|file| root().join(file))
    .into();
    for dir in ["src/source", "src/source/sns"] {
        let entries = fs::read_dir(root().join(dir)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|ending| ending == "rs")));
    }
    files
}

/// Texts of one word that a source file has: all with an underscore, and those of a constructor or an arm.
fn words_of(text: &str) -> BTreeSet<String> {
    let text = text.split("\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with(['/', '#']));
    let mut words = BTreeSet::new();
    for line in lines {
        let parts: Vec<&str> = line.split('"').collect();
        for (at, word) in parts.iter().enumerate().skip(1).step_by(2) {
            let is_word = !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            let before = parts[at - 1];
            let is_made = ["Refused::", "Self::", "Unavailable::", "DeliveryRefusal::"].iter().any(|name| {
                before.rsplit_once(name).is_some_and(|(_, rest)| rest.ends_with('(') && !rest.contains(')'))
            });
            let is_answer = before.ends_with("=> ") && before.trim_start().starts_with("Self::");
            if is_word && (word.contains('_') || is_made || is_answer) {
                words.insert((*word).to_owned());
            }
        }
    }
    words
}

#[test]
fn every_word_of_a_cause_and_of_a_refusal_has_a_row_or_a_reason_to_have_none() {
    let made: BTreeSet<&str> = rows().flat_map(|row| [row.situation, row.reason]).collect();
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(word, ..)| *word).collect();
    let without: BTreeMap<&str, &str> = WITHOUT.iter().copied().collect();
    let files = files_of_refusals();
    let refusals: BTreeSet<String> =
        files.iter().flat_map(|file| words_of(&fs::read_to_string(file).unwrap())).collect();
    assert!(refusals.contains("spool_full") && refusals.contains("wrong_signature"), "{refusals:?}");
    let is_of_sns = |word: &str| OF_SNS.iter().any(|beginning| word.starts_with(beginning));
    let is_known = |word: &str| made.contains(word) || elsewhere.contains(word) || without.contains_key(word);
    let situations = situations();
    let refused = refusals.iter().filter(|word| !is_of_sns(word) && !NO_REASON.contains(&word.as_str()));
    let unknown: Vec<&String> = situations.iter().chain(refused).filter(|word| !is_known(word)).collect();
    assert!(unknown.is_empty(), "words without a row in tests/operate/situations/: {unknown:?}");

    let all: BTreeSet<&str> = situations.iter().chain(&refusals).map(String::as_str).collect();
    let stale =
        elsewhere.iter().chain(without.keys()).filter(|word| !all.contains(*word) || made.contains(*word));
    assert_eq!(stale.collect::<Vec<_>>(), Vec::<&&str>::new(), "words that are gone, or that have a row");
    for (what, file, test) in ELSEWHERE.iter().chain(MORE) {
        let text = fs::read_to_string(root().join("tests/operate").join(file)).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{what}: {file} has no test {test}");
    }
}
