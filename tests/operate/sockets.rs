//! The public socket in the hands of whoever starts the bridge, as of systemd.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::client::Client;
use crate::support::load::STREAM_PATH;
use crate::support::{await_until, signing, turns};

/// How long the bridge may take to deliver.
const WITHIN: Duration = Duration::from_secs(30);

/// The ids that the file sink has.
fn delivered(home: &Home) -> BTreeSet<String> {
    let dir = home.path("topics").join("stream.video.call-lifecycle");
    let files = fs::read_dir(dir).into_iter().flatten().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    let texts: Vec<String> = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
}

/// Sends an event until it is acknowledged, or the test ends; its id.
fn send(port: u16, number: u64, ended: &AtomicBool) -> Option<String> {
    let body = format!(r#"{{"type":"call.created","call_cid":"default:{number}"}}"#);
    let signature = signing::stream(body.as_bytes());
    while !ended.load(Ordering::Relaxed) {
        let answer = Client::new(port).post(STREAM_PATH, &[("x-signature", &signature)], body.as_bytes());
        if let Some(answer) = answer.ok().filter(|answer| answer.is_success()) {
            let said: Value = serde_json::from_slice(&answer.body).unwrap();
            return said["id"].as_str().map(str::to_owned);
        }
    }
    None
}

#[test]
fn a_socket_that_is_handed_over_refuses_no_connection_while_the_bridge_restarts() {
    let _turn = turns::in_company();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut home = Home::new();
    home.http = port;
    home.configure_files();
    let (ended, number) = (AtomicBool::new(false), AtomicU64::new(0));
    let acknowledged = Mutex::new(BTreeSet::new());
    let (refused, connected) = (AtomicU64::new(0), AtomicU64::new(0));
    let bridge = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(id) = send(port, number.fetch_add(1, Ordering::Relaxed), &ended) {
                    acknowledged.lock().unwrap().insert(id);
                }
            });
        }
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let count =
                    if TcpStream::connect(("127.0.0.1", port)).is_ok() { &connected } else { &refused };
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let count = || acknowledged.lock().unwrap().len();
        for life in 0..6 {
            let bridge = home.start_on(&socket);
            bridge.assert_logs("the listener has a socket that was handed over");
            let seen = || (count(), connected.load(Ordering::Relaxed));
            let before = seen();
            await_until(&format!("life {life} takes events and connections"), WITHIN, || {
                let now = seen();
                (now.0 > before.0 + 20 && now.1 >= before.1 + 10).then_some(())
            });
            bridge.stop();
        }
        ended.store(true, Ordering::Relaxed);
        // Whoever waits for an answer gets one.
        home.start_on(&socket)
    });
    assert_eq!(refused.into_inner(), 0);
    assert!(connected.into_inner() > 50);
    let acknowledged = acknowledged.into_inner().unwrap();
    await_until("every acknowledged event is delivered", WITHIN, || {
        delivered(&home).is_superset(&acknowledged).then_some(())
    });
    bridge.stop();
}

#[test]
fn sockets_that_are_of_no_use_are_named_and_nothing_starts() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let socket = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut bridge = home.spawn_on(socket(), "http");
    assert_eq!(bridge.await_exit(WITHIN).code(), Some(78));
    bridge.assert_logs("descriptor 3 of LISTEN_FDS cannot be used");
    let mut bridge = home.spawn_on(socket(), "http:http");
    assert_eq!(bridge.await_exit(WITHIN).code(), Some(78));
    bridge.assert_logs("LISTEN_FDS hands over 2 sockets named `http:http`");
}
