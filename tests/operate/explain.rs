//! What became of an event or of an event type, asked on the command line.

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::bridge::{Bridge, Home};
use crate::support::{servers, signing, turns};

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

/// Where a line of the configuration begins with this key, as an explanation names it.
fn place(home: &Home, key: &str) -> String {
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).expect("the configuration");
    let line = text.lines().position(|line| line.trim_start().starts_with(key)).expect("the key is there");
    format!("{}:{}:", path.display(), line + 1)
}

#[test]
fn an_event_says_where_it_went_and_which_sink_does_not_select_it_by_which_line() {
    let _turn = turns::in_company();
    let home = Home::new();
    let billing = files(&home, "billing", ", select: [call.ended]");
    configure(&home, "all", &(files(&home, "lake", "") + &billing));
    let bridge = home.start();
    let id = send(&bridge, &body("call.created", 1));
    let said = explained(&home, &id, |said| said.state("lake").starts_with("delivered"));
    assert_eq!((said.code, said.state("billing")), (Some(0), "not_selected"));
    let words = format!("billing does not select `call.created` ({}", place(&home, "billing:"));
    assert!(said.cause().contains(&words), "{}", said.cause());
    assert!(said.fix().contains("`sinks.billing.select`"), "{}", said.fix());
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
fn a_filtered_delivery_is_told_with_its_list_and_a_delivered_one_with_its_place() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "[call.ended]", &files(&home, "lake", ""));
    let bridge = home.start();
    let filtered = send(&bridge, &body("call.created", 1));
    let said = explained(&home, &filtered, |said| said.json["verdict"]["word"] == "filtered");
    let words = "`select` is a list of 1 type and `call.created` is not on it (";
    assert!(said.cause().contains(words), "{}", said.cause());
    assert!(said.fix().contains("add `call.created` to `select`"), "{}", said.fix());

    let delivered = send(&bridge, &body("call.ended", 2));
    let said = explained(&home, &delivered, |said| said.state("lake") == "delivered");
    let row = &said.json["sinks"][0];
    assert_eq!((&row["file"], &row["offset"]), (&"00000001.jsonl".into(), &0.into()), "{}", said.text);
    let command = row["command"].as_str().expect("a command that shows the record");
    let shown = std::process::Command::new("sh").args(["-c", command]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&delivered), "{command}");
}

