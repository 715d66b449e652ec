//! Verbs in a shell that has none of the service's secrets: those that ask the bridge, or read what it left,
//! need the admin token at most; those that use a secret say which one is missing.

use std::fs;
use std::process::Output;

use crate::support::bridge::Home;
use crate::support::turns;

/// Becomes the verb, in the environment of a shell.
const SHELL: &[&str] = &["env", "-u", "STREAM_SECRET", "-u", "FASTPIX_SECRET"];
const TOKEN: &str = "ADMIN_TOKEN=a-token-of-an-admin-listener";
const BODY: &str = r#"{"type":"call.created","call_cid":"default:1"}"#;

/// A bridge with a token, a source whose secret is a file that only the service reads, and a saved body.
fn home() -> Home {
    let home = Home::new();
    home.configure_files();
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).unwrap().replace("admin: {", "admin: { token: env:ADMIN_TOKEN,");
    let credential = "sources:\n  hooks: { provider: github, secrets: [\"file:credential\"] }\n";
    fs::write(&path, text.replace("sources:\n", credential)).unwrap();
    fs::write(home.path("credential"), "a-secret-that-only-the-service-reads").unwrap();
    fs::write(home.path("body.json"), BODY).unwrap();
    home
}

fn in_a_shell(home: &Home, more: &[&str], verb: &[&str]) -> Output {
    home.try_verb_under(&[SHELL, more].concat(), verb)
}

#[track_caller]
fn succeeds(home: &Home, verb: &[&str]) -> String {
    let output = in_a_shell(home, &[TOKEN], verb);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{verb:?} ended with {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What a verb says that the configuration does not let begin.
#[track_caller]
fn refused(home: &Home, more: &[&str], verb: &[&str]) -> String {
    let output = in_a_shell(home, more, verb);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(output.status.code(), Some(78), "{verb:?}: {said:?}");
    said.concat()
}

#[test]
fn verbs_that_ask_the_bridge_need_its_token_and_no_secret_of_a_source() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start_under(&["env", TOKEN]);
    fs::rename(home.path("credential"), home.path("away")).unwrap();

    let body = home.path("body.json").display().to_string();
    let source = ["--source", "stream-video"];
    succeeds(&home, &[&["import", &body, "--reason", "an outage", "--yes"], &source[..]].concat());
    let told = succeeds(&home, &[&["explain", "--body", &body], &source[..]].concat());
    assert!(told.contains("call.created"), "{told}");
    assert!(succeeds(&home, &["types", "--seen"]).contains("call.created"));
    let asks: &[&[&str]] = &[
        &["explain", "--type", "call.created"],
        &["tail", "--since-start", "--for", "1s"],
        &["top", "--count", "1", "--every", "1s"],
        &["dead", "list"],
        &["dead", "groups"],
        &["replay", "list"],
        &["pause", "local", "--reason", "a rest"],
        &["resume", "local"],
    ];
    for verb in asks {
        succeeds(&home, verb);
        let said = refused(&home, &["-u", "ADMIN_TOKEN"], verb);
        assert!(said.contains("the environment variable `ADMIN_TOKEN` is not set"), "{verb:?}: {said}");
        assert!(
            said.contains("token: env:ADMIN_TOKEN") && !said.contains("STREAM_SECRET"),
            "{verb:?}: {said}"
        );
    }
    let wrong = in_a_shell(&home, &["ADMIN_TOKEN=another-token-of-a-listener"], &["dead", "list"]);
    assert!(!wrong.status.success(), "another token opens nothing");
    fs::rename(home.path("away"), home.path("credential")).unwrap();
    succeeds(&home, &["reload", "--dry-run"]);
    bridge.stop();
}

#[test]
fn what_a_stopped_bridge_has_left_is_read_without_a_secret() {
    let _turn = turns::in_company();
    let home = home();
    home.start_under(&["env", TOKEN]).stop();
    succeeds(&home, &["dead", "list"]);
    succeeds(&home, &["spool", "verify"]);
    let output = in_a_shell(&home, &["-u", "ADMIN_TOKEN"], &["spool", "verify"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_configuration_is_tested_and_shown_where_no_secret_is() {
    let home = home();
    let path = home.path("fanbridge.yaml");
    let own = "providers:\n  shop:\n    event: { type: { pointers: [/type] } }\n    signature: { scheme: \
               hmac-sha256, header: x-sign, secret_encoding: hex }\n    families: { all: { types: { made: {} } } }\n";
    let tests = "tests:\n  - { name: a call, source: stream-video, sample: call.created, expect: { verdict: \
                 accepted } }\n";
    let source = "sources:\n  goods: { provider: shop, secrets: [env:SHOP_SECRET] }\n";
    let lake = "sinks:\n  lake: { kafka: { brokers: env:BROKERS, tls: {} } }\n";
    let text = fs::read_to_string(&path).unwrap().replace("sources:\n", source).replace("sinks:\n", lake);
    fs::write(&path, [own, tests, &text].concat()).unwrap();
    fs::remove_file(home.path("credential")).unwrap();
    let runs = |verb: &[&str]| {
        let output = in_a_shell(&home, &["-u", "ADMIN_TOKEN"], verb);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb:?} ended with {}: {errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    };
    let checked = runs(&["check", "--without-secrets"]);
    let unread = ["env:ADMIN_TOKEN", "env:BROKERS", "env:SHOP_SECRET", "env:STREAM_SECRET", "file:"];
    assert!(unread.iter().all(|one| checked.contains(&format!("not read here: {one}"))), "{checked}");
    assert!(checked.contains("sink lake: kafka (not read), "), "{checked}");
    assert!(runs(&["test"]).contains("a call"));
    let shown = runs(&["config", "show", "--effective"]);
    assert!(shown.contains("env:SHOP_SECRET") && shown.contains("token: env:ADMIN_TOKEN"), "{shown}");
    assert!(shown.contains("brokers: env:BROKERS") && !shown.contains(".invalid"), "{shown}");
    assert!(runs(&["types", "--provider", "shop"]).contains("made"));
    assert!(runs(&["types", "--families"]).contains("shop"));
    let export = &["types", "export", "--format", "asyncapi"];
    assert!(runs(export).contains("made"));
    assert!(succeeds(&home, export).contains("made"));
}

#[test]
fn verbs_that_use_a_secret_say_that_it_is_not_there() {
    let home = home();
    for verb in [&["check"][..], &["run"], &["send", "stream-video", "call.created"], &["topics", "plan"]] {
        let said = refused(&home, &[TOKEN], verb);
        assert!(said.contains("the environment variable `STREAM_SECRET` is not set"), "{verb:?}: {said}");
    }
}
