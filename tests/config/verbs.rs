//! The binary itself: exit codes, what goes to stdout and what to stderr.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread::JoinHandle;
use std::time::Duration;

use fanbridge::event::Timestamp;
use fanbridge::provider::{SigningSecret, builtin_named, sign};
use tempfile::TempDir;

/// How a verb ended and what it said.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// Runs a verb in a directory, with no other variables than these.
pub fn fanbridge(dir: &TempDir, words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanbridge"));
    command.current_dir(dir.path()).env_clear().envs(variables.iter().copied()).args(words);
    command.output().expect("the binary runs").into()
}

/// An empty directory.
pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

const VARIABLES: [(&str, &str); 3] = [
    ("STREAM_SECRET", "0123456789abcdef0123456789abcdef"),
    ("FASTPIX_SECRET", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ("KAFKA_BROKERS", "a.example:9092"),
];

#[test]
fn what_init_prints_is_accepted_by_check_once_its_variables_are_set() {
    for sink in ["file", "kafka", "sns"] {
        let dir = directory();
        let init = fanbridge(&dir, &["init", "--sink", sink], &[]);
        assert_eq!(init.code, Some(0));
        assert!((20..=32).contains(&init.stdout.lines().count()), "{}", init.stdout);
        fs::write(dir.path().join("fanbridge.yaml"), &init.stdout).expect("written");

        let without = fanbridge(&dir, &["check"], &[]);
        assert_eq!(without.code, Some(78), "{}", without.stdout);
        assert!(
            without.stdout.contains("the environment variable `STREAM_SECRET` is not set"),
            "{}",
            without.stdout
        );

        let check = fanbridge(&dir, &["check"], &VARIABLES);
        let (account, said) = if sink == "sns" { (1, "0 errors, 1 warning\n") } else { (0, "") };
        assert_eq!((check.code, check.stderr.as_str()), (Some(0), said), "{}", check.stdout);
        assert_eq!(placeholders(&check.stdout), account, "{}", check.stdout);
        assert!(check.stdout.contains("OK fanbridge.yaml"), "{}", check.stdout);
    }
}

/// How many places `check` names that are still to be filled in.
fn placeholders(checked: &str) -> usize {
    checked.matches("replace 111111111111 by the 12 digits of your AWS account").count()
}

#[test]
fn init_puts_a_file_sink_beside_the_spool_and_not_into_it() {
    let init = fanbridge(&directory(), &["init", "--sink", "file"], &[]).stdout;
    let dirs = init.split("dir: ").skip(1).filter_map(|rest| rest.split([' ', '\n']).next());
    let dirs: Vec<&str> = dirs.collect();
    assert_eq!(dirs, ["fanbridge-data", "fanbridge-topics"]);
}

#[test]
fn init_lets_githubs_largest_deliveries_in_because_it_sends_each_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let init = fanbridge(&dir, &["init", "--provider", "github,stripe"], &[]);
    assert_eq!(init.stdout.matches("body_bytes_max: 25 MiB").count(), 1, "{}", init.stdout);
    fs::write(dir.path().join("fanbridge.yaml"), &init.stdout).expect("written");
    let secret = "a-secret-of-the-tests-32-bytes-ok";
    let secrets = [("GITHUB_SECRET", secret), ("STRIPE_SECRET", secret)];
    let check = fanbridge(&dir, &["check"], &secrets);
    assert_eq!(check.code, Some(0), "{}{}", check.stdout, check.stderr);
}

#[test]
fn what_is_asked_of_init_twice_is_there_once() {
    let dir = directory();
    let ask = |provider: &str, from: &str| {
        fanbridge(&dir, &["init", "--provider", provider, "--from", from], &[]).stdout
    };
    let twice = ask("stream,fastpix,stream", "sqs,webhook,sqs");
    assert_eq!(twice, ask("stream,fastpix", "sqs,webhook"));
    fs::write(dir.path().join("fanbridge.yaml"), &twice).expect("written");
    let check = fanbridge(&dir, &["check"], &VARIABLES);
    assert_eq!(check.code, Some(0), "{}", check.stdout);
}

