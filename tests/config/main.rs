//! The configuration from outside: texts in, configurations or problems out.

#[path = "../support/catalogue.rs"]
mod documents;

mod ack;
mod all_at_once;
mod attributes;
mod cannot_work;
mod catalogue;
mod examples;
mod from;
mod iam_policy;
mod messages;
mod secrets;
mod selection;
mod shared_window;
mod shipped;
mod start;
mod verbs;

use std::io;
use std::path::Path;

use fanbridge::config::{Environment, Loaded, Problem, Report, load};
use fanbridge::event::Timestamp;

/// Reads a text in a world where the variables that tests name are set and `/pem` can be read.
fn read(text: &str) -> Result<Loaded, Report> {
    let read = |path: &Path| match path.to_str() {
        Some("/pem") => Ok(b"certificate or key".to_vec()),
        Some("/secret") => Ok(b"kept-in-a-file-and-long-enough\n".to_vec()),
        Some("/marked") => Ok(b"\xef\xbb\xbfkept-in-a-file-and-long-enough\n".to_vec()),
        Some("/empty") => Ok(Vec::new()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    load("fanbridge.yaml", text, &Environment { env: &variable, read: &read, now: NOW })
}

/// What time it is where tests read a text: 2026-11-21T06:40:00Z.
const NOW: Timestamp = Timestamp(1_795_243_200_000_000_000);

fn variable(name: &str) -> Option<String> {
    let value = match name {
        "SECRET" => "0123456789abcdef0123456789abcdef",
        "OTHER_SECRET" => "fedcba9876543210fedcba9876543210",
        "FASTPIX" => "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "STRIPE_API_KEY" => "sk_test_canary0123456789abcdef0123456789",
        "STRIPE_RESTRICTED_KEY" => "rk_test_canary0123456789abcdef0123456789",
        "STRIPE" => "whsec_0123456789abcdef0123456789abcdef",
        "SHORT" => "0123456789abcdef",
        "TOO_SHORT" => "0123456789",
        "PLACEHOLDER" => "changeme",
        "TOKEN" => "token-canary-token-canary",
        "BROKERS" => "a:9092,b:9092",
        "REDIS" => "redis://me:hunter2@cache",
        "REDIS_TLS" => "rediss://me:hunter2@cache/1",
        "REDIS_UNESCAPED" => "redis://:hunter2/@cache",
        "REDIS_DATABASE" => "redis://hunter2/hunter2",
        "REDIS_IPV6" => "redis://::1:6379",
        "NOT_REDIS" => "http://hunter2",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.into())
}

/// The problems of a text, errors and warnings.
fn problems(text: &str) -> Report {
    match read(text) {
        Ok(loaded) => loaded.warnings,
        Err(report) => report,
    }
}

/// A source that needs no more words.
const SOURCE: &str = "sources: { a: { provider: stream, secrets: [env:SECRET] } }\n";

/// A source and a sink: valid, without a warning.
const VALID: &str =
    "sources: { a: { provider: stream, secrets: [env:SECRET] } }\nsinks: { b: { file: {} } }\n";

/// Reads a text in which the place of the one expected problem is marked as `‹…›`.
#[track_caller]
fn expect(marked: &str, title: &str, label: &str) {
    let start = marked.find('‹').expect("a marked place");
    let length = marked[start..].find('›').expect("the mark's end") - '‹'.len_utf8();
    let text = marked.replace(['‹', '›'], "");
    let report = problems(&text);
    let found = |problem: &&Problem| problem.span == (start..start + length) && problem.title == title;
    let problem =
        report.problems().iter().find(found).unwrap_or_else(|| panic!("no `{title}` there:\n{report}"));
    assert_eq!(problem.label, label, "{report}");
    let before = &text[..start];
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    assert_eq!(report.position(problem), (before.matches('\n').count() + 1, column));
}
