//! Secrets: short, equal, over, ending soon.

use std::fs;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Diagnosis;
use crate::support::bridge::Home;

const LONG: &str = "a-secret-of-the-doctor-with-32-b";
const OTHER: &str = "another-secret-of-the-doctor-32b";
const SHORT: &str = "sixteen-bytes-xy";
const ONLY: [&str; 2] = ["--only", "secret.strength,secret.expiry,secret.reuse"];

/// A home with these sources, written in YAML's flow style behind their names.
fn home(sources: &[(&str, &str)]) -> Home {
    let home = Home::new();
    for (name, secret) in [("long", LONG), ("other", OTHER), ("short", SHORT)] {
        fs::write(home.path(name), secret).unwrap();
    }
    let sources: String = sources.iter().map(|(name, source)| format!("  {name}: {source}\n")).collect();
    let (spool, topics) = (home.path("spool"), home.path("topics"));
    let text = format!(
        "http: {{ listen: 127.0.0.1:{} }}\nadmin: {{ listen: 127.0.0.1:{} }}\nspool: {{ dir: {} }}\n\
         sources:\n{sources}sinks: {{ local: {{ file: {{ dir: {} }} }} }}\n",
        home.http,
        home.admin,
        spool.display(),
        topics.display()
    );
    fs::write(home.path("fanbridge.yaml"), text).unwrap();
    home
}

fn days_from_now(days: u64) -> String {
    let moment = SystemTime::now() + Duration::from_secs(days * 86_400);
    OffsetDateTime::from(moment).format(&Rfc3339).unwrap()
}

#[test]
fn secrets_that_are_short_or_shared_are_warnings_that_show_none_of_them() {
    let home = home(&[
        ("stream", "{ provider: stream, secrets: [file:short] }"),
        ("chat", "{ provider: stream, secrets: [file:short, file:short] }"),
        ("stripe", "{ provider: stripe, secrets: [file:short] }"),
        ("mux", "{ provider: mux, secrets: [file:long] }"),
    ]);
    let said = Diagnosis::of(&home, &ONLY);
    said.warns("secret.strength", &["stream", "file:short", "fewer than 24 bytes", "openssl rand"]);
    said.warns("secret.reuse", &["also that of stripe"]);
    said.warns("secret.reuse", &["listed twice"]);
    assert!(
        said.findings("secret.reuse").iter().all(|finding| finding["subject"] != "mux"),
        "{:#}",
        said.report
    );
    said.says("secret.expiry", "ok", &["4 sources"]);
    assert_eq!(said.code, Some(0));
    for secret in [SHORT, LONG] {
        assert!(!said.report.to_string().contains(secret), "{:#}", said.report);
    }
}

#[test]
fn a_secret_that_is_over_is_a_failure_where_no_other_is_valid() {
    let soon = days_from_now(3);
    let home = home(&[
        (
            "over",
            "{ provider: stream, secrets: [{ secret: file:long, not_after: \"2020-01-31T00:00:00Z\" }] }",
        ),
        (
            "half",
            "{ provider: stripe, secrets: [file:other, { secret: file:long, not_after: \"2020-01-31T00:00:00Z\" }] }",
        ),
        ("soon", &format!("{{ provider: mux, secrets: [{{ secret: file:long, not_after: \"{soon}\" }}] }}")),
        (
            "later",
            &format!("{{ provider: shopify, secrets: [{{ secret: file:long, not_before: \"{soon}\" }}] }}"),
        ),
    ]);
    let said = Diagnosis::of(&home, &ONLY);
    said.fails("secret.expiry", &["over", "ended 2020-01-31T00:00:00Z", "answered 401"]);
    said.fails("secret.expiry", &["later", "none is valid yet"]);
    said.warns("secret.expiry", &["half", "file:long ended 2020-01-31T00:00:00Z"]);
    said.warns("secret.expiry", &["soon", "none follows"]);
}