#[test]
fn init_covers_every_way_in() {
    let dir = directory();
    let init = fanbridge(&dir, &["init", "--provider", "stream", "--from", "webhook,sqs,sns"], &[]);
    assert!(init.stderr.contains("by your account and region"), "{}", init.stderr);
    fs::write(dir.path().join("fanbridge.yaml"), &init.stdout).expect("written");
    let check = fanbridge(&dir, &["check"], &VARIABLES);
    assert_eq!((check.code, placeholders(&check.stdout)), (Some(0), 2), "{}", check.stdout);
    for source in ["source stream:", "source stream-queue:", "source stream-topic:"] {
        assert!(check.stdout.contains(source), "{}", check.stdout);
    }
    let statements = init.stdout.lines().filter_map(|line| line.trim().strip_prefix("# {"));
    let statements: Vec<serde_json::Value> =
        statements.map(|rest| serde_json::from_str(&format!("{{{rest}")).expect("JSON to paste")).collect();
    let actions: Vec<_> = statements.iter().map(|statement| &statement["Action"]).collect();
    assert_eq!(actions, ["SQS:SendMessage", "SNS:Publish"], "what Stream's account is to be allowed");
    // Without a webhook there is no secret to ask for.
    let queue = fanbridge(&dir, &["init", "--from", "sqs", "--sink", "sns"], &[]);
    fs::write(dir.path().join("fanbridge.yaml"), &queue.stdout).expect("written");
    let check = fanbridge(&dir, &["check"], &[]);
    assert_eq!((check.code, placeholders(&check.stdout)), (Some(0), 2), "{}", check.stdout);
    assert!(!queue.stdout.contains("fastpix"), "FastPix cannot fill a queue: {}", queue.stdout);
    // Whatever uses the configuration says the same, the start among it.
    let plan = fanbridge(&dir, &["topics", "plan"], &[]);
    assert_eq!(placeholders(&plan.stderr), 2, "{}", plan.stderr);
    let filled_in = queue.stdout.replace("111111111111", "222222222222");
    fs::write(dir.path().join("fanbridge.yaml"), filled_in).expect("written");
    let check = fanbridge(&dir, &["check"], &[]);
    assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""), "{}", check.stdout);
}

#[test]
fn check_exits_78_and_names_file_line_and_column() {
    let dir = directory();
    fs::write(dir.path().join("my.yaml"), "sources: {}\nspol: {}\n").expect("written");
    let check = fanbridge(&dir, &["check", "my.yaml"], &[]);
    assert_eq!(check.code, Some(78));
    assert!(check.stdout.contains("--> my.yaml:2:1"), "{}", check.stdout);
    assert!(!check.stdout.contains('\u{1b}'), "no colour when it is not a terminal");
    assert_eq!(check.stderr, "2 errors, 1 warning\n");

    let check = fanbridge(&dir, &["check", "my.yaml", "--format", "json"], &[]);
    assert_eq!((check.code, check.stderr.as_str()), (Some(78), ""));
    let problems: serde_json::Value = serde_json::from_str(&check.stdout).expect("JSON");
    assert_eq!(problems.as_array().map(Vec::len), Some(3));
}

#[test]
fn a_file_that_is_not_there_and_a_verb_that_does_not_exist_have_their_own_codes() {
    let dir = directory();
    assert_eq!(fanbridge(&dir, &["check", "missing.yaml"], &[]).code, Some(74));
    assert_eq!(fanbridge(&dir, &["check"], &[]).code, Some(78));
    assert_eq!(fanbridge(&dir, &["chekc"], &[]).code, Some(2));
    assert_eq!(fanbridge(&dir, &["init", "--provider", "streem"], &[]).code, Some(2));
    assert_eq!(fanbridge(&dir, &["types", "--family", "vidoe"], &[]).code, Some(2));
}

