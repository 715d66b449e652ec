//! The bridge where somebody sits and watches it: its log, what it shows, and where it listens.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::bridge::Home;
use crate::support::load::Delivery;
use crate::support::{await_until, servers, signing, turns};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(70);
const PLACE: &str = "call.created → stream.video.call-lifecycle 00000001.jsonl@0 +";

/// A directory without a configuration.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("run-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    dir.expect("the build directory takes a directory")
}

/// A program in a directory, with nothing in its environment that speaks of fanbridge.
fn command(dir: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).current_dir(dir).stdin(Stdio::null()).env("NO_COLOR", "1");
    for name in ["FANBRIDGE_CONFIG", "FANBRIDGE_LOG", "FANBRIDGE_STREAM_SECRET", "FANBRIDGE_FASTPIX_SECRET"] {
        command.env_remove(name);
    }
    command
}

/// A bridge of nobody's configuration, on free ports.
struct Unconfigured<'d> {
    child: Child,
    dir: &'d Path,
}

impl<'d> Unconfigured<'d> {
    /// Starts it under a shell that writes its process id down and becomes it. What it shows is in `shown`.
    fn start(dir: &'d Path, script: &str) -> Self {
        let shown = File::create(dir.join("shown")).expect("the directory takes a file");
        let log = File::create(dir.join("log")).expect("the directory takes a file");
        let line = ["sh", "-c", script, env!("CARGO_BIN_EXE_fanbridge")];
        let child = command(dir, &line).stdout(shown).stderr(log).spawn().expect("a shell runs");
        Self { child, dir }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// Waits until these words are in a file.
    fn await_words(&self, name: &str, words: &str) {
        await_until(words, DEADLINE, || self.read(name).contains(words).then_some(()));
    }

    fn verb(&self, arguments: &[&str]) -> Output {
        let line = [&[env!("CARGO_BIN_EXE_fanbridge")], arguments].concat();
        command(self.dir, &line).output().expect("the binary runs")
    }

    /// Ends the bridge in order.
    fn stop(mut self) {
        let process = self.read("process").trim().parse().ok().and_then(Pid::from_raw).expect("an id");
        kill_process(process, Signal::TERM).expect("the bridge can be signalled");
        let status = await_until("it ends", DEADLINE, || self.child.try_wait().expect("it can be asked"));
        assert_eq!(status.code(), Some(0), "{}{}", self.read("shown"), self.read("log"));
    }
}

impl Drop for Unconfigured<'_> {
    fn drop(&mut self) {
        // The shell became the bridge, or `script` ends with its terminal. Both may have ended already.
        if let Some(process) = self.read("process").trim().parse().ok().and_then(Pid::from_raw) {
            let is_ours = matches!(self.child.try_wait(), Ok(None));
            if is_ours {
                let _ = kill_process(process, Signal::KILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a verb printed when it was to succeed.
#[track_caller]
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn a_bridge_on_free_ports_shows_what_is_sent_to_it_and_send_and_tail_find_it() {
    let _turn = turns::in_company();
    let dir = directory();
    let script = r#"echo $$ >process; exec "$0" run --listen 127.0.0.1:0 --tail"#;
    let bridge = Unconfigured::start(dir.path(), script);
    bridge.await_words("log", "the bridge is ready: deliveries are taken");
    let sent = bridge.verb(&["send", "stream", "call.created", "--format", "ndjson", "--wait", "60s"]);
    assert!(printed(&sent).contains("local stream.video.call-lifecycle 00000001.jsonl@0"));
    bridge.await_words("shown", PLACE);
    assert!(printed(&bridge.verb(&["tail", "--since-start", "--count", "1"])).contains(PLACE));
    assert!(printed(&bridge.verb(&["trigger", "stream", "call.ended"])).contains("accepted"));
    let log = bridge.read("log");
    assert!(log.lines().any(|line| line.contains("\"message\":\"the bridge is ready")), "{log}");
    bridge.stop();
}

#[test]
fn on_a_terminal_the_log_is_short_and_what_happens_is_shown_unless_it_is_not_wanted() {
    let _turn = turns::in_company();
    for (argument, shows) in [("", true), ("--no-tail", false)] {
        let dir = directory();
        fs::write(
            dir.path().join("run.sh"),
            format!("stty cols 80\necho $$ >process\nexec \"$0\" run --listen 127.0.0.1:0 {argument}\n"),
        )
        .expect("the directory takes a file");
        let script = r#"exec script -qec "sh -c '. ./run.sh' $0" /dev/null"#;
        let bridge = Unconfigured::start(dir.path(), script);
        bridge.await_words("shown", "the bridge is ready: deliveries are taken");
        let sent = bridge.verb(&["send", "stream", "call.created", "--format", "ndjson", "--wait", "60s"]);
        assert!(printed(&sent).contains("00000001.jsonl@0"));
        if shows {
            bridge.await_words("shown", PLACE);
        }
        let shown = bridge.read("shown");
        assert_eq!(shown.contains(PLACE), shows, "{shown}");
        let ready = shown.lines().find(|line| line.contains("the bridge is ready")).expect("it is there");
        let (time, rest) = ready.split_at(8);
        assert!(time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':'), "{ready}");
        let expected = " INFO  the bridge is ready: deliveries are taken http=127.0.0.1:";
        assert!(rest.starts_with(expected) && !shown.contains("fanbridge::"), "{shown}");
        bridge.stop();
    }
}

#[test]
fn an_address_in_use_says_who_has_it_and_what_to_do() {
    let _turn = turns::in_company();
    let dir = directory();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let line = [env!("CARGO_BIN_EXE_fanbridge"), "run", "--listen", &format!("127.0.0.1:{port}")];
    let refused = command(dir.path(), &line).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(74), "{said}");
    for words in [
        format!("cannot listen on 127.0.0.1:{port}"),
        format!("`ss -ltnp 'sport = :{port}'` says which one"),
        "`fanbridge run --listen 127.0.0.1:0` takes free ports".into(),
    ] {
        assert!(said.contains(&words), "{words} is not in {said}");
    }

    let home = Home::new();
    home.configure_files();
    // What people type elsewhere works here.
    assert!(home.run_verb(&["validate"]).contains("stream-video"));
    for (port, key) in [(home.http, "`http.listen`"), (home.admin, "`admin.listen`")] {
        let _taken = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let refused = home.try_verb(&["run"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(74), "{said}");
        assert!(said.contains(&format!("or set another {key}")), "{said}");
    }
    let refused = home.try_verb(&["run", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("set `http.listen` in"), "{said}");
}

#[test]
fn a_bridge_that_keeps_no_steps_is_not_asked_to_show_them() {
    let home = Home::new();
    home.configure("", "timeline: { bytes_max: 0 }\n");
    let refused = home.try_verb(&["run", "--tail"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("set `timeline.bytes_max`"), "{said}");
}

#[test]
fn one_record_that_is_too_large_is_one_warning() {
    let _turn = turns::in_company();
    let Some(brokers) = servers::kafka("the log of a record that is too large") else { return };
    let home = Home::new();
    let prefix = format!("one-warning-{}", std::process::id());
    let topic = format!("{prefix}.video.call-lifecycle");
    servers::create_topic(&brokers, &topic, &[("max.message.bytes", "1000")]);
    let sink = format!("  lake: {{ kafka: {{ brokers: \"{brokers}\" }}, topic: \"{prefix}.{{family}}\" }}\n");
    home.configure("", &format!("sinks:\n{sink}"));
    let bridge = home.start();
    // No compression makes it small enough.
    let noise: String =
        (0_u64..64).map(|number| hex::encode(signing::sha256(&number.to_le_bytes()))).collect();
    let large = format!(r#"{{"type":"call.created","call_cid":"default:large","n":"{noise}"}}"#);
    let signature = signing::stream(large.as_bytes());
    let mut client = bridge.client();
    let answer = client.post("/in/stream-video", &[("x-signature", &signature)], large.as_bytes());
    assert_eq!(answer.expect("an answer").status, 200);
    for number in 0..20 {
        let delivery = Delivery::new("call.created", "default:small", number, 0);
        assert_eq!(delivery.send(&mut client).expect("an answer").status, 200);
    }
    await_until("all others are published", DEADLINE, || {
        (bridge.metric("fanbridge_delivered_total", &[]) >= 20.0).then_some(())
    });
    bridge.assert_logs("the sink rejected a record, which was kept as a dead letter");
    let log = bridge.log();
    bridge.stop();
    let is_trouble =
        |line: &&str| line.contains("\"level\":\"WARN\"") || line.contains("\"level\":\"ERROR\"");
    let trouble: Vec<&str> = log.lines().filter(is_trouble).collect();
    assert_eq!(trouble.len(), 1, "{trouble:#?}");
    assert!(trouble[0].contains("too_large"), "{trouble:#?}");
}
