//! Tests that keep the rules of the source: which module can use which dependency, how long a file can be,
//! which words and leftovers are not allowed; in `tidy/rooms.rs`, which room stands on which; and, in
//! `tidy/documents.rs`, that the documents are true.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/rooms.rs"]
mod rooms;

use std::fs;
use std::path::{Path, PathBuf};

/// Most code lines of a file, without blank lines, comments and tests: a longer file has two subjects.
const CODE_LINES_MAX: usize = 330;

/// A crate, and the only paths under `src/` that can name it.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("axum", &["source/front.rs", "admin/"]),
    ("rdkafka", &["sink/kafka/"]),
    ("redb", &["state/"]),
    ("redis", &["dedup/shared/"]),
    ("aws_config", &["aws/", "source/sqs/", "source/sns/", "sink/sns/"]),
    ("aws_sigv4", &["aws/"]),
    ("aws_smithy_runtime", &["aws/"]),
    ("aws_sdk_sqs", &["source/sqs/"]),
    ("aws_sdk_sns", &["source/sns/", "sink/sns/"]),
    ("opentelemetry", &["telemetry/traces.rs"]),
    ("opentelemetry_proto", &["telemetry/traces.rs"]),
    ("prost", &["telemetry/traces.rs"]),
];

/// Modules that only decide: they have no I/O, no clock, no runtime and no log.
const PURE: &[&str] = &[
    "ack/acceptances.rs",
    "ack/fingerprint.rs",
    "ack/known.rs",
    "admin/v1/sentence.rs",
    "admit/",
    "aws/arn.rs",
    "aws/policy.rs",
    "aws/refusal.rs",
    "aws/secrets/answer.rs",
    "aws/secrets/endpoint.rs",
    "backoff.rs",
    "cli/tail/choice.rs",
    "cli/tail/keys.rs",
    "cli/doctor/finding.rs",
    "cli/doctor/policy.rs",
    "cli/doctor/report.rs",
    "cli/iam_policy/secrets.rs",
    "cli/tail/line.rs",
    "config/diff/",
    "cli/top/block.rs",
    "cli/types/asyncapi.rs",
    "cli/types/comparison.rs",
    "cli/types/delivered.rs",
    "cli/types/eventcatalog.rs",
    "cli/types/names.rs",
    "cli/types/specification.rs",
    "telemetry/readings.rs",
    "dispatch/linger.rs",
    "dispatch/maybe_duplicates.rs",
    "dispatch/rules.rs",
    "dispatch/unsettled.rs",
    "event/",
    "explain/admitted.rs",
    "explain/asked.rs",
    "explain/cause/",
    "explain/configuration.rs",
    "explain/event_type.rs",
    "explain/facts.rs",
    "explain/sinks.rs",
    "provider/",
    "reference/aws.rs",
    "replay/pace.rs",
    "routing.rs",
    "selection.rs",
    "shape/",
    "sink/attributes.rs",
    "sink/envelope.rs",
    "sink/kafka/encoder.rs",
    "sink/kafka/outcome.rs",
    "sink/kafka/wire/codec.rs",
    "sink/reason.rs",
    "sink/sns/lanes/",
    "sink/sns/message.rs",
    "sink/sns/outcome.rs",
    "sink/sns/pace.rs",
    "source/shown_headers.rs",
    "source/sns/certificate.rs",
    "source/sns/claim.rs",
    "source/sns/envelope.rs",
    "source/sns/origin.rs",
    "source/sqs/message.rs",
    "telemetry/episode.rs",
    "telemetry/trace_context.rs",
    "timeline/cursor.rs",
    "timeline/filter.rs",
    "timeline/notes.rs",
    "timeline/raw_note.rs",
    "timeline/ring.rs",
    "timeline/step.rs",
    "timeline/written.rs",
];
/// What such a module must not name.
const IMPURE: &[&str] =
    &["tokio", "tracing", "std::fs", "std::net", "std::thread", "Instant::now", "SystemTime::now"];

