//! The duplicate window that replicas share: where its server is, without saying how to get in.

use std::time::Duration;

use super::{VALID, expect, problems, read};

fn duplicates(keys: &str) -> String {
    format!("{VALID}spool: {{ duplicates: {{ {keys} }} }}\n")
}

#[test]
fn replicas_share_nothing_unless_they_are_told_to() {
    assert!(read(VALID).expect("valid").config.shared_window.is_none());
}

#[test]
fn a_shared_window_lives_as_long_as_ones_own_and_waits_a_share_of_the_acknowledgement() {
    let text = format!("{}limits: {{ ack_timeout: 3s }}\n", duplicates("window: 1h, redis: env:REDIS_TLS"));
    let loaded = read(&text).expect("valid");
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
    let shared = loaded.config.shared_window.as_ref().expect("a shared window");
    assert_eq!((shared.window, shared.ack_timeout), (Duration::from_secs(3600), Duration::from_secs(3)));
    assert_eq!(shared.prefix, "fanbridge:");
    assert_eq!(shared.server.to_string(), "rediss://cache:6379/1");
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));
}

#[test]
fn a_url_is_kept_elsewhere_because_it_may_hold_a_password() {
    expect(
        &duplicates("redis: ‹\"redis://:hunter2@cache\"›"),
        "invalid value for `spool.duplicates.redis`",
        "write a secret as `env:NAME`, `file:PATH`, `aws-sm:NAME` or `aws-ssm:NAME`, never the secret itself",
    );
    expect(
        &duplicates("redis: ‹env:UNSET›"),
        "unreadable reference",
        "the environment variable `UNSET` is not set",
    );
}

#[test]
fn what_is_wrong_with_a_url_is_said_without_the_url() {
    let title = "unusable Redis URL";
    for (name, label) in [
        ("NOT_REDIS", "expected `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS"),
        (
            "REDIS_UNESCAPED",
            "expected a URL; in a password, write `%`, `/`, `?`, `#` and `@` as %25, %2F, %3F, %23 and %40",
        ),
        ("REDIS_DATABASE", "the database after the host is not a number"),
    ] {
        let text = duplicates(&format!("redis: ‹env:{name}›"));
        expect(&text, title, label);
        let report = problems(&text.replace(['‹', '›'], ""));
        for shown in
            [report.render(true), report.to_string(), format!("{report:?}"), report.to_json().to_string()]
        {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

#[test]
fn a_password_that_would_cross_a_network_in_the_clear_is_a_warning() {
    expect(
        &duplicates("redis: ‹env:REDIS›"),
        "password without TLS",
        "the password crosses the network in plain text; `rediss://` encrypts it",
    );
    assert!(read(&duplicates("redis: env:REDIS")).is_ok());
}

#[test]
fn a_prefix_is_short_and_can_be_typed() {
    let title = "unusable prefix";
    let label = "expected 1 to 64 printable ASCII characters, such as `fanbridge:`";
    expect(&duplicates("redis: env:REDIS_TLS, redis_prefix: ‹\"\"›"), title, label);
    expect(&duplicates("redis: env:REDIS_TLS, redis_prefix: ‹\"fan bridge:\"›"), title, label);
    expect(&duplicates(&format!("redis: env:REDIS_TLS, redis_prefix: ‹{}›", "a".repeat(65))), title, label);
}
