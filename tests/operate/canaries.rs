//! No output of a bridge or of a verb has a secret, and none has a body but those that are made to show one.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::help;
use crate::situations::stage::{body, call, configure, files, nobody};
use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::load::STREAM_PATH;
use crate::support::{await_until, signing, turns};

/// A text of every body that is sent.
const BODY: &str = crate::situations::stage::CANARY;
/// A text of a header that no provider sends, and of a path.
const HEADER: &str = "canary-in-a-header";
/// The token of the admin listener, the password at the brokers, and the header for a collector.
const TOKEN: &str = "canary-of-an-admin-token";
const PASSWORD: &str = "canary-of-a-password";
const COLLECTOR: &str = "canary-for-a-collector";
/// A whole signature, which nothing repeats.
const SIGNATURE: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";
const WITHIN: Duration = Duration::from_secs(30);

/// Every verb but those that begin with `dead show` and `dead export`, which are made to show bodies. `ID` is
/// the id of an event, and `REQUEST` the number of a refusal.
const VERBS: &[&[&str]] = &[
    &["check"],
    &["config", "show"],
    &["config", "show", "--effective"],
    &["dead", "list"],
    &["dead", "list", "--format", "json"],
    &["dead", "groups"],
    &["dead", "redrive", "1", "--yes"],
    &["dead", "drop", "2", "--yes"],
    &["doctor"],
    &["doctor", "--format", "json"],
    &["explain", "ID"],
    &["explain", "ID", "--format", "json"],
    &["explain", "ID", "--payload"],
    &["explain", "REQUEST"],
    &["explain", "--type", "call.created"],
    &["explain", "--body", "body", "--source", "stream-video"],
    &["health"],
    &["health", "--startup"],
    &["import", "body", "--source", "stream-video", "--reason", "a while", "--yes"],
    &["pause", "lake", "--reason", "a while"],
    &["reload", "--dry-run"],
    &["reload", "--format", "json"],
    &["replay", "list"],
    &["replay", "show", "1"],
    &["replay", "cancel", "1"],
    &["resume", "lake"],
    &["send", "stream-video", "call.created", "--no-wait"],
    &["spool", "verify"],
    &["tail", "--since-start", "--for", "2s"],
    &["tail", "--since-start", "--for", "2s", "--format", "ndjson"],
    &["test"],
    &["top", "--every", "200ms", "--count", "2"],
    &["topics", "apply"],
    &["topics", "plan"],
    &["types"],
    &["types", "--seen"],
    &["types", "diff", "spec"],
    &["types", "export", "--format", "asyncapi"],
    &["types", "export", "--format", "json-schema"],
    &["types", "export", "--format", "eventcatalog", "--output", "catalogue"],
    &["verify", "stream-video", "--body", "body", "--headers", "headers"],
];

/// Verbs that know nothing of a configuration, or are looked at by tests of their own, and the bridge itself.
const APART: &[&str] = &[
    "completions",
    "dead export",
    "dead show",
    "demo",
    "init",
    "man",
    "metrics dashboard",
    "metrics document",
    "metrics list",
    "metrics rule-tests",
    "metrics rules",
    "replay",
    "run",
];

/// Paths that are made to show the bodies of dead letters.
const SHOWS_BODIES: &[&str] = &["/api/v1/dead/export", "/api/v1/dead/{id}"];

/// What was put out by whom.
#[derive(Default)]
struct Outputs(Vec<(String, String)>);

impl Outputs {
    fn add(&mut self, by: impl Into<String>, bytes: &[u8]) {
        self.0.push((by.into(), String::from_utf8_lossy(bytes).into_owned()));
    }

    /// None of them has one of these texts.
    fn assert_none_has(&self, canaries: &[&str]) {
        for (by, text) in &self.0 {
            for canary in canaries {
                let at = text.find(canary);
                let around = at.and_then(|at| text.get(at.saturating_sub(200)..at + canary.len()));
                assert_eq!(at, None, "{by} shows {canary}: {around:?}");
            }
        }
    }
}

