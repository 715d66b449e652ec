//! `fanbridge health`: what an orchestrator that can only run the binary learns of the bridge.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::bridge::Home;
use crate::support::{await_until, turns};

/// What it printed, on one line, and its exit code.
#[track_caller]
fn told(output: &Output) -> (String, Option<i32>) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}{}", String::from_utf8_lossy(&output.stderr));
    (text.trim_end().to_owned(), output.status.code())
}

fn asked(home: &Home, more: &[&str]) -> (String, Option<i32>) {
    told(&home.try_verb(&[&["health"], more].concat()))
}

#[test]
fn a_running_bridge_is_ready_live_and_started_and_one_that_has_stopped_is_none_of_it() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let (line, code) = asked(&home, &[]);
    assert!(line.starts_with("not ready: cannot connect to 127.0.0.1 port ") && code == Some(1), "{line}");

    let bridge = home.start();
    for (option, word) in [("--ready", "ready"), ("--live", "live"), ("--startup", "started")] {
        assert_eq!(asked(&home, &[option]), (word.to_owned(), Some(0)));
    }
    home.run_verb(&["pause", "local", "--reason", "a rest"]);
    let (line, code) = asked(&home, &[]);
    assert!(line.starts_with("ready; sink local is paused since ") && line.ends_with(": a rest"), "{line}");
    assert_eq!(code, Some(0));
    let url = format!("http://127.0.0.1:{}", home.admin);
    fs::rename(home.path("fanbridge.yaml"), home.path("moved.yaml")).unwrap();
    assert_eq!(asked(&home, &["--live", "--url", &url]).1, Some(0));
    fs::rename(home.path("moved.yaml"), home.path("fanbridge.yaml")).unwrap();
    bridge.stop();
    assert_eq!(asked(&home, &["--live"]).1, Some(1));
}

#[test]
fn a_bridge_with_a_token_whose_file_has_an_error_by_now_is_asked_all_the_same() {
    let _turn = turns::in_company();
    let home = Home::new();
    fs::write(home.path("token"), "a-token-of-an-admin-listener").unwrap();
    home.configure_files();
    let path = home.path("fanbridge.yaml");
    let usable = fs::read_to_string(&path).unwrap().replace("admin: {", "admin: { token: \"file:token\",");
    fs::write(&path, &usable).unwrap();
    let bridge = home.start();
    // An edit that a reload would refuse, and a secret that only the bridge could read.
    fs::write(&path, usable.replace("provider: stream,", "provider: strem,")).unwrap();
    fs::remove_file(home.path("token")).unwrap();
    assert_eq!(asked(&home, &[]), ("ready".to_owned(), Some(0)));

    for (text, said) in [("admin: {", "it is not YAML"), ("admin: { listen: here }", "admin.listen: ")] {
        fs::write(&path, text).unwrap();
        let output = home.try_verb(&["health"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(78) && error.contains(said), "{error}");
    }
    bridge.stop();
}

#[test]
fn a_bridge_that_cannot_store_says_why_and_stays_live() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let path = home.path("fanbridge.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("free_bytes_min: 0", "free_bytes_min: 1000000 GiB")).unwrap();
    let bridge = home.spawn_under(&[]);
    await_until("it is live", Duration::from_secs(30), || {
        (asked(&home, &["--live"]).1 == Some(0)).then_some(())
    });
    let line = await_until("it says why it is not ready", Duration::from_secs(30), || {
        let (line, code) = asked(&home, &["--ready"]);
        assert_eq!(code, Some(1), "{line}");
        line.contains("cannot store").then_some(line)
    });
    assert!(line.starts_with("not ready: the spool cannot store: "), "{line}");
    bridge.kill();
}

#[test]
fn who_answers_something_else_or_nothing_in_time_is_no_healthy_bridge() {
    let _turn = turns::in_company();
    let (home, listener) = (Home::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers =
        ["200 OK\r\ncontent-length: 6\r\n\r\nhello\n", "404 Not Found\r\ncontent-length: 0\r\n\r\n"];
    let server = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1000]).unwrap();
            write!(stream, "HTTP/1.1 {answer}").unwrap();
        }
        // The last one waits for an answer.
        let (mut silent, _) = listener.accept().unwrap();
        while silent.read(&mut [0; 1000]).is_ok_and(|read| read > 0) {}
    });
    for said in ["not ready: this is not the admin listener", "not ready: the answer is 404 Not Found"] {
        let (line, code) = asked(&home, &["--url", &url]);
        assert!(line.starts_with(said) && code == Some(1), "{line}");
    }
    let began = Instant::now();
    let (line, code) = asked(&home, &["--url", &url, "--within", "300ms"]);
    assert_eq!((line.as_str(), code), ("not ready: no answer within 300ms", Some(1)));
    assert!(began.elapsed() < Duration::from_secs(20));
    server.join().unwrap();

    for wrong in [&["--url", "http://127.0.0.1:1/readyz"][..], &["--live", "--ready"], &["--within", "0s"]] {
        assert_eq!(home.try_verb(&[&["health"], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
}
