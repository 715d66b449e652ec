//! The first minutes with the binary, before there is a configuration.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{await_until, inject, readers, turns};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A directory without a configuration.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("first-steps-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    dir.expect("the build directory takes a directory")
}

/// A program in a directory, with nothing in its environment that speaks of fanbridge.
fn command(dir: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).current_dir(dir).stdin(Stdio::null());
    for name in ["FANBRIDGE_CONFIG", "FANBRIDGE_LOG", "FANBRIDGE_STREAM_SECRET", "FANBRIDGE_FASTPIX_SECRET"] {
        command.env_remove(name);
    }
    command
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("what a verb says is text");
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_demonstration_sends_every_type_shows_where_each_went_and_ends_with_0() {
    let _turn = turns::in_company();
    let dir = directory();
    let demo = command(dir.path(), &["timeout", "120", env!("CARGO_BIN_EXE_fanbridge"), "demo"]).output();
    let demo = demo.expect("the binary runs");
    let (shown, told) = said(&demo);
    assert_eq!(demo.status.code(), Some(0), "{told}");
    assert!(told.contains("sending 217 signed events"), "{told}");
    // The invented type is one more; what a family got is the third column.
    assert!(shown.contains("accepted 218   duplicate 1   quarantined 1   refused 1 "), "{shown}");
    assert!(shown.contains("delivered under select: all, kept out by an explicit list"), "{shown}");
    let columns = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let mut table =
        shown.lines().map(columns).skip_while(|row| row.first().is_none_or(|name| name != "FAMILY"));
    assert_eq!(table.next().unwrap_or_default(), ["FAMILY", "TOPIC", "EVENTS", "KEYS"], "{shown}");
    let rows: Vec<Vec<String>> = table.take_while(|row| row.len() == 4).collect();
    let events: usize = rows.iter().map(|row| row[2].parse::<usize>().expect("a count")).sum();
    assert_eq!(events, 218, "{shown}");
    assert!(rows.iter().any(|row| row[..2] == ["video.recording", "stream.video.recording"]), "{shown}");
    assert_eq!(readers::files(&dir.path().join("fanbridge-data/topics")).len(), 218);
}

/// A bridge of nobody's configuration, in a network of its own: its ports are the usual ones, and a
/// bridge may be running on those.
struct Unconfigured<'d> {
    child: Child,
    dir: &'d Path,
}

impl<'d> Unconfigured<'d> {
    fn start(dir: &'d Path) -> Self {
        let log = fs::File::create(dir.join("log")).expect("the directory takes a log");
        let script = r#"ip link set lo up && exec "$0" run"#;
        let line = ["unshare", "-n", "sh", "-c", script, env!("CARGO_BIN_EXE_fanbridge")];
        let child = command(dir, &line).stdout(log.try_clone().expect("a file handle")).stderr(log).spawn();
        Self { child: child.expect("unshare runs"), dir }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Runs a verb beside it.
    fn verb(&self, arguments: &[&str]) -> Output {
        let process = self.child.id().to_string();
        let line = ["nsenter", "-n", "-t", &process, env!("CARGO_BIN_EXE_fanbridge")];
        command(self.dir, &[&line, arguments].concat()).output().expect("nsenter runs")
    }

    /// The addresses that it listens on, as the kernel writes them.
    fn listens_on(&self) -> Vec<String> {
        const LISTENS: &str = "0A";
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/net/{name}", self.child.id()));
        let tables = ["tcp", "tcp6"].map(|name| read(name).expect("the kernel's table of sockets"));
        let sockets = tables.iter().flat_map(|table| table.lines().skip(1));
        let sockets = sockets.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut addresses: Vec<_> =
            sockets.filter(|socket| socket[3] == LISTENS).map(|socket| socket[1].to_owned()).collect();
        addresses.sort();
        addresses
    }
}

impl Drop for Unconfigured<'_> {
    fn drop(&mut self) {
        // Fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_configuration_the_bridge_says_what_to_do_next_and_takes_what_is_sent_from_this_machine() {
    let _turn = turns::in_company();
    if !inject::can_be_alone_in_its_network("a bridge without a configuration") {
        return;
    }
    let dir = directory();
    let mut bridge = Unconfigured::start(dir.path());
    await_until("the bridge is ready", DEADLINE, || {
        let ended = bridge.child.try_wait().expect("the child can be asked");
        assert_eq!(ended, None, "{}", bridge.log());
        bridge.log().contains("the bridge is ready: deliveries are taken").then_some(())
    });
    let log = bridge.log();
    for told in
        ["which only this machine can reach", "next: fanbridge send stream call.created", "fanbridge init"]
    {
        assert!(log.contains(told), "{told} is not in\n{log}");
    }
    // 127.0.0.1, and the ports 8080 and 9090.
    assert_eq!(bridge.listens_on(), ["0100007F:1F90", "0100007F:2382"]);

    let sent = bridge.verb(&["send", "stream", "call.created"]);
    let (shown, told) = said(&sent);
    assert_eq!(sent.status.code(), Some(0), "{told}");
    assert!(shown.contains("accepted"), "{shown}");
    let topics = dir.path().join("fanbridge-data/topics");
    let arrivals = await_until("it is in its topic", DEADLINE, || {
        Some(readers::files(&topics)).filter(|arrivals| !arrivals.is_empty())
    });
    assert_eq!((arrivals.len(), arrivals[0].lane.as_str()), (1, "stream.video.call-lifecycle"));

    // The example of the help moves the key, and what is given is said by its own name.
    let sent = bridge.verb(&["send", "stream", "call.updated", "--set", "call.id=abc"]);
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent).1);
    let body = dir.path().join("body.json");
    fs::write(&body, br#"{"type":"call.ended","call_cid":"default:mine"}"#).expect("written");
    let body = body.to_str().expect("UTF-8");
    let (shown, told) = said(&bridge.verb(&["send", "stream", "call.created", "--body", body]));
    assert!(shown.contains("call.ended") && !shown.contains("call.created"), "{shown}{told}");
    let arrivals = await_until("all three are in their topic", DEADLINE, || {
        Some(readers::files(&topics)).filter(|arrivals| arrivals.len() == 3)
    });
    let keys: Vec<_> = arrivals.iter().filter_map(|arrival| arrival.key.as_deref()).collect();
    assert_eq!(keys[1..], ["default:abc", "default:mine"]);

    let process = i32::try_from(bridge.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(process, Signal::TERM).expect("the bridge can be signalled");
    let status =
        await_until("the bridge ends", DEADLINE, || bridge.child.try_wait().expect("it can be asked"));
    assert_eq!(status.code(), Some(0), "{}", bridge.log());
}