/// A home with every kind of secret that needs no server, and a sink that rejects what is large.
fn home() -> Home {
    let home = Home::new();
    fs::write(home.path("token"), TOKEN).unwrap();
    fs::write(home.path("password"), PASSWORD).unwrap();
    fs::write(home.path("collector"), COLLECTOR).unwrap();
    let sasl = "sasl: { mechanism: PLAIN, username: bridge, password: \"file:password\" }";
    let billing = nobody().replace(" }", &format!(", {sasl}, properties: {{ message.max.bytes: 1000 }} }}"));
    configure(
        &home,
        "",
        "select: [call.created, call.ended]\n",
        &[("lake", files("lake")), ("billing", billing)],
    );
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("admin: {", "admin: { token: \"file:token\",");
    let traces = format!(
        "traces: {{ endpoint: \"http://127.0.0.1:{}\", sample_ratio: 1, headers: {{ x-key: \"file:collector\" }} }}\n",
        free_port()
    );
    fs::write(&path, traces + &text).unwrap();
    let tests = "tests:\n  - { name: a call, source: stream-video, sample: call.created, expect: {} }\n";
    fs::write(home.path("fanbridge.tests.yaml"), tests).unwrap();
    fs::write(home.path("body"), body("call.created")).unwrap();
    fs::write(home.path("spec"), r#"{"webhooks":{"call.created":{}}}"#).unwrap();
    fs::write(home.path("headers"), format!("x-signature: {SIGNATURE}\nx-other: {HEADER}\n")).unwrap();
    home
}

/// Sends what is taken, filtered, repeated, no event, too large, and refused; the id of an event and the
/// number of a refusal.
fn deliver(bridge: &Bridge, outputs: &mut Outputs) -> (String, String) {
    let mut answer = |path: &str, signature: &str, more: &[(&str, &str)], body: &[u8]| {
        let headers = [&[("x-signature", signature), ("x-other", HEADER)], more].concat();
        let answer = bridge.client().post(path, &headers, body).expect("an answer");
        outputs.add(format!("the answer from {path}"), &answer.body);
        (answer.status, serde_json::from_slice::<Value>(&answer.body).expect("an answer is JSON"))
    };
    let mut id = String::new();
    let noise = String::from_utf8(call(1, 4000).body).unwrap();
    let large = noise.replacen('{', &format!(r#"{{"note":"{BODY}","#), 1);
    let twice = format!(r#"{{"type":"call.created","note":"{BODY}","type":"call.ended"}}"#);
    let broken = format!(r#"{{"type":"call.created","note":"{BODY}"#);
    for body in [body("call.created"), body("call.created"), body("call.ring"), large, twice, broken] {
        let (status, said) = answer(STREAM_PATH, &signing::stream(body.as_bytes()), &[], body.as_bytes());
        assert_eq!(status, 200, "{said}");
        if id.is_empty() {
            id = said["id"].as_str().expect("an id").to_owned();
        }
    }
    let body = body("call.created");
    let gzip = [("content-encoding", "gzip")];
    let signature = signing::stream(body.as_bytes());
    for (path, signature, more, expected) in [
        ("/in/canary-in-a-header", SIGNATURE, &[][..], 404),
        ("/in/fastpix", SIGNATURE, &[], 401),
        // It says that it is compressed and is not: a proxy has inflated it.
        (STREAM_PATH, &signature, &gzip, 200),
        (STREAM_PATH, &signature[1..], &[], 401),
    ] {
        let (status, said) = answer(path, signature, more, body.as_bytes());
        assert_eq!(status, expected, "{path}: {said}");
    }
    let (status, refused) = answer(STREAM_PATH, SIGNATURE, &[], body.as_bytes());
    assert_eq!(status, 401, "{refused}");
    (id, refused["instance"].as_str().expect("an instance").to_owned())
}

/// Asks the admin listener, with its token, for what it has.
fn ask(bridge: &Bridge, method: &str, path: &str, body: &str) -> Vec<u8> {
    let (status, answer) = exchange(bridge, method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
    answer
}

/// The same, whatever the answer.
fn exchange(bridge: &Bridge, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         x-fanbridge-request: 1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = bridge.admin().exchange(head.as_bytes()).expect("an answer");
    (answer.status, answer.body)
}

/// Asks every route of the API and of the page, and every other path of the admin listener.
fn ask_all(bridge: &Bridge, id: &str, outputs: &mut Outputs) -> usize {
    let described: Value = serde_json::from_slice(&ask(bridge, "GET", "/api/v1/openapi.json", "")).unwrap();
    let paths = described["paths"].as_object().expect("paths");
    let mut asked = 0;
    for (path, operations) in paths {
        // Whoever reads a stream waits for its end; its steps are those of `/events`.
        if path.ends_with("/stream") || SHOWS_BODIES.contains(&path.as_str()) {
            continue;
        }
        let id = if path.contains("/events/") { id } else { "1" };
        let named = path.replace("{id}", id).replace("{name}", "lake").replace("{provider}", "stream");
        let named = named.replace("{type}", "call.created");
        for method in operations.as_object().expect("operations").keys() {
            let body = if method == "post" { r#"{"unknown":1}"#.to_owned() } else { String::new() };
            let (status, answer) = exchange(bridge, &method.to_uppercase(), &named, &body);
            // The token is known, and each path is there: a question is answered or found wrong.
            assert!(!matches!(status, 401 | 403 | 405 | 421 | 500..), "{method} {named}: {status}");
            outputs.add(format!("{method} {named}"), &answer);
            asked += 1;
        }
    }
    let beside =
        ["/metrics", "/livez", "/readyz", "/startupz", "/api/status", "/api/types", "/api/dead", "/"];
    for path in beside.into_iter().chain(["/api/v1/events?limit=100", "/page/app.js"]) {
        outputs.add(path, &ask(bridge, "GET", path, ""));
    }
    for (path, expected) in [("/api/v1/nothing", 404), (&*format!("/api/v1/events/{id}?payload=1"), 403)] {
        let (status, answer) = exchange(bridge, "GET", path, "");
        assert_eq!(status, expected, "{path}");
        outputs.add(path, &answer);
    }
    asked
}

#[test]
fn no_output_of_a_run_has_a_secret_or_a_body_where_payloads_are_hidden() {
    let _turn = turns::in_company();
    let (home, mut outputs) = (home(), Outputs::default());
    let bridge = home.start_under(&["env", "FANBRIDGE_LOG=debug"]);
    let (id, request) = deliver(&bridge, &mut outputs);
    await_until("billing has rejected one, and one is no event", WITHIN, || {
        let metrics = String::from_utf8(ask(&bridge, "GET", "/metrics", "")).unwrap();
        let kept = metrics.lines().filter(|line| line.starts_with("fanbridge_dead_letters_kept{"));
        (kept.filter(|line| !line.ends_with(" 0")).count() >= 2).then_some(())
    });
    let replay = format!(r#"{{"sink":"lake","events":{{"ids":["{id}"]}}}}"#);
    outputs.add("a replay", &ask(&bridge, "POST", "/api/v1/replays", &replay));
    assert!(ask_all(&bridge, &id, &mut outputs) > 20);
    // Those that are made to show bodies show no secret.
    let mut with_bodies = Outputs::default();
    for verb in [&["dead", "export"][..], &["dead", "list"], &["dead", "show", "1"]] {
        with_bodies.add(format!("{verb:?}"), &home.try_verb(verb).stdout);
    }
    for path in SHOWS_BODIES {
        with_bodies.add(*path, &ask(&bridge, "GET", &path.replace("{id}", "1"), ""));
    }
    for verb in VERBS {
        let words: Vec<&str> = verb
            .iter()
            .map(|word| match *word {
                "ID" => id.as_str(),
                "REQUEST" => request.as_str(),
                word => word,
            })
            .collect();
        let output = home.try_verb(&words);
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{verb:?} says nothing");
        assert_ne!(output.status.code(), Some(2), "{verb:?}: {}", String::from_utf8_lossy(&output.stderr));
        outputs.add(format!("{verb:?}"), &output.stdout);
        outputs.add(format!("{verb:?} on stderr"), &output.stderr);
    }
    let service = home.path("catalogue/domains/stream/services/stream.video.call-lifecycle");
    let schema = service.join("events/stream.call.created/schema.json");
    outputs.add("an exported schema", &fs::read(schema).unwrap());
    bridge.stop();
    let log = fs::read(home.path("log")).unwrap();
    assert!(String::from_utf8_lossy(&log).contains("DEBUG"), "the log is one of a bridge at `debug`");
    outputs.add("the log", &log);
    outputs.add("`spool verify`", &home.try_verb(&["spool", "verify"]).stdout);
    let stopped = home.try_verb(&["explain", &id, "--format", "json"]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    outputs.add("`explain` of a stopped bridge", &stopped.stdout);

    let secrets = [TOKEN, PASSWORD, COLLECTOR, signing::STREAM_SECRET, signing::FASTPIX_SECRET, SIGNATURE];
    outputs.assert_none_has(&secrets);
    with_bodies.assert_none_has(&secrets);
    outputs.assert_none_has(&[BODY, HEADER]);
    assert!(with_bodies.0.iter().any(|(_, text)| text.contains(BODY)), "what shows bodies has some");
}

#[test]
fn every_verb_is_looked_at_for_secrets_or_is_apart() {
    let looked_at: BTreeSet<String> =
        VERBS.iter().map(|verb| verb.join(" ")).chain(APART.iter().map(|&verb| verb.into())).collect();
    let is_missed =
        |verb: &&String| !looked_at.iter().any(|line| line == *verb || line.starts_with(&format!("{verb} ")));
    let home = Home::new();
    let missing: Vec<String> = help::verbs(&home, "").iter().filter(is_missed).cloned().collect();
    assert!(missing.is_empty(), "verbs whose outputs nobody looks at: {missing:?}");
}
