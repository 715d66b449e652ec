//! What surrounds the process: who reads the log may stop reading, signals that mean nothing may come,
//! and few files may be open.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::Signal;

use crate::support::bridge::Home;
use crate::support::load::Delivery;
use crate::support::turns;

/// A pipe that takes no more, with nobody to read it; it stays open as long as what is returned.
fn full_pipe(path: &Path) -> std::fs::File {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut pipe = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).unwrap();
    loop {
        match pipe.write(&[b'\n'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return pipe,
            Err(error) => panic!("cannot fill a pipe: {error}"),
        }
    }
}

#[test]
fn a_log_that_nobody_reads_holds_no_delivery_up_and_no_end() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let path = home.path("nobody-reads");
    let _pipe = full_pipe(&path);
    let shell = format!("FANBRIDGE_LOG=trace exec \"$0\" \"$@\" >{} 2>&1", path.display());
    let bridge = home.start_under(&["sh", "-c", &shell]);
    let mut client = bridge.client().with_timeout(Duration::from_secs(5));
    for number in 0..100 {
        // Each stranger's request is a line, or nearly.
        let stranger = client.post(&format!("/in/nowhere-{number}"), &[], b"{}").expect("an answer");
        assert_eq!(stranger.status, 404);
        let delivery = Delivery::new("call.created", "default:unread", number, 100);
        assert!(delivery.send(&mut client).expect("an answer").is_success());
    }
    assert_eq!(bridge.admin().get("/livez").expect("an answer").status, 200);
    let took = bridge.stop();
    assert!(took < Duration::from_secs(10), "the end took {took:?}");
}

#[test]
fn a_hangup_ends_nothing_where_there_is_no_terminal() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    bridge.signal(Signal::HUP);
    let delivery = Delivery::new("call.created", "default:hangup", 1, 100);
    assert!(delivery.send(&mut bridge.client()).expect("an answer").is_success());
    bridge.assert_logs("the configuration was read again and is the same as before");
    bridge.stop();
}

#[test]
fn as_many_files_as_may_be_open_are_and_too_few_are_told() {
    let _turn = turns::in_company();
    for (limits, told) in [("ulimit -S -n 256; ulimit -H -n 8192", false), ("ulimit -n 1024", true)] {
        let home = Home::new();
        home.configure_files();
        let bridge = home.start_under(&["sh", "-c", &format!("{limits}; exec \"$0\" \"$@\"")]);
        let found = std::fs::read_to_string(format!("/proc/{}/limits", bridge.pid())).expect("limits");
        let line = found.lines().find(|line| line.starts_with("Max open files")).expect("a limit of files");
        let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
        assert_eq!(numbers[0], numbers[1], "all that may be: {line}");
        bridge.stop();
        assert_eq!(home_log(&home).contains("the listener takes no more than"), told, "{limits}");
    }
}

fn home_log(home: &Home) -> String {
    std::fs::read_to_string(home.path("log")).expect("a log")
}
