//! `tail` at a terminal: what its keys do, and that the terminal is afterwards as it was.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::bridge::Home;
use crate::support::load::{Delivery, STREAM_PATH};
use crate::support::{await_until, signing, turns};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(70);

/// What runs in the terminal: the verb, and what the terminal was before and afterwards.
const SCRIPT: &str = r#"stty cols 80 rows 24
tty >tty
stty -g >before
sh -c 'echo $$ >process; exec "$@"' sh "$@"
echo "ended with $?"
stty -g >after
"#;

/// A verb at a terminal.
pub struct Terminal<'h> {
    home: &'h Home,
    child: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
}

impl<'h> Terminal<'h> {
    /// Starts a verb there, and waits until it has shown these words.
    pub fn start(home: &'h Home, arguments: &[&str], words: &str) -> Self {
        fs::write(home.path("terminal.sh"), SCRIPT).expect("the home takes a file");
        let _ = fs::remove_file(home.path("keys"));
        let made = Command::new("mkfifo").arg(home.path("keys")).status().expect("mkfifo runs");
        assert!(made.success());
        let wrapper = ["sh", "-c", r#"exec script -qec "sh terminal.sh $0 $*" /dev/null <keys"#];
        let mut child = home.spawn_verb_under(&wrapper, arguments);
        let keys = File::options().write(true).open(home.path("keys")).expect("the shell reads it");
        let shown = Arc::new(Mutex::new(String::new()));
        let (screen, mut stdout) = (Arc::clone(&shown), child.stdout.take().expect("a pipe"));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut bytes) {
                screen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        let terminal = Self { home, child, keys, shown };
        terminal.await_shown(words);
        terminal
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until these words are shown.
    pub fn await_shown(&self, words: &str) {
        let deadline = std::time::Instant::now() + DEADLINE;
        while !self.shown().contains(words) {
            assert!(std::time::Instant::now() < deadline, "{words} is not in {}", self.shown());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the terminal is now.
    fn mode(&self) -> String {
        let terminal = self.read("tty");
        let mode = Command::new("stty").args(["-g", "-F", &terminal]).output().expect("stty runs");
        String::from_utf8(mode.stdout).expect("text").trim().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.path(name)).unwrap_or_default().trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let process = self.read("process").parse().ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(process, signal).expect("it can be signalled");
    }

    /// Checks that no line was wider than the terminal.
    pub fn assert_fits(&self) {
        let shown = self.shown();
        assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 80), "{shown}");
    }

    /// Checks how it ended, and that the terminal is as it was.
    pub fn assert_ended(mut self, code: i32) {
        self.await_shown(&format!("ended with {code}"));
        await_until("the terminal closes", DEADLINE, || self.child.try_wait().expect("it can be asked"));
        let (before, after) = (self.read("before"), self.read("after"));
        assert!(!before.is_empty());
        assert_eq!(before, after);
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // A terminal that closes ends what runs in it. It can have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn home() -> Home {
    let home = Home::new();
    home.configure_files_for("[call.created]");
    home
}

fn delivery(event_type: &str, number: u64) -> Delivery {
    Delivery::new(event_type, "default:keys", number, 0)
}

#[test]
fn keys_choose_and_explain_what_came_pause_filter_and_end() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    let mut client = bridge.client();
    let mut send = |delivery: &Delivery| {
        assert_eq!(delivery.send(&mut client).expect("an answer").status, 200);
    };
    let mut terminal = Terminal::start(&home, &["tail"], "keys: q quit");
    send(&delivery("call.created", 1));
    terminal.await_shown("call.created → stream.video.call-lifecycle");
    let filtered = delivery("call.ring", 2);
    send(&filtered);
    terminal.await_shown("call.ring ✕ filtered: not on the list");

    terminal.press("\x1b[A\x1b[A\x1b[B");
    terminal.await_shown("paused: ↑↓ choose");
    await_until("the line is chosen", DEADLINE, || {
        let shown = terminal.shown();
        let mut chosen = shown.lines().filter(|line| line.contains("> ") && !line.contains("->"));
        chosen.next_back()?.contains("call.ring ✕ filtered").then_some(())
    });
    terminal.press("\r");
    terminal.await_shown(&format!("-- fanbridge explain {}", filtered.id));
    terminal.await_shown("add `call.ring` to `select`");

    // What comes meanwhile is shown when it goes on.
    send(&delivery("call.created", 3));
    await_until("it is published", DEADLINE, || {
        (bridge.metric("fanbridge_delivered_total", &[]) >= 2.0).then_some(())
    });
    let lines = |terminal: &Terminal<'_>| terminal.shown().matches("call.created → ").count();
    let before = lines(&terminal);
    terminal.press(" ");
    await_until("it goes on", DEADLINE, || (lines(&terminal) > before).then_some(()));

    terminal.press("f");
    terminal.await_shown("-- only what somebody has to look at");
    let before = lines(&terminal);
    send(&delivery("call.created", 4));
    let body = delivery("call.created", 5).body;
    let forged = signing::stream_with("another-secret-of-somebody-0001", &body);
    let refused = bridge.client().post(STREAM_PATH, &[("x-signature", &forged)], &body);
    assert_eq!(refused.expect("an answer").status, 401);
    terminal.await_shown("401 stream-video wrong_signature");
    assert_eq!(lines(&terminal), before);
    terminal.press("\r");
    terminal.await_shown("a refused delivery is no event");
    terminal.press("q");
    terminal.assert_ended(0);
    bridge.stop();
}

#[test]
fn whatever_ends_or_stops_tail_the_terminal_is_as_it_was() {
    let _turn = turns::in_company();
    let home = home();
    let bridge = home.start();
    for (signal, code) in [(Signal::INT, 0), (Signal::TERM, 143), (Signal::QUIT, 131), (Signal::HUP, 129)] {
        let terminal = Terminal::start(&home, &["tail"], "keys: q quit");
        assert_ne!(terminal.mode(), terminal.read("before"));
        terminal.signal(signal);
        terminal.assert_ended(code);
    }

    let mut terminal = Terminal::start(&home, &["tail"], "keys: q quit");
    let keys = terminal.mode();
    terminal.signal(Signal::TSTP);
    let stat = format!("/proc/{}/stat", terminal.read("process"));
    await_until("it is stopped", DEADLINE, || {
        fs::read_to_string(&stat).expect("it is there").contains(") T ").then_some(())
    });
    assert_eq!(terminal.mode(), terminal.read("before"));
    terminal.signal(Signal::CONT);
    await_until("keys count again", DEADLINE, || (terminal.mode() == keys).then_some(()));
    // One that was stopped in another way goes on as well.
    terminal.signal(Signal::STOP);
    terminal.signal(Signal::CONT);
    terminal.press("q");
    terminal.assert_ended(0);
    bridge.stop();
}

#[test]
fn what_a_verb_says_of_its_failure_is_no_wider_than_the_terminal() {
    let _turn = turns::in_company();
    let home = home();
    let terminal =
        Terminal::start(&home, &["pause", "local", "--reason", "rest"], "error: no bridge is running");
    terminal.await_shown("ended with 75");
    terminal.assert_fits();
    terminal.assert_ended(75);
}
