use std::io;
use std::path::Path;

use super::*;
use crate::config::{Environment, load};
use crate::event::Timestamp;

const TEXT: &str = "\
http: { listen: 127.0.0.1:8080 }
sources:
  video: { provider: stream, secrets: [env:S] }
  shop: { provider: shop, secrets: [env:T] }
  queue: { provider: stream, app: q, sns: { topics: [TOPIC], raw: { username: me, password: file:/p } } }
select: [call.created, made]
providers:
  shop:
    signature: { scheme: hmac-sha256, header: x-sign }
    event: { type: { pointers: [/type] } }
    families: { all: { types: { made: {} } } }
sinks:
  lake: { kafka: { brokers: env:B, properties: { linger.ms: 5 }, sasl: SASL }, from: earliest }
  files: { file: { dir: /tmp/a } }
";

/// A configuration of this text, where `/p` holds this password.
fn configured(text: &str, password: &'static str) -> Config {
    let text = text.replace("TOPIC", "'arn:aws:sns:eu-west-1:123456789012:a'");
    let text = text.replace("SASL", "{ username: me, password: file:/p }");
    let env = |name: &str| match name {
        "B" | "C" => Some(format!("{name}.example:9092")),
        name => Some(format!("the-value-of-{name}-which-is-long")),
    };
    let read = move |path: &Path| match path.to_str() {
        Some("/p") => Ok(password.as_bytes().to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let outside = Environment { env: &env, read: &read, now: Timestamp(0) };
    load("f.yaml", &text, &outside).unwrap_or_else(|report| panic!("{report}")).config
}

const PASSWORD: &str = "a-password-of-some-length";

/// What a text changes in which this is replaced by that.
#[track_caller]
fn changed(this: &str, that: &str) -> Changes {
    assert!(TEXT.contains(this), "{this}");
    diff(&configured(TEXT, PASSWORD), &configured(&TEXT.replacen(this, that, 1), PASSWORD))
}

fn names(of: &BTreeSet<String>) -> Vec<&str> {
    of.iter().map(String::as_str).collect()
}

fn paths(changes: &Changes) -> Vec<&str> {
    changes.values.iter().map(|value| value.path.as_str()).collect()
}

fn restarts(changes: &Changes) -> Vec<(&str, Option<&str>)> {
    changes.restart.iter().map(|needs| (needs.path.as_str(), needs.line.as_deref())).collect()
}

#[test]
fn comments_and_the_order_of_keys_and_values_that_are_defaults_change_nothing() {
    for (this, that) in [
        ("select: ", "# why\nselect: "),
        ("select: [call.created, made]", "select: [made, call.created]"),
        ("provider: stream, secrets: [env:S]", "secrets: [env:S], app: default, provider: stream"),
        ("http:", "shutdown_grace_seconds: 30\nhttp:"),
    ] {
        let changes = changed(this, that);
        let is_list = this.contains("made]");
        assert_eq!(changes.is_empty(), !is_list, "{that}: {changes:?}");
        assert_eq!(paths(&changes), if is_list { &["select"][..] } else { &[] }, "{that}");
        let named = changes.sources.touched().chain(changes.sinks.touched());
        assert_eq!(named.count(), 0, "{changes:?}");
    }
}

#[test]
fn what_a_running_bridge_takes_over_is_told_by_name() {
    let changes = changed("[call.created, made]", "all");
    assert!(paths(&changes).contains(&"select") && changes.restart.is_empty(), "{changes:?}");
    assert_eq!(changes.values[0].line.as_deref(), Some("f.yaml:6:1"));

    let changes = changed(
        "secrets: [env:S] }\n",
        "secrets: [env:S, env:U] }\n  more: { provider: stream, app: m, secrets: [env:V] }\n",
    );
    assert_eq!(
        (names(&changes.sources.added), names(&changes.sources.changed)),
        (vec!["more"], vec!["video"])
    );
    assert_eq!(names(&changes.sources.unchanged), ["queue", "shop"]);
    assert_eq!(paths(&changes), ["sources.more", "sources.video.secrets"]);

    let changes = changed("x-sign", "x-signature");
    assert_eq!(names(&changes.sources.changed), ["shop"], "its provider is another one");
    // The header of this provider states the type, which is a part of what tells events apart.
    let two = "sources:\n  a: { provider: github, secrets: [env:S] }\n  \
               b: { provider: github, app: b, secrets: [env:T] }\n";
    let more = two.replace("[env:S]", "[env:S], custom_types: [made]");
    let changes = diff(&configured(two, PASSWORD), &configured(&more, PASSWORD));
    assert_eq!(names(&changes.sources.changed), ["a", "b"], "they share the types of a provider");

    let changes = changed("  files: { file: { dir: /tmp/a } }\n", "  more: { file: { dir: /tmp/b } }\n");
    assert_eq!((names(&changes.sinks.added), names(&changes.sinks.removed)), (vec!["more"], vec!["files"]));
    assert_eq!(changes.values[0].change, ChangeKind::Removed);
    assert_eq!(changes.values[0].line, None);
    assert!(changes.restart.is_empty(), "{changes:?}");
}

#[test]
fn a_sink_that_only_selects_other_events_is_not_another_sink() {
    let changes = changed("dir: /tmp/a }", "dir: /tmp/a }, select: [made], topic: 'other.{family}'");
    assert_eq!(names(&changes.only_rules), ["files"]);
    assert!(
        changes.sinks.touched().next().is_none() && names(&changes.sinks.unchanged) == ["lake"],
        "{changes:?}"
    );

    let changes = changed("from: earliest", "from: next");
    assert_eq!((names(&changes.sinks.unchanged), changes.values.len()), (vec!["files", "lake"], 1));
    for (this, that) in [
        ("linger.ms: 5", "linger.ms: 6"),
        ("env:B", "env:C"),
        ("dir: /tmp/a }", "dir: /tmp/a }, linger: 1ms"),
    ] {
        let changes = changed(this, that);
        assert!(changes.sinks.changed.len() == 1 && changes.values.len() == 1, "{that}: {changes:?}");
    }
}

#[test]
fn another_content_of_a_file_that_is_named_is_a_change() {
    let changes = diff(&configured(TEXT, PASSWORD), &configured(TEXT, "another-password-of-some-length"));
    assert_eq!(
        paths(&changes),
        ["sources.queue.sns.raw.password", "sinks.lake.kafka.properties.sasl.password"]
    );
    assert_eq!(
        (names(&changes.sources.changed), names(&changes.sinks.changed)),
        (vec!["queue"], vec!["lake"])
    );

    let text = format!("admin: {{ token: file:/p }}\n{TEXT}");
    let changes = diff(&configured(&text, PASSWORD), &configured(&text, "another-password-of-some-length"));
    assert_eq!(restarts(&changes), [("admin.token", Some("f.yaml:1:10"))]);
    let text = format!("admin: {{ token: env:T, metrics_token: file:/p }}\n{TEXT}");
    let changes = diff(&configured(&text, PASSWORD), &configured(&text, "another-password-of-some-length"));
    assert_eq!(restarts(&changes), [("admin.metrics_token", Some("f.yaml:1:24"))]);
    let said = format!("{changes:?}");
    assert!(!said.contains("password-of"), "{said}");
}

#[test]
fn what_needs_a_restart_is_named_with_its_line() {
    let changes = changed("127.0.0.1:8080 }", "127.0.0.1:8081 }\nlimits: { connections_max: 7 }");
    let expected = [("http.listen", Some("f.yaml:1:9")), ("limits.connections_max", Some("f.yaml:2:11"))];
    assert_eq!(restarts(&changes), expected);
    assert!(changes.restart[0].what.contains("was 127.0.0.1:8080"), "{changes:?}");
    for line in ["spool: { retain: 1h }", "aws: { region: eu-west-1 }", "shutdown_grace_seconds: 7"] {
        assert_eq!(changed("http:", &format!("{line}\nhttp:")).restart.len(), 1, "{line}");
    }
    assert!(changed("http:", "reload_on_change: true\nhttp:").restart.is_empty());
}

#[test]
fn which_sinks_answers_wait_for_and_these_sinks_need_a_restart() {
    let changes = changed("http:", "ack: { after: [lake] }\nhttp:");
    assert_eq!(restarts(&changes), [("ack", Some("f.yaml:1:1"))]);
    let changes = changed("secrets: [env:S] }", "secrets: [env:S], ack: { after: [files], within: 1s } }");
    assert_eq!(restarts(&changes), [("sources.video.ack", Some("f.yaml:3:48"))]);

    let awaits = TEXT.replace("secrets: [env:S] }", "secrets: [env:S], ack: { after: [files] } }");
    for (this, that) in
        [("dir: /tmp/a }", "dir: /tmp/a }, topic: 'other.{family}'"), ("dir: /tmp/a }", "dir: /tmp/b }")]
    {
        let changes =
            diff(&configured(&awaits, PASSWORD), &configured(&awaits.replace(this, that), PASSWORD));
        assert_eq!(restarts(&changes), [("sinks.files", Some("f.yaml:14:3"))], "{that}");
    }
    let without =
        awaits.replace("  video: { provider: stream, secrets: [env:S], ack: { after: [files] } }\n", "");
    let changes = diff(&configured(&awaits, PASSWORD), &configured(&without, PASSWORD));
    assert_eq!(changes.restart.len(), 1, "{changes:?}");
}

#[test]
fn what_counts_instead_of_what_is_asked_for_is_no_change() {
    let mut old = configured(TEXT, PASSWORD);
    old.effective.replace(&["limits", "connections_max"], 7, "the limit of open files");
    assert!(diff(&old, &configured(TEXT, PASSWORD)).is_empty());
}