#[test]
fn types_can_be_pasted_into_a_selection() {
    let dir = directory();
    let names = fanbridge(&dir, &["types", "--provider", "stream", "--yaml"], &[]);
    let init = fanbridge(&dir, &["init", "--provider", "stream"], &[]);
    assert!(names.stdout.contains("  - call.created\n"), "{}", names.stdout);
    assert!(!names.stdout.contains("connection.ok"), "this cannot arrive: {}", names.stdout);
    let line =
        ["types", "--provider", "mux", "--provider", "stream", "--family", "asset", "--family", "user"];
    let of_both = fanbridge(&dir, &line, &[]).stdout;
    assert!(of_both.contains("video.asset.ready") && of_both.contains("user.banned"), "{of_both}");
    assert!(!of_both.contains("call.") && !of_both.contains("video.upload"), "{of_both}");
    let text = init.stdout.replace("select: all\n", &names.stdout);
    assert_ne!(text, init.stdout);
    fs::write(dir.path().join("fanbridge.yaml"), text).expect("written");
    let check = fanbridge(&dir, &["check"], &VARIABLES);
    assert_eq!((check.code, check.stderr.as_str()), (Some(0), ""), "{}", check.stdout);
}

#[test]
fn send_says_what_to_do_when_it_cannot() {
    let dir = directory();
    let init = fanbridge(&dir, &["init"], &[]);
    let text = init.stdout.replace("0.0.0.0:8080", "127.0.0.1:1");
    fs::write(dir.path().join("fanbridge.yaml"), text).expect("written");
    let source = fanbridge(&dir, &["send", "sream", "call.created"], &VARIABLES);
    assert_eq!(source.code, Some(2));
    assert!(source.stderr.contains("did you mean `stream`?"), "{}", source.stderr);
    let event = fanbridge(&dir, &["send", "stream", "call.creatd"], &VARIABLES);
    assert_eq!(event.code, Some(2));
    assert!(event.stderr.contains("did you mean `call.created`?"), "{}", event.stderr);
    let nobody = fanbridge(&dir, &["send", "stream", "call.created"], &VARIABLES);
    assert_eq!(nobody.code, Some(74));
    assert!(nobody.stderr.contains("is the bridge running?"), "{}", nobody.stderr);
    assert!(!nobody.stderr.contains("0123456789abcdef"));
    for (port, code, said) in [
        (":99999", 2, "has an impossible port"),
        (":0", 2, "has an impossible port"),
        (":65536", 2, "has an impossible port"),
        (":1", 74, "cannot connect to 127.0.0.1 port 1:"),
    ] {
        for host in ["127.0.0.1", "me@127.0.0.1"] {
            let url = format!("http://{host}{port}/in/stream");
            let sent = fanbridge(&dir, &["send", "stream", "call.created", "--url", &url], &VARIABLES);
            assert_eq!(sent.code, Some(code), "{url}: {}", sent.stderr);
            assert!(sent.stderr.contains(said), "{url}: {}", sent.stderr);
        }
    }
}

/// Answers so many requests on each connection like the bridge would; returns heads and bodies.
fn bridge(listener: TcpListener, connections: &'static [usize]) -> JoinHandle<Vec<(String, Vec<u8>)>> {
    let converse = |stream: TcpStream, count: usize| {
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut stream = stream;
        let mut requests = Vec::new();
        while requests.len() < count {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).expect("a line"), 0, "the connection ended early");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.and_then(|text| text.parse().ok()).expect("a length")];
            reader.read_exact(&mut body).expect("the body");
            requests.push((head, body));
            let answer = r#"{"verdict":"accepted","id":"sha256-abc"}"#;
            let (length, last) = (answer.len(), requests.len() == count);
            let connection = if last { "close" } else { "keep-alive" };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: {connection}");
            stream.write_all(format!("{head}\r\n\r\n{answer}").as_bytes()).expect("answered");
        }
        requests
    };
    std::thread::spawn(move || {
        let next = || listener.accept().expect("a connection").0;
        connections.iter().flat_map(|count| converse(next(), *count)).collect()
    })
}