#[test]
fn each_dependency_stays_where_it_belongs() {
    let mut strays = Vec::new();
    for (path, code) in sources() {
        for (name, homes) in ONLY_IN {
            if !homes.iter().any(|home| path.starts_with(home)) && names(&code, name) {
                strays.push(format!("src/{path} names {name}, which only {homes:?} can name"));
            }
        }
        if PURE.iter().any(|pure| path.starts_with(pure)) {
            for name in IMPURE.iter().filter(|name| names(&code, name)) {
                strays.push(format!("src/{path} is pure, and so must not name {name}"));
            }
        }
    }
    assert!(strays.is_empty(), "these files break a rule: {strays:#?}");
}

#[test]
fn every_path_in_the_tables_of_these_rules_exists() {
    let sources = sources();
    let homes = ONLY_IN.iter().flat_map(|(_, homes)| *homes).chain(PURE);
    let missing: Vec<_> =
        homes.filter(|home| !sources.iter().any(|(path, _)| path.starts_with(**home))).collect();
    assert!(missing.is_empty(), "no file under src/ is at these paths of the tables: {missing:?}");
}

#[test]
fn the_log_reaches_the_disk_through_its_seam_only() {
    let strays: Vec<_> = sources()
        .into_iter()
        .filter(|(path, code)| {
            let is_of_the_log = path.starts_with("spool/") || path.starts_with("dedup/");
            is_of_the_log && names(code, "std::fs")
        })
        .map(|(path, _)| path)
        .collect();
    assert!(strays.is_empty(), "the spool must use disk/ and not std::fs: {strays:?}");
}

#[test]
fn sources_and_sinks_do_not_know_each_other() {
    let strays: Vec<_> = sources()
        .into_iter()
        .filter(|(path, code)| {
            (path.starts_with("source/") && names(code, "crate::sink"))
                || (path.starts_with("sink/") && names(code, "crate::source"))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(strays.is_empty(), "sources must not name sinks, nor sinks sources: {strays:?}");
}

#[test]
fn no_file_is_so_long_that_it_has_two_subjects() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, code)| (code.lines().filter(|line| is_code(line)).count(), path))
        .filter(|(lines, _)| *lines > CODE_LINES_MAX)
        .collect();
    assert!(long.is_empty(), "split these files by subject (code lines, path): {long:?}");
}

#[test]
fn nothing_unfinished_and_no_empty_word_is_left() {
    let leftovers = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "FIXME", "XXX"];
    let words = ["Manager", "Processor", "Helper", "Util"];
    let mut found = Vec::new();
    for (path, text) in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches"))
    {
        if path.ends_with("tidy.rs") {
            continue;
        }
        found.extend(
            leftovers.iter().filter(|mark| text.contains(**mark)).map(|mark| format!("{path}: {mark}")),
        );
        for line in text
            .lines()
            .filter(|line| line.contains("struct ") || line.contains("trait ") || line.contains("mod "))
        {
            found.extend(
                words.iter().filter(|word| line.contains(**word)).map(|word| format!("{path}: {word}")),
            );
        }
    }
    assert!(found.is_empty(), "leftovers and empty words: {found:#?}");
}

/// Whether code names this path, and not only a longer word that contains it.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let rest = &code[at + name.len()..];
        let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        // A single colon follows a field of that name.
        !part_of_word(before)
            && !part_of_word(rest.chars().next())
            && (name.contains("::") || rest.starts_with("::") || rest.starts_with(';'))
    })
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

/// The code of every file under `src/`, without comments, without the tests at its end, and without what is
/// for tests only.
fn sources() -> Vec<(String, String)> {
    rust_files("src")
        .into_iter()
        .filter(|(path, _)| !path.ends_with("tests.rs") && !path.contains("/tests/"))
        .filter(|(path, _)| !path.starts_with("testing/"))
        .map(|(path, text)| {
            let code = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
            let code = code.lines().filter(|line| is_code(line)).collect::<Vec<_>>().join("\n");
            (path, code)
        })
        .collect()
}

/// Every Rust file under a directory: its path below the directory, and its text.
fn rust_files(dir: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let below = file.strip_prefix(&root).expect("found below it").to_string_lossy().into_owned();
            (below, read(&file))
        })
        .collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
