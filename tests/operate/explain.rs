//! What became of an event or of an event type, asked on the command line.

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::situations::stage;
use crate::support::bridge::{Bridge, Home};
use crate::support::{signing, turns};

/// How long the bridge may take to deliver, or to say that it cannot.
const WITHIN: Duration = Duration::from_secs(30);
/// A text that no output may have.
const CANARY: &str = "canary-in-a-body";

/// The form of a bridge with this selection and these sinks, each with its own lines.
fn configure(home: &Home, select: &str, sinks: &str) {
    home.configure("", &format!("select: {select}\nsinks:\n{sinks}"));
}

fn files(home: &Home, name: &str, more: &str) -> String {
    let dir = home.path(&format!("topics-{name}"));
    format!("  {name}: {{ file: {{ dir: {} }}{more} }}\n", dir.display())
}

fn body(event_type: &str, number: u64) -> String {
    format!(r#"{{"type":"{event_type}","call_cid":"default:{number}","note":"{CANARY}"}}"#)
}

/// Sends a body to `stream-video`; the id that the bridge gave it.
#[track_caller]
fn send(bridge: &Bridge, body: &str) -> String {
    let signature = signing::stream(body.as_bytes());
    let answer = bridge.client().post("/in/stream-video", &[("x-signature", &signature)], body.as_bytes());
    let answer = answer.expect("an answer");
    assert!(answer.is_success(), "{}", answer.text());
    let said: Value = serde_json::from_str(&answer.text()).expect("JSON");
    said["id"].as_str().expect("an id").to_owned()
}

/// What `explain` says, as text and as JSON, which agree.
struct Said {
    code: Option<i32>,
    text: String,
    json: Value,
}

impl Said {
    fn cause(&self) -> &str {
        self.json["cause"].as_str().unwrap_or_default()
    }

    fn fix(&self) -> &str {
        self.json["fix"].as_str().unwrap_or_default()
    }

    /// What became of the event at a sink.
    fn state(&self, sink: &str) -> &str {
        let sinks = self.json["sinks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = sinks.iter().find(|row| row["sink"] == sink).expect("there is such a sink");
        row["state"].as_str().expect("a state")
    }
}

fn explain(home: &Home, arguments: &[&str]) -> Said {
    let run = |format: &str| home.try_verb(&[&["explain"], arguments, &["--format", format]].concat());
    let text_of = |output: &Output| String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let (table, json) = (run("table"), run("json"));
    let errors = String::from_utf8_lossy(&json.stderr).into_owned();
    assert_eq!(table.status.code(), json.status.code(), "{errors}");
    let document = serde_json::from_str(&text_of(&json)).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let said = Said { code: json.status.code(), text: text_of(&table), json: document };
    for word in [CANARY, signing::STREAM_SECRET, signing::FASTPIX_SECRET] {
        assert!(!said.text.contains(word) && !text_of(&json).contains(word), "{}", said.text);
    }
    for line in said.text.lines().filter(|line| !line.starts_with("see:")) {
        // What is copied is not broken: a path is as long as it is.
        let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
        assert!(line.chars().count() <= 80.max(longest + 14), "{line}");
    }
    said
}

/// What `explain` says of an id as JSON, once it says anything.
fn as_json(home: &Home, id: &str) -> Said {
    let output = home.try_verb(&["explain", id, "--format", "json"]);
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let json = serde_json::from_str(&text).unwrap_or_default();
    Said { code: output.status.code(), text, json }
}

/// Explains again and again, until it is as it is to become.
#[track_caller]
fn explained(home: &Home, id: &str, is_so: impl Fn(&Said) -> bool) -> Said {
    let begun = Instant::now();
    loop {
        // Asked once: between two questions it can become so.
        let said = as_json(home, id);
        if is_so(&said) {
            return explain(home, &[id]);
        }
        assert!(
            begun.elapsed() < WITHIN,
            "waited {WITHIN:?} in vain for another explanation than {}",
            said.text
        );
    }
}

#[test]
fn an_event_is_found_by_its_id_by_the_beginning_of_it_and_by_its_position() {
    let _turn = turns::in_company();
    let home = Home::new();
    let billing = files(&home, "billing", ", select: [call.ended]");
    configure(&home, "all", &(files(&home, "lake", "") + &billing));
    let bridge = home.start();
    let id = send(&bridge, &body("call.created", 1));
    let said = explained(&home, &id, |said| said.state("lake").starts_with("delivered"));
    assert_eq!((said.code, said.state("billing")), (Some(0), "not_selected"));
    assert!(
        said.text.contains(&id) && said.text.contains("why:") && said.text.contains("fix:"),
        "{}",
        said.text
    );

    // The beginning is enough, with and without its scheme, and so is the position.
    let beginning = &id["sha256-".len()..][..12];
    for asked in [beginning, &id[..16], "position:1"] {
        let said = explain(&home, &[asked]);
        assert_eq!((said.code, said.json["event"]["id"].as_str()), (Some(0), Some(&*id)), "{asked}");
    }
}

#[test]
fn a_delivered_event_comes_with_the_command_that_shows_its_record() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "[call.ended]", &files(&home, "lake", ""));
    let bridge = home.start();
    let delivered = send(&bridge, &body("call.ended", 2));
    let said = explained(&home, &delivered, |said| said.state("lake") == "delivered");
    let row = &said.json["sinks"][0];
    assert_eq!((&row["file"], &row["offset"]), (&"00000001.jsonl".into(), &0.into()), "{}", said.text);
    let command = row["command"].as_str().expect("a command that shows the record");
    let shown = std::process::Command::new("sh").args(["-c", command]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&delivered), "{command}");
}

