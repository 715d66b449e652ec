//! Bodies that an operator has saved, taken in by a source through the command line and over HTTP.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Output;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};

use crate::support::bridge::{Bridge, Home};
use crate::support::client::{Answer, Client};
use crate::support::load::STREAM_PATH;
use crate::support::{await_until, gzip, signing, turns};

/// How long the bridge may take to deliver.
const WITHIN: Duration = Duration::from_secs(30);
const CHANGE: (&str, &str) = ("x-fanbridge-request", "1");
const PATH: &str = "/api/v1/sources/stream-video/import";

/// A home with the file sink `local` and the directory `saved`; `admin` has more keys of its block.
fn home(admin: &str) -> Home {
    let home = Home::new();
    let hooks = "  hooks: { provider: standard-webhooks, secrets: [env:FASTPIX_SECRET] }\n";
    let topics = home.path("topics").display().to_string();
    let sinks = format!("sinks: {{ local: {{ file: {{ dir: {topics} }} }} }}\n");
    let select = "select: [call.created, call.ended, hook.sent]\n";
    home.configure("", &format!("{hooks}{sinks}{select}"));
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("admin: {", &format!("admin: {{ {admin}"))).unwrap();
    fs::create_dir(home.path("saved")).unwrap();
    home
}

fn body(event_type: &str, number: u64) -> String {
    format!(r#"{{"type":"{event_type}","call_cid":"default:{number}"}}"#)
}

/// Delivers a body by the front; what it was answered.
fn deliver(bridge: &Bridge, body: &str) -> Value {
    let signature = signing::stream(body.as_bytes());
    let answer = bridge.client().post(STREAM_PATH, &[("x-signature", &signature)], body.as_bytes());
    serde_json::from_slice(&answer.expect("an answer").body).unwrap()
}

fn import(home: &Home, more: &[&str]) -> Output {
    let saved = home.path("saved").display().to_string();
    let arguments = ["import", &saved, "--source", "stream-video", "--reason", "outage of 6 am"];
    home.try_verb(&[&arguments, more].concat())
}

/// What became of each body, by the end of its name.
fn rows(output: &Output) -> BTreeMap<String, Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let name = row["body"].as_str().expect("a name");
        (name.rsplit('/').next().unwrap_or_default().to_owned(), row)
    };
    text.lines().map(row).collect()
}