#[test]
fn send_needs_one_connection_however_many_events_and_another_only_when_that_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/in/stream", listener.local_addr().expect("an address"));
    let bridge = bridge(listener, &[997, 1, 2]);
    let dir = directory();
    let init = fanbridge(&dir, &["init"], &[]);
    fs::write(dir.path().join("fanbridge.yaml"), init.stdout).expect("written");
    let words = ["send", "stream", "call.created", "--count", "1000", "--url", &url, "--format", "ndjson"];
    let sent = fanbridge(&dir, &words, &VARIABLES);
    assert_eq!((sent.code, sent.stdout.trim()), (Some(0), r#"{"events":1000,"verdict":"accepted"}"#));
    assert_eq!(bridge.join().expect("every request").len(), 1000);
}

#[test]
fn send_signs_as_the_provider_would_and_keeps_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let bridge = bridge(listener, &[3]);
    let dir = directory();
    let init = fanbridge(&dir, &["init"], &[]);
    fs::write(dir.path().join("fanbridge.yaml"), init.stdout.replace("0.0.0.0:8080", &address))
        .expect("written");
    let words = [
        "send",
        "stream",
        "ActivityAddedEvent",
        "--count",
        "3",
        "--set",
        "custom.colour=red",
        "--format",
        "ndjson",
    ];
    let sent = fanbridge(&dir, &words, &VARIABLES);
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    assert_eq!(sent.stdout.lines().count(), 3);
    assert!(sent.stdout.contains(r#""verdict":"accepted""#), "{}", sent.stdout);

    let definition = builtin_named("stream").expect("built in");
    let secret =
        SigningSecret::parse(VARIABLES[0].1, definition.secret_form(), None, None).expect("a secret");
    let mut bodies = HashSet::new();
    for (head, body) in bridge.join().expect("three requests") {
        assert!(head.starts_with("POST /in/stream HTTP/1.1\r\n"), "{head}");
        let signature = head.lines().find_map(|line| line.strip_prefix("x-signature: ")).expect("signed");
        let expected = sign(&definition, &secret, &body, Timestamp(0), "");
        assert_eq!(signature, expected["x-signature"].to_str().expect("text"));
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(json["type"], "feeds.activity.added");
        assert_eq!(json["custom"]["colour"], "red");
        bodies.insert(body);
    }
    assert_eq!(bodies.len(), 3, "each is an event of its own");
}

#[test]
fn a_file_without_an_end_is_not_read_to_it() {
    let dir = directory();
    let most = "0123456789abcdef".repeat(1 << 16);
    fs::write(dir.path().join("secret"), &most).expect("written");
    let check = |file: &str| {
        let source = format!("a: {{ provider: stream, secrets: [\"file:{file}\"] }}");
        let text = format!("sources: {{ {source} }}\nsinks: {{ b: {{ file: {{}} }} }}\n");
        fs::write(dir.path().join("fanbridge.yaml"), text).expect("written");
        fanbridge(&dir, &["check"], &[])
    };
    let taken = check("secret");
    assert_eq!(taken.code, Some(0), "{}", taken.stdout);
    fs::write(dir.path().join("secret"), most + "0").expect("written");
    let more = check("secret");
    assert_eq!(more.code, Some(78), "{}", more.stdout);
    let said = "cannot read secret: it is larger than 1 MiB";
    assert!(more.stdout.contains(said), "{}", more.stdout);
    // Only now: before it was bounded, this took all memory there is.
    assert_eq!(check("/dev/zero").code, Some(78));
}

#[test]
fn a_pipe_that_nobody_writes_to_is_not_waited_for_and_what_has_no_end_is_no_configuration() {
    let dir = directory();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let text = "sources: { a: { provider: stream, secrets: [\"file:pipe\"] } }\nsinks: { b: { file: {} } }\n";
    fs::write(dir.path().join("fanbridge.yaml"), text).expect("written");
    for (words, said) in [
        (&["check"][..], "cannot read pipe: it is not a regular file"),
        (&["run"], "cannot read pipe: it is not a regular file"),
        (&["check", "pipe"], "a pipe to which no process writes"),
        (&["run", "--config", "pipe"], "a pipe to which no process writes"),
        (&["check", "/dev/zero"], "it is larger than 1 MiB, which no configuration is"),
        (&["run", "--config", "/dev/zero"], "it is larger than 1 MiB, which no configuration is"),
    ] {
        // Under `timeout`, so that one that waits ends with 124 instead of never.
        let mut command = Command::new("timeout");
        command.args(["60", env!("CARGO_BIN_EXE_fanbridge")]).args(words).current_dir(dir.path());
        let ran: Ran = command.output().expect("it runs").into();
        assert!(matches!(ran.code, Some(74 | 78)), "{words:?}: {:?} {}", ran.code, ran.stderr);
        assert!(ran.stdout.contains(said) || ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
    }
}

#[test]
fn a_configuration_comes_through_a_pipe_however_late_its_writer_is() {
    let dir = directory();
    for script in
        ["cat valid.yaml | \"$0\" check /dev/stdin", "(sleep 1; cat valid.yaml) | \"$0\" check /dev/stdin"]
    {
        fs::write(
            dir.path().join("valid.yaml"),
            "sources: { a: { provider: fastpix } }\nsinks: { b: { file: {} } }\n",
        )
        .expect("written");
        let mut command = Command::new("timeout");
        command.args(["60", "sh", "-c", script, env!("CARGO_BIN_EXE_fanbridge")]).current_dir(dir.path());
        let ran: Ran = command.output().expect("it runs").into();
        assert_eq!(ran.code, Some(0), "{script}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("OK /dev/"), "{script}: {}", ran.stdout);
    }
}

#[test]
fn who_only_looks_makes_nothing_where_no_bridge_has_run() {
    let dir = directory();
    for (words, code, said) in [
        (&["topics", "plan"][..], 0, "using the embedded configuration"),
        (&["types", "--seen"], 74, "`fanbridge run` starts it"),
        (&["dead", "list"], 74, "nothing has run in this spool directory"),
        (&["dead", "show", "1"], 74, "nothing has run in this spool directory"),
        (&["dead", "export"], 74, "nothing has run in this spool directory"),
        (&["spool", "verify"], 74, "fanbridge-data"),
        (&["send", "stream", "call.created"], 78, "start the bridge here with `fanbridge run`"),
    ] {
        // A bridge of somebody's own may have the usual port of this machine.
        if code == 74 && words[0] != "spool" && TcpListener::bind("127.0.0.1:9090").is_err() {
            continue;
        }
        let ran = fanbridge(&dir, words, &[]);
        assert_eq!(ran.code, Some(code), "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0, "{words:?} made something");
    }
}

#[test]
fn a_configuration_that_is_not_utf8_is_refused_at_its_first_bad_byte() {
    let dir = directory();
    let mut latin = b"sources: # caf\xc3\xa9\n  a: { provider: stream } # caf".to_vec();
    let column = latin.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len) + 1;
    latin.extend(b"\xe9, b\xe9\n");
    for (text, line, column) in [(latin, 2, column), (b"\xff\xfes\0o\0".to_vec(), 1, 1)] {
        fs::write(dir.path().join("fanbridge.yaml"), text).expect("written");
        let place = format!("fanbridge.yaml:{line}:{column}");
        let check = fanbridge(&dir, &["check"], &[]);
        assert_eq!(check.code, Some(78), "{}", check.stderr);
        assert!(check.stdout.contains("not UTF-8 text"), "{}", check.stdout);
        assert!(check.stdout.contains(&place), "{}", check.stdout);
        let run = fanbridge(&dir, &["run"], &[]);
        assert_eq!(run.code, Some(78), "{}", run.stderr);
        assert!(run.stderr.contains(&place), "{}", run.stderr);
    }
}