#[test]
fn the_beginning_of_several_ids_lists_them_and_what_never_came_says_where_it_was_looked_for() {
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

    let none = explain(&home, &["invoice-3"]);
    assert_eq!(none.code, Some(1));
    assert!(none.cause().contains("nothing with this id"), "{}", none.cause());
    assert!(none.cause().contains("searched the log from"), "{}", none.cause());
    assert!(none.fix().contains("--body"), "{}", none.fix());
    for wrong in [&["inv"][..], &["position:x"], &["invoice-1", "--since", "yesterday"]] {
        assert_eq!(home.try_verb(&[&["explain"], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
    bridge.stop();
    assert_eq!(home.try_verb(&["explain", "invoice-1"]).status.code(), Some(74), "no bridge answers");
}

#[test]
fn a_type_says_who_sends_it_where_it_is_selected_and_in_which_line() {
    let _turn = turns::in_company();
    let home = Home::new();
    let lake = files(&home, "lake", "") + &files(&home, "billing", ", select: [call.ended]");
    configure(&home, "[call.created, call.ended]", &lake);
    let said = explain(&home, &["--type", "call.created"]);
    assert_eq!(said.code, Some(0));
    assert!(said.cause().contains("goes to lake (stream.video.call-lifecycle)"), "{}", said.cause());
    assert!(said.text.contains(&place(&home, "select:")), "{}", said.text);
    assert!(said.text.contains("stream-video"), "{}", said.text);

    let filtered = explain(&home, &["--type", "call.ring"]);
    let words = "filtered: `select` is a list of 2 types and `call.ring` is not on it (";
    assert!(
        filtered.cause().contains(&format!("{words}{}", place(&home, "select:"))),
        "{}",
        filtered.cause()
    );
    assert_eq!(filtered.fix(), "add `call.ring` to `select`");

    let websocket = explain(&home, &["--type", "connection.ok"]);
    assert!(websocket.cause().contains("`connection.ok` to WebSocket clients only"), "{}", websocket.cause());
    assert!(websocket.fix().contains("it never reaches a webhook"), "{}", websocket.fix());
    let misspelt = explain(&home, &["--type", "call.sesion_ended"]);
    assert_eq!(misspelt.code, Some(1));
    assert!(misspelt.cause().contains("no configured provider sends it"), "{}", misspelt.cause());
    assert!(misspelt.fix().contains("did you mean `call.session_ended`?"), "{}", misspelt.fix());
    assert_eq!(misspelt.json.get("seen"), None, "no bridge was asked");

    // A running bridge adds what came.
    let bridge = home.start();
    send(&bridge, &body("call.created", 1));
    let said = explain(&home, &["--type", "call.created"]);
    assert_eq!(said.json["seen"][0]["count"], 1, "{}", said.json);
}

#[test]
fn an_event_that_no_sink_selects_and_a_delivery_that_is_none_say_so() {
    let _turn = turns::in_company();
    let home = Home::new();
    configure(&home, "all", &files(&home, "lake", ", select: [call.ended]"));
    let bridge = home.start();
    let id = send(&bridge, &body("call.created", 1));
    let said = explain(&home, &[&id]);
    assert_eq!((said.code, said.cause()), (Some(0), "accepted, and no sink selects `call.created`"));

    let twice = format!(r#"{{"type":"call.created","type":"call.ended","note":"{CANARY}"}}"#);
    let id = send(&bridge, &twice);
    let said = explained(&home, &id, |said| said.fix().contains("dead show"));
    assert!(said.cause().contains("cannot become an event: duplicate_key"), "{}", said.cause());
    assert!(said.cause().contains(" at byte "), "{}", said.cause());
    assert!(said.fix().contains("tell the provider"), "{}", said.fix());
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
    assert_eq!(explain(&home, &asked).code, Some(1), "it has not come yet");
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

/// A sink of Kafka topics, with its own lines.
fn kafka(brokers: &str, prefix: &str) -> String {
    format!("  lake: {{ kafka: {{ brokers: \"{brokers}\" }}, topic: \"{prefix}.{{family}}\" }}\n")
}

#[test]
fn a_topic_that_is_missing_and_one_that_takes_no_such_record_are_told_with_the_fix() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("the causes of a Kafka sink") else { return };
    let home = Home::new();
    let prefix = format!("explain-{}", std::process::id());
    configure(&home, "all", &kafka(&brokers, &prefix));
    let bridge = home.start();
    let id = send(&bridge, &body("call.created", 1));
    let topic = format!("{prefix}.video.call-lifecycle");
    let said = explained(&home, &id, |said| said.state("lake") == "held");
    assert!(said.cause().contains(&format!("lake holds {topic}: unknown_topic")), "{}", said.cause());
    assert!(said.fix().contains("`fanbridge topics apply --sink lake`"), "{}", said.fix());

    servers::create_topic(&brokers, &topic, &[("max.message.bytes", "1000")]);
    explained(&home, &id, |said| said.state("lake").starts_with("delivered"));
    // No compression makes it small enough.
    let noise: String =
        (0_u64..64).map(|number| hex::encode(signing::sha256(&number.to_le_bytes()))).collect();
    let large = format!(r#"{{"type":"call.created","call_cid":"default:2","n":"{noise}"}}"#);
    let id = send(&bridge, &large);
    let said = explained(&home, &id, |said| said.state("lake") == "dead_letter");
    assert!(said.cause().contains("lake rejected it: too_large"), "{}", said.cause());
    assert!(said.cause().contains("dead letter 1"), "{}", said.cause());
    assert!(said.fix().contains("raise `max.message.bytes`"), "{}", said.fix());
    assert!(said.fix().contains("dead redrive 1"), "{}", said.fix());
}

#[test]
fn an_event_that_no_broker_takes_says_for_how_long_it_has_waited() {
    let _turn = turns::in_company();
    let home = Home::new();
    // Nobody listens there.
    let port = crate::support::bridge::free_port();
    configure(&home, "all", &kafka(&format!("127.0.0.1:{port}"), "t"));
    let bridge = home.start();
    let id = send(&bridge, &body("call.created", 1));
    let said = explained(&home, &id, |said| said.cause().contains("no broker answers"));
    assert!(said.cause().contains("pending for "), "{}", said.cause());
    assert!(said.fix().contains("network, TLS, credentials of `brokers`"), "{}", said.fix());
    drop(bridge);
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