/// Name, verdict and reason of each body.
fn verdicts(output: &Output) -> Vec<(String, String)> {
    let word = |(name, row): (String, Value)| {
        let words = [row["verdict"].as_str(), row["reason"].as_str()];
        (name, words.into_iter().flatten().collect::<Vec<_>>().join(" "))
    };
    rows(output).into_iter().map(word).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The events that the sink has.
fn events(home: &Home) -> Vec<Value> {
    let topics = fs::read_dir(home.path("topics")).into_iter().flatten();
    let dirs = topics.map(|topic| topic.unwrap().path()).filter(|path| path.is_dir());
    let files = dirs.flat_map(|dir| fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()));
    let files = files.filter(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    let texts: Vec<String> = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn bodies_of_an_outage_come_in_once_and_say_why() {
    let _turn = turns::in_company();
    let home = home("");
    let bridge = home.start();
    let live = body("call.created", 1);
    let live_id = deliver(&bridge, &live)["id"].clone();
    let lines = format!("{}\n\r\n{}\r\n", body("call.created", 5), body("call.ended", 6));
    for (name, content) in [
        ("01.json", live.as_bytes()),
        ("02.json", body("call.created", 2).as_bytes()),
        ("03.json.gz", &gzip(body("call.ended", 3).as_bytes())),
        ("04.json", body("call.ring", 4).as_bytes()),
        ("05.ndjson", lines.as_bytes()),
        ("06.jsonl.gz", &gzip(body("call.ended", 7).as_bytes())),
        ("07.txt", b"hello"),
    ] {
        fs::write(home.path("saved").join(name), content).unwrap();
    }

    // Neither a dry run nor one without --yes changes anything.
    let counts = |bridge: &Bridge| {
        let counts = ["events_total", "imported_total", "dead_letters_total"];
        counts.map(|name| bridge.metric(&format!("fanbridge_{name}"), &[]))
    };
    let before = counts(&bridge);
    let dry = import(&home, &["--dry-run", "--format", "ndjson"]);
    assert!(dry.status.success() && said(&dry).contains("6 accepted, 1 filtered, 1 quarantined"), "{dry:?}");
    let without = import(&home, &[]);
    assert_eq!(without.status.code(), Some(2), "{without:?}");
    assert!(said(&without).contains("--yes"), "{without:?}");
    assert_eq!((counts(&bridge), before[1]), (before, 0.0));

    let taken = import(&home, &["--yes", "--format", "ndjson"]);
    assert!(taken.status.success(), "{taken:?}");
    let expected = [
        ("01.json", "duplicate"),
        ("02.json", "accepted"),
        ("03.json.gz", "accepted"),
        ("04.json", "filtered"),
        ("05.ndjson:1", "accepted"),
        ("05.ndjson:3", "accepted"),
        ("06.jsonl.gz:1", "accepted"),
        ("07.txt", "quarantined"),
    ];
    let became = verdicts(&taken);
    let words = |(name, words): &(String, String)| {
        (name.clone(), words.split(' ').next().unwrap_or_default().to_owned())
    };
    let became: Vec<_> = became.iter().map(words).collect();
    assert_eq!(became, expected.map(|(name, word)| (name.to_owned(), word.to_owned())));
    assert_eq!(rows(&taken)["01.json"]["id"], live_id, "the id is that of the delivery");
    assert_eq!(bridge.metric("fanbridge_imported_total", &["source=\"stream-video\""]), 6.0);
    bridge.assert_logs("outage of 6 am");
    let log = bridge.log();
    let line = log.lines().find(|line| line.contains("outage of 6 am")).expect("a line");
    assert!(line.contains("without their signatures") && line.contains("stream-video"), "{line}");
    assert!(!log.contains("default:2"), "no body is in the log");

    // What the provider sends of it later is a duplicate, under the same id.
    let late = deliver(&bridge, &body("call.ended", 6));
    assert_eq!(late["verdict"], "duplicate", "{late}");
    assert_eq!(late["id"], rows(&taken)["05.ndjson:3"]["id"]);

    let delivered = await_until("the sink has all of them", WITHIN, || {
        let events = events(&home);
        (events.len() >= 6).then_some(events)
    });
    assert_eq!(delivered.len(), 6);
    for event in &delivered {
        let reason = if event["id"] == live_id { Value::Null } else { "outage of 6 am".into() };
        assert_eq!(event["importreason"], reason, "{event}");
    }

    // A repetition takes nothing in twice, not even over a restart.
    bridge.stop();
    let bridge = home.start();
    let again = import(&home, &["--yes"]);
    assert!(again.status.success(), "{again:?}");
    assert!(said(&again).contains("imported by stream-video: 7 duplicate, 1 filtered"), "{again:?}");
    assert_eq!(bridge.metric("fanbridge_imported_total", &[]), 0.0);
    bridge.stop();
    assert_eq!(events(&home).len(), 6);
}

#[test]
fn what_is_no_body_is_refused_by_its_name_and_the_rest_comes_in() {
    let _turn = turns::in_company();
    let home = home("");
    let bridge = home.start();
    let saved = home.path("saved");
    fs::write(home.path("elsewhere.json"), body("call.created", 1)).unwrap();
    symlink(home.path("elsewhere.json"), saved.join("a-link.json")).unwrap();
    mkfifoat(CWD, saved.join("b-pipe"), Mode::RWXU).unwrap();
    fs::create_dir(saved.join("c-directory")).unwrap();
    File::create(saved.join("d-huge.json")).unwrap().set_len(20 << 30).unwrap();
    let whole = gzip(body("call.created", 2).as_bytes());
    fs::write(saved.join("e-torn.json.gz"), &whole[..whole.len() - 9]).unwrap();
    fs::write(saved.join("f-bomb.json.gz"), gzip(&vec![b' '; 40 << 20])).unwrap();
    let long = format!("{}\n{}\n", "x".repeat(5 << 20), body("call.created", 3));
    fs::write(saved.join("g-long.ndjson"), long).unwrap();
    fs::write(saved.join("h-torn.ndjson.gz"), &whole[..whole.len() - 9]).unwrap();
    fs::write(saved.join("i\u{1b}[2J.json"), body("call.created", 4)).unwrap();
    fs::write(saved.join("j-not-utf-8.json"), b"\xff\xfe").unwrap();

    let taken = import(&home, &["--yes", "--format", "ndjson"]);
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
    let became = verdicts(&taken);
    let is = |name: &str| {
        let found = became.iter().find(|(found, _)| found.starts_with(name));
        found.map_or_else(|| panic!("{name} is not in {became:?}"), |(_, words)| words.clone())
    };
    for name in ["a-link", "b-pipe", "c-directory"] {
        assert_eq!(is(name), "refused not_a_file", "{name}");
    }
    assert_eq!(is("d-huge"), "refused too_large");
    assert_eq!(is("e-torn"), "refused bad_encoding");
    assert_eq!(is("f-bomb"), "refused inflated_bytes");
    assert_eq!(is("g-long.ndjson:1"), "refused too_large");
    assert_eq!(is("g-long.ndjson:2"), "accepted");
    assert_eq!(is("h-torn"), "refused unreadable");
    assert_eq!(is("i"), "accepted");
    assert!(is("j-not-utf-8").starts_with("quarantined "), "{became:?}");
    assert_eq!(became.len(), 11);
    assert!(said(&taken).contains("8 of 11 bodies were refused"), "{}", said(&taken));
    assert_eq!(bridge.metric("fanbridge_imported_total", &[]), 3.0);

    let shown = import(&home, &["--dry-run"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(!text.contains('\u{1b}') && text.contains("u{1b}"), "{text}");
    let at =
        |path: &str| home.try_verb(&["import", path, "--source", "stream-video", "--reason", "x", "--yes"]);
    assert_eq!(at("nowhere").status.code(), Some(74));
    assert_eq!(verdicts(&import(&home, &["--yes", "--format", "ndjson"])).len(), 11);
    // What is named itself can be a link, and never waits for the other end of a pipe.
    let pipe = at(saved.join("b-pipe").to_str().unwrap());
    assert!(pipe.status.code() == Some(1) && String::from_utf8_lossy(&pipe.stdout).contains("not_a_file"));
    assert!(at(saved.join("a-link.json").to_str().unwrap()).status.success());
}

#[test]
fn headers_beside_a_body_count_as_if_it_were_sent_with_them() {
    let _turn = turns::in_company();
    let home = home("");
    let bridge = home.start();
    let saved = home.path("saved");
    let hook = r#"{"type":"hook.sent","timestamp":"2026-11-20T06:00:00Z","data":{}}"#;
    for name in ["1.json", "2.json", "3.json"] {
        fs::write(saved.join(name), hook).unwrap();
    }
    fs::write(saved.join("1.json.headers"), "Webhook-Id: msg_1\r\nWebhook-Signature: v1,wrong\r\n").unwrap();
    fs::write(saved.join("3.json.headers"), "no header\n").unwrap();
    let path = saved.display().to_string();
    let taken = home.try_verb(&[
        "import", &path, "--source", "hooks", "--reason", "failover", "--yes", "--format", "ndjson",
    ]);
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
    let expected =
        [("1.json", "accepted"), ("2.json", "refused missing_id"), ("3.json", "refused bad_headers")];
    assert_eq!(verdicts(&taken), expected.map(|(name, words)| (name.to_owned(), words.to_owned())));
    assert_eq!(rows(&taken)["1.json"]["id"], "msg_1");
    bridge.stop();
}

/// Asks for an import of one body over HTTP.
fn ask(home: &Home, headers: &[(&str, &str)], request: &Value) -> Answer {
    let mut client = Client::new(home.admin);
    client.post(PATH, headers, request.to_string().as_bytes()).expect("an answer")
}

#[test]
fn bodies_are_imported_by_whoever_has_the_token_only_and_not_where_that_is_off() {
    let _turn = turns::in_company();
    let token = "a-token-of-the-tests-0001";
    let bearer = format!("Bearer {token}");
    let request = json!({ "reason": "x", "bodies": [{ "body_base64": "e30=" }] });
    let started = |admin: &str| {
        let home = home(admin);
        let token_file = home.path("token");
        fs::write(&token_file, token).unwrap();
        let path = home.path("fanbridge.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let with_token = format!("admin: {{ token: \"file:{}\",", token_file.display());
        fs::write(&path, text.replace("admin: {", &with_token)).unwrap();
        let bridge = home.start();
        (home, bridge)
    };
    let (home, bridge) = started("");
    let authorization = ("authorization", &*bearer);
    let code = |answer: Answer| {
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, document["code"].as_str().unwrap_or_default().to_owned())
    };
    let problem = |status: u16, word: &str| (status, word.to_owned());
    assert_eq!(code(ask(&home, &[CHANGE], &request)), problem(401, "token_required"));
    let wrong = [CHANGE, ("authorization", "Bearer another")];
    assert_eq!(code(ask(&home, &wrong, &request)), problem(401, "token_wrong"));
    assert_eq!(code(ask(&home, &[authorization], &request)), problem(403, "no_request_header"));
    let both = [CHANGE, authorization];
    for wrong in [
        json!({ "reason": " ", "bodies": [{ "body_base64": "e30=" }] }),
        json!({ "reason": "two\nlines", "bodies": [{ "body_base64": "e30=" }] }),
        json!({ "reason": "x", "bodies": [] }),
        json!({ "reason": "x", "bodies": [{ "body_base64": "?" }] }),
        json!({ "reason": "x", "bodies": [{ "body_base64": "e30=", "headers": { "a b": "c" } }] }),
        json!({ "reason": "x", "by": "a\u{1b}", "bodies": [{ "body_base64": "e30=" }] }),
        json!({ "reason": "x", "bodies": vec![json!({ "body_base64": "e30=" }); 1001] }),
    ] {
        assert_eq!(code(ask(&home, &both, &wrong)), problem(400, "bad_body"), "{wrong:.100}");
    }
    let large = json!({ "reason": "x", "bodies": [{ "body_base64": "A".repeat(4 << 20) }] });
    assert_eq!(code(ask(&home, &both, &large)), problem(413, "body_too_large"));
    let unknown = Client::new(home.admin)
        .post("/api/v1/sources/nobody/import", &both, request.to_string().as_bytes())
        .expect("an answer");
    assert_eq!(code(unknown), problem(404, "not_found"));
    assert_eq!(bridge.log().matches("without their signatures").count(), 0, "nothing was imported");
    assert_eq!(ask(&home, &both, &request).status, 200);
    bridge.stop();

    let (home, bridge) = started("import: false,");
    assert_eq!(code(ask(&home, &both, &request)), problem(403, "import_off"));
    fs::write(home.path("saved").join("1.json"), body("call.created", 1)).unwrap();
    let refused = import(&home, &["--yes"]);
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    assert!(said(&refused).contains("admin.import: true"), "{refused:?}");
    bridge.stop();

    // Beyond loopback it is off unless somebody asks for it.
    for (admin, status) in [("", 403), ("import: true,", 200)] {
        let home = home_everywhere(admin, token);
        let bridge = home.start();
        assert_eq!(ask(&home, &both, &request).status, status, "{admin}");
        bridge.stop();
    }
}

/// A home whose admin listener is on every address.
fn home_everywhere(admin: &str, token: &str) -> Home {
    let home = home(admin);
    fs::write(home.path("token"), token).unwrap();
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let here = format!("listen: 127.0.0.1:{}", home.admin);
    let everywhere =
        format!("token: \"file:{}\", listen: 0.0.0.0:{}", home.path("token").display(), home.admin);
    assert!(text.contains(&here), "{text}");
    fs::write(&path, text.replace(&here, &everywhere)).unwrap();
    home
}