#[test]
fn the_exit_code_says_whether_one_event_several_or_none_was_found() {
    let _turn = turns::in_company();
    let home = Home::new();
    let acme = "  acme: { provider: acme, secrets: [env:STREAM_SECRET] }\n\
                providers:\n  acme:\n    signature: { scheme: hmac-sha256, header: x-signature }\n\
                \x20   event: { type: { pointers: [/type] }, id: [/id] }\n";
    home.configure("", &format!("{acme}sinks:\n{}", files(&home, "lake", "")));
    let bridge = home.start();
    for id in ["invoice-1", "invoice-2"] {
        let body = format!(r#"{{"type":"invoice.paid","id":"{id}"}}"#);
        let signature = signing::stream(body.as_bytes());
        let answer = bridge.client().post("/in/acme", &[("x-signature", &signature)], body.as_bytes());
        assert!(answer.expect("an answer").is_success());
    }
    let several = explain(&home, &["invoice-"]);
    assert_eq!((several.code, several.json["found"].as_str()), (Some(2), Some("several")));
    assert!(several.text.contains("invoice-1") && several.text.contains("invoice-2"), "{}", several.text);
    assert_eq!(explain(&home, &["invoice-2"]).code, Some(0));
    let replay = home.try_verb(&["replay", "--sink", "lake", "--id", "invoice-", "--dry-run"]);
    let said = String::from_utf8_lossy(&replay.stderr).into_owned();
    assert_eq!(replay.status.code(), Some(2), "{said}");
    assert!(said.contains("invoice-1, invoice-2"), "{said}");

    let none = explain(&home, &["invoice-3"]);
    assert_eq!(none.code, Some(1), "{}", none.text);
    for wrong in [&["inv"][..], &["position:x"], &["invoice-1", "--since", "yesterday"]] {
        assert_eq!(home.try_verb(&[&["explain"], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
    bridge.stop();
    assert_eq!(explain(&home, &["invoice-1"]).code, Some(0), "it is in what the bridge has left");
    let log = home.run_verb(&["spool", "verify"]);
    assert!(log.contains("clean: 1 segment, 2 entries, "), "{log}");
}

#[test]
fn a_type_is_explained_without_a_bridge_and_one_that_runs_adds_what_came() {
    let _turn = turns::in_company();
    let home = Home::new();
    let lake = files(&home, "lake", "") + &files(&home, "billing", ", select: [call.ended]");
    configure(&home, "[call.created, call.ended]", &lake);
    let said = explain(&home, &["--type", "call.created"]);
    assert_eq!(said.code, Some(0));
    assert!(said.text.contains(&stage::place(&home, "select:")), "{}", said.text);
    assert!(said.text.contains("stream-video"), "{}", said.text);

    let misspelt = explain(&home, &["--type", "call.sesion_ended"]);
    assert_eq!(misspelt.code, Some(1));
    assert!(misspelt.text.lines().all(|line| !line.ends_with('→')), "{}", misspelt.text);
    assert_eq!(misspelt.json.get("seen"), None, "no bridge was asked");

    // A running bridge adds what came.
    let bridge = home.start();
    send(&bridge, &body("call.created", 1));
    let said = explain(&home, &["--type", "call.created"]);
    assert_eq!(said.json["seen"][0]["count"], 1, "{}", said.json);
}

#[test]
fn what_came_before_a_restart_is_explained_from_cursors_and_letters() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "all", &files(&home, "lake", ""));
    let bridge = home.start();
    let ids: Vec<String> = (0..300).map(|number| send(&bridge, &body("call.created", number))).collect();
    let twice = send(&bridge, r#"{"type":"call.created","type":"call.ended"}"#);
    explained(&home, &ids[299], |said| said.state("lake").starts_with("delivered"));
    bridge.stop();

    let bridge = home.start();
    for id in [&ids[0], &ids[150], &ids[299]] {
        let said = explain(&home, &[id]);
        assert_eq!((said.code, said.state("lake")), (Some(0), "delivered_before"), "{}", said.text);
    }
    assert!(explain(&home, &[&twice]).cause().contains("cannot become an event"));
    bridge.kill();
}

#[test]
fn a_body_finds_its_event_by_the_id_that_it_has_or_would_have() {
    let _turn = turns::in_company();
    let home = Home::new();
    let hooks = "  hooks: { provider: standard-webhooks, secrets: [env:FASTPIX_SECRET] }\n";
    home.configure("", &format!("{hooks}sinks:\n{}", files(&home, "lake", "")));
    let bridge = home.start();
    let (body, file) = (body("call.created", 1), home.path("body.json"));
    fs::write(&file, &body).expect("written");
    let file = file.to_str().expect("UTF-8");
    let asked = ["--body", file, "--source", "stream-video"];
    let unseen = explain(&home, &asked);
    assert_eq!(unseen.code, Some(1), "it has not come yet");
    assert!(unseen.cause().contains("never came to stream-video, or was refused"), "{}", unseen.cause());
    let fix = unseen.fix();
    assert!(fix.contains("tail --since-start --failed --source stream-video"), "{fix}");
    assert!(fix.contains("verify stream-video") && !fix.contains("explain"), "{fix}");
    let id = send(&bridge, &body);
    let said = explain(&home, &asked);
    assert_eq!((said.code, said.json["event"]["id"].as_str()), (Some(0), Some(&*id)));

    // A provider that signs the id in a header needs it.
    let signed = br#"{"type":"user.created","data":{}}"#;
    fs::write(file, signed).expect("written");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let now = now.to_string();
    let headers = [
        ("webhook-id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
        ("webhook-timestamp", &now),
        ("webhook-signature", &signing::standard_webhooks("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", &now, signed)),
    ];
    let answer = bridge.client().post("/in/hooks", &headers, signed).expect("an answer");
    assert!(answer.is_success(), "{}", answer.text());
    let refused = home.try_verb(&["explain", "--body", file, "--source", "hooks"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--headers"));
    let written: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    fs::write(home.path("headers"), written).expect("written");
    let said = explain(&home, &["--body", file, "--source", "hooks", "--headers", "headers"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
}

#[test]
fn no_explanation_shows_a_body_or_a_secret() {
    let _turn = turns::in_company();
    let home = Home::new();
    let token = "canary-of-an-admin-token";
    fs::write(home.path("token"), token).expect("written");
    let lake = files(&home, "lake", "");
    home.configure("", &format!("select: [call.created, call.ended]\nsinks:\n{lake}"));
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).expect("the configuration");
    let admin = format!("admin: {{ token: \"file:{}\", listen", home.path("token").display());
    fs::write(&path, text.replace("admin: { listen", &admin)).expect("written");
    let bridge = home.start();
    let broken = format!(r#"{{"type":"call.created","note":"{CANARY}","note":"{CANARY}""#);
    let ids = [send(&bridge, &body("call.created", 1)), send(&bridge, &broken)];
    // `explain` looks for the body's canary and the signing secrets in all that it prints.
    let asked = [&ids[0], &ids[1], "position:1", "position:2", "0000000000"];
    for arguments in asked.map(|asked| vec![asked]).into_iter().chain([vec!["--type", "call.created"]]) {
        let said = explain(&home, &arguments);
        assert!(!said.text.contains(token) && !said.json.to_string().contains(token), "{}", said.text);
    }
    assert_eq!(bridge.admin().get("/api/v1/events/position:1").expect("an answer").status, 401);
}

/// Tests that measure: `tests/run.sh` runs them one at a time.
mod alone {
    use super::*;
    use crate::support::load::{Load, Shape};

    #[test]
    fn explanations_at_full_load_cost_no_acknowledgement() {
        let _turn = turns::alone();
        let home = Home::new();
        home.configure_files();
        let bridge = home.start();
        let shape = Shape {
            name: "explain",
            senders: 32,
            keys_per_sender: 8,
            body_bytes: 1024,
            pause: Duration::ZERO,
        };
        let load = Load::start(bridge.http_port(), shape);
        // The beginning of an id that nothing has: each answer takes a look at the whole log.
        let (begun, over) = (Instant::now(), Duration::from_secs(6));
        let ask = || {
            let (mut admin, mut answered) = (bridge.admin(), 0);
            while begun.elapsed() < over {
                let answer = admin.get("/api/v1/events/000000000000").expect("an answer");
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered += 1;
            }
            answered
        };
        let answered: usize = std::thread::scope(|scope| {
            let asking = [scope.spawn(ask), scope.spawn(ask)];
            asking.map(|asking| asking.join().expect("an answer each time")).iter().sum()
        });
        let (ledger, tally) = load.finish();
        let count =
            |counter: &std::sync::atomic::AtomicUsize| counter.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((count(&tally.put_off), count(&tally.unanswered)), (0, 0));
        assert!(answered > 0 && ledger.acknowledged() > 1_000, "{answered} explanations");
        assert!(tally.slowest() < Duration::from_secs(5), "{:?} until an answer", tally.slowest());
    }
}
